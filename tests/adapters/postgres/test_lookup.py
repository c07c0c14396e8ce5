"""The pooler's lookup function on real servers: who gets which verifier, and that it stays so."""

import contextlib
from dataclasses import replace

import psycopg
import pytest

from adapters.postgres.passes import RULES, always, missing, one_pass, passwords, settle
from adapters.postgres.servers import Server
from howdah.adapters.postgres import apply
from howdah.core.postgres.manifest import desired_state
from howdah.model.postgres.desired import Desired, PasswordLookup
from howdah.model.postgres.statements import Kind

LOOKUP = PasswordLookup("pooler", "pooler", "postgres")
ASK = "SELECT uname, phash FROM pooler.user_lookup(%s)"


def wanted(lookup: PasswordLookup = LOOKUP) -> Desired:
    return desired_state({"app": [], "reader": ["nologin"]}, {"foo": "app"}, None, rules=replace(RULES, lookup=lookup))


def asked(server: Server, user: str, about: str, database: str = "postgres") -> tuple[str | None, str | None]:
    with server.session(database) as session:
        session.execute(f'SET SESSION AUTHORIZATION "{user}"')
        row = session.execute(ASK, [about]).fetchone()
        assert row is not None
        return row


async def test_pooler_gets_the_verifier_in_every_database_also_in_one_that_people_made(server: Server) -> None:
    server.sql("CREATE DATABASE by_hand")
    await settle(server, wanted())
    ((stored,),) = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    for database in ("postgres", "foo", "by_hand"):
        assert asked(server, "pooler", "app", database) == ("app", stored)


async def test_who_cannot_log_in_has_no_verifier(server: Server) -> None:
    await settle(server, wanted())
    server.sql("ALTER ROLE app VALID UNTIL '2001-01-01'")
    assert asked(server, "pooler", "app") == ("app", None)
    assert asked(server, "pooler", "reader") == (None, None)
    assert asked(server, "pooler", "nobody at all") == (None, None)


async def test_nobody_else_may_ask(server: Server) -> None:
    await settle(server, wanted())
    server.sql("GRANT USAGE ON SCHEMA pooler TO PUBLIC")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function user_lookup"):
        asked(server, "app", "postgres")


async def test_objects_of_the_caller_are_not_looked_at(server: Server) -> None:
    """A function that answers with the superuser's rights must not be led astray by a search_path."""
    await settle(server, wanted())
    server.sql("GRANT CREATE ON SCHEMA public TO pooler")
    with server.session() as session:
        session.execute("SET SESSION AUTHORIZATION pooler")
        session.execute(
            "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '-infinity'::timestamptz $$"
        )
        session.execute(
            "CREATE TABLE public.pg_authid AS SELECT 'app'::name AS rolname, 'forged' AS rolpassword, true AS rolcanlogin"
        )
        session.execute("SET search_path TO public, pg_catalog")
        row = session.execute(ASK, ["app"]).fetchone()
    assert row is not None
    assert row[1].startswith("SCRAM-SHA-256$")
    server.sql("DROP OWNED BY pooler CASCADE")


@pytest.mark.parametrize(
    ("spoiled", "because"),
    [
        ("GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO PUBLIC", "is open to everybody"),
        ("REVOKE EXECUTE ON FUNCTION pooler.user_lookup(text) FROM pooler", "is not open to pooler"),
        ("GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO app, reader", "is open to app, reader"),
        ("GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO app WITH GRANT OPTION", "is open to app"),
        ("ALTER FUNCTION pooler.user_lookup(text) OWNER TO app", "belongs to app"),
        ("ALTER FUNCTION pooler.user_lookup(text) RESET search_path", "is another one"),
        ("ALTER FUNCTION pooler.user_lookup(text) SET search_path TO pg_catalog", "is another one"),
        ("ALTER FUNCTION pooler.user_lookup(text) SET role TO app", "is another one"),
        ("ALTER SCHEMA pooler OWNER TO app", 'schema "pooler" of database "postgres" belongs to app'),
        ("DROP FUNCTION pooler.user_lookup(text)", "does not exist"),
        ("REVOKE USAGE ON SCHEMA pooler FROM pooler", "is not open to pooler"),
        (
            "CREATE OR REPLACE FUNCTION pooler.user_lookup(IN i_username text, OUT uname text, OUT phash text) "
            "RETURNS record LANGUAGE sql SECURITY DEFINER AS $$ SELECT 'app', 'forged' $$",
            "is another one",
        ),
    ],
)
async def test_what_somebody_changed_is_said_and_put_right(server: Server, spoiled: str, because: str) -> None:
    await settle(server, wanted())
    server.sql(spoiled)
    found = await missing(server, wanted(), passwords(wanted()))
    assert [because in statement.reason for statement in found] == [True]
    await settle(server, wanted())
    assert (asked(server, "pooler", "app")[1] or "").startswith("SCRAM-SHA-256$")
    with server.session() as session:
        acl = session.execute("SELECT proacl::text FROM pg_proc WHERE proname = 'user_lookup'").fetchone()
    assert acl == ("{postgres=X/postgres,pooler=X/postgres}",)


