"""Members of the owning team, of additional teams and of teams of superusers become roles."""

from typing import Any

import pytest

from howdah.core.postgres.manifest import desired_state
from howdah.core.postgres.teams import people, teams_asked
from howdah.model.postgres.desired import DesiredRole, Elsewhere, Flags, RoleRules
from howdah.model.postgres.people import Membership
from howdah.model.settings import Settings, settings_from_configuration
from howdah.model.teams import Teams

RULES = RoleRules("acid-test", "team")


def settings(**teams_api: Any) -> Settings:
    options = {"enable_teams_api": True, "enable_postgres_team_crd": True} | teams_api
    return settings_from_configuration({"configuration": {"teams_api": options, "kubernetes": {}}})[0]


def relation(**teams: str) -> dict[str, frozenset[str]]:
    return {team: frozenset(others.split()) for team, others in teams.items()}


RELATED = Teams(
    plain=relation(acid="friends", friends="far acid"),
    superuser=relation(acid="dba", dba="root"),
    people=relation(acid="extra", dba="added"),
)


def roles(
    given: Settings, teams: Teams = RELATED, unknown: tuple[str, ...] = (), **members: str
) -> dict[str, DesiredRole]:
    said = {team: tuple(names.split()) for team, names in members.items()}
    found, _ = people(given, Membership(teams, said, frozenset(unknown)), "acid", RULES)
    return {role.name: role for role in found}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, ("far", "friends", "acid")),
        ({"enable_postgres_team_crd_superusers": True}, ("dba", "root", "far", "friends", "acid")),
        ({"enable_postgres_team_crd": False, "postgres_superuser_teams": ["root"]}, ("root", "acid")),
        ({"postgres_superuser_teams": ["friends"]}, ("friends", "far", "acid")),
        ({"postgres_superuser_teams": ["acid"]}, ("acid", "far", "friends")),
    ],
)
def test_teams_are_gone_through_in_order(options: dict[str, Any], asked: tuple[str, ...]) -> None:
    assert teams_asked(settings(**options), RELATED, "acid") == asked


def test_a_cluster_without_team_has_superusers_only() -> None:
    assert teams_asked(settings(postgres_superuser_teams=["dba"]), Teams(), "") == ("dba",)


def test_members_log_in_by_pam_and_are_in_the_admin_role() -> None:
    found = roles(settings(), acid="anna")
    assert sorted(found) == ["anna", "extra"]
    assert found["anna"] == DesiredRole(
        "anna",
        Flags(login=True),
        member_of=("zalandos", "admin"),
        parameters={"log_statement": "all"},
        is_person=True,
    )


def test_superusers_are_not_in_the_admin_role() -> None:
    given = settings(enable_postgres_team_crd_superusers=True)
    found = roles(given, acid="anna", dba="zoe")
    assert {name: (role.flags.superuser, role.member_of) for name, role in found.items()} == {
        "added": (True, ("zalandos",)),
        "zoe": (True, ("zalandos",)),
        "anna": (None, ("zalandos", "admin")),
        "extra": (None, ("zalandos", "admin")),
    }


def test_who_is_in_both_kinds_of_team_is_no_superuser() -> None:
    assert roles(settings(postgres_superuser_teams=["dba"]), acid="anna", dba="anna")["anna"].flags.superuser is None


def test_an_owning_team_may_be_one_of_superusers() -> None:
    assert roles(settings(enable_team_superuser=True), acid="anna")["anna"].flags.superuser is True
    assert roles(settings(postgres_superuser_teams=["acid"]), acid="anna")["anna"].flags.superuser is True


def test_the_api_that_is_off_says_nothing_and_added_members_stay() -> None:
    assert sorted(roles(settings(enable_teams_api=False), acid="anna")) == ["extra"]


def test_an_unknown_team_has_its_added_members_and_a_warning() -> None:
    assert sorted(roles(settings(), unknown=("acid",))) == ["extra"]
    _, warnings = people(settings(), Membership(RELATED, {}, frozenset({"acid"})), "acid", RULES)
    assert [problem.message for problem in warnings] == ['the teams API knows no team "acid"']


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("admin", "a protected role"),
        ("postgres", "a role of the system"),
        ("pg_read_all_data", "reserved"),
        ("public", "reserved"),
        ("a\0b", "no name"),
        ("", "no name"),
    ],
)
def test_names_that_are_no_persons_get_no_role(name: str, why: str) -> None:
    membership = Membership(Teams(), {"acid": (name, "anna")})
    found, warnings = people(settings(), membership, "acid", RULES)
    assert [role.name for role in found] == ["anna"]
    assert [why in problem.message for problem in warnings] == [True]


def test_a_name_is_kept_as_written_and_cut_as_the_server_cuts_it() -> None:
    assert list(roles(settings(), Teams(), acid="Anna.Müller")) == ["Anna.Müller"]
    assert list(roles(settings(), Teams(), acid="x" + "ü" * 40)) == ["x" + "ü" * 31]


def test_a_parameter_that_is_none_is_left_out_and_told() -> None:
    given = settings(team_api_role_configuration={"log_statement": "'all'", "a b": "c"})
    found, warnings = people(given, Membership(Teams(), {"acid": ("anna",)}), "acid", RULES)
    assert found[0].parameters == {"log_statement": "all"}
    assert [problem.path for problem in warnings] == ["configuration.teams_api.team_api_role_configuration"]


@pytest.mark.parametrize(
    ("infrastructure", "humans", "prepared", "winner"),
    [
        (True, False, False, "infrastructure"),
        (True, True, False, "people"),
        (False, True, True, "prepared"),
        (True, True, True, "prepared"),
    ],
)
def test_on_a_clash_of_names_the_higher_rank_wins(
    infrastructure: bool, humans: bool, prepared: bool, winner: str
) -> None:
    name = "bar_owner"
    desired = desired_state(
        {name: ["superuser"]},
        {},
        {"bar": {}} if prepared else None,
        rules=RULES,
        elsewhere=Elsewhere(
            (DesiredRole(name, Flags(createdb=True)),) if infrastructure else (),
            (DesiredRole(name, is_person=True),) if humans else (),
        ),
    )
    found = next(role for role in desired.roles if role.name == name)
    marks = {"infrastructure": found.flags.createdb, "people": found.is_person, "prepared": found.flags.login is False}
    assert [source for source, is_it in marks.items() if is_it] == [winner]
    assert [problem.path for problem in desired.warnings] == [f"spec.users.{name}"]
