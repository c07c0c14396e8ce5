"""Publications of streams: what is missing, what goes, and what cannot be made because a table is not there yet."""

from collections.abc import Iterator

from psycopg.sql import Composed

from howdah.core.postgres import statements as make
from howdah.model.postgres.catalogue import Catalogue, Publishing
from howdah.model.postgres.desired import Desired, DesiredPublication
from howdah.model.postgres.statements import Kind, Statement

PUBLISHED = frozenset({"insert", "update"})


def publication_changes(desired: Desired, catalogue: Catalogue) -> Iterator[Statement]:
    """The statements that bring publications in place; one whose tables are not all there is left for later."""
    for wanted in desired.publications:
        live = catalogue.publishing.get(wanted.database)
        if live is not None and not _missing_tables(wanted, live):
            yield from _changes(wanted, live)


def publications_in_place(desired: Desired, catalogue: Catalogue) -> frozenset[tuple[str, str]]:
    """(database, name) of those that are as they shall be; of one that shall not be there, that it is gone."""
    return frozenset(
        (wanted.database, wanted.name) for wanted in desired.publications if _is_in_place(wanted, catalogue)
    )


def missing_for_publications(desired: Desired, catalogue: Catalogue) -> tuple[str, ...]:
    """What keeps a publication from being made, as sentences for people."""
    return tuple(_lacking(desired, catalogue))


def _lacking(desired: Desired, catalogue: Catalogue) -> Iterator[str]:
    for wanted in desired.publications:
        if not wanted.tables:
            continue
        live = catalogue.publishing.get(wanted.database)
        if live is None:
            if wanted.database in catalogue.databases:
                yield f'database "{wanted.database}" of stream "{wanted.name}" cannot be looked into'
            elif all(database.name != wanted.database for database in desired.databases):
                yield f'database "{wanted.database}" of stream "{wanted.name}" does not exist'
            continue
        for schema, table in _missing_tables(wanted, live):
            yield f'table "{schema}.{table}" of stream "{wanted.name}" does not exist in database "{wanted.database}"'


def _missing_tables(wanted: DesiredPublication, live: Publishing) -> tuple[tuple[str, str], ...]:
    return tuple(table for table in wanted.tables if table not in live.tables)


def _is_in_place(wanted: DesiredPublication, catalogue: Catalogue) -> bool:
    live = catalogue.publishing.get(wanted.database)
    if live is None:  # what cannot be looked into is not known to be away
        return not wanted.tables and wanted.database not in catalogue.databases
    held = live.publications.get(wanted.name)
    if held is None:
        return not wanted.tables
    return held.tables == frozenset(wanted.tables) and held.publishes == PUBLISHED


def _changes(wanted: DesiredPublication, live: Publishing) -> Iterator[Statement]:
    held = live.publications.get(wanted.name)
    name = f'publication "{wanted.name}" of database "{wanted.database}"'
    if not wanted.tables:
        if held is not None:
            yield _statement(
                Kind.DROP_PUBLICATION, wanted, make.drop_publication(wanted.name), f"nobody asks for {name}"
            )
        return
    if held is None:
        sql = make.create_publication(wanted.name, wanted.tables, PUBLISHED)
        yield _statement(Kind.CREATE_PUBLICATION, wanted, sql, f"{name} does not exist")
        return
    if held.tables != frozenset(wanted.tables):
        sql = make.set_publication_tables(wanted.name, wanted.tables)
        yield _statement(Kind.ALTER_PUBLICATION, wanted, sql, f"{name} shall have other tables")
    if held.publishes != PUBLISHED:
        sql = make.set_publication_operations(wanted.name, PUBLISHED)
        yield _statement(Kind.ALTER_PUBLICATION, wanted, sql, f"{name} shall publish {', '.join(sorted(PUBLISHED))}")


def _statement(kind: Kind, wanted: DesiredPublication, sql: Composed, reason: str) -> Statement:
    return Statement(kind, wanted.database, wanted.database, sql, reason)
