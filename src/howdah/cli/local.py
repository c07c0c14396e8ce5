"""`howdah local`: the platform of this machine with the operator on it, from nothing to a running cluster and back."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from howdah.cli import closing
from howdah.cli.arrival import wait_for
from howdah.cli.documents import Document, clusters, read_documents
from howdah.cli.exits import Exit, Failed
from howdah.cli.installation import CONFIGURATION, OPERATOR_NAMESPACE, apply_documents, install
from howdah.cli.operator_settings import find_settings
from howdah.cli.output import TEXT, age, check_format, coloured, print_data, print_problems, say, table
from howdah.cli.progress import Progress
from howdah.core.spilo.machine import Installation
from howdah.instance.binaries import installations
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.local import configuration
from howdah.local import up as platform
from howdah.local.configuration import Command, Platform
from howdah.local.interpreter import InterpreterError
from howdah.local.place import PlatformError
from howdah.local.up import Status
from howdah.model import names
from howdah.model.errors import ExternalError, InvalidSpec, Problem
from howdah.model.manifest import parse_manifest

NAMESPACE = "default"
CALL_TIMEOUT_S = 10.0
LOG_POLL_S = 0.2

_INSTANCE = (sys.executable, "-m", "howdah.instance")
_POOLER = (sys.executable, "-m", "howdah.instance.pooler", names.USER_LIST_MOUNT)
ROLES = {
    "spilo": _INSTANCE,
    "instance": _INSTANCE,
    "pgbouncer": _POOLER,
    "pooler": _POOLER,
    "logical-backup": (sys.executable, "-m", "howdah.instance.backup"),
}
"""What containers run here, by the role of their image: the reference's names and ours."""
_PGBOUNCER = ("pgbouncer", "install PgBouncer (Debian: apt-get install pgbouncer)")
NEEDS = {"pgbouncer": _PGBOUNCER, "pooler": _PGBOUNCER}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A platform as a command names it: by its folder, or by a name where that is None."""

    directory: Path | None = None
    name: str = "local"

    @property
    def folder(self) -> Path:
        """Raises Failed for a name that is none of a folder."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", self.name):
            raise Failed(f"--name {self.name}: write lower-case letters, digits and -, such as demo", Exit.INVALID)
        return self.directory or platform.default_directory(self.name)


def up(manifests: Sequence[Path], where: Place, *, operators: int, wait_s: float) -> None:
    """Start, install, apply, wait, tell. What runs already is brought to what is asked for now."""
    documents = read_documents(manifests)
    present = installations(os.environ.get("PATH", ""))
    refuse_what_cannot_run(clusters(documents), present)
    progress = Progress()
    place = where.folder
    try:
        _run(lambda: _up(_platform(place, operators), documents, present, progress, wait_s))
    finally:
        progress.end()


async def _up(
    wanted: Platform, documents: Sequence[Document], present: Sequence[Installation], progress: Progress, wait_s: float
) -> None:
    status = await platform.up(wanted, progress.told)
    async with Client(load_access(str(status.kubeconfig)), timeout_s=CALL_TIMEOUT_S) as client:
        await install(client)
        progress.told("CRDs and the operator's configuration are there")
        await apply_documents(client, documents, NAMESPACE)
        applied = await closing.generations(client, clusters(documents), NAMESPACE)
        for _, name, _ in applied:
            progress.told(f"{name} applied")
        operator = await find_settings(client, _operator_environment(0))
        await wait_for(client, operator, applied, progress, wait_s)
        progress.told(coloured("done", "good"))
        progress.end()
        for line in await closing.summary(client, operator, [key[:2] for key in applied], status, present):
            say(line)


def refuse_what_cannot_run(asked: Iterable[Document], present: Sequence[Installation]) -> None:
    """Before anything is started. Raises Failed after every problem of every manifest was printed."""
    faults = 0
    for document in asked:
        found = tuple(problems(document.body, present))
        print_problems(found, where=document.where)
        faults += len(found)
    if faults:
        raise Failed(f"{faults} problem{'s' if faults > 1 else ''}; nothing is started", Exit.INVALID)


