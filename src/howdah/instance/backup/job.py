"""One run of the logical backup: find a member, dump it into the store, check what arrived, remove what is too old.

A run that fails leaves no object; the Job tries again. A dump that the store took is a success, whatever comes after it. What
is too old goes only after a new dump was seen to have arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from psycopg.conninfo import make_conninfo

from howdah.adapters.objectstore import Store
from howdah.core.backup.parts import MIB, parts
from howdah.core.backup.request import BackupRequest, backup_request, dump_key, dump_time
from howdah.core.backup.retention import Retention, outdated, reckoned_from
from howdah.core.backup.session import session_variables
from howdah.core.backup.source import Source, sources
from howdah.instance.backup.dump import Dump, DumpFailed, pg_dumpall
from howdah.instance.backup.survey import Survey, survey
from howdah.instance.ending import end
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.kube.resources import PODS
from howdah.model.backups import Parts, Stored
from howdah.model.errors import ExternalError, InvalidSpec
from howdah.model.observed import Pod

PG_DIR = "/usr/lib/postgresql"
CALL_TIMEOUT_S = 20.0
READY_TIMEOUT_S = 5
EXIT_FAILED = 1
EXIT_WRONG_ENVIRONMENT = 2

log = logging.getLogger("howdah.instance.backup")


class Interrupted(Exception):  # noqa: N818 - a state of the world
    """Somebody ends this run from outside: its pod is deleted, its node is drained."""


def main() -> None:
    """Ends with 0 when the dump is in the store."""
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    ending = Ending()
    signal.signal(signal.SIGTERM, ending)
    try:
        request = backup_request(os.environ)
        back_up(request, os.environ, clock=lambda: dt.datetime.now(dt.UTC), ending=ending)
    except InvalidSpec as error:
        end(EXIT_WRONG_ENVIRONMENT, "wrong environment: " + " | ".join(str(problem) for problem in error.problems))
    except (ExternalError, DumpFailed, KubeError, Interrupted) as error:
        end(EXIT_FAILED, str(error))


class Ending:
    """What SIGTERM does: it ends a run whose dump is not whole yet. Later it only keeps it from what can wait.

    The library that sends the dump hears of no signal: whoever raised then would take a dump that is in the store for none.
    """

    def __init__(self) -> None:
        """Nobody has asked for it yet."""
        self.dump: Dump | None = None
        self.is_asked_for = False

    def __call__(self, *_: object) -> None:
        """Once: what the exception ends is not to be ended by another. Without it, process 1 would not notice the signal."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.is_asked_for = True
        if self.dump is None or not self.dump.is_whole:
            raise Interrupted("ended from outside (SIGTERM)")


def back_up(
    request: BackupRequest, environ: Mapping[str, str], *, clock: Callable[[], dt.datetime], ending: Ending
) -> str:
    """The key of the new dump."""
    began = clock()
    program = pg_dumpall(environ.get("PG_DIR") or PG_DIR, request.major, environ.get("PATH", ""))
    source = _found(request, program.with_name("pg_isready"), environ)
    log.info("dumping %s: %s", source.name, source.why)
    conninfo, store = _conninfo(request, source), Store(request.store)
    there_is = survey(program.with_name("psql"), conninfo, session_variables(environ, all_utf8=False))
    all_utf8 = there_is is not None and there_is.all_utf8
    key = dump_key(request.store.folder, int(began.timestamp()))
    with Dump(program, conninfo, session_variables(environ, all_utf8=all_utf8)) as dump:
        ending.dump = dump
        _send(store, key, dump, _cut(there_is))
    log.info("%s: %d bytes", key, dump.sent_bytes)
    arrived = _arrived(store, key, dump.sent_bytes)
    if ending.is_asked_for:
        log.warning(
            "ended from outside (SIGTERM): the new dump is in the store; those that are too old are not deleted"
        )
        return key
    if request.retention is not None and arrived is not None:
        now = reckoned_from(began, clock(), arrived.written)
        _clean(store, request.store.folder, request.retention, now)
    return key


