"""One container at a time in a data directory.

A pod that is deleted by force may still run when its successor starts, on the same node and the same volume. PostgreSQL's own
check fails there: it looks for the other server's process and shared memory, and both are in namespaces of the other
container. A lock on a file of the volume is the kernel's, whatever the namespaces. Patroni inherits it, and so does the
container's first process, so that it ends with them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from pathlib import Path

NAME = "howdah.lock"
AGAIN_S = 0.05
SAID_EVERY_S = 10.0

log = logging.getLogger("howdah.instance")


def claim(folder: Path) -> None:
    """Wait until nobody else has this folder, and keep it until this process and all that it becomes has ended.

    Raises OSError where the file cannot be made. On a file system without locks it says so and goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(file, True)
    said_at = float("-inf")
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() - said_at >= SAID_EVERY_S:
                said_at = time.monotonic()
                log.warning("another container still runs in %s: waiting for its end", folder)
            time.sleep(AGAIN_S)
        except OSError as error:
            log.warning("nothing keeps a second container out of %s: %s", folder, error.strerror)
            return
        else:
            return
