#!/bin/sh
# Patroni gives the leader lock away when a server that it stops has ended. If pg_controldata says "shut down" while its process
# still ends, Patroni waits a whole second more for the replicas, which the server itself waits for. So this is pg_controldata that
# waits up to 0.9 seconds for the end of a server which has shut down, and then says "shutting down".
# Arguments: the data directory. HOWDAH_PG_BIN_DIR: where the real one is.
said=$("$HOWDAH_PG_BIN_DIR/pg_controldata" "$@") || exit
is_ending() { { read -r pid <"$1/postmaster.pid" && kill -0 "$pid"; } 2>/dev/null; }
if printf '%s\n' "$said" | grep -q '^Database cluster state: *shut down$' && is_ending "$1"; then
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do
        sleep 0.05
        kill -0 "$pid" 2>/dev/null && continue
        said=$(printf '%s\n' "$said" | sed '/^Database cluster state/s/shut down$/shutting down/')
        break
    done
fi
printf '%s\n' "$said"
