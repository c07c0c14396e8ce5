"""`userOptions` and `databaseOptions` against real servers: given, kept, and roles that leave only when they may."""

import asyncio
import datetime as dt
import time
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from adapters.postgres.passes import RULES, always, passwords, settle
from adapters.postgres.servers import Server
from howdah.adapters.postgres import PasswordChecks, apply, observe
from howdah.core.postgres.difference import difference, interest, unmet
from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.options import MADE_BY_US, with_options
from howdah.core.postgres.removal import Kept, farewells
from howdah.core.postgres.rotation import interest_in_logins, removals
from howdah.core.postgres.statements import REVOKED_AT_ONCE, end_privileges, hand_over, revoke_in_parts
from howdah.model.postgres.desired import DatabaseOptions, Desired, UserOptions
from howdah.model.postgres.rotation import RotationRules
from howdah.model.postgres.statements import Kind, Statement
from steady import HANGS_S

NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)


def wanted(users=("app",), databases=None, options=None, of_databases=None) -> Desired:
    plain = desired_state({user: [] for user in users}, databases or {}, None, rules=RULES)
    return with_options(plain, options or {}, of_databases or {}, rules=RULES)


async def leave(server: Server, desired: Desired) -> list[str]:
    """Passes until nothing is sent any more; why what shall go stays."""
    for _ in range(10):
        everything = interest_in_logins(interest(desired), desired)
        catalogue = await observe(server.target, everything)
        secrets = passwords(desired)
        matching = await PasswordChecks().matching(desired.roles, catalogue, secrets)
        gone = tuple(farewells(desired, catalogue, removals(desired, catalogue, RotationRules(), NOW)))
        sent = [one for one in gone if isinstance(one, Statement)]
        outcome = await apply(
            server.target, [*difference(desired, catalogue, matching=matching), *sent], secrets, permit=always
        )
        assert not outcome.failed, [str(failure.error) for failure in outcome.failed]
        if not outcome.done:
            return [one.why for one in gone if isinstance(one, Kept)]
    raise AssertionError("it does not end")


