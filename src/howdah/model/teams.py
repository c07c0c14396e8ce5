"""`PostgresTeam` resources: who else counts as a member or superuser of a team's clusters. Asks no teams API."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field, ValidationError

from howdah.model.errors import InvalidSpec
from howdah.model.fields import Part, Texts
from howdah.model.manifest import problems_in
from howdah.model.spec import Metadata

Relation = Mapping[str, frozenset[str]]


class TeamSpec(Part):
    """Relations of teams, each from a team to others."""

    additional_superuser_teams: dict[str, Texts] | None = Field(
        None, description="team: teams whose members are superusers of its clusters"
    )
    additional_teams: dict[str, Texts] | None = Field(
        None, description="team: teams whose members are users of its clusters"
    )
    additional_members: dict[str, Texts] | None = Field(None, description="team: people who count as its members")


class PostgresTeam(Part):
    """A `PostgresTeam` resource."""

    api_version: Literal["acid.zalan.do/v1"]
    kind: Literal["PostgresTeam"]
    metadata: Metadata
    spec: TeamSpec


@dataclass(frozen=True, slots=True)
class Teams:
    """The union of all PostgresTeam resources. Names match exactly as written."""

    plain: Relation = field(default_factory=dict)
    superuser: Relation = field(default_factory=dict)
    people: Relation = field(default_factory=dict)

    def teams_of(self, team: str) -> tuple[str, ...]:
        """Teams whose members are users of `team`'s clusters, sorted; the relation is followed to its end."""
        return _reachable(self.plain, team)

    def superuser_teams_of(self, team: str) -> tuple[str, ...]:
        """Teams whose members are superusers of `team`'s clusters, sorted; followed to its end, apart from `teams_of`."""
        return _reachable(self.superuser, team)

    def members_of(self, team: str) -> tuple[str, ...]:
        """People added to `team`, sorted; `team` may be unknown to the teams API."""
        return tuple(sorted(self.people.get(team, ())))


def parse_team(raw: Mapping[str, Any]) -> PostgresTeam:
    """The resource that `raw` is; raises InvalidSpec with every problem."""
    try:
        return PostgresTeam.model_validate(raw)
    except ValidationError as error:
        raise InvalidSpec(problems_in(error)) from None


def joined(resources: Iterable[PostgresTeam]) -> Teams:
    """What all `resources` say together."""
    specs = [resource.spec for resource in resources]
    return Teams(
        plain=_union(spec.additional_teams for spec in specs),
        superuser=_union(spec.additional_superuser_teams for spec in specs),
        people=_union(spec.additional_members for spec in specs),
    )


def _union(relations: Iterable[Mapping[str, Texts] | None]) -> Relation:
    united: dict[str, frozenset[str]] = {}
    for relation in relations:
        for team, others in (relation or {}).items():
            united[team] = united.get(team, frozenset()) | frozenset(others)
    return united


def _reachable(relation: Relation, team: str) -> tuple[str, ...]:
    reached: set[str] = set()
    ahead = list(relation.get(team, ()))
    while ahead:
        other = ahead.pop()
        if other != team and other not in reached:
            reached.add(other)
            ahead.extend(relation.get(other, ()))
    return tuple(sorted(reached))
