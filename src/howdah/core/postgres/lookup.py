"""The function by which a connection pooler learns the verifier of a role that logs in, and who may call it.

It answers with the superuser's rights, so it names everything by schema, looks nowhere else, and nobody but the pooler's
role may call it. A role that cannot log in, or whose password has expired, has no verifier there.
"""

from collections.abc import Iterator

from psycopg import sql

from howdah.core.postgres import statements as make
from howdah.model.postgres.catalogue import Contents, Lookup
from howdah.model.postgres.desired import DesiredSchema, PasswordLookup
from howdah.model.postgres.statements import Kind, Statement

FUNCTION = "user_lookup"
SOURCE = (
    "SELECT a.rolname::pg_catalog.text, "
    "CASE WHEN a.rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL ELSE a.rolpassword END "
    "FROM pg_catalog.pg_authid a WHERE a.rolname OPERATOR(pg_catalog.=) i_username AND a.rolcanlogin"
)
_SETTING = "search_path=pg_catalog"


def lookup_statements(database: str, wanted: PasswordLookup, live: Contents) -> Iterator[Statement]:
    """What is missing in one database: the schema, who may enter it, the function."""
    schema = live.schemas.get(wanted.schema)
    if schema is None:
        reason = f'schema "{wanted.schema}" of database "{database}" does not exist'
        made = make.create_schema(DesiredSchema(wanted.schema, wanted.owner))
        yield Statement(Kind.CREATE_SCHEMA, database, database, made, reason)
    if schema is None or (wanted.user, "USAGE") not in schema.privileges:
        reason = f'schema "{wanted.schema}" of database "{database}" is not open to {wanted.user}'
        granted = make.grant_usage(wanted.schema, (wanted.user,))
        yield Statement(Kind.SCHEMA_USAGE, database, database, granted, reason)
    why = _fault(live.lookups.get(wanted.schema), wanted)
    if why is not None:
        reason = f'function {wanted.schema}.{FUNCTION} of database "{database}" {why}'
        yield Statement(Kind.LOOKUP, database, database, lookup_function(wanted), reason)


def _fault(live: Lookup | None, wanted: PasswordLookup) -> str | None:
    """Why the function has to be written, as a sentence after its name; None where it is right."""
    if live is None:
        return "does not exist"
    if live.owner != wanted.owner:
        return f"belongs to {live.owner}, not to {wanted.owner}"
    if "" in live.executors:
        return "is open to everybody"
    if wanted.user not in live.executors:
        return f"is not open to {wanted.user}"
    if live.source != SOURCE or not live.security_definer or _SETTING not in live.settings:
        return "is another one"
    return None


def lookup_function(wanted: PasswordLookup) -> sql.Composed:
    """One string of statements, which the server takes as one transaction: it is never there and open to everybody."""
    name = sql.Identifier(wanted.schema, FUNCTION)
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {name}(IN i_username text, OUT uname text, OUT phash text) RETURNS record "
        "LANGUAGE sql STABLE SECURITY DEFINER SET search_path TO pg_catalog AS {source}; "
        "ALTER FUNCTION {name}(text) OWNER TO {owner}; "
        "REVOKE ALL ON FUNCTION {name}(text) FROM PUBLIC; "
        "GRANT EXECUTE ON FUNCTION {name}(text) TO {user}"
    ).format(
        name=name,
        source=sql.Literal(SOURCE),
        owner=sql.Identifier(wanted.owner),
        user=sql.Identifier(wanted.user),
    )
