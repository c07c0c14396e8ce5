"""In which order members restart PostgreSQL when parameters wait for it.

A hot standby refuses to run with less than its primary for five parameters. So an increase starts at the replicas, and a
replica that only waits to have less comes after its leader: before that Patroni starts it with the leader's value again,
and says again that it has to be restarted. See https://www.postgresql.org/docs/current/hot-standby.html (administrator's
overview).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Set
from dataclasses import dataclass

from howdah.core.patroni.member import Member, ParameterChange

AGAIN_AFTER = dt.timedelta(hours=1)  # a replica's restart that did not bring what it was for is not repeated before
LEADER_FIRST_WHEN_DECREASED = frozenset(
    {
        "max_connections",
        "max_locks_per_transaction",
        "max_prepared_transactions",
        "max_wal_senders",
        "max_worker_processes",
    }
)
BUSY_STATES = frozenset(
    {
        "creating replica",
        "initializing new cluster",
        "restarting",
        "running custom bootstrap script",
        "starting",
        "starting after custom bootstrap",
        "stopping",
    }
)


@dataclass(frozen=True, slots=True)
class Restart:
    """One member's PostgreSQL is to be restarted; `reason` is a sentence that names the parameters."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class RestartOrder:
    """Restarts to do one after the other, each only with all members healthy; `held` says what must end before.

    `useless`: those after which Patroni would ask for the same again.
    """

    restarts: tuple[Restart, ...] = ()
    held: str | None = None
    useless: tuple[Restart, ...] = ()


def restart_order(
    members: Iterable[Member],
    leader: str | None,
    *,
    is_standby: bool = False,
    done: Set[str] = frozenset(),
    done_leading: str | None = None,
) -> RestartOrder:
    """The order for every member whose restart is pending. Replicas by name, from the last.

    `is_standby`: the leader follows the primary of another cluster. `done`: reasons of restarts that were done a while
    ago. A replica that still waits for the same comes after the leader, which may be what keeps it waiting (Patroni
    before 4.0 does not tell the changes); once the leader was restarted, too, a restart brings no more than the last one.
    `done_leading`: the reason for which the leader was restarted, however long ago: that interrupts everybody.
    """
    everyone = tuple(members)
    pending = {member.name: _restart(member) for member in everyone if member.pending_restart}
    if pending and (busy := _busy(everyone)) is not None:
        return RestartOrder(held=busy)
    lower = {member.name for member in everyone if only_decreases(member.pending_changes)}
    repeated = {
        name
        for name, restart in pending.items()
        if restart.reason in done or (name == leader and restart.reason == done_leading)
    }
    leaders = [
        name for name in pending if name == leader and name not in repeated and not (is_standby and name in lower)
    ]
    replicas = [name for name in sorted(pending, reverse=True) if name != leader]
    behind = [name for name in replicas if name in lower | repeated]
    useful = behind if leaders else [name for name in behind if name not in repeated]
    order = [*(name for name in replicas if name not in behind), *leaders, *(() if is_standby else useful)]
    return RestartOrder(
        tuple(pending[name] for name in order),
        useless=tuple(restart for name, restart in pending.items() if name not in order),
    )


def _restart(member: Member) -> Restart:
    return Restart(member.name, _reason(member))


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
