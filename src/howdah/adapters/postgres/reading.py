"""The catalogue, in as few queries as there can be: two on `postgres`, one on each database that matters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.adapters.postgres.connection import NotWritable, Session, Target, connect
from howdah.model.errors import ExternalError
from howdah.model.postgres.catalogue import (
    TEAM_MEMBER,
    Catalogue,
    Contents,
    Database,
    DefaultKey,
    Extension,
    Interest,
    Lookup,
    Publication,
    Publishing,
    Role,
    Schema,
    Ties,
    Verifier,
)
from howdah.model.postgres.desired import FLAG_NAMES, Flags

_ROLES = """
  WITH people AS (
SELECT a.oid, a.rolname
  FROM pg_shdescription d JOIN pg_authid a ON a.oid = d.objoid
 WHERE %(suffix)s::text IS NOT NULL AND d.classoid = 'pg_authid'::regclass AND strpos(d.description, %(mark)s) > 0)
SELECT r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit, r.rolcanlogin, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit, r.rolpassword,
       (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0),
       (SELECT json_object_agg(m.rolname, m.admin)
          FROM (SELECT p.rolname, bool_or(a.admin_option) AS admin
                  FROM pg_auth_members a JOIN pg_authid p ON p.oid = a.roleid
                 WHERE a.member = r.oid GROUP BY p.rolname) m),
       CASE WHEN isfinite(r.rolvaliduntil) THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
            ELSE r.rolvaliduntil::text END,
       (SELECT json_object_agg(d.datname, s.setconfig)
          FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE s.setrole = r.oid),
       shobj_description(r.oid, 'pg_authid'),
       CASE WHEN r.rolname = ANY(%(leaving)s::name[]) OR r.is_dated THEN json_build_array(
         (SELECT count(*) FROM pg_stat_activity v WHERE v.usesysid = r.oid),
         (SELECT json_object_agg(coalesce(d.datname, ''), json_build_array(o.ties, o.owned))
            FROM (SELECT dbid, count(*) AS ties, count(*) FILTER (
                           WHERE deptype = 'o' AND classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass)
                         ) AS owned
                    FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = r.oid GROUP BY dbid) o
            LEFT JOIN pg_database d ON d.oid = o.dbid),
         (SELECT json_agg(DISTINCT p.rolname) FROM pg_auth_members a JOIN pg_authid p ON p.oid = a.member
           WHERE a.roleid = r.oid AND NOT a.admin_option)) END
  FROM (SELECT *, rolname ~ '[0-9]{6}$' AND left(rolname, -6) = ANY(%(dated)s::text[]) AS is_dated FROM pg_authid) r
 WHERE r.is_dated
    OR r.rolname = ANY(%(names)s::name[])
    OR r.oid IN (SELECT oid FROM people)
    OR r.rolname IN (SELECT (rolname || %(suffix)s)::name FROM people)
"""

_DATABASES = """
SELECT d.datname, r.rolname, d.datallowconn, pg_encoding_to_char(d.encoding), d.datcollate, d.datconnlimit,
       d.datistemplate, current_setting('server_version_num')::int
  FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba
 WHERE d.datname NOT IN ('template0', 'template1')
