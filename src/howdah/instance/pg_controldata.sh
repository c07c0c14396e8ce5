#!/bin/sh
# Patroni gives the leader lock away when a server that it stops has ended. If pg_controldata says "shut down" while its process
# still ends, Patroni waits a whole second more for the replicas, which the server itself waits for. So this is pg_controldata that,
# asked about a server that stops, waits up to 0.9 seconds for its end, and then says what was so before.
# Arguments: the data directory. HOWDAH_PG_BIN_DIR: where the real one is.
real=$HOWDAH_PG_BIN_DIR/pg_controldata
{ read -r pid && [ "$(sed -n '7s/ *$//p')" = stopping ] && kill -0 "$pid"; } 2>/dev/null <"$1/postmaster.pid" || exec "$real" "$@"
before=$("$real" "$@") || exit
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
    if ! kill -0 "$pid" 2>/dev/null; then
        printf '%s\n' "$before" | sed '/^Database cluster state/s/shut down$/shutting down/'
        exit
    fi
    sleep 0.05
done
exec "$real" "$@"
