"""The three forms of infrastructure roles are read without their passwords; what is wrong is left out and told."""

from typing import Any

import pytest

from howdah.core.postgres.infrastructure import RoleSecret, entries, infrastructure_roles, name_keys, unquoted
from howdah.core.postgres.manifest import desired_state
from howdah.model.postgres.desired import DesiredRole, Elsewhere, Flags, PasswordOrigin, PasswordSource, RoleRules
from howdah.model.settings import NamespacedName, Settings, settings_from_configuration

RULES = RoleRules("acid-test", "team")
INFRA = NamespacedName("", "infra")


def settings(old: str | None = "infra", *new: dict[str, Any]) -> Settings:
    kubernetes = {"infrastructure_roles_secret_name": old, "infrastructure_roles_secrets": list(new)}
    return settings_from_configuration({"configuration": {"kubernetes": kubernetes}})[0]


def read(
    data: dict[str, str], options: dict[str, str] | None = None, given: Settings | None = None
) -> tuple[dict[str, DesiredRole], list[str]]:
    asked = given or settings()
    here = [entry for entry in entries(asked) if entry.secret == INFRA]
    seen = RoleSecret(frozenset(data), {key: data[key] for key in name_keys(here, data)})
    roles, warnings = infrastructure_roles(asked, {INFRA: seen}, {INFRA: options or {}}, RULES)
    return {role.name: role for role in roles}, [problem.message for problem in warnings]


NUMBERED = {
    f"{key}{number}": f"{value}_{number}"
    for number in range(1, 6)
    for key, value in {"user": "robot", "password": "secret", "inrole": "group"}.items()
}


def test_all_numbered_roles_are_read_up_to_the_first_that_is_missing() -> None:
    roles, warnings = read({**NUMBERED, "user7": "late", "password7": "x"})
    assert list(roles) == [f"robot_{number}" for number in range(1, 6)]
    assert roles["robot_2"] == DesiredRole(
        "robot_2",
        Flags(login=True),
        member_of=("group_2",),
        password=PasswordSource("robot_2", "team"),
        password_origin=PasswordOrigin("", "infra", "password2"),
    )
    assert warnings == []


def test_a_role_need_not_be_in_another() -> None:
    roles, _ = read({"user1": "robot", "password1": "x"})
    assert roles["robot"].member_of == ()


def test_an_entry_names_its_keys_and_what_stands_in_for_them() -> None:
    entry = {"secretname": "infra", "userkey": "u", "passwordkey": "p", "rolekey": "r"}
    defaults = {"defaultuservalue": "robot_default", "defaultrolevalue": "group_default"}
    assert list(read({"u": "robot", "p": "x", "r": "group"}, given=settings(None, entry))[0]) == ["robot"]
    roles, _ = read({"p": "x"}, given=settings(None, {**entry, **defaults}))
    assert (roles["robot_default"].member_of, roles["robot_default"].password_origin) == (
        ("group_default",),
        PasswordOrigin("", "infra", "p"),
    )


def test_an_entry_may_be_a_template_for_numbered_keys() -> None:
    entry = {"secretname": "infra", "userkey": "u", "passwordkey": "p", "rolekey": "r", "template": True}
    data = {"u1": "one", "p1": "x", "r1": "group", "u2": "two", "p2": "y"}
    roles, _ = read(data, given=settings(None, {**entry, "defaultrolevalue": "all"}))
    assert {name: role.member_of for name, role in roles.items()} == {"one": ("group",), "two": ("all",)}


def test_a_config_map_of_the_same_name_says_the_options() -> None:
    text = "inrole: [a, b]\nuser_flags: [createdb]\ndb_parameters: {log_statement: all, work_mem: '''8MB''', jit: on}\n"
    roles, warnings = read({"dbuser": "x"}, {"dbuser": text + "admin_role: boss"})
    assert roles["dbuser"] == DesiredRole(
        "dbuser",
        Flags(login=True, createdb=True),
        member_of=("a", "b"),
        admins=("boss",),
        parameters={"log_statement": "all", "work_mem": "8MB", "jit": "on"},
        password=PasswordSource("dbuser", "team"),
        password_origin=PasswordOrigin("", "infra", "dbuser"),
    )
    assert warnings == []


