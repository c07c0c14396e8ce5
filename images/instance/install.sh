#!/bin/sh
# PostgreSQL of each major in PG_MAJORS with the extensions that its archive has, Python, LOCALES, and the user that Spilo has.
# usage: PG_MAJORS="15 17" PG_DEBIAN="bookworm" PG_EXTENSIONS="cron …" LOCALES="en_US.UTF-8 …" install.sh
set -eu
folder=$(dirname "$0")
. "$folder/machine.sh"
install() { apt-get install -q -y --no-install-recommends "$@"; }

groupadd --gid 103 postgres
useradd --uid 101 --gid 103 --home-dir /home/postgres --create-home --shell /bin/bash postgres

apt-get update -q
. "$folder/postgresql-archive.sh"
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
python3 -m compileall -q -f --invalidation-mode unchecked-hash "/usr/lib/python$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
ln -s /usr/lib/postgresql/"$newest"/bin/* /usr/local/bin/  # a newer client serves older servers, too

# What the container writes outside its volume: the socket, certificates and patroni.yaml.
mkdir -p /run/postgresql /home/postgres/pgdata
chown postgres:postgres /run /run/postgresql /home/postgres /home/postgres/pgdata
chmod 2775 /run/postgresql
rm -rf /etc/postgresql  # Debian's own clusters would be there, and their user could write to it
# A key that everybody has is none.
rm -f /etc/ssl/private/* /etc/ssl/certs/ssl-cert-snakeoil.pem
find /etc/ssl/certs -xtype l -delete
apt-get clean
rm -rf /var/lib/apt/lists/* /var/lib/postgresql /var/log/* /var/cache/*/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/* /tmp/* /usr/share/doc/*/changelog* /usr/share/man/*
# Nobody becomes another user in it. Without the days of passwords that nobody has, the same packages make the same files.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1::/' /etc/shadow
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /run/adduser
find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
