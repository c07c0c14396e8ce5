"""The catalogue that the recorded cases of the reference operator end with is the one that we make."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import settle
from adapters.postgres.servers import Server
from compat.compare import cluster_of, read_case
from howdah.core.postgres.manifest import desired_state
from howdah.core.resolve import roles_and_databases
from howdah.model.postgres.desired import Desired, RoleRules

CASES = Path(__file__).parents[2] / "compat" / "cases"
LEFT_OUT = {
    "infrastructure-roles-": "infrastructure roles",
    "teams-api": "people of the teams API",
    "postgres-team": "people of PostgresTeam",
    "pooler-": "the pooler's user and lookup function",
    "adopt-created-while-down": "a pooler",
    "delete-": "a pooler",
    "inherited-metadata": "a pooler",
    "owner-references": "a pooler",
    "users-no-admin-role": "another superuser than this server has",
}
"""Cases, by the begin of their names, that need what is not built yet, or what this server is not."""


def configuration(case: Path) -> dict[str, Any]:
    path = case / "configuration.yaml"
    return dict(yaml.safe_load(path.read_text())["configuration"]) if path.exists() else {}


def rules(case: Path, cluster: str) -> RoleRules:
    options = configuration(case)
    users, kubernetes, teams = (options.get(group) or {} for group in ("users", "kubernetes", "teams_api"))
    has_admin = teams.get("enable_admin_role_for_users", True)
    return RoleRules(
        cluster,
        case.name,
        users.get("super_username", "postgres"),
        users.get("replication_username", "standby"),
        teams.get("team_admin_role", "admin") if has_admin else "",
        additional_owner_roles=tuple(users.get("additional_owner_roles", ())),
        cross_namespace_secrets=kubernetes.get("enable_cross_namespace_secret", False),
    )


def wanted(case: Path, manifest: str = "manifest.yaml") -> Desired:
    document = yaml.safe_load((case / manifest).read_text())
    spec = document["spec"]
    if spec.get("streams"):
        cluster = cluster_of(read_case(case))
        return roles_and_databases(cluster.access, cluster.names)
    users = {name: flags for name, flags in (spec.get("users") or {}).items() if flags is not None}
    return desired_state(
        users,
        spec.get("databases") or {},
        spec.get("preparedDatabases"),
        rules=rules(case, document["metadata"]["name"]),
    )


def cases() -> list[str]:
    """The first case of each different request; most cases have the users and databases of another."""
    first: dict[str, str] = {}
    for path in sorted(CASES.iterdir()):
        catalogue = path / "catalogue.json"
        if path.name.startswith(tuple(LEFT_OUT)) or not catalogue.exists():
            continue
        document = json.loads(catalogue.read_text())
        if "roles" in document:  # else the operator kept away from the database
            first.setdefault(repr((_without_names(wanted(path), path), document.get("databases"))), path.name)
    return sorted(first.values())


def _without_names(desired: Desired, path: Path) -> str:
    return repr(desired).replace(path.name, "")


ROLES = """
SELECT r.rolname, array_remove(ARRAY[
         CASE WHEN rolsuper THEN 'superuser' END, CASE WHEN rolcreatedb THEN 'createdb' END,
         CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolinherit THEN 'inherit' END,
         CASE WHEN rolcanlogin THEN 'login' END, CASE WHEN rolreplication THEN 'replication' END,
         CASE WHEN rolbypassrls THEN 'bypassrls' END], NULL),
       coalesce((SELECT json_object_agg(p.rolname, CASE WHEN admin_option THEN 'admin' ELSE 'member' END)
                   FROM pg_auth_members JOIN pg_roles p ON p.oid = roleid WHERE member = r.oid), '{}'),
       split_part(rolpassword, '$', 1),
       coalesce((SELECT json_object_agg(split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))
                   FROM pg_db_role_setting, unnest(setconfig) c
                  WHERE setrole = r.oid AND setdatabase = 0), '{}')
  FROM pg_authid r WHERE rolname !~ '^pg_' AND rolname <> 'postgres'
"""
DATABASES = "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
SCHEMAS = """
SELECT nspname, pg_get_userbyid(nspowner),
       ARRAY(SELECT a::text FROM unnest(coalesce(nspacl, acldefault('n', nspowner))) a)
  FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
DEFAULTS = """
SELECT format('%s in %s on %s', pg_get_userbyid(defaclrole), coalesce(nspname, '*'),
              CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                                 WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' END),
       ARRAY(SELECT a::text FROM unnest(defaclacl) a)
  FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
"""
EXTENSIONS = """
SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname <> 'plpgsql'
"""


PUBLICATIONS = """
SELECT pubname, pg_get_userbyid(pubowner),
       concat_ws(',', CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
                 CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END),
       ARRAY(SELECT schemaname || '.' || tablename FROM pg_publication_tables t WHERE t.pubname = p.pubname ORDER BY 1)
  FROM pg_publication p
"""


def prepare(case: Path, server: Server) -> None:
    """What the case's people did in the database beforehand."""
    for step in (yaml.safe_load((case / "case.yaml").read_text()) or {}).get("sql") or ():
        for statement in step["run"].split(";"):  # CREATE DATABASE wants to be alone
            server.sql(statement, step.get("database", "postgres"))