def test_a_role_without_login_has_no_password() -> None:
    roles, _ = read({"group": "x"}, {"group": "user_flags: [nologin]"})
    assert (roles["group"].password, roles["group"].password_origin) == (None, None)


def test_the_last_entry_of_a_name_counts() -> None:
    entry = {"secretname": "infra", "userkey": "u", "passwordkey": "p", "rolekey": "r"}
    data = {"u": "robot", "p": "x", "r": "first", "user1": "robot", "password1": "y", "inrole1": "last"}
    assert read(data, given=settings("infra", entry))[0]["robot"].member_of == ("last",)


@pytest.mark.parametrize(
    ("data", "options", "why"),
    [
        ({"user1": "Robot", "password1": "x"}, {}, "is not a role name"),
        ({"user1": "admin", "password1": "x"}, {}, "is a protected role"),
        ({"user1": "postgres", "password1": "x"}, {}, "is a role of the system"),
        ({"user1": "robot"}, {}, "has no password"),
        ({}, {"robot": "inrole: [a]"}, "has no password"),
        ({"robot": "x"}, {"robot": "user_flags: [fly]"}, "is not a flag"),
        ({"robot": "x"}, {"robot": "inrole: a"}, "inrole is not a list"),
        ({"robot": "x"}, {"robot": "db_parameters: {a b: c}"}, "is not a parameter name"),
        ({"robot": "x"}, {"robot": "["}, "is not YAML"),
        ({"robot": "x"}, {"robot": "[" * 5000 + "]" * 5000}, "is not YAML"),
        ({"robot": "x"}, {"robot": "a sentence"}, "is not a map"),
    ],
)
def test_a_bad_role_is_left_out_and_told(data: dict[str, str], options: dict[str, str], why: str) -> None:
    roles, warnings = read(data, options)
    assert list(roles) == []
    assert [why in warning for warning in warnings] == [True]


def test_a_secret_that_is_missing_is_told() -> None:
    roles, warnings = infrastructure_roles(settings(), {}, {}, RULES)
    assert roles == ()
    assert [(problem.path, problem.message) for problem in warnings] == [
        ("configuration.kubernetes.Secret infra", "cannot be read")
    ]


def test_a_role_that_would_share_a_secret_is_left_out_and_the_manifest_stays_good() -> None:
    roles, _ = read({f"user{n}": name for n, name in enumerate(("a-b", "c_d", "c-d", "ok"), 1)} | PASSWORDS)
    desired = desired_state({"a_b": []}, {}, None, rules=RULES, elsewhere=Elsewhere(tuple(roles.values())))
    assert [role.name for role in desired.roles] == ["postgres", "standby", "a_b", "c_d", "ok"]
    assert desired.errors == ()
    assert [problem.message for problem in desired.warnings] == [
        'infrastructure role "a-b" and "a_b" would share one Secret',
        'infrastructure role "c-d" and "c_d" would share one Secret',
    ]


PASSWORDS = {f"password{n}": "x" for n in range(1, 5)}


def test_what_is_a_password_somewhere_is_no_name() -> None:
    one = {"secretname": "infra", "userkey": "a", "passwordkey": "b"}
    other = {"secretname": "infra", "userkey": "b", "passwordkey": "a"}
    asked = settings("infra", one, other)
    here = [entry for entry in entries(asked) if entry.secret == INFRA]
    assert name_keys(here, ["a", "b", "user1", "password1", "inrole1", "dbuser"]) == {"user1", "inrole1"}


@pytest.mark.parametrize(
    ("written", "value"), [("all", "all"), ("'all'", "all"), ("'it''s'", "it's"), ("'a','b'", "'a','b'"), ("'", "'")]
)
def test_a_parameter_may_be_written_with_quotes(written: str, value: str) -> None:
    assert unquoted(written) == value
