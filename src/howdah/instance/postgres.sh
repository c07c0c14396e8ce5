#!/bin/sh
# A server whose storage hangs cannot be killed: it outlives its container's first process and Patroni, and the lock that they hold.
# So this is postgres that holds a lock of its own, shared, and hands it on to all of its processes; see claim.py.
# HOWDAH_PG_BIN_DIR: where the real one is. HOWDAH_SERVERS_LOCK: the file. On a file system without locks it starts all the same.
exec 9<>"$HOWDAH_SERVERS_LOCK"
flock --shared --nonblock --conflict-exit-code 75 9
if [ $? -eq 75 ]; then
    echo "another container has claimed $HOWDAH_SERVERS_LOCK: no server is started" >&2
    exit 75
fi
exec "$HOWDAH_PG_BIN_DIR/postgres" "$@"
