"""What every measurement gets: how often, how long, and a folder that goes away afterwards."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Wishes:
    """From the command line. `full`: nothing is shortened (API server away for ten minutes, churn of 500 clusters)."""

    rounds: int = 20
    full: bool = False


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A new folder that other users may pass through: containers may run as another one."""
    made = Path(tempfile.mkdtemp(prefix=f"howdah-bench-{name}-", dir="/tmp")).resolve()
    made.chmod(0o711)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