def exists(server: Server, role: str) -> bool:
    return bool(server.sql(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'"))


async def test_options_of_a_role_are_given_at_once_and_followed_later(server: Server) -> None:
    options = UserOptions(
        member_of=("pg_monitor", "readers"),
        connection_limit=7,
        valid_until="2027-01-31T13:00:00+01:00",
        parameters={"work_mem": "5MB", "search_path": 'shop, "$user"'},
        database_parameters={"shop": {"statement_timeout": "9s", "search_path": "shop"}},
    )
    desired = wanted(("app", "readers"), {"shop": "app"}, {"app": options})
    await settle(server, desired)
    row = "SELECT rolconnlimit, rolvaliduntil = '2027-01-31T12:00:00Z' FROM pg_roles WHERE rolname = 'app'"
    assert server.sql(row) == [(7, True)]
    in_shop = server.session("shop", "app", "secret of app")
    with in_shop as session:
        assert session.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert session.execute("SHOW search_path").fetchone() == ("shop",)
        assert session.execute("SHOW statement_timeout").fetchone() == ("9s",)
        for role in ("pg_monitor", "readers"):
            assert session.execute(f"SELECT pg_has_role('{role}', 'MEMBER')").fetchone() == (True,)
    options = replace(options, connection_limit=-1, valid_until="infinity", parameters={"work_mem": "6MB"})
    await settle(server, wanted(("app", "readers"), {"shop": "app"}, {"app": options}))
    assert server.sql("SELECT rolconnlimit, rolvaliduntil = 'infinity' FROM pg_roles WHERE rolname = 'app'") == [
        (-1, True)
    ]


async def test_what_options_do_not_speak_of_is_left_as_people_set_it(server: Server) -> None:
    await settle(server, wanted())
    server.sql("ALTER ROLE app CONNECTION LIMIT 3 VALID UNTIL '2030-01-01'; ALTER ROLE app SET work_mem TO '9MB'")
    await settle(server, wanted(options={"app": UserOptions(member_of=("pg_monitor",))}))
    assert server.sql("SELECT rolconnlimit, rolvaliduntil::date::text FROM pg_roles WHERE rolname = 'app'") == [
        (3, "2030-01-01")
    ]


async def test_a_database_is_made_as_asked_and_never_made_anew(server: Server) -> None:
    options = DatabaseOptions(encoding="LATIN1", locale="C", connection_limit=11)
    await settle(server, wanted(databases={"shop": "app"}, of_databases={"shop": options}))
    row = "SELECT pg_encoding_to_char(encoding), datcollate, datconnlimit FROM pg_database WHERE datname = 'shop'"
    assert server.sql(row) == [("LATIN1", "C", 11)]
    other = wanted(databases={"shop": "app"}, of_databases={"shop": DatabaseOptions("UTF-8", "C", "template1", 12)})
    await settle(server, other)
    assert server.sql(row) == [("LATIN1", "C", 12)], "only the limit is followed"
    said = unmet(other, await observe(server.target, interest(other)))
    assert said == ('database "shop" has encoding LATIN1; UTF-8 can only be given when it is made',)


async def test_a_database_is_copied_from_its_template(server: Server) -> None:
    server.sql("CREATE DATABASE seed")
    server.sql("CREATE TABLE given ()", "seed")
    await settle(server, wanted(databases={"shop": "app"}, of_databases={"shop": DatabaseOptions(template="seed")}))
    assert server.sql("SELECT to_regclass('given') IS NOT NULL", "shop") == [(True,)]


async def test_a_user_that_left_the_manifest_stays_unless_its_entry_says_drop(server: Server) -> None:
    await settle(server, wanted(("app", "old")))
    for options in ({}, {"old": UserOptions()}, {"old": UserOptions(removal="retain")}):
        assert await leave(server, wanted(options=options)) == []
        assert exists(server, "old")
    assert await leave(server, wanted(options={"old": UserOptions(removal="drop")})) == []
    assert not exists(server, "old")


async def test_a_user_that_is_in_the_manifest_is_not_dropped_whatever_its_entry_says(server: Server) -> None:
    desired = wanted(("app", "old"), options={"old": UserOptions(removal="drop")})
    await settle(server, desired)
    assert await leave(server, desired) == []
    assert exists(server, "old")


async def test_a_role_that_a_person_made_is_never_dropped(server: Server) -> None:
    server.sql("CREATE ROLE old LOGIN")
    await settle(server, wanted(("app", "old")))  # it was taken into the manifest, and out again
    (why,) = await leave(server, wanted(options={"old": UserOptions(removal="drop")}))
    assert why.startswith('"old" is not known to be made by the operator')
    assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'old'") == [(True,)]
    server.sql(f"COMMENT ON ROLE old IS '{MADE_BY_US}'")
    assert await leave(server, wanted(options={"old": UserOptions(removal="drop")})) == []
    assert not exists(server, "old")


async def test_drop_keeps_a_role_that_owns_something_and_says_where(server: Server) -> None:
    await settle(server, wanted(("app", "old"), {"shop": "app"}))
    server.sql("CREATE TABLE mine (); ALTER TABLE mine OWNER TO old", "shop")
    (why,) = await leave(server, wanted(databases={"shop": "app"}, options={"old": UserOptions(removal="drop")}))
    assert why == '"old" owns objects or has privileges on some (1 in shop)'
    assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'old'") == [(True,)]


@pytest.mark.parametrize("kind", ["drop", "reassign"])
async def test_a_role_with_an_open_session_stays_as_it_is(server: Server, kind) -> None:
    await settle(server, wanted(("app", "old")))
    session = server.session(user="old", password="secret of old")
    options = {"old": UserOptions(removal=kind, reassign_to="app" if kind == "reassign" else None)}
    assert await leave(server, wanted(options=options)) == ['"old" has 1 open session']
    assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'old'") == [(True,)]
    session.close()
    assert await leave(server, wanted(options=options)) == []
    assert not exists(server, "old")


async def test_reassign_hands_everything_over_in_every_database_and_loses_nothing(server: Server) -> None:
    await settle(server, wanted(("app", "old"), {"shop": "old", "other": "app"}))
    server.sql("CREATE SCHEMA mine AUTHORIZATION old; CREATE TABLE mine.kept AS SELECT 42 AS n", "shop")
    server.sql(
        "ALTER TABLE mine.kept OWNER TO old; ALTER DEFAULT PRIVILEGES FOR ROLE old GRANT SELECT ON TABLES TO app",
        "shop",
    )
    server.sql("CREATE TABLE also AS SELECT 7 AS n; ALTER TABLE also OWNER TO old", "other")
    server.sql("CREATE TABLE theirs (); GRANT SELECT ON theirs TO old", "other")
    options = {"old": UserOptions(removal="reassign", reassign_to="app")}
    desired = wanted(("app",), {"shop": "app", "other": "app"}, options)
    assert await leave(server, desired) == []
    assert not exists(server, "old")
    assert server.sql(
        "SELECT n, pg_get_userbyid(relowner) FROM mine.kept, pg_class WHERE relname = 'kept'", "shop"
    ) == [(42, "app")]
    assert server.sql("SELECT n, pg_get_userbyid(relowner) FROM also, pg_class WHERE relname = 'also'", "other") == [
        (7, "app")
    ]
    assert server.sql("SELECT count(*) FROM theirs", "other") == [(0,)]


async def test_without_the_heir_nothing_is_handed_over(server: Server) -> None:
    await settle(server, wanted(("app", "old")))
    server.sql("CREATE TABLE mine (); ALTER TABLE mine OWNER TO old")
    options = {"old": UserOptions(removal="reassign", reassign_to="nobody_here")}
    assert await leave(server, wanted(options=options)) == [
        'there is no role "nobody_here" that could get what "old" owns'
    ]
    server.sql("DROP TABLE mine")


async def test_the_rotated_logins_of_a_dropped_user_go_before_it(server: Server) -> None:
    await settle(server, wanted(("app", "old")))
    note = f"{MADE_BY_US}: rotated user of old"
    server.sql(f"CREATE ROLE old261124 LOGIN IN ROLE old; COMMENT ON ROLE old261124 IS '{note}'")
    assert await leave(server, wanted(options={"old": UserOptions(removal="drop")})) == []
    assert not exists(server, "old261124")
    assert not exists(server, "old")


async def test_what_a_role_comes_to_own_while_it_is_handed_over_is_not_dropped(server: Server) -> None:
    server.sql("CREATE ROLE old; GRANT CREATE ON SCHEMA public TO old")
    with server.session() as ending, server.session() as making:
        making.execute("SET lock_timeout TO 300")
        with ending.transaction():
            ending.execute(end_privileges("old"))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                making.execute("SET ROLE old; CREATE TABLE late ()")
        server.sql("GRANT CREATE ON SCHEMA public TO old")
        with making.transaction():
            making.execute("SET ROLE old; CREATE TABLE made AS SELECT 42 AS n")
            assert await refused(server, ENDING) == 'somebody is just giving something to "old"'
        assert await refused(server, ENDING) == '"old" owns something in this database'
    assert server.sql("SELECT n FROM made") == [(42,)]
    server.sql("DROP OWNED BY old")


HANDING = Statement(Kind.HAND_OVER, "old", "postgres", hand_over("old", "heir"), "hand over", otherwise="by hand")
ENDING = Statement(
    Kind.END_PRIVILEGES,
    "old",
    "postgres",
    end_privileges("old"),
    "end",
    before=revoke_in_parts("old"),
    otherwise="by hand",
)


async def refused(server: Server, step: Statement) -> str:
    """What is said of a step that is not done, without its place."""
    patient = replace(server.target, lock_timeout_s=HANGS_S)
    (failure,) = (await apply(patient, [step], {}, permit=always)).failed
    return failure.error.message.partition("/postgres: ")[2]


async def test_what_is_being_handed_over_keeps_nobody_from_making_a_table(server: Server) -> None:
    server.sql("CREATE ROLE old; CREATE ROLE heir; CREATE TABLE busy (); ALTER TABLE busy OWNER TO old")
    server.sql("CREATE DATABASE other")
    with server.session() as handing, server.session("other") as working:
        handing.execute("BEGIN")
        handing.execute(hand_over("old", "heir"))
        working.execute("SET lock_timeout TO 1000; CREATE TEMP TABLE mine ()")
        handing.execute("COMMIT")
    assert server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'busy'") == [("heir",)]
    server.sql("DROP TABLE busy")


async def test_a_long_reader_of_one_table_shuts_no_other_of_a_leaving_role(server: Server) -> None:
    """In three tries, of which a busy machine may spoil two."""
    server.sql("CREATE ROLE old; CREATE ROLE heir; CREATE TABLE one (); CREATE TABLE two ()")
    server.sql("ALTER TABLE one OWNER TO old; ALTER TABLE two OWNER TO old")
    with server.session() as reading, server.session() as working:
        reading.execute("BEGIN; SELECT FROM two")
        waits_s = []
        for _ in range(3):
            handing = asyncio.create_task(refused(server, HANDING))
            waits_s.append(await asyncio.to_thread(longest_wait_s, working, "SELECT FROM one", 2.0))
            assert await handing == "canceling statement due to lock timeout (55P03): by hand"
            if waits_s[-1] < 1:
                break
        assert min(waits_s) < 1
        reading.execute("COMMIT")
        assert (await apply(server.target, [HANDING], {}, permit=always)).done == (HANDING,)
    assert server.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('one', 'two')") == [("heir",)]
    server.sql("DROP TABLE one, two")


def longest_wait_s(session: psycopg.Connection[tuple[object, ...]], query: str, for_s: float) -> float:
    """Of somebody who asks again and again, for that long."""
    began_s, longest_s = time.monotonic(), 0.0
    while (now_s := time.monotonic()) < began_s + for_s:
        session.execute(query)
        longest_s = max(longest_s, time.monotonic() - now_s)
    return longest_s


@pytest.mark.parametrize("kind", [Kind.HAND_OVER, Kind.END_PRIVILEGES])
async def test_what_others_wait_for_is_given_up_and_who_can_do_it_is_told(server: Server, kind: Kind) -> None:
    long = Statement(kind, "old", "postgres", sql.SQL("SELECT pg_sleep(5)").format(), "long", otherwise="by hand")
    assert await refused(server, long) == "canceling statement due to statement timeout (57014): by hand"


async def test_privileges_on_many_relations_end_without_the_lock_that_every_create_waits_for(server: Server) -> None:
    name = """it's $$ \\ 100% "odd\""""
    server.sql(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
    server.sql('CREATE SCHEMA "Odd.%s"; CREATE SEQUENCE "Odd.%s".counts; CREATE TABLE "Odd.%s".parts (a int, b int)')
    server.sql("CREATE VIEW looks AS SELECT 1 AS n; CREATE FUNCTION does() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    texts = [f"CREATE TABLE t{n} ()" for n in range(REVOKED_AT_ONCE)]
    texts += [f"GRANT SELECT ON t{n} TO {{0}} WITH GRANT OPTION" for n in range(REVOKED_AT_ONCE)]
    texts += ['GRANT SELECT (a), UPDATE ON "Odd.%s".parts TO {0}; GRANT USAGE ON "Odd.%s".counts TO {0}']
    texts += ["GRANT SELECT ON looks TO {0}; GRANT EXECUTE ON FUNCTION does() TO {0}"]
    server.sql(sql.SQL("; ".join(texts)).format(sql.Identifier(name)))
    step = replace(ENDING, subject=name, sql=end_privileges(name), before=revoke_in_parts(name))
    with server.session() as making:
        making.execute("BEGIN; LOCK TABLE pg_shdepend IN ROW EXCLUSIVE MODE")
        assert await refused(server, step) == "canceling statement due to lock timeout (55P03): by hand"
        assert privileges(server) == [("pg_proc",)]
        making.execute("ROLLBACK")
    assert (await apply(server.target, [step], {}, permit=always)).done == (step,)
    assert privileges(server) == []
    server.sql(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
    server.sql(
        "DROP VIEW looks; DROP FUNCTION does(); DROP TABLE " + ", ".join(f"t{n}" for n in range(REVOKED_AT_ONCE))
    )


def privileges(server: Server) -> list[tuple[object, ...]]:
    """Where roles of a test have some."""
    return server.sql(
        "SELECT DISTINCT classid::regclass::text FROM pg_shdepend d JOIN pg_roles r ON r.oid = refobjid"
        " WHERE deptype = 'a' AND rolname LIKE 'it%'"
    )


async def test_privileges_end_in_a_database_without_languages(server: Server) -> None:
    server.sql("CREATE ROLE old")
    server.sql("CREATE DATABASE other")
    server.sql("DROP EXTENSION plpgsql; CREATE TABLE theirs (); GRANT SELECT ON theirs TO old", "other")
    step = replace(ENDING, database="other")
    assert (await apply(server.target, [step], {}, permit=always)).done == (step,)
    server.sql("DROP ROLE old")


async def test_who_uses_a_policy_of_a_leaving_role_keeps_the_others_for_a_moment_only(server: Server) -> None:
    """Its privileges end under a lock that every CREATE would wait for."""
    server.sql("CREATE ROLE old; CREATE TABLE busy (); CREATE POLICY p ON busy TO old")
    with server.session() as reading, server.session() as ending:
        reading.execute("BEGIN; SELECT FROM busy")
        ending.execute("SET lock_timeout TO '60s'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ending.execute(end_privileges("old"))
        assert ending.execute("SHOW lock_timeout").fetchone() == ("1min",)
    server.sql("DROP TABLE busy")


async def test_a_name_that_needs_quotes_is_handed_over_too(server: Server) -> None:
    name = """it's $$ \\ "odd\""""
    quoted = sql.Identifier(name)
    server.sql(sql.SQL("CREATE ROLE {0}; GRANT CREATE ON SCHEMA public TO {0}").format(quoted))
    with server.session() as ending:
        ending.execute(end_privileges(name))
    server.sql(sql.SQL("DROP ROLE {}").format(quoted))