def seen(server: Server) -> dict[str, Any]:
    """The server in the form of the recording."""
    roles = {
        name: {"flags": flags, "member_of": member_of, "password": _method(method), "settings": _sorted_path(settings)}
        for name, flags, member_of, method, settings in server.sql(ROLES)
    }
    return {
        "roles": roles,
        "databases": {name: _database(server, name, owner) for name, owner in server.sql(DATABASES)},
    }


def _sorted_path(settings: dict[str, str]) -> dict[str, str]:
    """As the recording: the reference has the schemas at random, so they are sorted after the first entry."""
    if "search_path" not in settings:
        return settings
    first, *rest = settings["search_path"].split(", ")
    return {**settings, "search_path": ", ".join((first, *sorted(rest)))}


def _database(server: Server, name: str, owner: str) -> dict[str, Any]:
    return {
        "owner": owner,
        "schemas": {
            schema: {"owner": schema_owner, "acl": sorted(_plain(item) for item in acl)}
            for schema, schema_owner, acl in server.sql(SCHEMAS, name)
        },
        "default_privileges": {key: sorted(_plain(item) for item in acl) for key, acl in server.sql(DEFAULTS, name)},
        "extensions": dict(server.sql(EXTENSIONS, name)),
        "publications": {
            publication: {"owner": pub_owner, "publishes": publishes, "tables": tables}
            for publication, pub_owner, publishes, tables in server.sql(PUBLICATIONS, name)
        },
    }


def _plain(item: str) -> str:
    """MAINTAIN came with 17; the recording is of 15."""
    return item.replace("arwdDxtm/", "arwdDxt/").replace('"', "")


def _method(text: str | None) -> str | None:
    if not text:
        return None
    return "md5" if text.startswith("md5") else text.lower()


def recorded(case: Path, server: Server, *, file: str = "catalogue.json") -> dict[str, Any]:
    """The recording, less what we do otherwise on purpose."""
    document = json.loads((case / file).read_text())
    roles = BASELINE_ROLES | document["roles"]
    # The superuser's password is this server's own.
    roles.pop("postgres", None)
    available = {name for (name,) in server.sql("SELECT name FROM pg_available_extensions")}
    return {
        "roles": {name: _adapted_role(role) for name, role in roles.items()},
        "databases": {
            name: {
                "owner": database["owner"],
                "schemas": {
                    schema: {**inside, "acl": [_plain(item) for item in inside["acl"]]}
                    for schema, inside in database["schemas"].items()
                },
                "default_privileges": {
                    key: [_plain(item) for item in acl] for key, acl in database.get("default_privileges", {}).items()
                },
                "extensions": {
                    extension: schema
                    for extension, schema in database.get("extensions", {}).items()
                    if extension in available
                },
                "publications": database.get("publications", {}),
            }
            for name, database in document.get("databases", {}).items()
        },
    }


def _adapted_role(role: dict[str, Any]) -> dict[str, Any]:
    """A role that cannot log in has no password with us; the reference gives it one that nobody can use."""
    password = role["password"]
    method = password.replace(",", " ").split()[0] if password and "login" in role["flags"] else None
    return {**role, "password": method}


BASELINE_ROLES: dict[str, Any] = {
    "admin": {
        "flags": ["createdb", "inherit"],
        "member_of": {"cron_admin": "member"},
        "password": None,
        "settings": {},
    },
    "cron_admin": {"flags": ["inherit"], "member_of": {}, "password": None, "settings": {}},
    "robot_zmon": {"flags": ["inherit"], "member_of": {}, "password": None, "settings": {}},
    "zalandos": {"flags": ["inherit"], "member_of": {}, "password": None, "settings": {}},
}


def with_available_extensions(desired: Desired, server: Server) -> Desired:
    """The wheel's servers lack contrib: what they do not have is left out of the case."""
    available = {name for (name,) in server.sql("SELECT name FROM pg_available_extensions")}
    return replace(
        desired,
        databases=tuple(
            replace(database, extensions=tuple(e for e in database.extensions if e.name in available))
            for database in desired.databases
        ),
    )


LOWEST = only(min(MAJORS))
"""The recording is of 15; later majors have more privileges by default."""


@LOWEST
@pytest.mark.parametrize("name", cases())
async def test_catalogue_is_the_recorded_one(name: str, server: Server) -> None:
    case = CASES / name
    prepare(case, server)
    desired = with_available_extensions(wanted(case), server)
    assert desired.errors == ()
    await settle(server, desired, method="md5" if name == "users-md5" else "scram-sha-256")
    live, expected = seen(server), recorded(case, server)
    if name == "streams":  # its owner existed beforehand, and the reference gives an admin to new roles only
        assert live["roles"]["admin"]["member_of"].pop("foo_owner") == "admin"
    assert live["roles"] == expected["roles"]
    assert live["databases"] == expected["databases"]


@LOWEST
@pytest.mark.parametrize("name", ["update-users-databases", "update-prepared"])
async def test_catalogue_is_the_recorded_one_after_each_change(name: str, server: Server) -> None:
    case = CASES / name
    for number in ("", "-2", "-3"):
        await settle(server, with_available_extensions(wanted(case, f"manifest{number}.yaml"), server))
        live, expected = seen(server), recorded(case, server, file=f"catalogue{number}.json")
        assert live["roles"] == expected["roles"]
        for database, inside in expected["databases"].items():
            # The reference sets default privileges only when it makes a database or a schema.
            more = live["databases"][database].pop("default_privileges")
            fewer = inside.pop("default_privileges")
            assert {key: more[key] for key in fewer} == fewer
        assert live["databases"] == expected["databases"]
