"""From the container's environment to files on disk: everything that Patroni needs before it starts.

The decisions are `core.spilo`'s; here the machine is looked at and files are written.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from howdah.core.spilo.configuration import Configuration, configuration
from howdah.core.spilo.environment import Request, parse_environment
from howdah.core.spilo.machine import Dropped, Installation, Machine
from howdah.core.spilo.process import patroni_environment
from howdah.instance import binaries, facts, tls
from howdah.instance.claim import PATIENCE_S, SERVERS, Occupied, claim
from howdah.instance.replica import discard_copies
from howdah.instance.tools import write_tools

EXIT_NO_SUCH_MAJOR = 64
EXIT_CANNOT_WRITE = 73
EXIT_OCCUPIED = 75
EXIT_WRONG_ENVIRONMENT = 78
PRIVATE, LOGS = 0o700, 0o755
STAND_INS = ("pg_controldata", "pg_isready", "postgres")  # PostgreSQL's programs: Patroni runs our scripts instead
_OPEN_TO_OTHERS = 0o027


class Refused(Exception):  # noqa: N818  # not a fault of the program: this member must not start so
    """The member cannot start; `code` is the exit code, the message one line for people."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Patroni can be started: with this file, in this environment and folder."""

    patroni_yaml: Path
    folder: Path
    environment: Mapping[str, str]
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...] = ()


def configure(environ: Mapping[str, str], *, now: dt.datetime, patience_s: float = PATIENCE_S) -> Prepared:
    """Look at the machine and write all files. Raises `InvalidSpec` (environment) or `Refused`.

    `patience_s`: how long another container of this data directory is waited for.
    """
    request = parse_environment(environ)
    if os.geteuid() == 0:
        raise Refused(EXIT_WRONG_ENVIRONMENT, "PostgreSQL refuses to run as root; start the instance as another user")
    data_major = data_directory_major(Path(request.paths.data))
    build = choose_installation(request, data_major, binaries.installations(environ.get("PATH", "")))
    machine = look_at(request, build, environ)
    made = configuration(request, machine)
    try:
        claim(Path(request.paths.root), patience_s=patience_s)
        write_files(request, made, has_tls="openssl" in build.features, now=now)
        write_tools(
            environ,
            bin_dir=Path(build.bin_dir),
            sockets=request.paths.sockets,
            port=request.pg_port,
            superuser=request.superuser.username,
            patroni_yaml=Path(request.paths.patroni_yaml),
        )
    except Occupied as error:
        raise Refused(EXIT_OCCUPIED, f"{error}, and has not ended within {patience_s:.0f} seconds") from error
    except OSError as error:
        raise Refused(EXIT_CANNOT_WRITE, f"cannot write {error.filename}: {error.strerror}") from error
    notes = (*_notes(request, build, data_major, machine), *_about_copies(Path(request.paths.data)))
    allowed = {k: v for k, v in environ.items() if not (machine.kube_context and k.startswith("KUBERNETES_SERVICE_"))}
    return Prepared(
        patroni_yaml=Path(request.paths.patroni_yaml),
        folder=Path(request.paths.root),
        environment=patroni_environment(
            allowed | {"HOWDAH_PG_BIN_DIR": build.bin_dir, "HOWDAH_SERVERS_LOCK": f"{request.paths.root}/{SERVERS}"},
            locale=facts.utf8_locale(environ.get("LC_ALL", ""), machine.utf8_locale),
        ),
        dropped=made.dropped,
        notes=notes,
    )


def data_directory_major(data: Path) -> int | None:
    """The major version that wrote the data directory; None where there is none. Raises `Refused` where we may not look."""
    try:
        text = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        who = f"user {os.geteuid()}, group {os.getegid()}"
        why = (
            f"cannot read {error.filename}: {error.strerror}; the volume must belong to {who}, or to the pod's fsGroup"
        )
        raise Refused(EXIT_CANNOT_WRITE, why) from error
    return int(text.partition(".")[0]) if text[:1].isdigit() else None


def choose_installation(request: Request, data_major: int | None, present: tuple[Installation, ...]) -> Installation:
    """Existing data decide; else the configured folder, else PGVERSION, else the newest."""
    wanted = data_major or _major_of_bin_dir(request.configuration) or request.version
    if not present:
        raise Refused(EXIT_NO_SUCH_MAJOR, f"{_missing(wanted)}; no PostgreSQL is installed here")
    if wanted is None:
        return present[-1]
    found = next((one for one in present if one.major == wanted), None)
    if found is None:
        said = ", ".join(f"{one.major} ({one.bin_dir})" for one in present)
        raise Refused(
            EXIT_NO_SUCH_MAJOR,
            f"{_missing(wanted)}; present: {said}. Install it, or ask for one of these (spec.postgresql.version)",
        )
    return found


