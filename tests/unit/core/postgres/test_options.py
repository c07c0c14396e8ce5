"""What options add to a desired state, and what is wrong with them; real servers are in the adapter's tests."""

import pytest

from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.options import MADE_BY_US, instant, with_options
from howdah.model.errors import InvalidSpec
from howdah.model.manifest import parse_manifest
from howdah.model.postgres.desired import Desired, DesiredRole, Removal, RoleRules, UserOptions
from unit.core.clusters import cluster, manifest

RULES = RoleRules("acid-a", "ns", admin_role="admin")


def wanted(users=("app", "other"), databases=None, **options: UserOptions) -> Desired:
    plain = desired_state({user: [] for user in users}, databases or {}, None, rules=RULES)
    return with_options(plain, options, {}, rules=RULES)


def role(desired: Desired, name: str = "app") -> DesiredRole:
    return next(role for role in desired.roles if role.name == name)


def test_a_manifest_without_options_asks_for_what_it_always_did() -> None:
    plain = desired_state({"app": []}, {}, None, rules=RULES)
    found = with_options(plain, {}, {}, rules=RULES)
    assert [(r.name, r.member_of, r.connection_limit, r.valid_until, r.parameters) for r in found.roles] == [
        (r.name, r.member_of, None, None, {}) for r in plain.roles
    ]
    assert (found.removals, found.errors, found.warnings) == ((), (), ())


def test_roles_that_we_make_say_so_but_those_of_the_system_are_patronis() -> None:
    assert {r.name: r.note for r in wanted(("app",)).roles} == {"postgres": "", "standby": "", "app": MADE_BY_US}


def test_what_a_role_is_a_member_of_is_not_its_admin_as_well() -> None:
    found = role(wanted(app=UserOptions(member_of=("admin",))))
    assert (found.member_of, found.admins) == (("admin",), ())


@pytest.mark.parametrize(
    "options",
    [
        {"app": UserOptions(member_of=("app",))},
        {"app": UserOptions(member_of=("other",)), "other": UserOptions(member_of=("app",))},
    ],
)
def test_a_circle_of_memberships_is_refused(options) -> None:
    errors = wanted(**options).errors
    assert [error.path for error in errors] == [f"spec.userOptions.{name}.memberOf" for name in options]


@pytest.mark.parametrize(
    ("options", "removal"),
    [
        (UserOptions(removal="drop"), Removal("old", MADE_BY_US)),
        (UserOptions(removal="reassign", reassign_to="app"), Removal("old", MADE_BY_US, "app")),
        (UserOptions(removal="retain"), None),
        (UserOptions(), None),
        (UserOptions(removal="reassign"), None),
    ],
)
def test_only_an_explicit_word_for_a_user_that_is_gone_removes_it(options: UserOptions, removal) -> None:
    assert wanted(old=options).removals == ((removal,) if removal else ())
    assert wanted(("app", "old"), old=options).removals == ()


@pytest.mark.parametrize("name", ["postgres", "standby", "admin", "cron_admin"])
def test_a_role_of_the_system_has_no_options_and_is_never_removed(name: str) -> None:
    found = wanted(**{name: UserOptions(removal="drop", connection_limit=1)})
    assert found.removals == ()
    assert all(r.connection_limit is None for r in found.roles)
    assert [warning.path for warning in found.warnings] == [f"spec.userOptions.{name}"]


def test_an_entry_for_nobody_is_said() -> None:
    assert [str(w) for w in wanted(ghost=UserOptions(connection_limit=1)).warnings] == [
        'spec.userOptions.ghost: "ghost" is no user of this manifest; add "ghost" to spec.users; this entry is left out'
    ]


def test_times_are_compared_in_utc() -> None:
    assert instant("2027-01-31T13:00:00+01:00") == instant("2027-01-31T12:00:00Z") == "2027-01-31T12:00:00Z"
    assert instant("infinity") == "infinity"


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ({"userOptions": {"App": {}}}, "spec.userOptions.App"),
        ({"userOptions": {"app": {"validUntil": "tomorrow"}}}, "spec.userOptions.app.validUntil"),
        ({"userOptions": {"app": {"validUntil": "2027-02-30T00:00:00Z"}}}, "spec.userOptions.app.validUntil"),
        ({"userOptions": {"app": {"validUntil": "0001-01-01T00:00:00+10:00"}}}, "spec.userOptions.app.validUntil"),
        ({"userOptions": {"app": {"connectionLimit": -2}}}, "spec.userOptions.app.connectionLimit"),
        ({"userOptions": {"app": {"removal": "delete"}}}, "spec.userOptions.app.removal"),
        ({"userOptions": {"app": {"removal": "reassign"}}}, "spec.userOptions.app"),
        ({"userOptions": {"app": {"reassignTo": "other"}}}, "spec.userOptions.app"),
        ({"userOptions": {"app": {"removal": "reassign", "reassignTo": "app"}}}, "spec.userOptions.app.reassignTo"),
        ({"userOptions": {"app": {"parameters": {"work mem": "1MB"}}}}, "spec.userOptions.app.parameters.work mem"),
        ({"userOptions": {"app": {"databaseParameters": {"shop": {"x;y": "1"}}}}},
         "spec.userOptions.app.databaseParameters.shop.x;y"),
        ({"userOptions": {"app": {"memberOf": [""]}}}, "spec.userOptions.app.memberOf[0]"),
        ({"databaseOptions": {"shop": {"encoding": ""}}}, "spec.databaseOptions.shop.encoding"),
        ({"databaseOptions": {"shop": {"connectionLimit": "many"}}}, "spec.databaseOptions.shop.connectionLimit"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_paths(section, path: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        parse_manifest(manifest(users={"app": []}, **section))
    assert [problem.path for problem in refused.value.problems] == [path]


def test_options_reach_the_request_and_doubts_its_warnings() -> None:
    found = cluster(
        users={"app": []},
        userOptions={"app": {"connectionLimit": 5}},
        databaseOptions={"shop": {"connectionLimit": 7}},
        usersWithSecretRotation=["postgres"],
    )
    assert found.access.user_options["app"].connection_limit == 5
    assert [warning.path for warning in found.warnings] == [
        "spec.databaseOptions.shop",
        "spec.usersWithSecretRotation",
    ]


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ({}, (90, 180)),
        ({"password_rotation_interval": "0", "password_rotation_user_retention": "0"}, (1, 2)),
        ({"password_rotation_interval": "100"}, (100, 200)),
        ({"password_rotation_interval": "4294967295"}, (36_500, 73_000)),
    ],
)
def test_intervals_can_be_counted_and_the_retention_is_two_of_them(options: dict[str, str], days) -> None:
    rules = cluster(settings=options).access.rotation
    assert (rules.interval_days, rules.retention_days) == days
