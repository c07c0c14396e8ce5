#!/bin/sh
# Patroni asks a server that it starts whether it is ready, and if not, asks again a whole second later: twice for each start.
# This is pg_isready that waits up to 0.9 seconds for a server that does not answer yet. HOWDAH_PG_BIN_DIR: where the real one is.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
    "$HOWDAH_PG_BIN_DIR/pg_isready" --quiet "$@"
    code=$?
    case $code in 1 | 2) sleep 0.05 ;; *) break ;; esac
done
exit $code
