"""The database container's main process: configure, then become Patroni.

Patroni takes this process over by exec, so that signals and the exit code are its own; as PID 1 it reaps orphans itself.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

from howdah.instance.configure import EXIT_WRONG_ENVIRONMENT, Prepared, Refused, configure
from howdah.model.errors import InvalidSpec

log = logging.getLogger("howdah.instance")


def main() -> NoReturn:
    """Never returns: Patroni runs, or the process ends with a code and one clear reason."""
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        prepared = configure(os.environ, now=dt.datetime.now(dt.UTC))
    except InvalidSpec as error:
        _end(EXIT_WRONG_ENVIRONMENT, "wrong environment: " + " | ".join(str(problem) for problem in error.problems))
    except Refused as error:
        _end(error.code, str(error))
    for note in prepared.notes:
        log.info("%s", note)
    for dropped in prepared.dropped:
        log.warning("%s", dropped)
    become_patroni(prepared)


def become_patroni(prepared: Prepared) -> NoReturn:
    """Replace this process. `-P`: the working directory is a data folder and no place for Python modules."""
    os.chdir(prepared.folder)
    sys.stderr.flush()
    command = [sys.executable, "-P", "-W", "ignore::FutureWarning", "-m", "patroni", str(prepared.patroni_yaml)]
    os.execve(sys.executable, command, dict(prepared.environment))  # noqa: S606


def _end(code: int, message: str) -> NoReturn:
    """Say why, also where Kubernetes looks for it (status.containerStatuses[].state.terminated.message)."""
    log.error("%s", message)
    place = Path(os.environ.get("TERMINATION_LOG") or "/dev/termination-log")
    if place.exists() or "TERMINATION_LOG" in os.environ:
        try:
            place.write_text(f"{message}\n")
        except OSError as error:
            log.warning("cannot write %s: %s", place, error)
    sys.exit(code)
