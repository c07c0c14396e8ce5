"""The fleet's budget for rolls, from what the passes of all clusters saw last. Made anew after a restart, by looking."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from howdah.core.intent import IN_FLIGHT
from howdah.core.nodes import due_move
from howdah.core.plan import FleetBudget, Plan, ReplacePooler, RollPooler, Step, Switchover
from howdah.core.pooler_rolls import pooler_causes, rollouts
from howdah.core.rollout import MemberView, causes
from howdah.core.situation import Situation
from howdah.kube.informer import Key


@dataclass(frozen=True, slots=True)
class _Roll:
    """How far a roll of a cluster's members, or of its poolers, is: begun when some pod is new already or is being replaced."""

    causes: frozenset[str] = frozenset()
    is_under_way: bool = False
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class _Rolls:
    members: _Roll = _Roll()
    poolers: _Roll = _Roll()

    def __iter__(self) -> Iterator[_Roll]:
        return iter((self.members, self.poolers))

    @property
    def under_way(self) -> Counter[str]:
        return Counter(cause for roll in self if roll.is_under_way for cause in roll.causes)

    @property
    def stopped(self) -> frozenset[str]:
        return frozenset(cause for roll in self if roll.stopped for cause in roll.causes)


_NONE = _Rolls()


class _Sums:
    """What the rolls of all clusters come to, by cause. Kept up to date, for a pass may not cost more in a larger fleet."""

    def __init__(self) -> None:
        self.under_way: Counter[str] = Counter()
        self.stopped: dict[str, dict[Key, None]] = {}  # a set in the order in which they stopped

    def replace(self, key: Key, before: _Rolls, now: _Rolls) -> None:
        if before == now:
            return
        self.under_way = self.under_way - before.under_way + now.under_way  # drops what is zero
        for cause in before.stopped - now.stopped:
            del self.stopped[cause][key]
            if not self.stopped[cause]:
                del self.stopped[cause]
        for cause in now.stopped - before.stopped:
            self.stopped.setdefault(cause, {})[key] = None


def _failure(views: tuple[MemberView, ...]) -> str | None:
    """A pod that was made anew and will not do its part."""
    return next((f"Pod {v.name} {v.unhealthy}" for v in views if v.has_failed and v.replace is None), None)


def _is_of_pooler(step: Step) -> bool:
    return isinstance(step, RollPooler | ReplacePooler)


def _is_move(step: Step, situation: Situation) -> bool:
    """A leader leaves its node: that is no part of a roll, unless it has to be replaced as well."""
    view = situation.leader_view
    is_due = view is not None and view.replace is not None
    return isinstance(step, Switchover) and not is_due and due_move(situation) is not None


def _is_of_members(step: Step, situation: Situation) -> bool:
    return step.disruptive and not _is_of_pooler(step) and not _is_move(step, situation)


class Fleet:
    """Belongs to one event loop. `all_keys` tells every cluster that has to be looked at before a roll may start."""

    def __init__(self, all_keys: Callable[[], tuple[Key, ...]]) -> None:
        self._all_keys = all_keys
        self._rolls: dict[Key, _Rolls] = {}
        self._sums = _Sums()
        self._finished: set[str] = set()
        self._noted: set[Key] = set()
        self._moving: dict[Key, dt.datetime] = {}

    def begin(self, key: Key, situation: Situation, step: Step) -> None:
        """A step of a roll is about to be taken: it counts from the moment of its decision, for others decide meanwhile."""
        before = self._rolls.get(key, _NONE)
        if _is_move(step, situation):
            self._moving[key] = situation.observed.now
        elif _is_of_pooler(step):
            self._keep(key, _Rolls(before.members, _Roll(pooler_causes(situation), is_under_way=True)))
        else:
            self._keep(key, _Rolls(_Roll(causes(situation.views), is_under_way=True), before.poolers))

    def note(self, key: Key, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> None:
        """Remember what this pass saw and did. A roll is finished when every new pod is there and does its part."""
        self._noted.add(key)
        before = self._rolls.get(key, _NONE)
        since = self._moving.get(key)
        if since is not None and (situation.observed.now - since > IN_FLIGHT or due_move(situation) is None):
            del self._moving[key]
        if situation.observed.problems:
            # What is not seen is not rolled, and no other waits for its end. What has failed stays a warning to them.
            self._keep(key, _Rolls(*(replace(roll, is_under_way=False) for roll in before)))
            return
        members = self._members(before.members, situation, plan, done)
        self._keep(key, _Rolls(members, self._poolers(before.poolers, situation, plan, done)))

    def _keep(self, key: Key, rolls: _Rolls) -> None:
        self._sums.replace(key, self._rolls.get(key, _NONE), rolls)
        self._rolls[key] = rolls

    def _members(self, before: _Roll, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> _Roll:
        views = situation.views
        is_rolling = any(view.replace is not None for view in views)
        has_begun = is_rolling and any(view.replace is None or view.pod.is_deleting for view in views)
        roll = self._after(
            before,
            causes(views),
            is_settled=len(views) >= situation.cluster.instances and all(view.unhealthy is None for view in views),
            has_begun=has_begun or any(_is_of_members(step, situation) for step in done),
            waits=any(held.until is not None and not _is_of_pooler(held.step) for held in plan.held),
        )
        # A plan may stop for other reasons than its roll: what cannot be seen is no lesson for other clusters.
        is_judged = roll.is_under_way or plan.stopped is not None
        return _Roll(roll.causes, roll.is_under_way, _failure(views) if is_judged else None)

    def _poolers(self, before: _Roll, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> _Roll:
        states = rollouts(situation)
        roll = self._after(
            before,
            pooler_causes(situation),
            is_settled=all(state.is_complete for state in states),
            has_begun=any(state.has_old_pods and not state.has_failed for state in states)
            or any(_is_of_pooler(step) for step in done),
            waits=any(held.until is not None and _is_of_pooler(held.step) for held in plan.held),
        )
        failed = next(
            (f"a new pod of {state.name} does not become available" for state in states if state.has_failed), None
        )
        return _Roll(roll.causes, roll.is_under_way, failed if roll.is_under_way else None)

    def _after(self, before: _Roll, found: frozenset[str], *, is_settled: bool, has_begun: bool, waits: bool) -> _Roll:
        was = before.causes if before.is_under_way else frozenset()
        if is_settled and not found:
            self._finished |= was
        goes_on = was if not is_settled else frozenset()
        under_way = bool(goes_on) or (bool(found) and (has_begun or bool(found & was)))
        # A maintenance window may be a week away: nobody waits for it.
        return _Roll(found | goes_on, under_way and not waits)

    def seen(self, key: Key) -> None:
        """A cluster that was looked at; without a `note` in this pass it has no roll to speak of (invalid, not ours)."""
        if key not in self._noted:
            self._keep(key, _NONE)
        self._noted.discard(key)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._sums.replace(key, self._rolls.pop(key, _NONE), _NONE)
        self._noted.discard(key)
        self._moving.pop(key, None)

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
        mine = self._rolls.get(key, _NONE)
        stopped = ((cause, next((k for k in keys if k != key), None)) for cause, keys in self._sums.stopped.items())
        return FleetBudget(
            rolling=self._sums.under_way - mine.under_way,
            failed={cause: other[1] for cause, other in stopped if other is not None},
            finished=frozenset(self._finished),
            mine=frozenset(mine.under_way),
            limit=limit,
            moving=sum(1 for other in self._moving if other != key),
            is_complete=self.is_complete,
        )
