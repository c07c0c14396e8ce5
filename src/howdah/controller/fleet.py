"""The fleet's budget for rolls, from what the passes of all clusters saw last. Made anew after a restart, by looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from howdah.controller.watch import Key
from howdah.core.plan import FleetBudget, Plan
from howdah.core.rollout import causes
from howdah.core.situation import Situation


@dataclass(frozen=True, slots=True)
class _Roll:
    """How far a cluster's roll is: begun when some pod is new already or is being replaced."""

    causes: frozenset[str]
    is_under_way: bool
    stopped: str | None


class Fleet:
    """Belongs to one event loop. `all_keys` tells every cluster that has to be looked at before a roll may start."""

    def __init__(self, all_keys: Callable[[], tuple[Key, ...]]) -> None:
        self._all_keys = all_keys
        self._rolls: dict[Key, _Roll] = {}
        self._finished: set[str] = set()
        self._noted: set[Key] = set()

    def note(self, key: Key, situation: Situation, plan: Plan) -> None:
        """Remember what this pass saw."""
        self._noted.add(key)
        before = self._rolls.get(key)
        found = causes(situation.views)
        if before is not None and before.is_under_way:
            self._finished |= before.causes - found if not found else frozenset()
        under_way = bool(found) and (
            any(view.replace is None or view.pod.is_deleting for view in situation.views)
            or any(step.disruptive for step in plan.steps)
        )
        self._rolls[key] = _Roll(found, under_way, plan.stopped)

    def seen(self, key: Key) -> None:
        """A cluster that was looked at; without a `note` in this pass it has no roll to speak of (invalid, not ours)."""
        if key not in self._noted:
            self._rolls[key] = _Roll(frozenset(), is_under_way=False, stopped=None)
        self._noted.discard(key)

    def forget(self, key: Key) -> None:
        self._rolls.pop(key, None)

    @property
    def is_complete(self) -> bool:
        """Whether every cluster has been looked at once."""
        return all(key in self._rolls for key in self._all_keys())

    def budget(self, key: Key, limit: int) -> FleetBudget:
        """What the others leave for this cluster."""
        others = {other: roll for other, roll in self._rolls.items() if other != key and roll.causes}
        return FleetBudget(
            rolling=Counter(cause for roll in others.values() if roll.is_under_way for cause in roll.causes),
            failed={cause: other[1] for other, roll in others.items() if roll.stopped for cause in roll.causes},
            finished=frozenset(self._finished),
            limit=limit,
            is_complete=self.is_complete,
        )
