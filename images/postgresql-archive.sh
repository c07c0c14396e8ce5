#!/bin/sh
# Makes apt know the packages of every major: where Debian lacks one, the PostgreSQL project's archive is added.
# usage: postgresql-archive.sh MAJOR...
set -eu
apt-get update -q
for major in "$@"; do
    if ! apt-cache show "postgresql-$major" >/dev/null 2>&1; then
        apt-get install -q -y --no-install-recommends ca-certificates postgresql-common
        /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
        break
    fi
done
