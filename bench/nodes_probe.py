"""The probe inside the cluster: writes every 20 ms through the service, over one connection while it lives and over new ones.

It needs only psycopg, runs in a pod, and prints one line for each acknowledged write: `KIND UNIX_TIME ID SECONDS`, KIND being
`held` or `new`. On SIGUSR1 it reads everything back and prints `lost N of M`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator

import psycopg

EVERY_S = 0.02
CONNECT_TIMEOUT_S = 2
STATEMENT_TIMEOUT = "-c statement_timeout=2000"
_ids = itertools.count(1)
_acknowledged: set[int] = set()


def connect() -> psycopg.Connection[tuple[object, ...]]:
    """Through the service; a peer that is gone is noticed after two seconds."""
    return psycopg.connect(
        os.environ["CONNINFO"],
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        options=STATEMENT_TIMEOUT,
        tcp_user_timeout=2000,
        keepalives_idle=1,
        keepalives_interval=1,
        keepalives_count=2,
    )


def write(kind: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """One row; said once it is acknowledged."""
    number, begun = next(_ids), time.time()
    connection.execute("insert into probe (id) values (%s)", (number,))
    _acknowledged.add(number)
    print(kind, f"{time.time():.4f}", number, f"{time.time() - begun:.4f}", flush=True)


def forever(kind: str) -> None:
    """`held`: one connection while it lives; `new`: one for each write."""
    while True:
        with contextlib.suppress(psycopg.Error, OSError), connect() as connection:
            for _ in rounds(kind):
                write(kind, connection)
                time.sleep(EVERY_S)
        time.sleep(EVERY_S)


def rounds(kind: str) -> Iterator[int]:
    return iter(itertools.count()) if kind == "held" else iter(range(1))


def check() -> None:
    """Every acknowledged write must be there."""
    promised = set(_acknowledged)
    with connect() as connection:
        found = {row[0] for row in connection.execute("select id from probe")}
    print(f"lost {len(promised - found)} of {len(promised)}", flush=True)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for kind in ("held", "new"):
        threading.Thread(target=forever, args=(kind,), daemon=True).start()
    while True:
        signal.sigwait({signal.SIGUSR1})
        check()


if __name__ == "__main__":
    main()