def _cut(there_is: Survey | None) -> Parts:
    cut = parts(there_is.size_bytes if there_is is not None else None)
    log.info("sending parts of %d MiB, %d at once", cut.size_bytes // MIB, cut.at_once)
    for name in there_is.closed if there_is is not None else ():
        log.warning("database %s admits no sessions: it is not in the dump", name)
    return cut


def _send(store: Store, key: str, dump: Dump, cut: Parts) -> None:
    """An upload whose last answer got lost is complete, and the store knows nothing of it when it is asked for that again."""
    try:
        store.put(key, dump.chunks(), cut)
    except ExternalError as error:
        if not dump.is_whole or not _is_there(store, key, dump.sent_bytes):
            raise
        log.warning("the store did not confirm the upload, and the whole dump is there: %s", error)


def _is_there(store: Store, key: str, sent_bytes: int) -> bool:
    try:
        found = store.described(key)
    except ExternalError:
        return False
    return found is not None and found.size_bytes == sent_bytes


def _arrived(store: Store, key: str, sent_bytes: int) -> Stored | None:
    """What the store says of the new dump; None where it does not say: who may write needs not be allowed to read.

    Raises DumpFailed, and leaves no object, where it is not what was sent.
    """
    try:
        arrived = store.described(key)
    except ExternalError as error:
        log.warning("the store took the new dump and does not say whether it is whole; nothing is deleted: %s", error)
        return None
    if arrived is None:
        raise DumpFailed(f"{key}: the store took {sent_bytes} bytes, and there is no object")
    if arrived.size_bytes != sent_bytes:
        with _as_warning("it could not be deleted"):
            store.delete([key])
        raise DumpFailed(f"{key}: {sent_bytes} bytes were sent, {arrived.size_bytes} are there")
    return arrived


def _clean(store: Store, folder: str, retention: Retention, now: dt.datetime | None) -> None:
    """Only what is named like a dump of this cluster is ever deleted. What fails here is the next run's to do."""
    if now is None:
        log.warning("this node's clock and the store's differ by more than an hour: no dump is deleted as too old")
        return
    with _as_warning("the new dump is in the store; those that are too old are not all deleted"):
        there = [key for key in store.keys(folder) if key.rpartition("/")[0] == folder]
        old = outdated((found for key in there if (found := dump_time(key)) is not None), retention, now)
        store.delete(dump_key(folder, found) for found in old)
        for found in old:
            log.info("%s is too old: deleted", dump_key(folder, found))


@contextlib.contextmanager
def _as_warning(message: str) -> Iterator[None]:
    try:
        yield
    except ExternalError as error:
        log.warning("%s: %s", message, error)


def _conninfo(request: BackupRequest, source: Source) -> str:
    """A server that has gone silent is given up in minutes, not hours."""
    return make_conninfo(
        host=source.address,
        port=request.port,
        user=request.user,
        sslmode=request.ssl_mode,
        connect_timeout=30,
        keepalives_idle=60,
        keepalives_interval=15,
        keepalives_count=4,
        application_name="logical-backup",
    )


def _found(request: BackupRequest, pg_isready: Path, environ: Mapping[str, str]) -> Source:
    """The best member that answers; members may come and go while we look. Raises ExternalError for none."""
    for trial in range(request.tries):
        if trial:
            time.sleep(request.pause_s)
        for source in asyncio.run(_look(request)):
            if _answers(source, request.port, pg_isready, environ):
                return source
    message = f"no member of {request.namespace}/{request.cluster} answered in {request.tries} tries"
    raise ExternalError("postgres", transient=True, message=message)


async def _look(request: BackupRequest) -> tuple[Source, ...]:
    async with Client(load_access(), timeout_s=CALL_TIMEOUT_S) as client:
        labels = f"{request.cluster_label}={request.cluster}"
        found = await client.list(PODS, namespace=request.namespace, labels=labels, type=Pod)
    return sources(found.items, request.cluster, request.pod)


def _answers(source: Source, port: int, pg_isready: Path, environ: Mapping[str, str]) -> bool:
    """Whether it takes connections, with TLS or without: the dump itself says why a session as asked for is not to be had.

    The password is not needed for that, and would be sent to whoever asks for it.
    """
    command = [str(pg_isready), "-q", "-h", source.address, "-p", str(port), "-t", str(READY_TIMEOUT_S)]
    environ = {**environ, "PGSSLMODE": "prefer", "PGPASSWORD": ""}
    try:
        return subprocess.run(command, check=False, timeout=READY_TIMEOUT_S * 2, env=environ).returncode == 0
    except subprocess.TimeoutExpired:
        return False
