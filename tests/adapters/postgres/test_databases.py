"""Databases on a real server: owners, schemas, extensions, and privileges that do what they are for."""

from dataclasses import replace

import psycopg
import pytest

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import RULES, always, missing, one_pass, passwords, settle
from adapters.postgres.servers import Server
from howdah.adapters.postgres import apply, observe
from howdah.core.postgres.difference import difference, interest
from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.prepared import DatabaseSection, SchemaSection
from howdah.model.postgres.catalogue import EMPTY, Catalogue
from howdah.model.postgres.desired import Desired, PasswordLookup
from howdah.model.postgres.statements import Kind

LOOKUP = PasswordLookup("pooler", "one", "postgres")


def plain(databases: dict[str, str], *users: str) -> Desired:
    return desired_state(dict.fromkeys(users, ()), databases, None, rules=RULES)


def prepared(**sections: DatabaseSection) -> Desired:
    return desired_state({}, {}, sections, rules=RULES)


def movable(server: Server) -> str:
    """An extension that this server has and that can change its schema."""
    names = {name for (name,) in server.sql("SELECT name FROM pg_available_extensions")}
    return "hstore" if "hstore" in names else "vector"


async def test_a_database_gets_the_owner_that_is_written(server: Server) -> None:
    await settle(server, plain({"shop": "one"}, "one", "two"))
    outcome = await settle(server, plain({"shop": "two"}, "one", "two"))
    assert [statement.kind for statement in outcome.done] == [Kind.DATABASE_OWNER]


async def test_a_database_that_people_marked_as_template_is_there_and_stays_theirs(server: Server) -> None:
    desired = replace(desired_state({"one": []}, {"shop": "one"}, {"made": {}}, rules=RULES), lookup=LOOKUP)
    await settle(server, desired)
    try:
        server.sql("ALTER DATABASE shop IS_TEMPLATE true; ALTER DATABASE made IS_TEMPLATE true")
        server.sql("DROP SCHEMA data CASCADE", "made")
        await settle(server, desired)
        assert server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'data'", "made") == [(1,)]
        assert not {"template0", "template1", "shop"} & set((await seen(server, desired)).contents)
    finally:
        server.sql("ALTER DATABASE shop IS_TEMPLATE false; ALTER DATABASE made IS_TEMPLATE false")


async def seen(server: Server, desired: Desired) -> Catalogue:
    return await observe(server.target, interest(desired))


@pytest.mark.parametrize("listed", [{}, {"shop_owner": []}])
async def test_an_application_goes_on_to_log_in_with_a_role_that_a_prepared_database_takes_for_its_group(
    server: Server, listed: dict[str, list[str]]
) -> None:
    await settle(server, desired_state({"shop_owner": []}, {"shop": "shop_owner"}, None, rules=RULES))
    await settle(server, desired_state(listed, {}, {"shop": {}}, rules=RULES))
    assert server.sql("SELECT current_user", "shop", "shop_owner", "secret of shop_owner") == [("shop_owner",)]
    assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'shop_data_owner'") == [(False,)]


async def test_an_existing_prepared_database_keeps_its_owner(server: Server) -> None:
    server.sql("CREATE ROLE somebody")
    server.sql("CREATE DATABASE shop OWNER somebody")
    await settle(server, prepared(shop={}))
    assert server.sql("SELECT datdba::regrole::text FROM pg_database WHERE datname = 'shop'") == [("somebody",)]


async def test_databases_and_schemas_that_are_not_written_stay(server: Server) -> None:
    await settle(server, prepared(shop={"schemas": {"one": {}, "two": {}}}))
    await settle(server, prepared())
    outcome = await settle(server, prepared(shop={"schemas": {"one": {}}}))
    assert {statement.kind for statement in outcome.done} == {Kind.PARAMETER}
    assert server.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'two'", "shop") == [(1,)]


