"""Roles on a real server: flags, memberships, parameters, and passwords that nobody ever sees."""

import asyncio
import base64
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from adapters.postgres.conftest import MAJORS
from adapters.postgres.passes import RULES, missing, one_pass, passwords, settle
from adapters.postgres.servers import PASSWORD, Server
from howdah.adapters.postgres import Password, PasswordChecks, observe
from howdah.core.postgres.difference import interest
from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.statements import repair_password_sql
from howdah.model.postgres.desired import Desired, DesiredDatabase, DesiredRole, Flags, PasswordSource
from howdah.model.postgres.passwords import matches, md5_verifier, scram_verifier
from howdah.model.postgres.statements import Kind
from steady import HANGS_S


def role(name: str, **given: object) -> DesiredRole:
    return DesiredRole(name, **{"flags": Flags(login=True), "password": PasswordSource(name, "ns")} | given)  # type: ignore[arg-type]


def users(**flags: list[str]) -> Desired:
    return desired_state(flags, {}, None, rules=RULES)


def verifier(server: Server, name: str) -> str | None:
    rows = server.sql(sql.SQL("SELECT rolpassword FROM pg_authid WHERE rolname = {}").format(sql.Literal(name)))
    return rows[0][0] if rows else None


async def kinds(server: Server, desired: Desired) -> list[Kind]:
    return [statement.kind for statement in (await one_pass(server, desired)).done]


async def test_users_can_log_in_with_the_password_of_their_secret(server: Server) -> None:
    await settle(server, users(app=[], maker=["createdb", "NOINHERIT"]))
    assert server.sql("SELECT current_user", user="app", password="secret of app") == [("app",)]
    assert server.sql("SELECT rolcreatedb, rolinherit FROM pg_roles WHERE rolname = 'maker'") == [(True, False)]


async def test_each_flag_is_set_and_taken_back_when_the_manifest_says_so(server: Server) -> None:
    names = ["bypassrls", "createdb", "createrole", "inherit", "login", "replication", "superuser"]
    await settle(server, users(app=names))
    await settle(server, users(app=[f"no{name}" for name in names]))
    row = server.sql(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolinherit, rolcanlogin, rolreplication, rolbypassrls "
        "FROM pg_roles WHERE rolname = 'app'"
    )
    assert row == [(False,) * 7]


async def test_flags_memberships_and_settings_that_the_manifest_does_not_name_stay(server: Server) -> None:
    await settle(server, users(app=[]))
    server.sql("ALTER ROLE app CREATEDB CONNECTION LIMIT 3; ALTER ROLE app SET work_mem TO '7MB'")
    server.sql("GRANT robot_zmon TO app; GRANT app TO zalandos")
    assert await missing(server, users(app=[]), passwords(users(app=[]))) == ()
    assert server.sql("SELECT rolcreatedb, rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'app'") == [
        (True, 3, ["work_mem=7MB"])
    ]


async def test_a_role_without_login_gets_no_password(server: Server) -> None:
    await settle(server, users(group_role=["nologin"]))
    assert verifier(server, "group_role") is None


STRANGE = (
    *('quo"te', "UPPER", "ümlaut-ñ", "dotted.name", "with-dash", "select", "it's", "back\\slash", "a b", "%s {}"),
    *("semi;colon", "new\nline", "$1", "tab\t", "-- comment"),
)


async def test_any_name_is_quoted(server: Server) -> None:
    desired = Desired(
        roles=(
            role("plain"),
            *(
                role(name, member_of=("plain",), admins=("admin",), parameters={"search_path": ("$user", name)})
                for name in STRANGE
            ),
        ),
        databases=tuple(DesiredDatabase(name, name) for name in STRANGE),
    )
    await settle(server, desired)
    for name in STRANGE:
        assert server.sql("SELECT current_user::text", name, name, f"secret of {name}") == [(name,)]


async def test_an_admin_that_is_only_a_member_becomes_admin(server: Server) -> None:
    server.sql("CREATE ROLE app LOGIN; GRANT app TO admin")
    await settle(server, users(app=[]))
    assert server.sql("SELECT bool_or(admin_option) FROM pg_auth_members WHERE roleid = 'app'::regrole") == [(True,)]


