"""The fleet's budget for rolls, from what the passes of all clusters saw last. Made anew after a restart, by looking."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from howdah.core.intent import IN_FLIGHT, announced_causes
from howdah.core.nodes import due_move
from howdah.core.plan import (
    FleetBudget,
    Plan,
    ReplacePod,
    ReplacePooler,
    RestartMember,
    RollPooler,
    Step,
    Switchover,
)
from howdah.core.pooler_rolls import pooler_causes, rollouts
from howdah.core.rollout import START_DEADLINE, MemberView, causes
from howdah.core.situation import Situation
from howdah.kube.informer import Key

_IDLE = START_DEADLINE
"""So long a roll may take no step although every member does its part, such as for want of somebody who may lead."""


@dataclass(frozen=True, slots=True)
class _Roll:
    """How far a roll of a cluster's members, or of its poolers, is. `begun`: those of its causes that need not ask again.

    `is_halted`: it does not go on for now, so that nobody waits for its end. `idle_since`: every member does its part
    since then, and no step was taken.
    """

    causes: frozenset[str] = frozenset()
    begun: frozenset[str] = frozenset()
    is_halted: bool = False
    stopped: str | None = None
    idle_since: dt.datetime | None = None

    @property
    def is_under_way(self) -> bool:
        return bool(self.begun) and not self.is_halted


@dataclass(frozen=True, slots=True)
class _Rolls:
    members: _Roll = _Roll()
    poolers: _Roll = _Roll()

    def __iter__(self) -> Iterator[_Roll]:
        return iter((self.members, self.poolers))

    @property
    def begun(self) -> frozenset[str]:
        return frozenset(cause for roll in self for cause in roll.begun)

    @property
    def under_way(self) -> frozenset[str]:
        return frozenset(cause for roll in self if roll.is_under_way for cause in roll.begun)

    @property
    def stopped(self) -> frozenset[str]:
        return frozenset(cause for roll in self if roll.stopped for cause in roll.causes)


_NONE = _Rolls()


class _Clusters:
    """By cause, clusters in the order in which they came. Kept up to date, for a pass may not cost more in a larger fleet."""

    def __init__(self) -> None:
        self._of: dict[str, dict[Key, None]] = {}

    def replace(self, key: Key, before: frozenset[str], now: frozenset[str]) -> None:
        for cause in before - now:
            del self._of[cause][key]
            if not self._of[cause]:
                del self._of[cause]
        for cause in now - before:
            self._of.setdefault(cause, {})[key] = None

    def besides(self, key: Key) -> dict[str, int]:
        """How many others."""
        counts = ((cause, len(keys) - (key in keys)) for cause, keys in self._of.items())
        return {cause: count for cause, count in counts if count > 0}

    def first_besides(self, key: Key) -> dict[str, str]:
        """The name of the first of the others."""
        found = ((cause, next((k for k in keys if k != key), None)) for cause, keys in self._of.items())
        return {cause: other[1] for cause, other in found if other is not None}


def _failure(views: tuple[MemberView, ...]) -> str | None:
    """A pod that was made anew and will not do its part."""
    return next((f"Pod {v.name} {v.unhealthy}" for v in views if v.has_failed and v.replace is None), None)


def _is_of_pooler(step: Step) -> bool:
    return isinstance(step, RollPooler | ReplacePooler)


def _causes_of(step: Step) -> frozenset[str]:
    """For which causes the step is one of a roll of members. None: a leader leaves its node, or a broken pod is repaired.

    What it was not taken for has to ask: a mark, or a cordoned node, is no leave to roll for what stopped elsewhere.
    """
    cause = step.cause if isinstance(step, ReplacePod | Switchover | RestartMember) else ""
    return frozenset({cause}) if cause else frozenset()


def _is_move(step: Step, situation: Situation) -> bool:
    """A leader leaves its node: that is no part of a roll, also where it has to be replaced as well."""
    return isinstance(step, Switchover) and not step.cause and due_move(situation) is not None


class Fleet:
    """Belongs to one event loop. `all_keys` tells every cluster that has to be looked at before a roll may start."""

    def __init__(self, all_keys: Callable[[], tuple[Key, ...]]) -> None:
        self._all_keys = all_keys
        self._rolls: dict[Key, _Rolls] = {}
        self._under_way, self._stopped = _Clusters(), _Clusters()
        self._finished: set[str] = set()
        self._noted: set[Key] = set()
        self._moving: dict[Key, dt.datetime] = {}
        self._restarted: dict[Key, dict[str, dt.datetime]] = {}
        self._restarted_leading: dict[Key, str] = {}

    def begin(self, key: Key, situation: Situation, step: Step) -> None:
        """A step of a roll is about to be taken: it counts from the moment of its decision, for others decide meanwhile."""
        before = self._rolls.get(key, _NONE)
        if _is_move(step, situation):
            self._moving[key] = situation.observed.now
        elif _is_of_pooler(step):
            self._keep(key, _Rolls(before.members, _Roll(found := pooler_causes(situation), found)))
        elif started := _causes_of(step):
            roll, found = before.members, causes(situation.views)
            idle_since = roll.idle_since if roll.begun else None
            members = _Roll(found | roll.begun | started, roll.begun | started, idle_since=idle_since)
            self._keep(key, _Rolls(members, before.poolers))

    def note(self, key: Key, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> None:
        """Remember what this pass saw and did. A roll is finished when every new pod is there and does its part."""
        self._noted.add(key)
        before = self._rolls.get(key, _NONE)
        since = self._moving.get(key)
        if since is not None and (situation.observed.now - since > IN_FLIGHT or due_move(situation) is None):
            del self._moving[key]
        if situation.observed.problems:
            # What is not seen is not rolled, and no other waits for its end. What has failed stays a warning to them.
            self._keep(key, _Rolls(*(replace(roll, is_halted=True) for roll in before)))
            return
        self._note_restarts(key, situation, done)
        members = self._members(before.members, situation, plan, done)
        self._keep(key, _Rolls(members, self._poolers(before.poolers, situation, plan, done)))

    def _keep(self, key: Key, rolls: _Rolls) -> None:
        before = self._rolls.get(key, _NONE)
        self._under_way.replace(key, before.under_way, rolls.under_way)
        self._stopped.replace(key, before.stopped, rolls.stopped)
        self._rolls[key] = rolls

    def _note_restarts(self, key: Key, situation: Situation, done: tuple[Step, ...]) -> None:
        """What was restarted for, until the leader was restarted (as a primary), or nobody waits for a restart any more."""
        views = situation.views
        if all(v.unhealthy is None and not v.restart_cause for v in views):
            self._forget_restarts(key)
        for step in done:
            if isinstance(step, RestartMember):
                if step.name == situation.leader.name and not situation.config.is_standby:
                    self._forget_restarts(key)
                    self._restarted_leading[key] = step.reason
                self._restarted.setdefault(key, {})[step.reason] = situation.observed.now

    def _forget_restarts(self, key: Key) -> None:
        self._restarted.pop(key, None)
        self._restarted_leading.pop(key, None)

    def _members(self, before: _Roll, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> _Roll:
        views, found = situation.views, causes(situation.views)
        is_settled = len(views) >= situation.cluster.instances and all(view.unhealthy is None for view in views)
        started = frozenset(cause for step in done for cause in _causes_of(step))
        now = situation.observed.now
        is_idle = bool(before.begun) and is_settled and bool(found) and not started
        idle_since = (before.idle_since or now) if is_idle else None
        roll = self._after(
            before,
            found,
            is_settled=is_settled,
            started=announced_causes(situation) | started,
            is_halted=(idle_since is not None and now - idle_since > _IDLE)
            or any(view.copies_for_long for view in views)
            or any(_causes_of(held.step) for held in plan.held),
        )
        # A plan may stop for other reasons than its roll: what cannot be seen is no lesson for other clusters.
        is_judged = roll.is_under_way or plan.stopped is not None
        return replace(roll, stopped=_failure(views) if is_judged else None, idle_since=idle_since)

    def _poolers(self, before: _Roll, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> _Roll:
        states, found = rollouts(situation), pooler_causes(situation)
        has_begun = any(s.has_old_pods and not s.has_failed for s in states) or any(map(_is_of_pooler, done))
        roll = self._after(
            before,
            found,
            is_settled=all(state.is_complete for state in states),
            started=found if has_begun else frozenset(),
            is_halted=any(_is_of_pooler(held.step) for held in plan.held),
        )
        failed = next(
            (f"a new pod of {state.name} does not become available" for state in states if state.has_failed), None
        )
        return replace(roll, stopped=failed if roll.begun else None)

    def _after(
        self,
        before: _Roll,
        found: frozenset[str],
        *,
        is_settled: bool,
        is_halted: bool,
        started: frozenset[str],
    ) -> _Roll:
        """`found`: why it rolls. `started`: those causes for which it has begun."""
        was = before.begun
        if is_settled and not found:
            self._finished |= was
        goes_on = was if not is_settled else frozenset()
        begun = goes_on | (found & (was | started))
        # A maintenance window may be a week away, and the end of a pause a year: nobody waits for them.
        return _Roll(found | goes_on, begun, is_halted=bool(begun) and is_halted)

    def seen(self, key: Key) -> None:
        """A cluster that was looked at; without a `note` in this pass it has no roll that others wait for (invalid, not
        ours). What has failed in it stays so: the pass may have ended for another reason, such as a refused request."""
        if key not in self._noted:
            before = self._rolls.get(key, _NONE)
            self._keep(key, _Rolls(*(replace(roll, is_halted=True) for roll in before)))
        self._noted.discard(key)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._keep(key, _NONE)
        del self._rolls[key]
        self._noted.discard(key)
        self._moving.pop(key, None)
        self._forget_restarts(key)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every cluster that was looked at and is not known to be gone."""
        return tuple(self._rolls)

    @property
    def is_complete(self) -> bool:
        """Whether every cluster has been looked at once."""
        return all(map(self._rolls.__contains__, self._all_keys()))

    def budget(self, key: Key, limit: int) -> FleetBudget:
        """What the others leave for this cluster."""
        return FleetBudget(
            rolling=self._under_way.besides(key),
            first=self._under_way.first_besides(key),
            failed=self._stopped.first_besides(key),
            finished=frozenset(self._finished),
            mine=self._rolls.get(key, _NONE).begun,
            limit=limit,
            restarted=dict(self._restarted.get(key, {})),
            restarted_leading=self._restarted_leading.get(key),
            moving=sum(1 for other in self._moving if other != key),
            is_complete=self.is_complete,
        )
