"""The function by which a connection pooler learns the verifier of a role that logs in, and who may call it.

It answers with the superuser's rights, so it names everything by schema, looks nowhere else, and nobody but the pooler's
role may call it. A role that cannot log in, or whose password has expired, has no verifier there.
"""

from collections.abc import Iterator

from psycopg import sql

from howdah.core.postgres import statements as make
from howdah.model.postgres.catalogue import Contents, Lookup, Schema
from howdah.model.postgres.desired import DesiredSchema, PasswordLookup
from howdah.model.postgres.statements import Kind, Statement

FUNCTION = "user_lookup"
SOURCE = (
    "SELECT a.rolname::pg_catalog.text, "
    "CASE WHEN a.rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL ELSE a.rolpassword END "
    "FROM pg_catalog.pg_authid a WHERE a.rolname OPERATOR(pg_catalog.=) i_username AND a.rolcanlogin"
)
_SETTING = "search_path=pg_catalog, pg_temp"  # without pg_temp in it, that would come first


def lookup_statements(database: str, wanted: PasswordLookup, live: Contents) -> Iterator[Statement]:
    """What is missing in one database: the schema, the function, who may enter the schema."""
    schema = live.schemas.get(wanted.schema)
    if schema is None:
        reason = f'schema "{wanted.schema}" of database "{database}" does not exist'
        made = make.create_schema(DesiredSchema(wanted.schema, wanted.owner))
        yield Statement(Kind.CREATE_SCHEMA, database, database, made, reason)
    function = live.lookups.get(wanted.schema)
    strangers = _strangers(wanted, live, function)
    if schema is not None and schema.owner != wanted.owner:
        reason = f'schema "{wanted.schema}" of database "{database}" belongs to {schema.owner}, not to {wanted.owner}'
        made = sql.SQL("; ").join((_taken_schema(wanted, schema), _made_anew(wanted, strangers)))
        yield Statement(Kind.LOOKUP, database, database, made, reason)
    elif (why := _fault(function, wanted)) is not None:
        reason = f'function {wanted.schema}.{FUNCTION} of database "{database}" {why}'
        is_ours = schema is not None and function is not None and function.owner == wanted.owner
        made = (_replaced if is_ours else _made_anew)(wanted, strangers)
        yield Statement(Kind.LOOKUP, database, database, made, reason)
    if schema is None or (wanted.user, "USAGE") not in schema.privileges:
        reason = f'schema "{wanted.schema}" of database "{database}" is not open to {wanted.user}'
        granted = make.grant_usage(wanted.schema, (wanted.user,))
        yield Statement(Kind.SCHEMA_USAGE, database, database, granted, reason)


def _strangers(wanted: PasswordLookup, live: Contents, function: Lookup | None) -> tuple[str, ...]:
    """Roles that can call it without a right to, or could as soon as it is made, by default privileges of its owner."""
    executors = set() if function is None else set(function.executors)
    for (creator, schema, objects), granted in live.default_privileges.items():
        if creator == wanted.owner and schema in (None, wanted.schema) and objects == "FUNCTIONS":
            executors |= {grantee for grantee, _ in granted}
    return tuple(sorted(executors - {"", wanted.owner, wanted.user}))


def _fault(live: Lookup | None, wanted: PasswordLookup) -> str | None:
    """Why the function has to be written, as a sentence after its name; None where it is right."""
    if live is None:
        return "does not exist"
    if live.owner != wanted.owner:
        return f"belongs to {live.owner}, not to {wanted.owner}"
    if "" in live.executors:
        return "is open to everybody"
    if strangers := live.executors - {wanted.owner, wanted.user}:
        return f"is open to {', '.join(sorted(strangers))}"
    if wanted.user not in live.executors:
        return f"is not open to {wanted.user}"
    if live.source != SOURCE or not live.security_definer or live.settings != {_SETTING}:
        return "is another one"
    return None


# Each of these is one string of statements, which the server takes as one transaction: the function is never there and
# open to others.


def _taken_schema(wanted: PasswordLookup, live: Schema) -> sql.Composed:
    """Who owns a schema may replace what is in it. Its owner until now may do all else that they could."""
    return sql.SQL("ALTER SCHEMA {schema} OWNER TO {owner}; GRANT ALL ON SCHEMA {schema} TO {before}").format(
        schema=sql.Identifier(wanted.schema), owner=sql.Identifier(wanted.owner), before=sql.Identifier(live.owner)
    )


def _made_anew(wanted: PasswordLookup, strangers: tuple[str, ...]) -> sql.Composed:
    """What somebody else made, or may have made by now, is not taken over: its privileges would come with it."""
    dropped = sql.SQL("DROP FUNCTION IF EXISTS {}(text)").format(sql.Identifier(wanted.schema, FUNCTION))
    return sql.SQL("; ").join((dropped, _function(sql.SQL("CREATE FUNCTION"), wanted, strangers)))


def _replaced(wanted: PasswordLookup, strangers: tuple[str, ...]) -> sql.Composed:
    """In place: the pooler's pods go on asking meanwhile."""
    return _function(sql.SQL("CREATE OR REPLACE FUNCTION"), wanted, strangers)


def _function(verb: sql.SQL, wanted: PasswordLookup, strangers: tuple[str, ...]) -> sql.Composed:
    name = sql.Identifier(wanted.schema, FUNCTION)
    return sql.SQL(
        "{verb} {name}(IN i_username text, OUT uname text, OUT phash text) RETURNS record "
        "LANGUAGE sql STABLE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS {source}; "
        "ALTER FUNCTION {name}(text) OWNER TO {owner}; "
        "REVOKE ALL ON FUNCTION {name}(text) FROM {others}; "
        "GRANT EXECUTE ON FUNCTION {name}(text) TO {user}"
    ).format(
        verb=verb,
        name=name,
        source=sql.Literal(SOURCE),
        owner=sql.Identifier(wanted.owner),
        others=sql.SQL(", ").join((sql.SQL("PUBLIC"), *(sql.Identifier(role) for role in strangers))),
        user=sql.Identifier(wanted.user),
    )