async def test_a_membership_the_wrong_way_round_is_turned(server: Server) -> None:
    server.sql("CREATE ROLE owner_role; GRANT owner_role TO cron_admin")
    await settle(server, Desired(roles=(DesiredRole("owner_role", member_of=("cron_admin",)),)))
    assert server.sql("SELECT pg_has_role('owner_role', 'cron_admin', 'member')") == [(True,)]


async def test_a_grant_waits_for_a_role_that_does_not_exist(server: Server) -> None:
    desired = Desired(roles=(role("app", admins=("not_there",)),))
    await settle(server, desired)
    server.sql("CREATE ROLE not_there")
    assert await kinds(server, desired) == [Kind.GRANT_ROLE]


async def test_parameters_are_set_once_and_others_stay(server: Server) -> None:
    desired = Desired(
        roles=(
            role(
                "app",
                parameters={
                    "Search_Path": '"$user", Public, "Full"',
                    "log_statement": "ddl",
                    "my.own": "a 'b' \\c",
                    "temp_tablespaces": "",
                },
            ),
        )
    )
    server.sql("CREATE ROLE app LOGIN; ALTER ROLE app SET work_mem TO '9MB'")
    await settle(server, desired)
    assert set(server.sql("SELECT rolconfig FROM pg_roles WHERE rolname = 'app'")[0][0]) == {
        "work_mem=9MB",
        'search_path="$user", public, "Full"',
        "log_statement=ddl",
        "my.own=a 'b' \\c",
        'temp_tablespaces=""',
    }


TRICKY = (
    "plain",
    "with 'quotes' \\ and $1",
    "pässwörd",
    "I\u00adX",
    "a\u00a0b",
    "\u2168",
    "nul\u0007",
    "\u0627\u0031",
    "😀",
    "١",
)


@pytest.mark.parametrize("method", ["scram-sha-256", "md5"])
async def test_a_verifier_that_the_server_made_of_the_password_is_left_alone(server: Server, method: str) -> None:
    words = {f"app_{number}": password for number, password in enumerate(TRICKY)}
    with server.session() as session:
        session.execute(sql.SQL("SET password_encryption = {}").format(sql.Literal(method)))
        for name, password in words.items():
            made = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            session.execute(made.format(sql.Identifier(name), sql.Literal(password)))
    desired = Desired(roles=tuple(role(name) for name in words))
    secrets = {PasswordSource(name, "ns"): Password(word, "1") for name, word in words.items()}
    assert await missing(server, desired, secrets) == ()


def test_the_server_takes_the_password_of_our_verifier(server: Server) -> None:
    for number, password in enumerate(TRICKY):
        stored = scram_verifier(password, b"0123456789abcdef")
        name = f"app_{number}"
        server.sql(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(stored)))
        assert server.sql("SELECT current_user", user=name, password=password) == [(name,)]
        with pytest.raises(psycopg.OperationalError):
            server.sql("SELECT 1", user=name, password=password + "x")


@pytest.mark.parametrize(
    "stored", [None, "md5" + "0" * 32, scram_verifier("another", b"salt" * 4), md5_verifier("secret of app", "x")]
)
async def test_a_verifier_of_another_password_is_replaced(server: Server, stored: str | None) -> None:
    server.sql(sql.SQL("CREATE ROLE app LOGIN PASSWORD {}").format(sql.Literal(stored)))
    outcome = await settle(server, users(app=[]))
    assert Kind.PASSWORD in [statement.kind for statement in outcome.done if statement.subject == "app"]
    assert server.sql("SELECT current_user", user="app", password="secret of app") == [("app",)]


async def test_a_secret_that_holds_a_verifier_is_taken_as_it_is(server: Server) -> None:
    desired, stored = users(app=[]), scram_verifier("clear", b"salt" * 4)
    await settle(server, desired, passwords(desired, app=stored))
    assert verifier(server, "app") == stored


async def test_a_role_whose_secret_holds_no_password_fails_alone(server: Server) -> None:
    desired = users(app=[], other=[])
    secrets = {source: word for source, word in passwords(desired).items() if source.user != "app"}
    outcome = await one_pass(server, desired, secrets)
    assert outcome.failed[0].statement.subject == "app"
    assert 'none in the Secret of "app"' in str(outcome.failed[0].error)
    assert server.sql("SELECT current_user", user="other", password="secret of other") == [("other",)]


