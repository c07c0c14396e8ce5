"""A cluster with many roles and databases, and a catalogue that has all of it: what comparing them costs."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from bench import fleet
from howdah.core.postgres.difference import difference, interest
from howdah.core.postgres.removal import farewells
from howdah.core.postgres.rotation import as_in_server, interest_in_logins, removals, rotations, with_logins
from howdah.core.resolve import resolve, roles_and_databases
from howdah.model.cluster import Cluster
from howdah.model.postgres.catalogue import Catalogue, Contents, Database, Extension, Role, Schema
from howdah.model.postgres.desired import FLAG_NAMES, Desired, DesiredDatabase, DesiredRole, Flags
from howdah.model.postgres.rotation import HeldSecret
from howdah.model.postgres.statements import Statement

USERS, DATABASES = 200, 50
NOW = dt.datetime(2026, 11, 25, tzinfo=dt.UTC)
LOGIN_DATE = "261101"
_ALL_FLAGS = Flags(**dict.fromkeys(FLAG_NAMES, False))


def request() -> Cluster:
    """The resolved manifest."""
    users: dict[str, list[str]] = {f"user_{number:03}": [] for number in range(USERS)}
    names = [f"shop_{number:02}" for number in range(DATABASES)]
    manifest = fleet.manifest("acid-many")
    manifest["spec"] |= {
        "users": users,
        "databases": dict.fromkeys(names[: DATABASES // 2], "user_000"),
        "preparedDatabases": {name: {} for name in names[DATABASES // 2 :]},
        "userOptions": {user: {"memberOf": ["pg_monitor"], "connectionLimit": 9} for user in users},
        "usersWithSecretRotation": list(users),
    }
    return resolve(manifest, fleet.settings())


def held(cluster: Cluster) -> tuple[HeldSecret, ...]:
    """Every user has been rotated once."""
    return tuple(
        HeldSecret(s.username, s.namespace, s.name, "uid", "1", f"{s.username}{LOGIN_DATE}", "", "2026-12-01T00:00:00Z")
        for s in cluster.secrets
        if s.role == "user"
    )


def as_desired(cluster: Cluster) -> Catalogue:
    """A server that lacks nothing."""
    desired = with_logins(roles_and_databases(cluster.access, cluster.names), held(cluster))
    admins = {role.name: role.admins for role in desired.roles}
    others = ("admin", "pg_monitor")
    live = {role.name: _role(role, admins) for role in desired.roles}
    live |= {name: _role(DesiredRole(name), admins) for name in others if name not in live}
    databases = {one.name: Database(one.name, one.owner) for one in desired.databases}
    return Catalogue(live, databases, {one.name: _contents(one) for one in desired.databases if one.has_contents})


def _role(role: DesiredRole, admins: dict[str, tuple[str, ...]]) -> Role:
    member_of = dict.fromkeys(role.member_of, False)
    member_of |= {other: True for other, names in admins.items() if role.name in names}
    return Role(
        role.name,
        replace(_ALL_FLAGS, **dict(role.flags.spoken())),
        {name: ", ".join(f'"{item}"' for item in value) for name, value in role.parameters.items()},
        member_of,
        connection_limit=-1 if role.connection_limit is None else role.connection_limit,
        comment=role.note,
    )


def _contents(database: DesiredDatabase) -> Contents:
    privileges: dict[Any, frozenset[tuple[str, str]]] = {}
    for one in database.default_privileges:
        key = (one.creator, one.schema, one.objects)
        privileges[key] = privileges.get(key, frozenset()) | {(one.grantee, word) for word in one.privileges}
    return Contents(
        {s.name: Schema(s.name, s.owner, frozenset((name, "USAGE") for name in s.usage)) for s in database.schemas},
        {e.name: Extension(e.name, e.schema, relocatable=True) for e in database.extensions},
        privileges,
    )


def missing(cluster: Cluster, catalogue: Catalogue) -> tuple[Statement, ...]:
    """All that a look computes, passwords aside: they are remembered by version."""
    rules, secrets = cluster.access.rotation, held(cluster)
    asked = roles_and_databases(cluster.access, cluster.names)
    desired: Desired = with_logins(asked, secrets)
    interest_in_logins(interest(desired), asked)
    desired = as_in_server(desired, catalogue)
    found = difference(desired, catalogue, matching=frozenset(role.name for role in desired.roles))
    gone = tuple(farewells(desired, catalogue, removals(desired, catalogue, rules, NOW)))
    rotations(asked, secrets, catalogue, found, rules)
    return (*found, *(one for one in gone if isinstance(one, Statement)))