async def test_writers_write_and_readers_only_read_what_the_owner_makes_later(server: Server) -> None:
    await settle(server, prepared(shop={"defaultUsers": True}))

    def run(query: str, user: str) -> object:
        return server.sql(query, "shop", f"shop_{user}_user", f"secret of shop_{user}_user")

    run("SET ROLE shop_data_owner; CREATE TABLE data.item (id serial, name text)", "owner")
    run("INSERT INTO item (name) VALUES ('first')", "writer")
    assert run("SELECT name FROM item", "reader") == [("first",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run("INSERT INTO item (name) VALUES ('second')", "reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run("DROP TABLE item", "writer")


async def test_privileges_of_users_that_are_asked_for_later_are_added(server: Server) -> None:
    await settle(server, prepared(shop={}))
    outcome = await settle(server, prepared(shop={"defaultUsers": True}))
    assert Kind.DEFAULT_PRIVILEGES in {statement.kind for statement in outcome.done}


async def test_privileges_that_people_gave_stay(server: Server) -> None:
    await settle(server, prepared(shop={}))
    server.sql("ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner GRANT TRUNCATE ON TABLES TO zalandos", "shop")
    server.sql("GRANT CREATE ON SCHEMA data TO zalandos", "shop")
    before = server.sql("SELECT defaclacl::text FROM pg_default_acl ORDER BY 1", "shop")
    assert await missing(server, prepared(shop={}), passwords(prepared(shop={}))) == ()
    assert server.sql("SELECT defaclacl::text FROM pg_default_acl ORDER BY 1", "shop") == before


async def test_a_privilege_that_was_taken_away_comes_back(server: Server) -> None:
    await settle(server, prepared(shop={}))
    server.sql("REVOKE USAGE ON SCHEMA data FROM shop_reader", "shop")
    server.sql(
        "ALTER DEFAULT PRIVILEGES FOR ROLE shop_data_owner IN SCHEMA data REVOKE UPDATE ON TABLES FROM shop_writer",
        "shop",
    )
    outcome = await settle(server, prepared(shop={}))
    assert [statement.kind for statement in outcome.done] == [Kind.SCHEMA_USAGE, Kind.DEFAULT_PRIVILEGES]


async def test_an_extension_is_made_and_moved(server: Server) -> None:
    name = movable(server)
    schemas: dict[str, SchemaSection] = {"data": {}, "more": {}}
    await settle(server, prepared(shop={"schemas": schemas, "extensions": {name: "data"}}))
    outcome = await settle(server, prepared(shop={"schemas": schemas, "extensions": {name: "more"}}))
    assert [statement.kind for statement in outcome.done] == [Kind.MOVE_EXTENSION]


async def test_an_extension_that_is_not_there_holds_up_nothing_else(server: Server) -> None:
    outcome = await one_pass(server, prepared(aaa={"extensions": {"no_such": "data"}}, zzz={}))
    assert [(failure.statement.kind, failure.error.transient) for failure in outcome.failed] == [
        (Kind.CREATE_EXTENSION, False)
    ]
    assert server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'data'", "zzz") == [(1,)]


async def test_a_database_that_could_not_be_made_holds_up_no_other(server: Server) -> None:
    desired = prepared(aaa={}, zzz={})
    catalogue = Catalogue({}, {}, {"aaa": EMPTY})
    statements = difference(desired, catalogue, matching=frozenset())
    server.sql("CREATE DATABASE aaa")  # so CREATE DATABASE is refused, although a pass saw none
    outcome = await apply(server.target, statements, passwords(desired), permit=always)
    assert Kind.CREATE_DATABASE in {failure.statement.kind for failure in outcome.failed}
    assert server.sql("SELECT 1 FROM pg_namespace WHERE nspname = 'data'", "zzz") == [(1,)]
    await settle(server, desired)


async def test_a_database_that_takes_no_connections_is_left_alone(server: Server) -> None:
    await settle(server, prepared(shop={}))
    server.sql("ALTER DATABASE shop ALLOW_CONNECTIONS false")
    assert await missing(server, prepared(shop={}), passwords(prepared(shop={}))) == ()
    server.sql("ALTER DATABASE shop ALLOW_CONNECTIONS true")


@only(max(MAJORS))
async def test_a_second_pass_over_many_only_reads_and_each_database_once(server: Server) -> None:
    users = {f"user_{number:03}": ["createdb"] for number in range(200)}
    names = [f"shop_{number:02}" for number in range(50)]
    # Half of them prepared: only those need a look inside.
    desired = desired_state(
        users,
        dict.fromkeys(names[:25], "user_000"),
        {name: DatabaseSection() for name in names[25:]},
        rules=RULES,
    )
    secrets = passwords(desired)
    outcome = await one_pass(server, desired, secrets)
    assert outcome.failed == ()
    offset = len(server.log())
    assert await missing(server, desired, secrets) == ()
    lines = [line for line in server.log()[offset:].splitlines() if line.startswith("howdah|")]
    queries = [line.split("|")[1] for line in lines if " statement: " in line or " execute " in line]
    # Each connection asks first whether it is the right server.
    assert {database: queries.count(database) for database in queries} == {
        "postgres": 3,
        **dict.fromkeys(names[25:], 2),
    }
