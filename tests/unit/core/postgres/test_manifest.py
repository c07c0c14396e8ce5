"""Sections of a manifest become roles and databases; every mistake is told, and what the reference leaves out too."""

import pytest

from howdah.core.postgres.manifest import desired_state, parsed_flags
from howdah.core.postgres.prepared import DatabaseSection
from howdah.model.postgres.desired import Desired, DesiredRole, Flags, PasswordSource, RoleRules

RULES = RoleRules("acid-test", "default", admin_role="admin")


def state(
    users: dict[str, list[str]] | None = None,
    databases: dict[str, str] | None = None,
    prepared: dict[str, DatabaseSection] | None = None,
    rules: RoleRules = RULES,
) -> Desired:
    return desired_state(users or {}, databases or {}, prepared, rules=rules)


def roles(desired: Desired) -> dict[str, DesiredRole]:
    return {role.name: role for role in desired.roles}


@pytest.mark.parametrize(
    ("written", "flags"),
    [
        ([], Flags(login=True)),
        (["nologin"], Flags(login=False)),
        (["SUPERUSER", "createdb", "createdb"], Flags(login=True, superuser=True, createdb=True)),
        (["noinherit", "nobypassrls"], Flags(login=True, inherit=False, bypassrls=False)),
    ],
)
def test_flags_are_read(written: list[str], flags: Flags) -> None:
    assert parsed_flags(written) == (flags, ())


@pytest.mark.parametrize(
    ("written", "word"),
    [(["login", "NOLOGIN"], "contradict"), (["Login"], "not a flag"), (["nosuch"], "not a flag"), ([""], "not a flag")],
)
def test_bad_flags_are_told(written: list[str], word: str) -> None:
    _, faults = parsed_flags(written)
    assert [word in fault for fault in faults] == [True]


def test_every_mistake_is_told_at_once() -> None:
    desired = state({"Bad": ["what"], "app": ["login", "nologin"], "a_b": [], "a-b": []})
    assert [(problem.path, bool(problem.hint)) for problem in desired.errors] == [
        ("spec.users", True),
        ("spec.users.Bad", True),
        ("spec.users.Bad", True),
        ("spec.users.app", True),
    ]


def test_system_roles_and_protected_ones_are_left_out_with_a_warning() -> None:
    desired = state({"postgres": ["superuser"], "standby": [], "admin": [], "robot": []})
    assert [problem.path for problem in desired.warnings] == [
        "spec.users.admin",
        "spec.users.postgres",
        "spec.users.standby",
    ]
    assert list(roles(desired)) == ["postgres", "standby", "robot"]
    assert roles(desired)["postgres"].flags == Flags()


def test_a_user_without_login_has_no_password() -> None:
    assert roles(state({"group": ["nologin"]}))["group"].password is None


@pytest.mark.parametrize(("is_on", "namespace"), [(True, "apps"), (False, "default")])
def test_a_dotted_user_has_its_secret_elsewhere_where_that_is_allowed(is_on: bool, namespace: str) -> None:
    rules = RoleRules("acid-test", "default", cross_namespace_secrets=is_on)
    assert roles(state({"apps.service": []}, rules=rules))["apps.service"].password == PasswordSource(
        "apps.service", namespace
    )


def test_databases_with_bad_names_or_unknown_owners_are_left_out() -> None:
    desired = state({"app": []}, {"good": "app", "ghost": "nobody", "sys": "postgres", "bad-name": "app"})
    assert [database.name for database in desired.databases] == ["good"]
    assert [problem.path for problem in desired.warnings] == [
        "spec.databases.bad-name",
        "spec.databases.ghost",
        "spec.databases.sys",
    ]


def test_an_empty_section_means_a_database_named_like_the_cluster_and_none_means_none() -> None:
    assert [database.name for database in state(prepared={}).databases] == ["acid_test"]
    assert state(prepared=None).databases == ()


def test_a_prepared_role_wins_over_a_user_of_the_same_name() -> None:
    desired = state({"bar_owner": ["superuser"]}, prepared={"bar": {}})
    assert roles(desired)["bar_owner"].flags == Flags(login=False)
    assert [problem.path for problem in desired.warnings] == ["spec.users.bar_owner"]


def test_prepared_roles_that_two_would_make_are_a_mistake() -> None:
    desired = state(prepared={"foo": {"schemas": {"x": {}}}, "foo_x": {}})
    assert {problem.path for problem in desired.errors} == {"spec.preparedDatabases.foo_x"}
    assert '"foo_x_owner" is also one of "foo"' in str(desired.errors)


def test_a_prepared_database_never_takes_the_superuser() -> None:
    desired = state(prepared={"bar": {}}, rules=RoleRules("c", "ns", super_username="bar_owner"))
    assert roles(desired)["bar_owner"].flags == Flags()
    assert "is a role of the system" in str(desired.errors)


def test_prepared_names_that_are_not_plain_are_left_out() -> None:
    desired = state(prepared={"bad-name": {}, "good": {"schemas": {"bad-schema": {}, "data": {}}}})
    assert [database.name for database in desired.databases] == ["good"]
    assert [schema.name for schema in desired.databases[0].schemas] == ["data"]
    assert [problem.path for problem in desired.warnings] == [
        "spec.preparedDatabases.bad-name",
        "spec.preparedDatabases.good.schemas.bad-schema",
    ]


def test_names_of_the_server_are_left_out_and_told() -> None:
    """The reference makes what it can and fails at the rest in every sync; the cluster runs."""
    desired = state(
        {"app": []},
        {"template1": "app"},
        {"pg": {}, "template0": {}, "good": {"schemas": {"pg_x": {}, "information_schema": {}, "data": {}}}},
    )
    assert desired.errors == ()
    assert [database.name for database in desired.databases] == ["good"]
    assert [schema.name for schema in desired.databases[0].schemas] == ["data"]
    assert [problem.path for problem in desired.warnings] == [
        "spec.databases.template1",
        "spec.preparedDatabases.good.schemas.information_schema",
        "spec.preparedDatabases.good.schemas.pg_x",
        "spec.preparedDatabases.pg",
        "spec.preparedDatabases.template0",
    ]
    assert all("this entry is left out" in problem.hint for problem in desired.warnings)


def test_prepared_names_that_the_server_would_cut_are_a_mistake() -> None:
    desired = state(prepared={"x" * 60: {}})
    assert all("PostgreSQL keeps 63" in problem.message + problem.hint for problem in desired.errors)
    assert len(desired.errors) == 6


def test_a_database_in_both_sections_has_the_owner_that_is_written() -> None:
    (database,) = state({"app": []}, {"bar": "app"}, {"bar": {}}).databases
    assert (database.owner, database.keep_owner) == ("app", False)
    assert [schema.name for schema in database.schemas] == ["data"]


def test_owners_are_members_of_additional_owner_roles_and_not_their_admins_slaves() -> None:
    rules = RoleRules("c", "ns", admin_role="admin", additional_owner_roles=("admin", "cron_admin"))
    found = roles(state({"app": [], "other": []}, {"foo": "app"}, rules=rules))
    assert (found["app"].member_of, found["app"].admins) == (("admin", "cron_admin"), ())
    assert (found["other"].member_of, found["other"].admins) == ((), ("admin",))


def test_users_of_a_schema_need_its_roles() -> None:
    section: DatabaseSection = {"schemas": {"odd": {"defaultRoles": False, "defaultUsers": True}}}
    assert not [name for name in roles(state(prepared={"foo": section})) if name.startswith("foo_odd")]
