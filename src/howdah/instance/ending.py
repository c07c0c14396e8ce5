"""The end of a container's process: one clear reason, also where Kubernetes looks for it."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

log = logging.getLogger("howdah.instance")


def end(code: int, message: str) -> NoReturn:
    """Say why, and leave it in status.containerStatuses[].state.terminated.message."""
    log.error("%s", message)
    place = Path(os.environ.get("TERMINATION_LOG") or "/dev/termination-log")
    if place.exists() or "TERMINATION_LOG" in os.environ:
        try:
            place.write_text(f"{message}\n")
        except OSError as error:
            log.warning("cannot write %s: %s", place, error)
    sys.exit(code)
