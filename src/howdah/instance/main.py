"""The database container's main process: configure, then become Patroni (`patroni_main`).

Patroni takes this process over by exec, so that signals and the exit code are its own.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import signal
import sys
from typing import NoReturn

from howdah.instance.claim import PATIENCE_S
from howdah.instance.configure import EXIT_WRONG_ENVIRONMENT, Prepared, Refused, configure
from howdah.instance.ending import end
from howdah.model.errors import InvalidSpec

MAIN = "howdah.instance.patroni_main"

log = logging.getLogger("howdah.instance")


def main(*, patience_s: float = PATIENCE_S) -> NoReturn:
    """Never returns: Patroni runs, or the process ends with a code and one clear reason. `patience_s`: see `configure`."""
    # A first process gets no signal that it does not handle: a deleted pod would stay until it is killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    try:
        prepared = configure(os.environ, now=dt.datetime.now(dt.UTC), patience_s=patience_s)
    except InvalidSpec as error:
        end(EXIT_WRONG_ENVIRONMENT, "wrong environment: " + " | ".join(str(problem) for problem in error.problems))
    except Refused as error:
        end(error.code, str(error))
    for note in prepared.notes:
        log.info("%s", note)
    for dropped in prepared.dropped:
        log.warning("%s", dropped)
    become_patroni(prepared)


def become_patroni(prepared: Prepared) -> NoReturn:
    """Replace this process. `-P`: the working directory is a data folder and no place for Python modules.

    A signal that comes meanwhile is kept: `patroni_main` takes it up.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    os.chdir(prepared.folder)
    sys.stderr.flush()
    command = [sys.executable, "-P", "-W", "ignore::FutureWarning", "-m", MAIN, str(prepared.patroni_yaml)]
    os.execve(sys.executable, command, dict(prepared.environment))  # noqa: S606
