"""pg_dumpall as a stream of gzip: it ends well only if the dump is whole.

Roles with their password verifiers, tablespaces, and all databases; `psql` restores it into an empty server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from howdah.instance.binaries import installations

READ_BYTES = 1024 * 1024
LEVEL = 1
"""A third of the time of gzip's default, for some percent of the size."""
LAST_WORDS = b"PostgreSQL database cluster dump complete"
TAIL_BYTES = 4096
LOCK_TIMEOUT_MS = 30 * 60 * 1000
ENDING_S = 10
GZIP = 31
"""zlib's window bits with a gzip header."""


class DumpFailed(Exception):  # noqa: N818 - a state of the world
    """pg_dumpall did not end well, or what it wrote is not whole."""


def pg_dumpall(folder: str, major: int, path: str) -> Path:
    """The program in `folder`/MAJOR/bin (as in the images), else of an installation here, whose major is the nearest not below.

    A newer one dumps an older server, not the other way round. Raises DumpFailed where there is none.
    """
    found = {int(p.parts[-3]): p for p in Path(folder).glob("*/bin/pg_dumpall") if p.parts[-3].isdigit()}
    usable = [found[its] for its in sorted(found) if its >= major]
    if not usable:
        here = [Path(i.bin_dir) / "pg_dumpall" for i in installations(path) if i.major >= major]
        usable = [program for program in here if program.exists()]
    if not usable:
        raise DumpFailed(f"there is no pg_dumpall of PostgreSQL {major} or newer in {folder}, PATH or the wheel")
    return usable[0]


class Dump:
    """A running pg_dumpall; leaving the context ends it, whatever happened."""

    def __init__(self, program: Path, conninfo: str, environ: Mapping[str, str]) -> None:
        """`conninfo` has no password: libpq takes PGPASSWORD from `environ`, and what a session begins with."""
        self.sent_bytes = 0
        self.is_whole = False
        self._process = subprocess.Popen(
            [program, "--dbname", conninfo, "--no-password", f"--lock-wait-timeout={LOCK_TIMEOUT_MS}"],
            stdout=subprocess.PIPE,
            env={name: value for name, value in environ.items() if name != "PGDATABASE"},
            pipesize=READ_BYTES,
            start_new_session=True,  # it starts a pg_dump for each database
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def chunks(self) -> Iterator[bytes]:
        """The compressed dump. Raises DumpFailed in the place of its end if it is not whole."""
        assert self._process.stdout is not None
        packing, tail = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP), b""
        while plain := os.read(self._process.stdout.fileno(), READ_BYTES):
            tail = (tail + plain)[-TAIL_BYTES:]
            if packed := packing.compress(plain):
                yield self._counted(packed)
        self._check(tail)
        self.is_whole = True
        yield self._counted(packing.flush())

    def _counted(self, packed: bytes) -> bytes:
        self.sent_bytes += len(packed)
        return packed

    def _check(self, tail: bytes) -> None:
        try:
            code = self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired as error:
            raise DumpFailed("pg_dumpall has written everything and does not end") from error
        if code != 0:
            raise DumpFailed(f"pg_dumpall ended with code {code}; its reason is above")
        if LAST_WORDS not in tail:
            raise DumpFailed("pg_dumpall ended without its last words: the dump is not whole")
