"""The fleet's budget for rolls, from what the passes of all clusters saw last. Made anew after a restart, by looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from howdah.controller.watch import Key
from howdah.core.plan import FleetBudget, Plan, Step
from howdah.core.rollout import MemberView, causes
from howdah.core.situation import Situation


@dataclass(frozen=True, slots=True)
class _Roll:
    """How far a cluster's roll is: begun when some pod is new already or is being replaced."""

    causes: frozenset[str]
    is_under_way: bool
    stopped: str | None


def _failure(views: tuple[MemberView, ...]) -> str | None:
    """A pod that was made anew and will not do its part."""
    return next((f"Pod {v.name} {v.unhealthy}" for v in views if v.has_failed and v.replace is None), None)


class Fleet:
    """Belongs to one event loop. `all_keys` tells every cluster that has to be looked at before a roll may start."""

    def __init__(self, all_keys: Callable[[], tuple[Key, ...]]) -> None:
        self._all_keys = all_keys
        self._rolls: dict[Key, _Roll] = {}
        self._finished: set[str] = set()
        self._noted: set[Key] = set()

    def begin(self, key: Key, situation: Situation) -> None:
        """A step of a roll is about to be taken: it counts from the moment of its decision, for others decide meanwhile."""
        self._rolls[key] = _Roll(causes(situation.views), is_under_way=True, stopped=None)

    def note(self, key: Key, situation: Situation, plan: Plan, done: tuple[Step, ...]) -> None:
        """Remember what this pass saw and did. A roll is finished when every new pod is there and does its part."""
        self._noted.add(key)
        views, found = situation.views, causes(situation.views)
        before = self._rolls.get(key)
        was = before.causes if before is not None and before.is_under_way else frozenset()
        is_settled = len(views) >= situation.cluster.instances and all(view.unhealthy is None for view in views)
        if is_settled and not found:
            self._finished |= was
        goes_on = was if not is_settled else frozenset()
        is_rolling = any(view.replace is not None for view in views)
        has_begun = is_rolling and any(view.replace is None or view.pod.is_deleting for view in views)
        has_begun = has_begun or bool(found & was) or any(step.disruptive for step in done)
        under_way = bool(goes_on) or (bool(found) and has_begun)
        if any(held.until is not None for held in plan.held):
            under_way = False  # a maintenance window may be a week away: nobody waits for it
        # A plan may stop for other reasons than its roll: what cannot be seen is no lesson for other clusters.
        stopped = _failure(views) if under_way or plan.stopped is not None else None
        self._rolls[key] = _Roll(found | goes_on, under_way, stopped)

    def seen(self, key: Key) -> None:
        """A cluster that was looked at; without a `note` in this pass it has no roll to speak of (invalid, not ours)."""
        if key not in self._noted:
            self._rolls[key] = _Roll(frozenset(), is_under_way=False, stopped=None)
        self._noted.discard(key)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._rolls.pop(key, None)
        self._noted.discard(key)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every cluster that was looked at and is not known to be gone."""
        return tuple(self._rolls)

    @property
    def is_complete(self) -> bool:
        """Whether every cluster has been looked at once."""
        return all(key in self._rolls for key in self._all_keys())

    def budget(self, key: Key, limit: int) -> FleetBudget:
        """What the others leave for this cluster."""
        mine = self._rolls.get(key)
        others = {other: roll for other, roll in self._rolls.items() if other != key and roll.causes}
        return FleetBudget(
            rolling=Counter(cause for roll in others.values() if roll.is_under_way for cause in roll.causes),
            failed={cause: other[1] for other, roll in others.items() if roll.stopped for cause in roll.causes},
            finished=frozenset(self._finished),
            mine=mine.causes if mine is not None and mine.is_under_way else frozenset(),
            limit=limit,
            is_complete=self.is_complete,
        )
