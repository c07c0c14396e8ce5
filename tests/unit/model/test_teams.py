"""PostgresTeam resources are joined, and followed to the end without running in circles."""

from typing import Any

import pytest

from howdah.model.errors import InvalidSpec
from howdah.model.teams import PostgresTeam, joined, parse_team


def team(**spec: Any) -> PostgresTeam:
    kind = {"apiVersion": "acid.zalan.do/v1", "kind": "PostgresTeam"}
    return parse_team({**kind, "metadata": {"name": "x"}, "spec": spec})


def test_additional_teams_are_followed_and_a_circle_ends() -> None:
    teams = joined([team(additionalTeams={"a": ["b"], "b": ["c"], "c": ["a", "d"]})])

    assert teams.teams_of("a") == ("b", "c", "d")
    assert teams.teams_of("c") == ("a", "b", "d")
    assert teams.teams_of("unknown") == ()


def test_superuser_teams_are_followed_apart_from_plain_ones() -> None:
    teams = joined([team(additionalTeams={"dba": ["x"]}, additionalSuperuserTeams={"a": ["dba"]})])

    assert teams.superuser_teams_of("a") == ("dba",)


def test_resources_are_joined() -> None:
    teams = joined([team(additionalMembers={"a": ["p"]}), team(additionalMembers={"a": ["o", "p"], "b": ["q"]})])

    assert teams.members_of("a") == ("o", "p")
    assert teams.members_of("b") == ("q",)


def test_a_mistake_is_told_with_its_path() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.additionalTeams\.a: "):
        team(additionalTeams={"a": "b"})
