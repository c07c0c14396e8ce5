"""Who gets in through a pooler, what the pool modes mean, and what the entry point says when it cannot start."""

import subprocess
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from adapters.pooler.running import PASSWORD, ROLE, USER, USER_PASSWORD, environment, free_port, pooler, start
from adapters.postgres.passes import RULES, settle
from adapters.postgres.servers import Server
from howdah.core.postgres.manifest import desired_state
from howdah.model.postgres.desired import PasswordLookup
from steady import HANGS_S

LOOKUP = PasswordLookup("pooler", ROLE, "postgres")
GET_PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def database(server: Server) -> Server:
    """Database foo with role app, and the lookup function everywhere."""
    desired = desired_state({USER: [], "robot": []}, {"foo": USER}, None, rules=replace(RULES, lookup=LOOKUP))
    await settle(server, desired)
    return server


async def test_a_role_gets_in_with_its_own_password_and_as_itself(database: Server) -> None:
    with pooler(database) as found:
        assert found.ask("SELECT session_user || ' in ' || current_database()") == "app in foo"
        assert found.ask("SELECT session_user", user="robot", password="secret of robot") == "robot"


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("nobody", "any"), (ROLE, "wrong"), (USER, "")])
async def test_nobody_gets_in_otherwise(database: Server, user: str, password: str) -> None:
    with pooler(database) as found:
        with pytest.raises(psycopg.OperationalError) as refused:
            found.ask("SELECT 1", user=user, password=password)
        assert USER_PASSWORD not in str(refused.value)
        assert found.ask("SELECT 1") == 1  # and it goes on for others


async def test_an_edited_password_counts_at_once_and_the_old_one_no_more(database: Server) -> None:
    with pooler(database) as found:
        assert found.ask("SELECT 1") == 1
        database.sql("ALTER ROLE app PASSWORD 'another'")
        assert found.ask("SELECT 1", password="another") == 1
        with pytest.raises(psycopg.OperationalError):
            found.ask("SELECT 1")


async def test_an_md5_verifier_works_too(database: Server) -> None:
    database.sql("SET password_encryption TO 'md5'; ALTER ROLE app PASSWORD 'as before'")
    with pooler(database) as found:
        assert found.ask("SELECT 1", password="as before") == 1


async def test_in_transaction_mode_clients_share_a_connection(database: Server) -> None:
    with pooler(database) as found, found.connect() as one, found.connect() as other:
        assert one.execute(GET_PID).fetchone() == other.execute(GET_PID).fetchone()


async def test_in_session_mode_each_client_has_its_own_and_keeps_it(database: Server) -> None:
    session = {"CONNECTION_POOLER_MODE": "session", "CONNECTION_POOLER_DEFAULT_SIZE": "2"}
    with pooler(database, **session) as found, found.connect() as one, found.connect() as other:
        one.execute("SET application_name TO 'mine'")
        assert one.execute(GET_PID).fetchone() != other.execute(GET_PID).fetchone()
        assert one.execute("SHOW application_name").fetchone() == ("mine",)


async def test_tls_is_used_by_who_asks_for_it(database: Server) -> None:
    with pooler(database) as found:
        for mode, is_used in (("require", True), ("disable", False)):
            with found.connect(sslmode=mode) as session:
                assert session.pgconn.ssl_in_use is is_used


async def test_a_given_certificate_is_shown_and_nobody_gets_in_without_tls(database: Server, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=db.example", "-addext"),
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
        timeout=HANGS_S,
    )
    shown = {"CONNECTION_POOLER_CLIENT_TLS_CRT": certificate, "CONNECTION_POOLER_CLIENT_TLS_KEY": key}
    for folder in (*tmp_path.parents[:2], tmp_path):
        folder.chmod(0o755)
    key.chmod(0o644)
    with pooler(database, **{name: str(path) for name, path in shown.items()}) as found:
        with found.connect(sslmode="verify-full", sslrootcert=str(certificate)) as session:
            assert session.pgconn.ssl_in_use
        with pytest.raises(psycopg.OperationalError, match="SSL required"):
            found.ask("SELECT 1", sslmode="disable")


async def test_infrastructure_roles_see_the_statistics_and_others_do_not(database: Server) -> None:
    users = '"pooler" "an old one"\n"robot" "secret of robot"\n'
    with pooler(database, users=users, INFRASTRUCTURE_ROLES="robot,other") as found:
        with found.connect("robot", "secret of robot", dbname="pgbouncer") as session:
            assert session.execute("SHOW POOLS").fetchall()
        with pytest.raises(psycopg.OperationalError):
            found.connect(dbname="pgbouncer")


async def test_no_password_can_be_seen_beside_its_own_list(database: Server) -> None:
    with pooler(database) as found:
        pid = found.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (str(pid), *children):
            assert PASSWORD.encode() not in Path(f"/proc/{one}/cmdline").read_bytes()
        for one in children or [str(pid)]:  # `unshare` has what it was given
            assert PASSWORD.encode() not in Path(f"/proc/{one}/environ").read_bytes()
        assert PASSWORD not in found.file("pgbouncer.ini").read_text()
        assert PASSWORD not in found.log()
        assert found.file("users").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"PGPASSWORD": "", "CONNECTION_POOLER_MODE": "fast"}, 2, ("PGPASSWORD: is not set", '"fast" is not known')),
        ({"CONNECTION_POOLER_MAX_DB_CONN": "many"}, 2, ('"many" is not a number',)),
        ({"PGHOST": "acid-nowhere"}, 4, ("host acid-nowhere is not known",)),
        ({"PATH": "/nonexistent"}, 3, ("install it (Debian: apt-get install pgbouncer)",)),
    ],
)
async def test_what_keeps_it_from_starting_is_said(
    server: Server, tmp_path: Path, changed: dict[str, str], code: int, said: tuple[str, ...]
) -> None:
    tmp_path.chmod(0o777)
    env = environment(server, free_port(), tmp_path, **changed)
    env["TERMINATION_LOG"] = str(tmp_path / "last-words")
    (tmp_path / "last-words").touch()
    (tmp_path / "last-words").chmod(0o666)
    assert start(env, tmp_path).wait(20) == code
    for words in said:
        assert words in (tmp_path / "last-words").read_text()


async def test_a_host_is_found_by_the_variable_of_its_service(database: Server) -> None:
    with pooler(database, PGHOST="acid-a", ACID_A_SERVICE_HOST="127.0.0.1") as found:
        assert found.ask("SELECT 1") == 1


async def test_after_a_crash_it_starts_again_in_place(database: Server) -> None:
    with pooler(database) as found:
        found.kill()
        found.start_again()
        assert found.ask("SELECT 1") == 1
