"""The SQL that roles and databases are brought in place with: composed and quoted, never sent here."""

from collections.abc import Collection, Mapping, Sequence

from psycopg import sql
from psycopg.sql import Composed

from howdah.model.postgres.desired import DatabaseOptions, DefaultPrivilege, DesiredExtension, DesiredSchema, Flags
from howdah.model.postgres.statements import quiet, refusing, unsampled, with_verifier


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


def rename_role(name: str, to: str) -> sql.Composed:
    """ALTER ROLE … RENAME TO."""
    return sql.SQL("ALTER ROLE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(to))


def comment_role(name: str, text: str) -> sql.Composed:
    """COMMENT ON ROLE; an empty text removes it."""
    value = sql.Literal(text) if text else sql.SQL("NULL")
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), value)


def set_parameter(role: str, parameter: str, items: Sequence[str]) -> sql.Composed:
    """ALTER ROLE … SET; several items are a list."""
    return sql.SQL("ALTER ROLE {} SET {} TO {}").format(
        sql.Identifier(role),
        sql.Identifier(*parameter.split(".")),
        sql.SQL(", ").join(sql.Literal(item) for item in items),
    )


def set_parameter_in(role: str, database: str, parameter: str, items: Sequence[str]) -> sql.Composed:
    """ALTER ROLE … IN DATABASE … SET; several items are a list."""
    return sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} TO {}").format(
        sql.Identifier(role),
        sql.Identifier(database),
        sql.Identifier(*parameter.split(".")),
        sql.SQL(", ").join(sql.Literal(item) for item in items),
    )


def limit_role(name: str, *, connections: int | None, valid_until: str | None) -> sql.Composed:
    """ALTER ROLE with the limits that are spoken of, at least one."""
    parts = [sql.SQL("ALTER ROLE {}").format(sql.Identifier(name))]
    if connections is not None:
        parts.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(connections)))
    if valid_until is not None:
        parts.append(sql.SQL("VALID UNTIL {}").format(sql.Literal(valid_until)))
    return sql.SQL(" ").join(parts)


def drop_role(name: str) -> sql.Composed:
    """DROP ROLE; the server refuses while it owns something or has privileges anywhere."""
    return sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name))


_BRIEFLY = sql.SQL("SET LOCAL lock_timeout TO '500ms'; ")
"""For each lock: who waits for one keeps all others from it. Less than deadlock_timeout: nobody is the victim of this."""


def hand_over(role: str, heir: str) -> sql.Composed:
    """REASSIGN OWNED: all that `role` owns in this database, and of what belongs to none, goes to `heir`.

    At once, for a view reads with its owner's rights. It shuts each table that it has passed until it ends.
    """
    return _BRIEFLY + sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(role), sql.Identifier(heir))


def revoke_in_parts(role: str) -> sql.Composed:
    """A query for statements that end the privileges of `role` on relations of this database, each of them short."""
    return sql.SQL(_REVOKES).format(role=sql.Literal(role), at_once=sql.Literal(REVOKED_AT_ONCE))


REVOKED_AT_ONCE = 100
_REVOKES = """
SELECT pg_catalog.format('REVOKE ALL ON TABLE %s FROM %I CASCADE', pg_catalog.string_agg(name, ', '), {role})
  FROM (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name, pg_catalog.row_number() OVER (ORDER BY c.oid) AS number
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid IN (
               SELECT objid FROM pg_catalog.pg_shdepend
                WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND deptype = 'a'
                  AND refobjid = (SELECT oid FROM pg_catalog.pg_authid WHERE rolname = {role})
                  AND classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))) relations
 GROUP BY number / {at_once}
"""


