"""Poolers started for real: the container's entry point as an unprivileged process, before a real PostgreSQL."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from adapters.postgres.servers import AS_NOBODY, Server, unprivileged
from lifetimes import ended_with_us
from steady import HANGS_S

ROLE, PASSWORD = "pooler", "secret of pooler"
USER, USER_PASSWORD = "app", "secret of app"
USERS = "userlist.txt"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@dataclass(slots=True)
class Pooler:
    """A running pooler."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def kill(self) -> None:
        """Returns when nobody listens any more: a namespace dies a moment after its first process."""
        self.process.kill()
        self.process.wait(HANGS_S)
        deadline = time.monotonic() + HANGS_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                return
            time.sleep(0.02)

    def start_again(self) -> None:
        """In place, as a node does it."""
        self.process = start(self.environment, self.folder)
        self.until_it_listens()

    def until_it_listens(self) -> None:
        deadline = time.monotonic() + HANGS_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.05)
        raise AssertionError(self.log())

    def conninfo(self, user: str = USER, password: str = USER_PASSWORD, **more: Any) -> str:
        who = {"host": "127.0.0.1", "port": self.port, "user": user, "password": password, "dbname": "foo"}
        return psycopg.conninfo.make_conninfo(**{**who, "connect_timeout": 20, **more})

    def connect(
        self, user: str = USER, password: str = USER_PASSWORD, **more: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.conninfo(user, password, **more), autocommit=True, prepare_threshold=None)

    def ask(self, sql: str, **more: Any) -> Any:
        """The first column of the first row."""
        with self.connect(**more) as session:
            row = session.execute(sql.encode()).fetchone()
            return row[0] if row is not None else None

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def file(self, name: str) -> Path:
        """One of those that the entry point has made."""
        return self.folder / "pooler" / name


def environment(server: Server, port: int, folder: Path, **more: str) -> dict[str, str]:
    """As the operator renders it, with what the local platform adds."""
    return {
        "PATH": f"{os.environ['PATH']}:/usr/sbin",
        "RW_DIR": str(folder),
        "POD_IP": "127.0.0.1",
        "HOWDAH_POOLER_TLS": "prefer",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": ROLE,
        "PGPASSWORD": PASSWORD,
        "PGSCHEMA": "pooler",
        "CONNECTION_POOLER_PORT": str(port),
        "CONNECTION_POOLER_MODE": "transaction",
        "CONNECTION_POOLER_DEFAULT_SIZE": "1",
        "CONNECTION_POOLER_MIN_SIZE": "0",
        "CONNECTION_POOLER_RESERVE_SIZE": "0",
        "CONNECTION_POOLER_MAX_CLIENT_CONN": "100",
        "CONNECTION_POOLER_MAX_DB_CONN": "2",
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
        **more,
    }


@contextmanager
def pooler(server: Server, *, users: str = "", **more: str) -> Iterator[Pooler]:
    """One that takes connections; ended, with all that it made, at the end. `users`: the mounted list."""
    folder = Path(tempfile.mkdtemp(prefix="howdah-pooler-", dir="/tmp"))
    if unprivileged() is AS_NOBODY:
        os.chown(folder, 65534, 65534)
    port = free_port()
    (folder / USERS).write_text(users)
    (folder / USERS).chmod(0o644)
    env = environment(server, port, folder, **more)
    found = Pooler(port, folder, start(env, folder), env)
    try:
        found.until_it_listens()
        yield found
    finally:
        found.kill()
        shutil.rmtree(folder, ignore_errors=True)


def start(env: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """The container's main process."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            ended_with_us(*_command(), sys.executable, "-m", "howdah.instance.pooler", folder / USERS),
            env=env,
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


def _command() -> list[str]:
    """Independent of the PATH that the process gets."""
    first, *more = unprivileged() or [""]
    return [shutil.which(first) or first, *more] if first else []
