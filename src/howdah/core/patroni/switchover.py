"""Who takes over when the leader hands over: the synchronous standby first, else whoever lacks the least.

Patroni decides itself whether it carries a switchover out; this only names the best candidate, so that a planned
hand-over costs as little as it can. Who leads after a failure is never chosen here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from howdah.core.patroni.member import DEFAULT_MAXIMUM_LAG, Member

READY_STATES = frozenset({"running", "streaming", "in archive recovery"})


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What is demanded of the member that takes over: Patroni's own rules, and two that are stricter.

    `synchronous`: the synchronous standbys, which come first; with `only_synchronous` nobody else may. `timeline`: the
    leader's, None where it is not known. `failsafe` as `Leader` has it. `optime`: the leader's position at its last
    renewal, behind which nobody may be by more than `maximum_lag`, both in bytes. `down`: members whose pod takes no
    connections, and why. (Patroni: `Ha.is_failover_possible`, `Ha.is_lagging`, `Ha.get_failover_candidates`.)
    """

    synchronous: Set[str] = frozenset()
    only_synchronous: bool = False
    timeline: int | None = None
    failsafe: Set[str] | None = None
    optime: int | None = None
    maximum_lag: int = DEFAULT_MAXIMUM_LAG
    down: Mapping[str, str] = field(default_factory=dict)

    def obstacle(self, member: Member) -> str | None:
        """Why this member cannot take over (a sentence without subject); None when it can."""
        if not member.may_lead:
            return "must not lead (tag nofailover)"
        if member.state not in READY_STATES:
            return f"is in state {member.state}"
        if member.api_url is None:
            return "has not said yet where its Patroni is"
        if member.name in self.down:
            return self.down[member.name]  # Patroni does not ask; but services lead to Ready pods only
        # Patroni compares only with check_timeline; but who is on another one has what the leader has not.
        if None not in (self.timeline, member.timeline) and member.timeline != self.timeline:
            return f"is on timeline {member.timeline}, the leader on {self.timeline}"
        if (self.optime or 0) - (member.lsn or 0) > self.maximum_lag:
            return f"lacks more than {self.maximum_lag} bytes (maximum_lag_on_failover)"
        if self.only_synchronous and member.name not in self.synchronous:
            return "is not a synchronous standby, and Patroni hands over to no other"
        if self.failsafe is not None and member.name not in self.failsafe:
            return "is not yet in the leader's list for failsafe mode (until its next heartbeat)"
        return None


@dataclass(frozen=True, slots=True)
class Choice:
    """`name` is None where nobody can take over; `reason` is a sentence either way."""

    name: str | None
    reason: str


def choose_candidate(
    members: Iterable[Member], eligibility: Eligibility = Eligibility(), *, leaving: Set[str] = frozenset()
) -> Choice:
    """The member that should lead next, among `members` (all but the leader).

    Synchronous standbys come first, then members that are not `leaving` their node soon, then streaming before other
    states, then the furthest position, then the lowest name. A position that is not known counts as infinitely far
    behind.
    """
    everyone = tuple(members)
    obstacles = {member.name: eligibility.obstacle(member) for member in everyone}
    able = [member for member in everyone if obstacles[member.name] is None]
    if not everyone:
        return Choice(None, "there is no other member")
    if not able:
        return Choice(None, "; ".join(f"{name} {why}" for name, why in sorted(obstacles.items())))
    best = min(able, key=lambda member: _rank(member, eligibility.synchronous, leaving))
    if best.name in eligibility.synchronous:
        return Choice(best.name, f"{best.name} is the synchronous standby")
    return Choice(best.name, f"{best.name} is {best.state} and lacks least of {len(able)} candidate(s)")


def _rank(member: Member, synchronous: Set[str], leaving: Set[str]) -> tuple[bool, bool, bool, int, str]:
    behind = -member.lsn if member.lsn is not None else 1  # an unknown position is worse than any known one
    is_second = member.name not in synchronous
    return is_second, member.name in leaving, member.state != "streaming", behind, member.name
