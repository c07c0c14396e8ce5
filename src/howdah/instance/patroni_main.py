"""Patroni's process: Patroni as it is, a thread beside it (`watching`), and less to load on the way.

`python -m howdah.instance.patroni_main PATRONI_YAML`. As first process of a container this one only hands signals on and
reaps, as `tini` would, and Patroni is its child. Patroni would do that by itself, but it forks when everything is
loaded: of that memory two processes then write, and little of it is shared for long.

Patroni starts PostgreSQL by a new Python process (multiprocessing, `spawn`), which imports this module again, as
`__mp_main__`: that is why it is light.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable

HANDED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGABRT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

# mallopt(3), by the numbers of glibc. Of Patroni's 18 threads each would take memory from a heap of its own (M_ARENA_MAX),
# and what is large and short-lived would leave holes (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD). PostgreSQL is another process.
MEMORY = ((-8, 1), (-3, 64 * 1024), (-1, 64 * 1024))

SocketOptions = Iterable[tuple[int, int, int]]

# How often Patroni looks whether a server that it stops has ended; once a second by itself. See pg_controldata.sh.
STOP_POLL_S = 0.1


def main() -> None:
    """Never returns before Patroni ends."""
    if os.getpid() == 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
        if patroni := os.fork():
            sys.exit(reap_until_the_end_of(patroni))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    run_patroni()


def reap_until_the_end_of(child: int) -> int:
    """Its exit code, 128 and the signal's number where one ended it; signals that are blocked now are handed on to it."""
    for number in HANDED_ON:
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def run_patroni() -> None:
    """In this process."""
    import ctypes
    from pathlib import Path

    import yaml

    # PyYAML's own parser in Python takes 0.1 s for Patroni's tables of PostgreSQL's settings, the one in C a tenth. Patroni
    # reads them when it is imported, so this comes first.
    yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]

    import patroni.postgresql
    import patroni.utils
    from patroni.__main__ import main as run

    from howdah.instance.watching import begin

    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for parameter, value in MEMORY:
            mallopt(parameter, value)
    patroni.postgresql.STOP_POLLING_INTERVAL = STOP_POLL_S
    patroni.utils.keepalive_socket_options = sent_at_once(patroni.utils.keepalive_socket_options)
    begin(Path(sys.argv[1]))
    run()


def sent_at_once(options: Callable[..., SocketOptions]) -> Callable[..., SocketOptions]:
    """Patroni's socket options, and the one that they take away by being there: urllib3's own, TCP_NODELAY.

    A request's headers and its body are two segments, and by Nagle's algorithm the second waits until the first is
    acknowledged, which a server's kernel puts off for 40 ms: on every write of Patroni to the API server.
    """
    import socket

    return lambda *timeouts, **more: (*options(*timeouts, **more), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1))


def load_only_what_starts_postgres() -> None:
    """Patroni's `pg_ctl_start` lives in a package whose import takes 0.3 s, and needs nothing of it but its own module.

    So the package is entered without running its `__init__`. Where that does not do, all of it is imported as always.
    """
    from importlib import import_module
    from importlib.util import find_spec, module_from_spec

    name = "patroni.postgresql"
    spec = find_spec(name)
    if spec is None:
        return
    sys.modules[name] = module_from_spec(spec)
    try:
        import_module(f"{name}.postmaster")
    except Exception:  # noqa: BLE001 - whatever it is, PostgreSQL is to be started
        for loaded in [loaded for loaded in sys.modules if loaded.startswith(name)]:
            del sys.modules[loaded]


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":
    load_only_what_starts_postgres()