PLANTED = (
    "CREATE SCHEMA pooler; GRANT USAGE ON SCHEMA pooler TO PUBLIC; CREATE TABLE pooler.data AS SELECT 1 AS id;"
    "CREATE FUNCTION pooler.user_lookup(IN i_username text, OUT uname text, OUT phash text) RETURNS record "
    "LANGUAGE sql AS $$ SELECT 'app', 'forged' $$;"
    "GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO evil, app WITH GRANT OPTION"
)


async def planted(server: Server, what: str = PLANTED) -> None:
    """The owner of a database was there before the pooler."""
    await settle(server, desired_state({"app": [], "evil": []}, {"foo": "app"}, None, rules=RULES))
    server.sql(what, "foo", "app", "secret of app")


async def test_what_a_databases_owner_made_in_its_place_opens_nothing_to_anybody(server: Server) -> None:
    await planted(server)
    await settle(server, wanted())
    for user in ("evil", "app"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function user_lookup"):
            asked(server, user, "postgres", "foo")
    assert (asked(server, "pooler", "app", "foo")[1] or "").startswith("SCRAM-SHA-256$")


async def test_a_databases_owner_cannot_put_another_one_in_its_place_but_keeps_what_is_there(server: Server) -> None:
    await planted(server)
    await settle(server, wanted())
    with server.session("foo", "app", "secret of app") as session:
        for attempt in (
            "DROP FUNCTION pooler.user_lookup(text)",
            "DROP SCHEMA pooler CASCADE",
            "ALTER SCHEMA pooler RENAME TO other",
            "GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO evil",
            PLANTED.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").partition("AS id;")[2],
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(attempt)
        session.execute("INSERT INTO pooler.data VALUES (2); CREATE TABLE pooler.more ()")
    assert (asked(server, "pooler", "app", "foo")[1] or "").startswith("SCRAM-SHA-256$")


async def test_what_is_made_between_look_and_statement_is_not_taken_over(server: Server) -> None:
    await planted(server, "CREATE SCHEMA pooler; GRANT USAGE ON SCHEMA pooler TO PUBLIC")
    secrets = passwords(wanted())
    statements = await missing(server, wanted(), secrets)
    server.sql(PLANTED.replace("CREATE SCHEMA pooler;", ""), "foo", "app", "secret of app")
    outcome = await apply(server.target, statements, secrets, permit=always)
    assert outcome.failed == ()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function user_lookup"):
        asked(server, "evil", "postgres", "foo")


async def test_default_privileges_do_not_open_it(server: Server) -> None:
    await planted(server, "SELECT 1")
    server.sql("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO evil", "foo")
    await settle(server, wanted())
    ((acl,),) = server.sql("SELECT proacl::text FROM pg_proc WHERE proname = 'user_lookup'", "foo")
    assert acl == "{postgres=X/postgres,pooler=X/postgres}"


OVERLOADS = (
    *("name", "varchar", "bpchar", "pooler.word", "pooler.colour", "anyelement", "anynonarray", "anyenum"),
    *("VARIADIC text[]", "VARIADIC anyarray", "text, more int DEFAULT 1", "text, VARIADIC more text[] DEFAULT '{}'"),
)


async def test_the_pooler_calls_none_of_other_types_that_somebody_made_beside_it(server: Server) -> None:
    """It would run with the pooler's rights. With some of them there is no answer at all, in that database."""
    await planted(server)
    await settle(server, wanted())
    answers: list[str] = []
    with server.session("foo") as session:
        session.execute("CREATE DOMAIN pooler.word AS text; CREATE TYPE pooler.colour AS ENUM ('app')")
        for number, argument in enumerate(OVERLOADS):
            with contextlib.suppress(psycopg.errors.AmbiguousFunction), session.transaction(force_rollback=True):
                session.execute(
                    f"CREATE FUNCTION pooler.user_lookup({argument}, OUT uname text, OUT phash text) RETURNS record "
                    "LANGUAGE sql AS $$ SELECT 'app'::text, 'forged'::text $$"
                )
                session.execute("SET LOCAL ROLE pooler")
                # As PgBouncer asks: of no type.
                session.execute(f"PREPARE asking_{number} AS SELECT phash FROM pooler.user_lookup($1)")
                row = session.execute(f"EXECUTE asking_{number}('app')").fetchone()
                assert row is not None
                answers.append(row[0])
    assert len(answers) == len(OVERLOADS) - 2
    assert all(answer.startswith("SCRAM-SHA-256$") for answer in answers)


async def test_function_of_the_reference_is_replaced_in_place(server: Server) -> None:
    """An adopted cluster has one in another language; the pooler's pods go on asking meanwhile."""
    await settle(server, wanted())
    server.sql("DROP FUNCTION pooler.user_lookup(text)")
    server.sql(
        "CREATE FUNCTION pooler.user_lookup(IN i_username text, OUT uname text, OUT phash text) RETURNS record "
        "LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN; END $$",
    )
    outcome = await one_pass(server, wanted())
    assert [(s.kind, s.database) for s in outcome.done] == [(Kind.LOOKUP, "postgres")]


async def test_names_that_have_to_be_quoted_work(server: Server) -> None:
    lookup = PasswordLookup("user", "pool-er", "postgres")
    await settle(server, wanted(lookup))
    with server.session("foo") as session:
        session.execute('SET SESSION AUTHORIZATION "pool-er"')
        row = session.execute('SELECT uname FROM "user".user_lookup(%s)', ["app"]).fetchone()
    assert row == ("app",)
