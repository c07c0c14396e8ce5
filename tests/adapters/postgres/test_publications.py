"""Publications of streams on a real server: made when their tables are there, changed, and dropped only when told."""

import pytest

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import missing, one_pass, passwords, settle
from adapters.postgres.servers import Server
from howdah.adapters.postgres import connect, observe
from howdah.adapters.postgres.reading import publications
from howdah.core.postgres.difference import interest
from howdah.core.postgres.publications import missing_for_publications, publications_in_place
from howdah.model.postgres.desired import Desired, DesiredPublication

NAME = "fes_shop_app"
ORDERS, ITEMS = ("public", "orders"), ("Data", "items of it")


def publishing(*tables: tuple[str, str], database: str = "shop") -> Desired:
    return Desired(publications=(DesiredPublication(NAME, database, tables),))


async def look(server: Server, desired: Desired) -> tuple[frozenset[tuple[str, str]], tuple[str, ...]]:
    catalogue = await observe(server.target, interest(desired))
    return publications_in_place(desired, catalogue), missing_for_publications(desired, catalogue)


def held(server: Server) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    query = (
        "SELECT p.pubname, t.schemaname || '.' || t.tablename"
        "  FROM pg_publication p LEFT JOIN pg_publication_tables t USING (pubname)"
    )
    for name, table in server.sql(query, "shop"):
        found.setdefault(name, set()).update({table} - {None})
    return found


@pytest.fixture
def shop(server: Server) -> Server:
    server.sql("CREATE DATABASE shop")
    server.sql("CREATE TABLE orders (id int PRIMARY KEY)", "shop")
    server.sql('CREATE SCHEMA "Data"', "shop")
    return server


async def test_a_publication_is_made_of_the_rows_that_come_and_change(shop: Server) -> None:
    await settle(shop, publishing(ORDERS))
    assert shop.sql("SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication", "shop") == [
        (True, True, False, False)
    ]
    assert await look(shop, publishing(ORDERS)) == (frozenset({("shop", NAME)}), ())


async def test_a_server_of_10_whose_publications_know_no_truncate_is_read(shop: Server) -> None:
    """A catalogue without that column stands before the server's own."""
    await settle(shop, publishing(ORDERS))
    shop.sql(
        "CREATE SCHEMA of_10; CREATE VIEW of_10.pg_publication AS"
        " SELECT oid, pubname, pubinsert, pubupdate, pubdelete FROM pg_catalog.pg_publication",
        "shop",
    )
    async with connect(shop.target, "shop") as session:
        newest = await publications(session, [ORDERS])
        await session.execute("SET search_path TO of_10, pg_catalog")
        assert await publications(session, [ORDERS]) == newest
    assert newest.publications[NAME].publishes == {"insert", "update"}
    assert newest.tables == {ORDERS}


async def test_one_that_publishes_truncate_is_known_to(shop: Server) -> None:
    shop.sql("CREATE PUBLICATION all_of_it FOR TABLE orders", "shop")
    async with connect(shop.target, "shop") as session:
        found = await publications(session, [ORDERS])
    assert found.publications["all_of_it"].publishes == {"insert", "update", "delete", "truncate"}


async def test_without_one_of_its_tables_nothing_is_sent_and_it_is_said(shop: Server) -> None:
    desired = publishing(ORDERS, ITEMS)
    assert await missing(shop, desired, passwords(desired)) == ()
    said = f'table "Data.items of it" of stream "{NAME}" does not exist in database "shop"'
    assert await look(shop, desired) == (frozenset(), (said,))
    shop.sql('CREATE TABLE "Data"."items of it" (id int)', "shop")
    await settle(shop, desired)
    assert held(shop) == {NAME: {"public.orders", "Data.items of it"}}


async def test_other_tables_and_other_operations_are_brought_back(shop: Server) -> None:
    shop.sql('CREATE TABLE "Data"."items of it" (id int)', "shop")
    await settle(shop, publishing(ORDERS, ITEMS))
    await settle(shop, publishing(ITEMS))
    assert held(shop) == {NAME: {"Data.items of it"}}
    shop.sql(f"ALTER PUBLICATION {NAME} SET (publish = 'delete')", "shop")
    await settle(shop, publishing(ITEMS))
    assert shop.sql("SELECT pubinsert, pubdelete FROM pg_publication", "shop") == [(True, False)]


async def test_one_that_shall_not_be_there_is_dropped_and_those_of_others_stay(shop: Server) -> None:
    await settle(shop, publishing(ORDERS))
    shop.sql("CREATE PUBLICATION fes_of_somebody FOR TABLE orders", "shop")
    assert await look(shop, publishing()) == (frozenset(), ())
    await settle(shop, publishing())
    assert set(held(shop)) == {"fes_of_somebody"}
    assert await look(shop, publishing()) == (frozenset({("shop", NAME)}), ())


async def test_tables_that_inherit_are_not_published_with_their_parent_and_partitions_are(shop: Server) -> None:
    shop.sql(
        "CREATE TABLE child () INHERITS (orders); CREATE TABLE years (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "shop",
    )
    shop.sql("CREATE TABLE year PARTITION OF years FOR VALUES IN (1)", "shop")
    await settle(shop, publishing(ORDERS, ("public", "years")))
    assert held(shop) == {NAME: {"public.orders", "public.year"}}
    assert (await look(shop, publishing(ORDERS, ("public", "years"))))[0] == {("shop", NAME)}
    shop.sql(f"ALTER PUBLICATION {NAME} SET TABLE orders, child", "shop")  # as the reference leaves it
    await settle(shop, publishing(ORDERS))
    assert held(shop) == {NAME: {"public.orders"}}


@only(min(MAJORS))
async def test_a_database_that_does_not_exist_is_said(server: Server) -> None:
    desired = publishing(ORDERS, database="nowhere")
    assert (await one_pass(server, desired)).failed == ()
    assert await look(server, desired) == (frozenset(), (f'database "nowhere" of stream "{NAME}" does not exist',))
