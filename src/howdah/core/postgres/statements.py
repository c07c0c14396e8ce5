"""The SQL that roles and databases are brought in place with: composed and quoted, never sent here."""

from collections.abc import Collection, Mapping, Sequence

from psycopg import sql
from psycopg.sql import Composed

from howdah.model.postgres.desired import DefaultPrivilege, DesiredExtension, DesiredSchema, Flags
from howdah.model.postgres.statements import QUIET_SETTINGS, with_verifier


def create_role(name: str, flags: Flags) -> sql.Composed:
    """CREATE ROLE with the flags that are spoken of."""
    return _flagged("CREATE ROLE", name, flags)


def alter_role(name: str, flags: Flags) -> sql.Composed:
    """ALTER ROLE with the flags that are spoken of; without any it is the begin of a password change."""
    return _flagged("ALTER ROLE", name, flags)


def _flagged(verb: str, name: str, flags: Flags) -> sql.Composed:
    words = [flag.upper() if value else f"NO{flag.upper()}" for flag, value in flags.spoken()]
    return sql.SQL(" ").join(  # the words come from the table of flags
        [sql.SQL(verb), sql.Identifier(name), *(sql.SQL(word) for word in words)]
    )


def set_parameter(role: str, parameter: str, items: Sequence[str]) -> sql.Composed:
    """ALTER ROLE … SET; several items are a list."""
    return sql.SQL("ALTER ROLE {} SET {} TO {}").format(
        sql.Identifier(role),
        sql.Identifier(*parameter.split(".")),
        sql.SQL(", ").join(sql.Literal(item) for item in items),
    )


def grant_role(role: str, member: str, *, admin: bool) -> sql.Composed:
    """Membership of `member` in `role`."""
    grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
    return grant + sql.SQL(" WITH ADMIN OPTION") if admin else grant


def revoke_role(role: str, member: str) -> sql.Composed:
    """The end of the membership of `member` in `role`."""
    return sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(member))


def create_database(name: str, owner: str) -> sql.Composed:
    """CREATE DATABASE from the default template."""
    return sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))


def change_database_owner(name: str, owner: str) -> sql.Composed:
    """ALTER DATABASE … OWNER TO."""
    return sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(owner))


def create_schema(schema: DesiredSchema) -> sql.Composed:
    """CREATE SCHEMA; a template may have brought it along."""
    return sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(
        sql.Identifier(schema.name), sql.Identifier(schema.owner)
    )


def grant_usage(schema: str, grantees: Sequence[str]) -> sql.Composed:
    """GRANT USAGE ON SCHEMA; the server writes the schema's owner down as grantor."""
    return sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(
        sql.Identifier(schema), sql.SQL(", ").join(sql.Identifier(name) for name in grantees)
    )


def create_extension(extension: DesiredExtension) -> sql.Composed:
    """CREATE EXTENSION in its schema; a template may have brought it along."""
    return sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}").format(
        sql.Identifier(extension.name), sql.Identifier(extension.schema)
    )


def move_extension(extension: DesiredExtension) -> sql.Composed:
    """ALTER EXTENSION … SET SCHEMA."""
    return sql.SQL("ALTER EXTENSION {} SET SCHEMA {}").format(
        sql.Identifier(extension.name), sql.Identifier(extension.schema)
    )


_WORDS = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "USAGE", "EXECUTE"),
    *("TABLES", "SEQUENCES", "FUNCTIONS", "TYPES", "SCHEMAS"),
)
_PRIVILEGES: Mapping[str, sql.SQL] = {word: sql.SQL(word) for word in _WORDS}


def grant_default(privilege: DefaultPrivilege) -> sql.Composed:
    """ALTER DEFAULT PRIVILEGES; touches no existing object."""
    scope = (
        sql.SQL("") if privilege.schema is None else sql.SQL(" IN SCHEMA {}").format(sql.Identifier(privilege.schema))
    )
    return sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {}{} GRANT {} ON {} TO {}").format(
        sql.Identifier(privilege.creator),
        scope,
        sql.SQL(", ").join(_PRIVILEGES[word] for word in privilege.privileges),
        _PRIVILEGES[privilege.objects],
        sql.Identifier(privilege.grantee),
    )


Table = tuple[str, str]  # schema, table


def create_publication(name: str, tables: Sequence[Table], operations: Collection[str]) -> Composed:
    """CREATE PUBLICATION of these tables."""
    return sql.SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish = {})").format(
        sql.Identifier(name), _tables(tables), sql.Literal(", ".join(sorted(operations)))
    )


def set_publication_tables(name: str, tables: Sequence[Table]) -> Composed:
    """ALTER PUBLICATION … SET TABLE: exactly these."""
    return sql.SQL("ALTER PUBLICATION {} SET TABLE {}").format(sql.Identifier(name), _tables(tables))


def set_publication_operations(name: str, operations: Collection[str]) -> Composed:
    """ALTER PUBLICATION … SET (publish = …)."""
    return sql.SQL("ALTER PUBLICATION {} SET (publish = {})").format(
        sql.Identifier(name), sql.Literal(", ".join(sorted(operations)))
    )


def drop_publication(name: str) -> Composed:
    """DROP PUBLICATION; touches no table."""
    return sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name))


def _tables(tables: Sequence[Table]) -> Composed:
    return sql.SQL(", ").join(sql.Identifier(*table) for table in tables)


def repair_password_sql(role: str, verifier: str) -> str:
    """A script for `psql -X -v ON_ERROR_STOP=1` on the local socket: the way back when a password is lost.

    Feed it on standard input, so that the verifier is in no command line. It waits for no standby, and keeps the
    verifier out of the server's log and out of pg_stat_statements.
    """
    quiet = "".join(f"SET {name} TO {value};\n" for name, value in QUIET_SETTINGS)
    change = with_verifier(alter_role(role, Flags()), verifier).as_string(None)
    return f"SET synchronous_commit TO local;\nSET lock_timeout TO '5s';\n{quiet}{change};\n"
