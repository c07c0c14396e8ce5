"""The catalogue that the recorded cases of the reference operator end with is the one that we make."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import sql

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.passes import passwords, settle
from adapters.postgres.servers import Server
from compat.compare import after_step, beforehand, cluster_of, read_case, values_of
from howdah.adapters.postgres import Password
from howdah.core.resolve import roles_and_databases
from howdah.model.postgres.desired import Desired, PasswordSource

CASES = Path(__file__).parents[2] / "compat" / "cases"
LEFT_OUT = {
    "users-no-admin-role": "another superuser than this server has",
}
"""Cases, by the begin of their names, that need what is not built yet, or what this server is not."""


def wanted(case: Path, manifest: str = "manifest.yaml") -> Desired:
    """What the case's manifest asks for under its configuration, with what its other objects and its teams API say."""
    cluster = cluster_of(after_step(read_case(case), {"apply": manifest}))
    return roles_and_databases(cluster.access, cluster.names)


def given(case: Path, desired: Desired) -> dict[PasswordSource, Password]:
    """The passwords of the Secrets; those of infrastructure roles are in the case."""
    there = beforehand(read_case(case))
    own = {
        role.name: values_of(there["Secret", role.password_origin.namespace or case.name, role.password_origin.secret])[
            role.password_origin.key
        ]
        for role in desired.roles
        if role.password_origin is not None
    }
    return passwords(desired, **own)


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
       ARRAY(SELECT a::text FROM unnest(nspacl) a)
  FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
DEFAULTS = """
SELECT format('%s in %s on %s', pg_get_userbyid(defaclrole), coalesce(nspname, '*'),
              CASE defaclobjtype WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions'
                                 WHEN 'T' THEN 'types' WHEN 'n' THEN 'schemas' END),
       ARRAY(SELECT a::text FROM unnest(defaclacl) a)
  FROM pg_default_acl LEFT JOIN pg_namespace n ON n.oid = defaclnamespace
"""
FUNCTIONS = """
SELECT format('%s.%s(%s)', n.nspname, p.proname, pg_get_function_arguments(p.oid)), pg_get_userbyid(proowner), prosecdef,
       ARRAY(SELECT a::text FROM unnest(coalesce(proacl, acldefault('f', proowner))) a)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
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
        "postgres": _database(server, "postgres", "postgres"),
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
        "functions": {
            function: {"owner": function_owner, "security_definer": definer, "acl": sorted(map(_plain, acl))}
            for function, function_owner, definer, acl in server.sql(FUNCTIONS, name)
        },
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
    roles[pam_role(case)] = roles.pop("zalandos")
    # The superuser's password is this server's own.
    roles.pop("postgres", None)
    available = {name for (name,) in server.sql("SELECT name FROM pg_available_extensions")}
    databases = dict(document.get("databases", {}))
    postgres = databases.pop("postgres", {})
    return {
        "roles": {name: _adapted_role(role) for name, role in roles.items()},
        "databases": {name: _recorded_database(database, available) for name, database in databases.items()},
        "postgres": _recorded_database(postgres, available),
    }


def _recorded_database(database: dict[str, Any], available: set[str]) -> dict[str, Any]:
    return {
        "owner": database.get("owner", "postgres"),
        "schemas": {
            schema: {**inside, "acl": [_plain(item) for item in inside["acl"]]}
            for schema, inside in database.get("schemas", {}).items()
        },
        "default_privileges": {
            key: [_plain(item) for item in acl] for key, acl in database.get("default_privileges", {}).items()
        },
        "extensions": {
            extension: schema for extension, schema in database.get("extensions", {}).items() if extension in available
        },
        "functions": database.get("functions", {}),
        "publications": database.get("publications", {}),
    }


def _adapted_role(role: dict[str, Any]) -> dict[str, Any]:
    """A role that cannot log in has no password with us; the reference gives it one that nobody can use."""
    password = role["password"]
    method = password.replace(",", " ").split()[0] if password and "login" in role["flags"] else None
    return {**role, "password": method}


def pam_role(case: Path) -> str:
    """The role of all people, which a cluster's bootstrap makes."""
    return read_case(case).settings.pam_role_name


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
    if pam_role(case) != "zalandos":
        server.sql(sql.SQL("ALTER ROLE zalandos RENAME TO {}").format(sql.Identifier(pam_role(case))))
    await settle(server, desired, given(case, desired), method="md5" if name == "users-md5" else "scram-sha-256")
    live, expected = seen(server), recorded(case, server)
    if name == "streams":  # its owner existed beforehand, and the reference gives an admin to new roles only
        assert live["roles"]["admin"]["member_of"].pop("foo_owner") == "admin"
    assert live["roles"] == expected["roles"]
    assert live["databases"] == expected["databases"]
    for part in ("schemas", "functions"):  # beside what every server has, which the recording leaves out
        assert expected["postgres"][part].items() <= live["postgres"][part].items()
    assert live["postgres"]["functions"].keys() == expected["postgres"]["functions"].keys()


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
