#!/bin/sh
# Installs packages, and leaves none of apt's lists. With PG_MAJORS those of every major can be had.
# usage: [PG_MAJORS="15 16"] packages.sh PACKAGE...
set -eu
folder=$(dirname "$0")
. "$folder/machine.sh"
apt-get update -q
[ -z "${PG_MAJORS:-}" ] || . "$folder/postgresql-archive.sh"
apt-get install -q -y --no-install-recommends "$@"
apt-get clean
rm -rf /var/lib/apt/lists/*
