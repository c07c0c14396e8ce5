"""Prepared databases: a database, its schemas, and owner, reader and writer roles for both.

The tables here are those of the reference; where it sets privileges only when a database or schema is made, they are
part of what is desired at any time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from howdah.model.postgres.desired import (
    DefaultPrivilege,
    DesiredDatabase,
    DesiredExtension,
    DesiredRole,
    DesiredSchema,
    Flags,
    PasswordSource,
    RoleRules,
)

DEFAULT_SCHEMA = "data"
ADMIN = "admin"
"""The admin of owner roles; the reference does not take `team_admin_role` here."""


class SchemaSection(TypedDict, total=False):
    """`preparedDatabases.*.schemas.*` of a manifest."""

    defaultRoles: bool | None
    defaultUsers: bool | None


class DatabaseSection(TypedDict, total=False):
    """`preparedDatabases.*` of a manifest."""

    defaultUsers: bool | None
    secretNamespace: str | None
    extensions: Mapping[str, str] | None
    schemas: Mapping[str, SchemaSection] | None


@dataclass(frozen=True, slots=True)
class _Set:
    """One set of owner, reader and writer: a database's, or a schema's within it."""

    prefix: str
    admin: str
    """Who administers the owner and its LOGIN twin; readers and writers are administered by the owner."""
    search_path: tuple[str, ...]
    has_users: bool
    namespace: str

    @property
    def owner(self) -> str:
        return f"{self.prefix}_owner"

    @property
    def creators(self) -> tuple[str, ...]:
        """Who makes objects for this set: the owner, and its LOGIN twin."""
        return (self.owner, f"{self.owner}_user") if self.has_users else (self.owner,)


def prepared_roles(name: str, section: DatabaseSection, rules: RoleRules) -> tuple[DesiredRole, ...]:
    """The roles of one prepared database and of its schemas."""
    return tuple(role for one in _sets(name, section, rules) for role in _roles(one))


def prepared_database(name: str, section: DatabaseSection, rules: RoleRules) -> DesiredDatabase:
    """The database with its schemas, extensions and default privileges."""
    of_database, *of_schemas = _sets(name, section, rules)
    by_prefix = {one.prefix: one for one in of_schemas}
    schemas: list[DesiredSchema] = []
    privileges = list(_global_privileges(of_database))
    for schema in schema_sections(section):
        of_schema = by_prefix.get(f"{name}_{schema}")
        schemas.append(_schema(schema, of_database, of_schema))
        privileges.extend(_schema_privileges(schema, of_database, of_schema))
    return DesiredDatabase(
        name,
        of_database.owner,
        keep_owner=True,
        schemas=tuple(schemas),
        extensions=tuple(
            DesiredExtension(extension, schema)
            for extension, schema in sorted((section.get("extensions") or {}).items())
        ),
        default_privileges=tuple(privileges),
    )


def schema_sections(section: DatabaseSection) -> dict[str, SchemaSection]:
    """The schemas by name, sorted; none written means one, `data`."""
    written = section.get("schemas") or {DEFAULT_SCHEMA: SchemaSection()}
    return {name: written[name] or SchemaSection() for name in sorted(written)}


def _sets(name: str, section: DatabaseSection, rules: RoleRules) -> Iterator[_Set]:
    schemas = schema_sections(section)
    namespace = (rules.cross_namespace_secrets and section.get("secretNamespace")) or rules.namespace
    yield _Set(
        prefix=name,
        admin=ADMIN,
        search_path=("$user", *schemas),
        has_users=bool(section.get("defaultUsers")),
        namespace=namespace,
    )
    for schema, options in schemas.items():
        if options.get("defaultRoles") is False:
            continue
        yield _Set(
            prefix=f"{name}_{schema}",
            admin=f"{name}_owner",
            search_path=("$user", schema),
            has_users=bool(options.get("defaultUsers")),
            namespace=namespace,
        )


def _roles(one: _Set) -> Iterator[DesiredRole]:
    rows = (
        # kind, member of, admin
        ("owner", (), one.admin),
        ("reader", (), one.owner),
        ("writer", (f"{one.prefix}_reader",), one.owner),
    )
    for kind, member_of, admin in rows:
        name = f"{one.prefix}_{kind}"
        shared = {"search_path": one.search_path}
        owns = kind == "owner"
        # An application may log in with one that was there before the section was.
        group = Flags(login=False)
        yield DesiredRole(name, group, member_of, (admin,), shared, owns_databases=owns, keeps_login=True)
        if one.has_users:
            user = f"{name}_user"
            source = PasswordSource(user, one.namespace)
            yield DesiredRole(user, Flags(login=True), (name,), (admin,), shared, source, owns, rotates=True)


def _schema(name: str, of_database: _Set, of_schema: _Set | None) -> DesiredSchema:
    sets = (of_database,) if of_schema is None else (of_database, of_schema)
    usage = tuple(f"{one.prefix}_{kind}" for one in sets for kind in ("reader", "writer"))
    return DesiredSchema(name, sets[-1].owner, usage)


_READER = {"TABLES": ("SELECT",), "SEQUENCES": ("SELECT",), "FUNCTIONS": ("EXECUTE",), "TYPES": ("USAGE",)}
_WRITER = {
    "TABLES": ("INSERT", "UPDATE", "DELETE"),
    "SEQUENCES": ("USAGE", "UPDATE"),
    "FUNCTIONS": ("EXECUTE",),
    "TYPES": ("USAGE",),
}
_ON_SCHEMAS = {"SCHEMAS": ("USAGE",)}


def _privileges(creator: str, schema: str | None, prefix: str) -> Iterator[DefaultPrivilege]:
    more = _ON_SCHEMAS if schema is None else {}
    for kind, table in (("reader", _READER), ("writer", _WRITER)):
        for objects, privileges in (table | more).items():
            yield DefaultPrivilege(creator, schema, objects, f"{prefix}_{kind}", privileges)


def _global_privileges(of_database: _Set) -> Iterator[DefaultPrivilege]:
    for creator in of_database.creators:
        yield from _privileges(creator, None, of_database.prefix)


def _schema_privileges(schema: str, of_database: _Set, of_schema: _Set | None) -> Iterator[DefaultPrivilege]:
    """Who creates in the schema, for whom.

    With own roles: the schema's creators for the database's readers and writers, and every creator for the
    schema's. Without: the database's creators for the database's.
    """
    if of_schema is None:
        for creator in of_database.creators:
            yield from _privileges(creator, schema, of_database.prefix)
        return
    for creator in of_schema.creators:
        yield from _privileges(creator, schema, of_database.prefix)
    for creator in (*of_database.creators, *of_schema.creators):
        yield from _privileges(creator, schema, of_schema.prefix)