def _missing(wanted: int | None) -> str:
    return f"PostgreSQL {wanted} is not installed" if wanted is not None else "PostgreSQL is not installed"


def _major_of_bin_dir(configuration: Mapping[str, Any]) -> int | None:
    bin_dir = str((configuration.get("postgresql") or {}).get("bin_dir") or "")
    match = re.search(r"/(\d+)/bin/?$", bin_dir)
    return int(match[1]) if match is not None else None


def look_at(request: Request, build: Installation, environ: Mapping[str, str]) -> Machine:
    """The machine's facts that the configuration depends on."""
    here = Path(__file__).parent
    make_replica = [sys.executable, str(here / "replica.py"), f"--bin-dir={build.bin_dir}", f"--member={request.name}"]
    before_promotion, before_stop = (
        [sys.executable, "-P", str(here / name), request.paths.patroni_yaml]
        for name in ("before_promotion.py", "before_stop.py")
    )
    return Machine(
        postgres=build,
        memory_bytes=facts.memory_bytes(request.memory_limit_bytes, shares_machine=request.shares_loopback),
        utf8_locale=facts.utf8_locale(f"{request.initdb_locale}.UTF-8"),
        post_init_sql=str(here / "post_init.sql"),
        create_replica=shlex.join(make_replica),
        before_promotion=shlex.join(before_promotion),
        before_stop=shlex.join(before_stop),
        refuse_bootstrap=shlex.join([sys.executable, "-P", str(here / "refuse_bootstrap.py")]),
        stand_ins={name: str(file) for name in STAND_INS if os.access(file := here / f"{name}.sh", os.X_OK)},
        **_kubernetes(request, environ),
    )


def _kubernetes(request: Request, environ: Mapping[str, str]) -> dict[str, Any]:
    section = request.store.get("kubernetes")
    if section is None:
        return {}
    context = _kube_context(environ.get("KUBECONFIG"))
    is_asked = context is None and "bypass_api_service" not in section
    return {"kube_context": context, "api_servers": facts.api_servers(environ) if is_asked else None}


def _kube_context(kubeconfig: str | None) -> str | None:
    try:
        return facts.kube_context(kubeconfig)
    except (OSError, ValueError) as error:
        raise Refused(EXIT_WRONG_ENVIRONMENT, f"KUBECONFIG: {kubeconfig} cannot be used: {error}") from error


def write_files(request: Request, made: Configuration, *, has_tls: bool, now: dt.datetime) -> None:
    """Folders with the right modes, certificates, patroni.yaml."""
    paths = request.paths
    Path(paths.root).mkdir(parents=True, exist_ok=True)
    (Path(paths.data).parent / "pg_log").mkdir(mode=LOGS, exist_ok=True)
    Path(paths.sockets).mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    _close_data_directory(Path(paths.data))
    tls.write_given(request.tls.texts)
    if has_tls and not request.tls.certificate_is_given:
        certificate, key = Path(request.tls.certificate_file), Path(request.tls.key_file)
        tls.write_self_signed(certificate, key, name=request.name, now=now)
    text = yaml.dump(made.document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=True, width=110)
    tls.write_private(Path(paths.patroni_yaml), text.encode())


def _close_data_directory(data: Path) -> None:
    """PostgreSQL refuses a data directory that others may read; mounting a volume can open it."""
    if data.exists() and data.stat().st_mode & _OPEN_TO_OTHERS:
        data.chmod(PRIVATE)


def _notes(request: Request, build: Installation, data_major: int | None, machine: Machine) -> Iterable[str]:
    yield f"PostgreSQL {build.major} of {build.bin_dir}; memory to plan with: {machine.memory_bytes // 1024**2} MiB"
    if data_major is not None and request.version not in (None, data_major):
        yield (
            f"the data directory is of PostgreSQL {data_major}, so this runs, not {request.version}: "
            "a major upgrade is a step of its own"
        )


def _about_copies(data: Path) -> Iterable[str]:
    """Those that a killed container left are discarded; where that cannot be, the database starts all the same."""
    for copy in discard_copies(data):
        yield f"{copy}, a copy of the leader's data that was not finished, {'stays' if copy.exists() else 'is removed'}"