"""

_CONTENTS = """
SELECT (SELECT coalesce(json_agg(json_build_array(n.nspname, o.rolname, (
                 SELECT json_agg(json_build_array(coalesce(g.rolname, ''), x.privilege_type))
                   FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x
                   LEFT JOIN pg_authid g ON g.oid = x.grantee))), '[]')
          FROM pg_namespace n JOIN pg_authid o ON o.oid = n.nspowner
         WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'),
       (SELECT coalesce(json_agg(json_build_array(e.extname, n.nspname, e.extrelocatable)), '[]')
          FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace),
       (SELECT coalesce(json_agg(json_build_array(c.rolname, n.nspname, d.defaclobjtype, (
                 SELECT json_agg(json_build_array(coalesce(g.rolname, ''), x.privilege_type))
                   FROM aclexplode(d.defaclacl) x
                   LEFT JOIN pg_authid g ON g.oid = x.grantee))), '[]')
          FROM pg_default_acl d JOIN pg_authid c ON c.oid = d.defaclrole
          LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace),
       (SELECT coalesce(json_agg(json_build_array(n.nspname, o.rolname, p.prosrc, p.prosecdef, p.proconfig, (
                 SELECT json_agg(json_build_array(coalesce(g.rolname, ''), x.privilege_type))
                   FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
                   LEFT JOIN pg_authid g ON g.oid = x.grantee))), '[]')
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_authid o ON o.oid = p.proowner
         WHERE p.proname = 'user_lookup' AND p.proargtypes = ARRAY['text'::regtype]::oidvector)
"""

_PUBLICATIONS = """
SELECT (SELECT coalesce(json_agg(json_build_array(p.pubname, p.pubinsert, p.pubupdate, p.pubdelete,
                 coalesce((to_jsonb(p)->>'pubtruncate')::boolean, false), (
                 SELECT json_agg(json_build_array(n.nspname, c.relname))
                   FROM pg_publication_rel x JOIN pg_class c ON c.oid = x.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE x.prpubid = p.oid))), '[]')
          FROM pg_publication p),
       (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname)), '[]')
          FROM unnest(%s::text[], %s::text[]) w(nsp, rel)
          JOIN pg_namespace n ON n.nspname = w.nsp JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.rel
         WHERE c.relkind IN ('r', 'p'))
"""
"""Ordinary and partitioned tables: nothing else can be published. 10 does not know of truncate."""

_OBJECTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
"""pg_default_acl.defaclobjtype."""

_SETTINGS = """
SELECT name, setting, unit, vartype, context, pending_restart
  FROM pg_settings WHERE lower(name) = ANY(%s::text[])
