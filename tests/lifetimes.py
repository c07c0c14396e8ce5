"""No process of a test outlives the process that runs the tests, however that ends: also when a worker is killed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDING_S = 10


def ended_with_us(*command: str | Path, by: str = "KILL") -> list[str]:
    """The command, so that the kernel ends it `by` this signal when the thread that starts it ends (PR_SET_PDEATHSIG).

    It stays one process. A command that changes its user loses the signal, so that it has to be set again after that.
    """
    setpriv = shutil.which("setpriv") or "setpriv"  # the command's own PATH may be another one
    return [setpriv, "--pdeathsig", by, "--", *map(str, command)]


@contextmanager
def guarded(*ending: str | Path) -> Iterator[None]:
    """Should this process die within, `ending` is run: for what detaches itself, as a control plane or a platform does.

    Whoever gets to the end of the block has ended everything already.
    """
    script = 'read -r _ || exec "$@"'  # a line says that all is well; an end without one, that we are dead
    guard = subprocess.Popen(
        ["sh", "-c", script, "guard", *map(str, ending)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(b"well\n", timeout=ENDING_S)
