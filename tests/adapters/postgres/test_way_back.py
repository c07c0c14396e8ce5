"""A superuser's password that the server does not have any more is set through the local socket: an operator, a real psql."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from psycopg import sql

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.servers import PASSWORD, SUPERUSER, Server
from adapters.postgres.test_rotation import a_pass, begin, edit_secret, operator
from howdah.adapters.postgres import connect
from howdah.kube.exec import ExecResult
from steady import HANGS_S

NEW = "edited by somebody"
HARM = {
    "role": "app",
    "default_transaction_read_only": "on",
    "local_preload_libraries": "no_such_file",
    "search_path": "evil",
    "statement_timeout": "1",
    "synchronous_commit": "remote_apply",
    "standard_conforming_strings": "off",
}


@contextmanager
def harmed(server: Server, whose: str) -> Iterator[None]:
    """What every session of the superuser there begins with."""
    with server.session() as session:
        for name, value in HARM.items():
            setting = (sql.Identifier(name), sql.Literal(value))
            session.execute(sql.SQL(f"ALTER {whose} SET {{}} TO {{}}").format(*setting))
        try:
            yield
        finally:
            session.execute(f"ALTER {whose} RESET ALL".encode())
            session.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(PASSWORD)))


@only(max(MAJORS))
@pytest.mark.parametrize("whose", ["ROLE postgres", "DATABASE postgres"])
async def test_no_setting_of_the_role_or_the_database_closes_the_way_back(server: Server, whose: str) -> None:
    ran: list[list[str]] = []

    def in_the_pod(namespace: str, pod: str, container: str, argv: list[str], stdin: bytes) -> ExecResult:
        ran.append(argv)
        place = {
            "PATH": f"{MAJORS[server.major]}:/usr/bin:/bin",
            "PGHOST": str(server.folder),
            "PGPORT": str(server.port),
        }
        done = subprocess.run(argv, input=stdin, env=place, capture_output=True, check=False, timeout=HANGS_S)
        return ExecResult(done.returncode, done.stdout, done.stderr)

    async with operator(server) as made:
        await begin(made, server)
        made.kube.exec_handler = in_the_pod
        with harmed(server, whose):
            edit_secret(made.kube, SUPERUSER, password=NEW)
            for _ in range(4):
                await a_pass(made)
            async with connect(replace(server.target, password=NEW)) as session:
                assert not session.broken
    assert ran, made.told
    assert NEW not in " ".join(ran[-1])
