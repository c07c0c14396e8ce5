#!/bin/sh
# PostgreSQL of each major in PG_MAJORS with the extensions that its archive has, Python, LOCALES, and the user that Spilo has.
# usage: PG_MAJORS="15 16" PG_EXTENSIONS="cron …" LOCALES="en_US.UTF-8 …" install.sh
set -eu
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -q -y --no-install-recommends "$@"; }

groupadd --gid 103 postgres
useradd --uid 101 --gid 103 --home-dir /home/postgres --create-home --shell /bin/bash postgres

"$(dirname "$0")/postgresql-archive.sh" $PG_MAJORS
install ca-certificates curl less libpython3-stdlib locales postgresql-common procps python3-minimal python3-psycopg2
for locale in $LOCALES; do echo "$locale ${locale##*.}"; done >/etc/locale.gen
locale-gen
echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf  # pods bring their own
for major in $PG_MAJORS; do
    for name in $PG_EXTENSIONS; do
        if apt-cache show "postgresql-$major-$name" >/dev/null 2>&1; then echo "postgresql-$major-$name"
        else echo "left out: the archive has no postgresql-$major-$name" >&2; fi
    done >/tmp/extensions
    install "postgresql-$major" "postgresql-plpython3-$major" $(cat /tmp/extensions)
    newest=$major
done
rm -r /usr/lib/python3/dist-packages/psycopg2-*.egg-info  # the bill of materials has it as what it is, a package of Debian's
python3 -m compileall -q -f --invalidation-mode unchecked-hash /usr/lib/python3.*/
ln -s /usr/lib/postgresql/"$newest"/bin/* /usr/local/bin/  # a newer client serves older servers, too

# What the container writes outside its volume: the socket, certificates and patroni.yaml.
mkdir -p /run/postgresql /home/postgres/pgdata
chown postgres:postgres /run /run/postgresql /home/postgres /home/postgres/pgdata
chmod 2775 /run/postgresql
# A key that everybody has is none.
rm -f /etc/ssl/private/* /etc/ssl/certs/ssl-cert-snakeoil.pem
apt-get clean
rm -rf /var/lib/apt/lists/* /var/lib/postgresql /var/log/* /tmp/* /usr/share/doc/*/changelog* /usr/share/man/*
