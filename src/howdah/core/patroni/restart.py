"""In which order members restart PostgreSQL when parameters wait for it.

A hot standby refuses to run with less than its primary for five parameters. So an increase starts at the replicas; a
change that only decreases them starts at the leader. See https://www.postgresql.org/docs/current/hot-standby.html
(administrator's overview).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from howdah.core.patroni.member import Member, ParameterChange

LEADER_FIRST_WHEN_DECREASED = frozenset(
    {
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_wal_senders",
        "max_worker_processes",
    }
)
BUSY_STATES = frozenset({"creating replica", "initializing new cluster", "restarting", "starting", "stopping"})


@dataclass(frozen=True, slots=True)
class Restart:
    """One member's PostgreSQL is to be restarted; `reason` is a sentence that names the parameters."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RestartOrder:
    """Restarts to do one after the other, each only with all members healthy; `held` says what must end before."""

    restarts: tuple[Restart, ...] = ()
    held: str | None = None


def restart_order(members: Iterable[Member], leader: str | None) -> RestartOrder:
    """The order for every member whose restart is pending. Replicas by name, from the last."""
    everyone = tuple(members)
    pending = [member for member in everyone if member.pending_restart]
    if not pending:
        return RestartOrder()
    if (busy := _busy(everyone)) is not None:
        return RestartOrder(held=busy)
    replicas = sorted((m for m in pending if m.name != leader), key=lambda m: m.name, reverse=True)
    leaders = [member for member in pending if member.name == leader]
    leader_first = all(only_decreases(member.pending_changes) for member in pending)
    ordered = leaders + replicas if leader_first else replicas + leaders
    return RestartOrder(tuple(Restart(member.name, _reason(member)) for member in ordered))


def only_decreases(changes: Iterable[ParameterChange]) -> bool:
    """Whether these changes only lower parameters in which a replica must not be below its leader.

    No known change is no such case: Patroni before 4.0 does not tell the changes.
    """
    known = tuple(changes)
    return bool(known) and all(_is_decrease(change) for change in known)


def _is_decrease(change: ParameterChange) -> bool:
    if change.name.lower() not in LEADER_FIRST_WHEN_DECREASED:
        return False
    try:
        return int(change.new) < int(change.old)
    except ValueError:
        return False


def _busy(members: Iterable[Member]) -> str | None:
    for member in members:
        if member.postgres_state in BUSY_STATES:
            return f"{member.name} is in state {member.postgres_state}; restarts wait for it"
    return None


def _reason(member: Member) -> str:
    if not member.pending_changes:
        return f"{member.name} waits for a restart"
    said = ", ".join(f"{change.name} {change.old} → {change.new}" for change in member.pending_changes)
    return f"{member.name} waits for a restart: {said}"
