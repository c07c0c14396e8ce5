"""One container at a time in a data directory.

A pod that is deleted by force may still run when its successor starts, on the same node and the same volume. PostgreSQL's own
check fails there: it looks for the other server's process and shared memory, and both are in namespaces of the other
container. A lock on a file of the volume is the kernel's, whatever the namespaces. Patroni inherits it, and so does the
container's first process, so that it ends with them.

Servers are ended by the kernel when the first process has let go of its files, and one that waits for its storage ends when
that answers. So each process of a server holds a second file (`postgres.sh`), for which the next container waits, too.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

CONTAINER = "howdah.lock"
SERVERS = "howdah.servers"
AGAIN_S = 0.05
SAID_EVERY_S = 10.0
PATIENCE_S = 120.0

log = logging.getLogger("howdah.instance")


class Occupied(Exception):  # noqa: N818  # not a fault of the program: nobody can tell when it ends
    """Somebody else still has the folder."""


def claim(folder: Path, *, patience_s: float = PATIENCE_S) -> None:
    """Wait until nobody else has this folder, and keep it until this process and all that it becomes has ended.

    Raises `Occupied` after `patience_s`, OSError where a file cannot be made. On a file system without locks it says so and
    goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    container = _opened(folder / CONTAINER)
    os.set_inheritable(container, True)
    _lock(container, folder, deadline)
    servers = _opened(folder / SERVERS)
    try:
        _lock(servers, folder, deadline)
    finally:
        os.close(servers)  # who starts servers has the container's lock: nobody but us from here on


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT, 0o600)


def _lock(file: int, folder: Path, deadline: float) -> None:
    said_at = float("-inf")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = time.monotonic()
            if now >= deadline:
                raise Occupied(f"another container still runs in {folder}") from None
            if now - said_at >= SAID_EVERY_S:
                said_at = now
                log.warning("another container still runs in %s: waiting for its end", folder)
            time.sleep(AGAIN_S)
        except OSError as error:
            log.warning("nothing keeps a second container out of %s: %s", folder, error.strerror)
            return
        else:
            return