async def test_no_password_and_no_verifier_is_written_anywhere(server: Server) -> None:
    """The server logs every statement here; a refused one it would log as well."""
    offset = len(server.log())
    desired = Desired(roles=(role("app"), role("pg_refused"), *users().roles))
    outcome = await one_pass(server, desired)
    assert [failure.statement.subject for failure in outcome.failed] == ["pg_refused"]
    stored = verifier(server, "app")
    assert stored is not None
    catalogue = await observe(server.target, interest(desired))
    texts = (server.log()[offset:], repr(outcome), repr(catalogue), repr(server.target), repr(passwords(desired)))
    for text in (*texts, *(statement.sql.as_string(None) for statement in outcome.done)):
        assert "SCRAM-SHA-256$" not in text
        assert "secret of app" not in text
        assert PASSWORD not in text


LOUD = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "debug5",
    "log_duration": "on",
    "debug_print_parse": "on",
    "debug_print_rewritten": "on",
    "debug_print_plan": "on",
}
LOUD_ALONE = ("log_transaction_sample_rate", "1"), ("log_min_duration_sample", "0")
"""Another setting that logs statements hides what these do."""


@contextmanager
def loud(server: Server, settings: Mapping[str, str]) -> Iterator[None]:
    for name, value in settings.items():
        server.sql(sql.SQL("ALTER ROLE postgres SET {} TO {}").format(sql.Identifier(name), sql.Literal(value)))
    try:
        yield
    finally:
        server.sql("ALTER ROLE postgres RESET ALL")


@pytest.mark.parametrize("settings", [LOUD, *(dict([one]) for one in LOUD_ALONE)], ids=lambda settings: min(settings))
async def test_no_verifier_is_in_the_log_however_much_is_logged(server: Server, settings: Mapping[str, str]) -> None:
    """Also not where the superuser's password is set through the local socket, by a script of its own."""
    with loud(server, settings):
        offset = len(server.log())
        await settle(server, users(app=[]))
        script = repair_password_sql("app", scram_verifier("found again", b"salt" * 4))
        psql = [
            str(MAJORS[server.major] / "psql"),
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            "postgres",
        ]
        where = ["-h", str(server.folder), "-p", str(server.port)]
        await asyncio.to_thread(
            subprocess.run,
            [*psql, *where],
            input=script,
            text=True,
            check=True,
            timeout=HANGS_S,
            stdout=subprocess.DEVNULL,
        )
        server.sql("SELECT 'to be found'")
    written = server.log()[offset:]
    assert "to be found" in written
    assert "SCRAM-SHA-256$" not in written
    assert server.sql("SELECT 1", user="app", password="found again") == [(1,)]


async def test_no_verifier_is_shown_while_it_is_being_set(server: Server) -> None:
    await settle(server, users(app=[]))
    changed = passwords(users(app=[]), app="new one")
    with server.session() as other:
        with other.transaction(force_rollback=True):
            other.execute("ALTER ROLE app CONNECTION LIMIT 7")
            setting = asyncio.create_task(one_pass(server, users(app=[]), changed))
            shown = "SELECT query, state FROM pg_stat_activity WHERE application_name = 'howdah' AND wait_event_type = 'Lock'"
            async with asyncio.timeout(HANGS_S):
                while not (seen := server.sql(shown)):
                    await asyncio.sleep(0.05)
        outcome = await setting
    assert [(query, state) for query, state in seen] == [("", "disabled")]
    assert [statement.kind for statement in outcome.done] == [Kind.PASSWORD]


async def test_a_known_answer_is_not_computed_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    desired, checks = users(app=[]), PasswordChecks()
    secrets = passwords(desired)
    await settle(server, desired, secrets)
    await missing(server, desired, secrets, checks)
    unreadable = {source: Password("never looked at", word.version) for source, word in secrets.items()}
    assert await missing(server, desired, unreadable, checks) == ()
    newer = {source: Password("never looked at", word.version + "2") for source, word in secrets.items()}
    found = await missing(server, desired, newer, checks)
    assert {statement.kind for statement in found} == {Kind.PASSWORD}


def test_verifier_of_a_random_password_matches_only_itself() -> None:
    password = base64.b64encode(os.urandom(12)).decode()
    stored = scram_verifier(password, os.urandom(16))
    assert matches(stored, password, "app")
    assert not matches(stored, password + " ", "app")