def end_privileges(role: str) -> sql.Composed:
    """DROP OWNED in one string, which the server takes as one transaction: the privileges of `role` in this database end.

    What it owned here would be dropped. So that it owns nothing, nobody may note an owner down meanwhile (which every
    CREATE does, so this lock must be short), and nobody may have done so and not committed yet: who does keeps the role
    locked until then (shdepLockAndCheckObject in pg_shdepend.c). Who has committed before the first question is seen by the
    second, which is a statement of its own for that. And the lock waits for no operator that has stopped.
    """
    in_use = sql.SQL(_JUST_GIVEN).format(role=sql.Literal(role))
    owns = sql.SQL(_OWNED_HERE).format(role=sql.Literal(role))
    return sql.SQL("; ").join(
        (
            _BRIEFLY + sql.SQL("LOCK TABLE pg_catalog.pg_shdepend IN SHARE ROW EXCLUSIVE MODE"),
            refusing(in_use, f'somebody is just giving something to "{role}"'),
            refusing(owns, f'"{role}" owns something in this database'),
            sql.SQL("DROP OWNED BY {} RESTRICT").format(sql.Identifier(role)),
        )
    )


_JUST_GIVEN = """
SELECT FROM pg_catalog.pg_locks
 WHERE locktype = 'object' AND classid = 'pg_catalog.pg_authid'::pg_catalog.regclass
   AND objid = (SELECT oid FROM pg_catalog.pg_authid WHERE rolname = {role})
   AND pid IS DISTINCT FROM pg_catalog.pg_backend_pid()"""
# Default privileges and user mappings end with their role: REASSIGN OWNED leaves them, DROP OWNED drops them.
_OWNED_HERE = """
SELECT FROM pg_catalog.pg_shdepend
 WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND deptype = 'o'
   AND refobjid = (SELECT oid FROM pg_catalog.pg_authid WHERE rolname = {role})
   AND classid NOT IN ('pg_catalog.pg_default_acl'::pg_catalog.regclass, 'pg_catalog.pg_user_mapping'::pg_catalog.regclass)
   AND dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"""


def grant_role(role: str, member: str, *, admin: bool) -> sql.Composed:
    """Membership of `member` in `role`."""
    grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member))
    return grant + sql.SQL(" WITH ADMIN OPTION") if admin else grant


def revoke_role(role: str, member: str) -> sql.Composed:
    """The end of the membership of `member` in `role`."""
    return sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(role), sql.Identifier(member))


def create_database(name: str, owner: str, options: DatabaseOptions = DatabaseOptions()) -> sql.Composed:  # noqa: B008
    """CREATE DATABASE; from the default template unless the options ask for another, or need one."""
    made = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
    # Only template0 may be copied with another encoding or locale than its own.
    template = options.template or ("template0" if options.encoding or options.locale else None)
    words: tuple[tuple[str, sql.Composable | None], ...] = (
        ("TEMPLATE", sql.Identifier(template) if template else None),
        ("ENCODING", sql.Literal(options.encoding) if options.encoding else None),
        ("LOCALE", sql.Literal(options.locale) if options.locale else None),
        ("CONNECTION LIMIT", None if options.connection_limit is None else sql.Literal(options.connection_limit)),
    )
    return sql.SQL(" ").join([made, *(part for word, value in words if value for part in (sql.SQL(word), value))])


def limit_database(name: str, connections: int) -> sql.Composed:
    """ALTER DATABASE … CONNECTION LIMIT; -1 is none."""
    return sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(sql.Identifier(name), sql.Literal(connections))


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
    """Without the children of a table that others inherit from; partitions are their parent's rows anyway."""
    return sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*table)) for table in tables)


def repair_password_sql(role: str, verifier: str) -> str:
    """A script for `psql -X -v ON_ERROR_STOP=1` on the local socket: the way back when a password is lost.

    Feed it on standard input, so that the verifier is in no command line, to a session that is pinned as all of ours are.
    It keeps the verifier out of the server's log and out of pg_stat_statements.
    """
    change = with_verifier(alter_role(role, Flags()), verifier).as_string(None)
    return f"{unsampled()};\n{quiet(is_local=False)};\n{change};\n"
