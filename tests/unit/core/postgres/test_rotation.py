"""When a password is due, what its Secret gets next, which logins there shall be; real servers are in the adapter tests."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from howdah.core.postgres.rotation import (
    Due,
    as_in_server,
    date_of,
    doubts,
    due,
    is_dated,
    login_of,
    mode_of,
    note_of,
    removals,
    rotations,
    with_logins,
)
from howdah.model.postgres.catalogue import Catalogue, Role
from howdah.model.postgres.desired import Desired, DesiredRole, Flags, PasswordSource, Removal
from howdah.model.postgres.rotation import HeldSecret, Mode, Rotation, RotationRules
from unit.core.postgres.test_difference import live_role

NOW = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)
SOON, PASSED, LATER = "2026-12-01T00:00:00Z", "2026-11-25T11:59:59Z", "2027-06-01T00:00:00Z"
AFTER_INTERVAL = "2026-12-25T12:00:00Z"
RULES = RotationRules(interval_days=30, retention_days=60)
APP = DesiredRole("app", Flags(login=True, createdb=True), password=PasswordSource("app", "ns"), rotates=True)


def held(**said: str) -> HeldSecret:
    return replace(HeldSecret("app", "ns", "app.secret", "uid", "7", "app", next_rotation=SOON), **said)


def next_change(mode: Mode = Mode.NEW_USER, *, is_next_ready=False, strangers=(), **said: str) -> Due | None:
    return due(Rotation(held(**said), mode, is_next_ready, frozenset(strangers)), RULES, NOW)


# --- when, and what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.NEW_USER, Mode.IN_PLACE])
@pytest.mark.parametrize("said", ["", "soon", "2026-12-01T00:00:00"])
def test_without_a_time_the_next_rotation_is_an_interval_away_and_nothing_is_rotated(mode: Mode, said: str) -> None:
    found = next_change(mode, next_rotation=said)
    assert found is not None
    assert (found.change.texts, found.change.fresh) == ({"nextRotation": AFTER_INTERVAL}, "")


@pytest.mark.parametrize("mode", list(Mode))
def test_before_its_time_nothing_is_due(mode: Mode) -> None:
    assert next_change(mode) is None


@pytest.mark.parametrize("said", [PASSED, "2026-11-25T12:59:00+01:00", "2026-11-25T06:30:00-05:00"])
def test_a_time_is_understood_in_any_offset(said: str) -> None:
    assert next_change(next_rotation=said) is not None


def test_a_shortened_interval_takes_effect() -> None:
    found = next_change(next_rotation=LATER)
    assert found is not None
    assert found.change.texts == {"nextRotation": AFTER_INTERVAL}
    assert next_change(next_rotation="2026-12-25T12:30:00Z") is None, "clocks differ a little"


def test_a_new_login_is_prepared_before_it_is_the_login() -> None:
    found = next_change(next_rotation=PASSED)
    assert found is not None
    assert (found.change.texts, found.change.fresh) == ({"nextUsername": "app261125"}, "nextPassword")


def test_a_prepared_login_waits_for_the_server_and_then_becomes_the_login() -> None:
    assert next_change(next_rotation=PASSED, next_username="app261125") is None
    found = next_change(next_rotation=PASSED, next_username="app261125", is_next_ready=True)
    assert found is not None
    assert found.change.takes_next
    assert found.change.texts == {"username": "app261125", "nextUsername": None, "nextRotation": AFTER_INTERVAL}


def test_a_login_that_was_prepared_before_midnight_is_still_good() -> None:
    found = next_change(next_rotation=PASSED, next_username="app261124", is_next_ready=True)
    assert found is not None
    assert found.change.texts["username"] == "app261124"


def test_in_place_only_the_password_changes() -> None:
    found = next_change(Mode.IN_PLACE, next_rotation=PASSED)
    assert found is not None
    assert (found.change.texts, found.change.fresh) == ({"nextRotation": AFTER_INTERVAL}, "password")


def test_a_second_rotation_on_one_day_has_no_second_name_and_is_in_place() -> None:
    found = next_change(username="app261125", next_rotation=PASSED)
    assert found is not None
    assert (found.change.texts, found.change.fresh) == ({"nextRotation": AFTER_INTERVAL}, "password")


@pytest.mark.parametrize("mode", [Mode.IN_PLACE, Mode.OFF])
def test_a_dated_login_goes_back_to_the_user_where_none_is_asked_any_more(mode: Mode) -> None:
    found = next_change(mode, username="app260901")
    assert found is not None
    assert (found.change.texts, found.change.fresh) == ({"nextUsername": "app"}, "nextPassword")
    ready = next_change(mode, username="app260901", next_username="app", is_next_ready=True)
    assert ready is not None
    assert ready.change.texts["username"] == "app"
    assert ready.change.texts["nextRotation"] == (AFTER_INTERVAL if mode is Mode.IN_PLACE else None)


@pytest.mark.parametrize("mode", [Mode.IN_PLACE, Mode.OFF])
@pytest.mark.parametrize("following", ["app261125", "app", "somebody"])
def test_what_was_prepared_and_is_not_wanted_any_more_is_forgotten(mode: Mode, following: str) -> None:
    found = next_change(mode, next_username=following, is_next_ready=True)
    assert found is not None
    assert found.change.forgets_next
    assert found.change.texts == {"nextUsername": None}


def test_a_name_that_a_stranger_has_is_not_prepared_and_said() -> None:
    found = next_change(next_rotation=PASSED, strangers=("app261125",))
    assert found is not None
    assert found.why_not == 'there is a role "app261125" that we have not made'


def test_a_username_that_is_no_dated_one_is_the_user_itself() -> None:
    for username in ("", "somebody", "app_200101", "app2026", "app269999", "application260101"):
        assert login_of(held(username=username)) == "app"
    assert login_of(held(username="app260101")) == "app260101"


def test_only_days_of_the_calendar_are_dates() -> None:
    assert date_of("260228") == dt.date(2026, 2, 28)
    assert [date_of(text) for text in ("260229", "261301", "26010", "2601011", "26o101", "")] == [None] * 6
    assert is_dated("app260101", "app")
    assert not is_dated("app", "app")


# --- whose ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "role", "mode"),
    [
        ({}, {}, Mode.OFF),
        ({"is_default": True}, {}, Mode.NEW_USER),
        ({"is_default": True}, {"owns_databases": True}, Mode.OFF),
        ({"is_default": True}, {"rotates": False}, Mode.OFF),
        ({"is_default": True, "ignored": frozenset({"app"})}, {}, Mode.OFF),
        ({"new_user": frozenset({"app"})}, {"owns_databases": True}, Mode.NEW_USER),
        ({"new_user": frozenset({"app"})}, {"rotates": False}, Mode.NEW_USER),
        ({"new_user": frozenset({"app"}), "in_place": frozenset({"app"})}, {}, Mode.IN_PLACE),
        ({"in_place": frozenset({"app"}), "ignored": frozenset({"app"})}, {}, Mode.OFF),
        ({"in_place": frozenset({"app"}), "fixed": frozenset({"app"})}, {}, Mode.IN_PLACE),
        ({"new_user": frozenset({"app"}), "fixed": frozenset({"app"})}, {}, Mode.OFF),
        ({"new_user": frozenset({"app"})}, {"password": None}, Mode.OFF),
        ({"new_user": frozenset({"x" * 58})}, {"name": "x" * 58}, Mode.OFF),
        ({"new_user": frozenset({"x" * 57})}, {"name": "x" * 57}, Mode.NEW_USER),
    ],
)
def test_who_is_rotated_and_how(rules: dict[str, Any], role: dict[str, Any], mode: Mode) -> None:
    assert mode_of(replace(APP, **role), RotationRules(**rules)) is mode


def test_entries_without_an_effect_are_said() -> None:
    postgres = DesiredRole("postgres", password=PasswordSource("postgres", "ns"))
    rules = RotationRules(
        new_user=frozenset({"postgres", "ghost"}), in_place=frozenset({"app"}), fixed=frozenset({"postgres"})
    )
    assert [(found.path, found.message) for found in doubts(Desired((postgres, APP)), rules)] == [
        ("spec.usersWithSecretRotation", '"ghost" is no role with a password'),
        ("spec.usersWithSecretRotation", '"postgres" is known to others by its name and gets no new login'),
    ]


# --- logins --------------------------------------------------------------------------------------------------------


def sources(desired: Desired) -> dict[str, PasswordSource | None]:
    return {role.name: role.password for role in desired.roles}


@pytest.mark.parametrize(
    ("said", "logins"),
    [
        ({}, {"app": PasswordSource("app", "ns")}),
        (
            {"next_username": "app261125"},
            {"app": PasswordSource("app", "ns"), "app261125": PasswordSource("app", "ns", "app261125")},
        ),
        ({"username": "app260901"}, {"app": None, "app260901": PasswordSource("app", "ns", "app260901")}),
        (
            {"username": "app260901", "next_username": "app"},
            {"app": PasswordSource("app", "ns"), "app260901": PasswordSource("app", "ns", "app260901")},
        ),
        (
            {"username": "app260901", "next_username": "app261125"},
            {
                "app": None,
                "app260901": PasswordSource("app", "ns", "app260901"),
                "app261125": PasswordSource("app", "ns", "app261125"),
            },
        ),
    ],
)
def test_each_login_has_the_password_that_its_secret_holds_for_it(said: dict[str, str], logins: dict[str, Any]) -> None:
    assert sources(with_logins(Desired((APP,)), (held(**said),))) == logins


def test_a_rotated_login_is_a_member_of_its_user_with_the_same_attributes() -> None:
    login = with_logins(Desired((APP,)), (held(username="app260901"),)).roles[1]
    assert (login.member_of, login.flags, login.note) == (("app",), APP.flags, note_of("app"))


def server(*roles: Role) -> Catalogue:
    return Catalogue({role.name: role for role in roles}, {}, {})


def test_a_rotated_login_takes_the_parameters_that_its_user_has_in_the_server() -> None:
    live = live_role("app", settings={"work_mem": "7MB"}, database_settings={"shop": {"search_path": "shop"}})
    found = as_in_server(with_logins(Desired((APP,)), (held(username="app260901"),)), server(live))
    assert found.roles[1].parameters == {"work_mem": "7MB"}
    assert found.roles[1].database_parameters == {"shop": {"search_path": "shop"}}


def test_a_parameter_that_is_asked_for_wins_in_any_case_and_an_impossible_name_is_left_out() -> None:
    live = live_role("app", settings={"TimeZone": "UTC", "my-app.x": "1", "work_mem": "7MB"})
    asked = with_logins(Desired((replace(APP, parameters={"timezone": "CET"}),)), (held(username="app260901"),))
    assert as_in_server(asked, server(live)).roles[1].parameters == {"work_mem": "7MB", "timezone": "CET"}


def test_a_role_of_a_stranger_is_not_made_a_login_of_ours() -> None:
    desired = with_logins(Desired((APP,)), (held(next_username="app261125"),))
    assert [role.name for role in as_in_server(desired, server(live_role("app261125"))).roles] == ["app"]
    ours = live_role("app261125", comment=note_of("app"))
    assert [role.name for role in as_in_server(desired, server(ours)).roles] == ["app", "app261125"]


def test_a_login_is_ready_when_the_server_lacks_nothing_of_it() -> None:
    secret, desired = held(next_username="app261125"), Desired((APP,))
    (unmade,) = rotations(desired, (secret,), server(), (), RULES)
    (ready,) = rotations(desired, (secret,), server(live_role("app261125", comment=note_of("app"))), (), RULES)
    assert (unmade.is_next_ready, ready.is_next_ready) == (False, True)


# --- logins that go ------------------------------------------------------------------------------------------------


def dated(name: str, base: str = "app", comment: str | None = note_of("app")) -> Role:
    return live_role(name, member_of={base: False}, comment=comment)


def test_a_rotated_login_goes_when_it_is_older_than_the_retention() -> None:
    names = ("app260925", "app260926", "app260927", "app261125")
    found = removals(Desired((APP,)), server(*map(dated, names)), RULES, NOW)
    assert found == (Removal("app260925", note_of("app")),)


def test_without_our_comment_a_login_is_only_spoken_of_where_rotation_is_asked_for() -> None:
    live = server(dated("app200101", comment=None))
    assert removals(Desired((APP,)), live, RULES, NOW) == ()
    assert removals(Desired((APP,)), live, replace(RULES, new_user=frozenset({"app"})), NOW) != ()


def test_a_login_that_the_secret_names_stays_however_old_it_is() -> None:
    desired = with_logins(Desired((APP,)), (held(username="app200101"),))
    assert removals(desired, server(dated("app200101")), RULES, NOW) == ()


def test_no_login_goes_while_nobody_knows_which_one_the_secret_names() -> None:
    live = server(dated("app200101"))
    assert removals(Desired((APP,)), live, RULES, NOW) != ()
    assert removals(Desired((APP,)), live, RULES, NOW, unread=frozenset({"app"})) == ()


def test_a_dated_role_that_is_no_member_of_its_user_is_no_rotated_login() -> None:
    assert removals(Desired((APP,)), server(live_role("app200101")), RULES, NOW) == ()


def test_with_a_user_its_logins_go_first_whatever_their_age() -> None:
    asked = Removal("old", "note", "app")
    found = removals(Desired((APP,), removals=(asked,)), server(dated("old261124", "old")), RULES, NOW)
    assert found == (Removal("old261124", note_of("old"), "app"), asked)
