"""The pooler container's main process: `pgbouncer.ini` from the environment, then it becomes PgBouncer.

The image's contract is in `core.pgbouncer.configuration`. The pooler's own password is among the variables, and other
roles are looked up; only who may see statistics has to be in the mounted list of users.

`python -m howdah.instance.pooler /etc/pgbouncer/userlist.txt`
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from howdah.core.pgbouncer.configuration import Environment, Machine, Version, configuration, parse
from howdah.core.pgbouncer.users import with_others
from howdah.instance.ending import end
from howdah.instance.tls import write_private, write_self_signed
from howdah.model.errors import InvalidSpec

PROGRAM = "pgbouncer"
EXIT_WRONG_ENVIRONMENT = 2
EXIT_NO_PROGRAM = 3
EXIT_NO_HOST = 4
PROBE_TIMEOUT_S = 10


def main() -> NoReturn:
    """Never returns: PgBouncer runs, or the process ends with a code and one clear reason."""
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO, stream=sys.stderr)
    program = shutil.which(PROGRAM)
    if program is None:
        end(EXIT_NO_PROGRAM, f"{PROGRAM} is not here; install it (Debian: apt-get install pgbouncer)")
    try:
        asked = parse(os.environ)
    except InvalidSpec as error:
        problems = " | ".join(str(problem) for problem in error.problems)
        end(EXIT_WRONG_ENVIRONMENT, f"wrong environment: {problems}")
    host = reachable(asked.host, os.environ)
    if host is None:
        end(EXIT_NO_HOST, f"host {asked.host} is not known: neither as a name, nor as a service of this namespace")
    become(program, write_files(asked, host, own_folder(os.environ), program, mounted_users(sys.argv[1:])))


def own_folder(environ: Mapping[str, str]) -> Path:
    """Where nobody else looks; the same after a restart in place, where the node gives a folder."""
    if not environ.get("RW_DIR"):
        return Path(tempfile.mkdtemp(prefix="pooler-"))
    folder = Path(environ["RW_DIR"]) / "pooler"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def mounted_users(arguments: Sequence[str]) -> str:
    """The text of the list; nothing without one."""
    places = [Path(argument) for argument in arguments]
    return "".join(place.read_text() for place in places if place.is_file())


def reachable(host: str, environ: Mapping[str, str]) -> str | None:
    """The host as PgBouncer can use it: by its name, else by the variable that Kubernetes makes for each service."""
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return environ.get(f"{host.upper().replace('-', '_')}_SERVICE_HOST")
    return host


def write_files(asked: Environment, host: str, folder: Path, program: str, users: str) -> Path:
    """Configuration, list of users and, where none is given, a certificate; the path of the first."""
    certificate, key = folder / "server.crt", folder / "server.key"
    if asked.certificate is None:
        write_self_signed(certificate, key, name=socket.gethostname(), now=dt.datetime.now(dt.UTC))
    machine = Machine(
        version=version_of(program),
        listen_address=os.environ.get("POD_IP") or "*",
        folder=str(folder),
        host=host,
        certificate=str(certificate),
        key=str(key),
    )
    write_private(folder / "users", with_others(asked.user, asked.password, users).encode())
    write_private(folder / "pgbouncer.ini", configuration(asked, machine).encode())
    return folder / "pgbouncer.ini"


def version_of(program: str) -> Version:
    """Its options depend on it; what does not say a version is taken for an old one."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S).stdout
    except (OSError, subprocess.SubprocessError):
        said = ""
    match = re.search(r"(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match is not None else (1, 0)


def become(program: str, ini: Path) -> NoReturn:
    """Replace this process. No password is left in the environment; as many files as the machine allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.stderr.flush()
    # A pod is told apart from others by its environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    os.execve(program, [program, str(ini)], kept)  # noqa: S606


if __name__ == "__main__":
    main()
