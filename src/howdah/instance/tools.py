"""`psql`, `patronictl` and PostgreSQL's own programs for people who enter the container, as Spilo's images have them.

Only where the container has a folder of its own in front of PATH (`$HOME/bin`, as on the local platform); an image has
them installed.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

PROGRAMS = (
    "createdb",
    "dropdb",
    "pg_basebackup",
    "pg_controldata",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pgbench",
    "psql",
)


def write_tools(
    environ: Mapping[str, str], *, bin_dir: Path, sockets: str, port: int, superuser: str, patroni_yaml: Path
) -> None:
    """Write the wrappers; without such a folder nothing is written."""
    folder = Path(environ.get("HOME", "/nonexistent")) / "bin"
    if environ.get("PATH", "").partition(":")[0] != str(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    local = f': "${{PGHOST:={sockets}}}" "${{PGPORT:={port}}}" "${{PGUSER:={superuser}}}"; export PGHOST PGPORT PGUSER'
    for program in PROGRAMS:
        if (bin_dir / program).exists():
            _write(folder / program, f'{local}\nexec {shlex.quote(str(bin_dir / program))} "$@"')
    start = shlex.quote("from patroni.ctl import ctl; ctl(prog_name='patronictl')")
    python, place = shlex.quote(sys.executable), shlex.quote(str(patroni_yaml))
    _write(folder / "patronictl", f'exec {python} -P -c {start} -c {place} "$@"')


def _write(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
