"""Who is a member of which team, as far as it is known: from `PostgresTeam` resources and the teams API."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from howdah.model.teams import Teams


@dataclass(frozen=True, slots=True)
class Membership:
    """What was said last. Nobody is dropped for what is not known: see `is_complete`."""

    teams: Teams = field(default_factory=Teams)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By team, what the teams API said; a team that it was not asked for, or did not answer for, is not there."""
    unknown_teams: frozenset[str] = frozenset()
    """The teams API knows no team of this name."""
    absent_teams: frozenset[str] = frozenset()
    """Of these: it never knew them, and said so again while it knew others, which is no passing failure."""
    problems: tuple[str, ...] = ()
    """Why something is not known, or may be out of date; sentences for people."""
    is_complete: bool = True
    """Everything that was asked for was answered once, and every `PostgresTeam` was read."""

    @property
    def doubtful_teams(self) -> frozenset[str]:
        """Unknown teams that may have members nevertheless: all but those to which a `PostgresTeam` alone gives people."""
        return self.unknown_teams - (self.absent_teams & self.teams.people.keys())


NOBODY = Membership()
