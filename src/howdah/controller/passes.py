"""How a pass over one cluster ended, and when the next one is due."""

from __future__ import annotations

import dataclasses
import datetime as dt
from dataclasses import dataclass

from howdah.kube.errors import Forbidden
from howdah.kube.informer import Key

SOON_S = 0.05  # after a write: the caches need a moment to hear of it
AFTER_FAILURE_S = 5.0  # of a read or of the status
AFTER_FIRST_FORBIDDEN_S, AFTER_FORBIDDEN_S = 1.0, 60.0  # doubling
AFTER_MISSING_S = 30.0  # an object that a manifest names and nobody watches
AFTER_UNREADABLE_S = 60.0  # the next state of it makes an event
AFTER_CONFLICT_S = 1.0  # what was in the way makes an event, which wakes the pass earlier


@dataclass(frozen=True, slots=True)
class PassResult:
    """When to look again (None: when something happens, or at the resync), whether it failed, and whether that was all."""

    again_in_s: float | None = None
    failed: str | None = None
    is_gone: bool = False  # there is no such cluster any more: only an event can bring it back


class Patience:
    """How long until what failed is tried again, of each cluster."""

    def __init__(self) -> None:
        self._refusals: dict[Key, int] = {}

    def after_s(self, key: Key, error: Exception) -> float:
        """Seconds. A right is given by a person, or was given a moment ago: soon at first, then seldom.

        The API server hears of a new role only after it has stored it, so that after an install the first requests are refused.
        """
        if not isinstance(error, Forbidden):
            return AFTER_FAILURE_S
        before = self._refusals.get(key, 0)
        self._refusals[key] = before + 1
        return min(AFTER_FIRST_FORBIDDEN_S * 2.0 ** min(before, 16), AFTER_FORBIDDEN_S)

    def forget(self, key: Key) -> None:
        """Nothing was refused, or the cluster is gone."""
        self._refusals.pop(key, None)


def not_later(result: PassResult, seconds: float | None) -> PassResult:
    """The same, looking again in `seconds` at the latest."""
    if seconds is None or (result.again_in_s is not None and result.again_in_s <= seconds):
        return result
    return dataclasses.replace(result, again_in_s=seconds)


def not_after(result: PassResult, moment: dt.datetime | None, now: dt.datetime) -> PassResult:
    """The same, looking again at `moment` at the latest."""
    if moment is None:
        return result
    return not_later(result, max(0.0, (moment - now).total_seconds()))