"""


_SESSIONS = """
SELECT usename, count(*) FROM pg_stat_activity WHERE usename = ANY(%s::name[]) GROUP BY usename
"""


@dataclass(frozen=True, slots=True)
class ServerSetting:
    """One row of pg_settings."""

    name: str
    value: str | None
    """In `unit`, without it: "16384" for 128MB of 8kB."""
    unit: str | None
    kind: str
    """bool, enum, integer, real or string."""
    context: str
    """What a change takes: postmaster needs a restart, sighup a reload, internal cannot be changed."""
    pending_restart: bool


async def observe(target: Target, interest: Interest) -> Catalogue:
    """The roles and databases of `interest`; a database that does not exist or is closed to everybody is not read.

    Connects once to `postgres` and once to each database in question, one after the other. One that refuses keeps none
    of the others from being read; raises ExternalError where the server itself does not answer.
    """
    async with connect(target) as session:
        roles = await _roles(session, interest)
        databases, version = await _databases(session)
    contents: dict[str, Contents] = {}
    publishing: dict[str, Publishing] = {}
    unread: dict[str, str] = {}
    every = {name for name, database in databases.items() if not database.is_template}
    inside = {*interest.databases, *(every if interest.every_database else ())}
    for name in sorted(inside | set(interest.published)):
        live = databases.get(name)
        if live is None or not live.takes_connections:
            continue
        try:
            async with connect(target, name) as session:
                found = await _contents(session) if name in inside else None
                tables = interest.published.get(name)
                published = await publications(session, tables) if tables is not None else None
        except NotWritable:
            raise
        except ExternalError as error:
            async with connect(target):  # or the server is lost, which is another matter
                unread[name] = error.message
            continue
        if found is not None:
            contents[name] = found
        if published is not None:
            publishing[name] = published
    return Catalogue(roles, databases, contents, version, publishing, unread)


async def sessions(target: Target, roles: Collection[str]) -> Mapping[str, int]:
    """How many sessions each of these roles has on this very server, without those that have none."""
    async with connect(target) as session:
        cursor = await session.execute(_SESSIONS, [sorted(roles)])
        return {row[0]: row[1] async for row in cursor}


async def server_settings(session: Session, names: Collection[str]) -> Mapping[str, ServerSetting]:
    """What the server knows of these parameters, by lower-case name; one that it does not know is left out."""
    cursor = await session.execute(_SETTINGS, [sorted({name.lower() for name in names})])
    return {row[0].lower(): ServerSetting(*row) async for row in cursor}


async def _roles(session: Session, interest: Interest) -> Mapping[str, Role]:
    asked = {
        "names": sorted(interest.roles | interest.leaving),
        "dated": sorted(interest.dated),
        "leaving": sorted(interest.leaving),
        "suffix": interest.departed_suffix,
        "mark": TEAM_MEMBER,
    }
    cursor = await session.execute(_ROLES, asked)
    return {row[0]: _role(row) async for row in cursor}


def _role(row: tuple[Any, ...]) -> Role:
    name, *flags = row[:8]
    limit, verifier, settings, member_of, valid_until, of_databases, comment, ties = row[8:]
    return Role(
        name,
        Flags(**dict(zip(FLAG_NAMES, flags, strict=True))),
        _settings(settings),
        member_of or {},
        None if verifier is None else Verifier(verifier),
        limit,
        valid_until,
        {database: _settings(found) for database, found in (of_databases or {}).items()},
        comment,
        None if ties is None else _ties(*ties),
    )


def _ties(sessions: int, found: Mapping[str, tuple[int, int]] | None, members: Collection[str] | None) -> Ties:
    there = found or {}
    return Ties(
        sessions,
        {database: count for database, (count, _) in there.items()},
        frozenset(database for database, (_, owned) in there.items() if owned),
        tuple(members or ()),
    )


def _settings(found: Collection[str] | None) -> Mapping[str, str]:
    """Of a setconfig: `name=value` items."""
    pairs = (setting.partition("=") for setting in found or ())
    return {key: value for key, _, value in pairs}


async def _databases(session: Session) -> tuple[Mapping[str, Database], int]:
    cursor = await session.execute(_DATABASES)
    rows = await cursor.fetchall()
    return {row[0]: Database(*row[:-1]) for row in rows}, rows[0][-1]


async def _contents(session: Session) -> Contents:
    cursor = await session.execute(_CONTENTS)
    schemas, extensions, defaults, lookups = await cursor.fetchone() or ((), (), (), ())
    privileges: dict[DefaultKey, frozenset[tuple[str, str]]] = {
        (creator, schema, _OBJECTS[kind]): _granted(grants) for creator, schema, kind, grants in defaults
    }
    return Contents(
        {name: Schema(name, owner, _granted(grants)) for name, owner, grants in schemas},
        {name: Extension(name, schema, relocatable) for name, schema, relocatable in extensions},
        privileges,
        {
            schema: Lookup(owner, source, definer, frozenset(settings or ()), frozenset(who for who, _ in grants or ()))
            for schema, owner, source, definer, settings, grants in lookups
        },
    )


async def publications(session: Session, tables: Collection[tuple[str, str]]) -> Publishing:
    """All publications of the session's database, and which of these (schema, table) are there to be published."""
    wanted = sorted(tables)
    cursor = await session.execute(_PUBLICATIONS, [[schema for schema, _ in wanted], [table for _, table in wanted]])
    found, there = await cursor.fetchone() or ((), ())
    return Publishing(
        {
            name: Publication(
                frozenset((schema, table) for schema, table in held or ()),
                frozenset(word for word, is_on in zip(_OPERATIONS, flags, strict=True) if is_on),
            )
            for name, *flags, held in found
        },
        frozenset((schema, table) for schema, table in there),
    )


_OPERATIONS = ("insert", "update", "delete", "truncate")


def _granted(grants: list[list[str]] | None) -> frozenset[tuple[str, str]]:
    return frozenset((grantee, privilege) for grantee, privilege in grants or ())
