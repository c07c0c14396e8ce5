"""The catalogue, in as few queries as there can be: two on `postgres`, one on each database that matters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.adapters.postgres.connection import Session, Target, connect
from howdah.model.postgres.catalogue import (
    Catalogue,
    Contents,
    Database,
    DefaultKey,
    Extension,
    Interest,
    Publication,
    Publishing,
    Role,
    Schema,
    Verifier,
)
from howdah.model.postgres.desired import FLAG_NAMES, Flags

_ROLES = """
SELECT r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolinherit, r.rolcanlogin, r.rolreplication,
       r.rolbypassrls, r.rolconnlimit, r.rolpassword,
       (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0),
       (SELECT json_object_agg(m.rolname, m.admin)
          FROM (SELECT p.rolname, bool_or(a.admin_option) AS admin
                  FROM pg_auth_members a JOIN pg_authid p ON p.oid = a.roleid
                 WHERE a.member = r.oid GROUP BY p.rolname) m)
  FROM pg_authid r
 WHERE r.rolname = ANY(%s::name[])
"""

_DATABASES = """
SELECT d.datname, r.rolname, d.datallowconn, current_setting('server_version_num')::int
  FROM pg_database d JOIN pg_authid r ON r.oid = d.datdba
 WHERE NOT d.datistemplate
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
          LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace)
"""

_PUBLICATIONS = """
SELECT (SELECT coalesce(json_agg(json_build_array(p.pubname, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, (
                 SELECT json_agg(json_build_array(n.nspname, c.relname))
                   FROM pg_publication_rel x JOIN pg_class c ON c.oid = x.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE x.prpubid = p.oid))), '[]')
          FROM pg_publication p),
       (SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname)), '[]')
          FROM unnest(%s::text[], %s::text[]) w(nsp, rel)
          JOIN pg_namespace n ON n.nspname = w.nsp JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.rel
         WHERE c.relkind IN ('r', 'p'))
"""
"""Ordinary and partitioned tables: nothing else can be published."""

_OBJECTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
"""pg_default_acl.defaclobjtype."""

_SETTINGS = """
SELECT name, setting, unit, vartype, context, pending_restart
  FROM pg_settings WHERE lower(name) = ANY(%s::text[])
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
    """The roles and databases of `interest`; a database that does not exist or takes no connections is not read.

    Connects once to `postgres` and once to each database in question, one after the other.
    """
    async with connect(target) as session:
        roles = await _roles(session, interest.roles)
        databases, version = await _databases(session)
    contents: dict[str, Contents] = {}
    publishing: dict[str, Publishing] = {}
    for name in sorted(interest.databases | set(interest.published)):
        live = databases.get(name)
        if live is None or not live.allows_connections:
            continue
        async with connect(target, name) as session:
            if name in interest.databases:
                contents[name] = await _contents(session)
            if name in interest.published:
                publishing[name] = await _publishing(session, interest.published[name])
    return Catalogue(roles, databases, contents, version, publishing)


async def server_settings(session: Session, names: Collection[str]) -> Mapping[str, ServerSetting]:
    """What the server knows of these parameters, by lower-case name; one that it does not know is left out."""
    cursor = await session.execute(_SETTINGS, [sorted({name.lower() for name in names})])
    return {row[0].lower(): ServerSetting(*row) async for row in cursor}


async def _roles(session: Session, names: Collection[str]) -> Mapping[str, Role]:
    cursor = await session.execute(_ROLES, [sorted(names)])
    return {row[0]: _role(row) async for row in cursor}


def _role(row: tuple[Any, ...]) -> Role:
    name, *flags = row[:8]
    limit, verifier, settings, member_of = row[8:]
    pairs = (setting.partition("=") for setting in settings or ())
    return Role(
        name,
        Flags(**dict(zip(FLAG_NAMES, flags, strict=True))),
        {key: value for key, _, value in pairs},
        member_of or {},
        None if verifier is None else Verifier(verifier),
        limit,
    )


async def _databases(session: Session) -> tuple[Mapping[str, Database], int]:
    cursor = await session.execute(_DATABASES)
    rows = await cursor.fetchall()
    return {name: Database(name, owner, allows) for name, owner, allows, _ in rows}, rows[0][3]


async def _contents(session: Session) -> Contents:
    cursor = await session.execute(_CONTENTS)
    schemas, extensions, defaults = await cursor.fetchone() or ((), (), ())
    privileges: dict[DefaultKey, frozenset[tuple[str, str]]] = {
        (creator, schema, _OBJECTS[kind]): _granted(grants) for creator, schema, kind, grants in defaults
    }
    return Contents(
        {name: Schema(name, owner, _granted(grants)) for name, owner, grants in schemas},
        {name: Extension(name, schema, relocatable) for name, schema, relocatable in extensions},
        privileges,
    )


async def _publishing(session: Session, tables: Collection[tuple[str, str]]) -> Publishing:
    wanted = sorted(tables)
    cursor = await session.execute(_PUBLICATIONS, [[schema for schema, _ in wanted], [table for _, table in wanted]])
    publications, there = await cursor.fetchone() or ((), ())
    return Publishing(
        {
            name: Publication(
                frozenset((schema, table) for schema, table in held or ()),
                frozenset(word for word, is_on in zip(_OPERATIONS, flags, strict=True) if is_on),
            )
            for name, *flags, held in publications
        },
        frozenset((schema, table) for schema, table in there),
    )


_OPERATIONS = ("insert", "update", "delete", "truncate")


def _granted(grants: list[list[str]] | None) -> frozenset[tuple[str, str]]:
    return frozenset((grantee, privilege) for grantee, privilege in grants or ())