def problems(manifest: Mapping[str, Any], present: Sequence[Installation]) -> Iterator[Problem]:
    """What is wrong with a manifest for itself, and the major that is not here, with those that are."""
    try:
        parse_manifest(manifest)
    except InvalidSpec as invalid:
        yield from invalid.problems
    spec = manifest.get("spec")
    section = spec.get("postgresql") if isinstance(spec, Mapping) else None
    version = str(section.get("version") or "") if isinstance(section, Mapping) else ""
    majors = {str(one.major) for one in present}
    if version and version not in majors:
        there = ", ".join(sorted(majors, key=int)) or "none"
        hint = f"present: {there}. Write one of them, or install it (Debian: apt-get install postgresql-{version})"
        yield Problem("spec.postgresql.version", f"PostgreSQL {version} is not on this machine", hint)


def _platform(directory: Path, operators: int) -> Platform:
    """The platform with the operator's replicas. One that runs keeps its port, for a new one would restart it."""
    known = _known_processes(directory)
    processes = {}
    for number in range(operators):
        name = f"operator-{number}"
        listen = known[name].argv[-1] if name in known else f"127.0.0.1:{_free_port()}"
        argv = (sys.executable, "-m", "howdah.cli.main", "operator", "--listen", listen)
        processes[name] = Command(argv, _operator_environment(number))
    return Platform(directory, ROLES, processes, needs=NEEDS)


def _operator_environment(number: int) -> dict[str, str]:
    return {
        "OPERATOR_NAMESPACE": OPERATOR_NAMESPACE,
        "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": CONFIGURATION,
        "POD_NAME": f"operator-{number}",
    }


def _known_processes(directory: Path) -> dict[str, Command]:
    try:
        return dict(configuration.load(directory).processes)
    except (OSError, ValueError, KeyError):
        return {}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def down(where: Place, *, remove: bool) -> None:
    """Stop everything; with `remove` nothing is left, not even a file."""
    progress = Progress()
    place = where.folder
    if not place.is_dir():
        say(f"no platform in {place}")
        return
    _run(lambda: platform.down(place, remove=remove, on_progress=progress.told))
    if remove and where.directory is None:
        with suppress(OSError):  # others may keep something there
            place.parent.rmdir()


def print_local_status(where: Place, output: str) -> None:
    """Processes, kubeconfig, fencing."""
    check_format(output)
    found = platform.status(where.folder)
    if output != TEXT:
        print_data(_plain(found), output)
        return
    now = dt.datetime.now(dt.UTC)
    say(coloured("up", "good") if found.is_up else coloured("down", "bad"))
    say(f"folder {found.directory}")
    say(f"export KUBECONFIG={shlex.quote(str(found.kubeconfig))}")
    say(f"fencing {found.fencing or '-'}")
    rows = [
        (
            one.name,
            str(one.pid or "-"),
            str(one.restarts),
            age(dt.datetime.fromtimestamp(one.since, dt.UTC) if one.since and one.pid else None, now),
        )
        for one in found.processes
    ]
    for line in table(("PROCESS", "PID", "RESTARTS", "AGE"), rows):
        say(line)


def _plain(found: Status) -> dict[str, object]:
    return {**asdict(found), "directory": str(found.directory), "kubeconfig": str(found.kubeconfig)}


def print_logs(where: Place, process: str, *, follow: bool) -> None:
    """The last lines, and with `follow` those to come."""
    place = where.folder
    try:
        for line in platform.logs(place, process):
            say(line)
    except PlatformError as error:
        raise Failed(str(error), Exit.NOT_FOUND) from error
    if follow:
        _follow(place.resolve() / "log" / f"{process}.log")


def _follow(path: Path) -> None:
    position = path.stat().st_size
    while True:
        time.sleep(LOG_POLL_S)
        size = path.stat().st_size
        position = position if size >= position else 0  # put aside and begun anew
        if size > position:
            with path.open("rb") as log:
                log.seek(position)
                text = log.read()
            position += len(text)
            sys.stdout.write(text.decode(errors="replace"))
            sys.stdout.flush()


def _run(work: Callable[[], Awaitable[T]]) -> T:
    """Known failures become one line."""

    async def main() -> T:
        return await work()

    try:
        return asyncio.run(main())
    except InvalidSpec as invalid:
        raise Failed(str(invalid), Exit.INVALID) from invalid
    except (PlatformError, InterpreterError, KubeError, ExternalError, OSError, RuntimeError) as error:
        raise Failed(str(error)) from error
