"""How soon a step may be tried again that failed, or that somebody undoes. Events of any kind wake passes; they must not
make failures a hot loop, nor a quarrel.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from howdah.core.plan import Step
from howdah.kube.informer import Key

FIRST_S = 0.5
LONGEST_S = 60.0
SHORTEST_S = 0.01  # what is due a rounding error later does not keep the process busy
QUARREL, QUARREL_S = 5, 20.0
UNDONE = f"done {QUARREL} times in {QUARREL_S:g} s: somebody else undoes it"

_Words = tuple[str, str, str]  # kind of step, target, reason


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a step; `not_before` on the clock of `Attempts`."""

    count: int
    not_before: float
    error: str


@dataclass(frozen=True, slots=True)
class Quarrel:
    """A step that was needed again and again, although each time it was done. It is over when it stays done for QUARREL_S."""

    count: int
    not_before: float
    step: Step

    @property
    def ends_at(self) -> float:
        return self.not_before + QUARREL_S


class Attempts:
    """Several steps of a cluster can have failed, where the first ones held up nothing. `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[Key, dict[tuple[str, str], Failure]] = {}
        self._since: dict[Key, dict[tuple[str, str], float]] = {}  # of what is at work beside the passes: since when
        self._done: dict[Key, dict[_Words, deque[float]]] = {}
        self._quarrels: dict[Key, dict[_Words, Quarrel]] = {}

    def held_back(self, key: Key, step: Step) -> Failure | None:
        """The failure because of which the step is not to be tried yet."""
        failure = self._failures.get(key, {}).get(_identity(step))
        return failure if failure is not None and failure.not_before > self._clock() else None

    def rests(self, key: Key, step: Step) -> bool:
        """Whether the step is not to be done again yet, because somebody undoes it. It has not failed: others go on."""
        quarrel = self._quarrels.get(key, {}).get(_words(step))
        return quarrel is not None and quarrel.not_before > self._clock()

    def quarrels(self, key: Key) -> tuple[tuple[Step, str], ...]:
        """What somebody undoes, from when it is noticed until it is over: also while nothing of it is to be done."""
        now_s = self._clock()
        return tuple((one.step, UNDONE) for one in self._quarrels.get(key, {}).values() if one.ends_at > now_s)

    def left_s(self, key: Key) -> float:
        """Seconds until the first of the cluster's steps may be tried again, or a quarrel is over; 0: nothing is awaited."""
        now_s = self._clock()
        moments = [failure.not_before for failure in self._failures.get(key, {}).values()]
        for quarrel in self._quarrels.get(key, {}).values():
            moments += [quarrel.not_before, quarrel.ends_at]
        return min((max(moment - now_s, SHORTEST_S) for moment in moments if moment > now_s), default=0.0)

    def at_work(self, key: Key, step: Step) -> None:
        """The step goes on beside the passes."""
        self._since.setdefault(key, {}).setdefault(_identity(step), self._clock())

    def failed(self, key: Key, step: Step, error: str) -> None:
        """Note a failure; the same step again doubles the wait, unless it could have been tried long ago.

        What took long before it failed rests for as long: a copy for which the disk has no room is not begun at once.
        """
        began_s = self._since.get(key, {}).pop(_identity(step), None)
        now_s, of_cluster = self._clock(), self._failures.setdefault(key, {})
        for what in [what for what, failure in of_cluster.items() if now_s - failure.not_before >= LONGEST_S]:
            del of_cluster[what]
        before = of_cluster.get(_identity(step))
        count = before.count + 1 if before is not None else 0
        wait_s = max(_wait_s(count), 0.0 if began_s is None else now_s - began_s)
        of_cluster[_identity(step)] = Failure(count, now_s + wait_s, error)

    def done(self, key: Key, step: Step) -> None:
        """Note a success; one that is needed again and again is a quarrel with somebody, and gets slower."""
        self._failures.get(key, {}).pop(_identity(step), None)
        self._since.get(key, {}).pop(_identity(step), None)
        now_s, what = self._clock(), _words(step)
        of_cluster, quarrels = self._done.setdefault(key, {}), self._quarrels.setdefault(key, {})
        for old in [old for old, times in of_cluster.items() if now_s - times[-1] >= QUARREL_S]:
            del of_cluster[old]  # too long ago to be part of a quarrel
        for old in [old for old, quarrel in quarrels.items() if now_s >= quarrel.ends_at]:
            del quarrels[old]
        times = of_cluster.setdefault(what, deque(maxlen=QUARREL))
        times.append(now_s)
        if (before := quarrels.get(what)) is not None:
            quarrels[what] = Quarrel(before.count + 1, now_s + _wait_s(before.count + 1), step)
        elif len(times) == QUARREL and times[-1] - times[0] < QUARREL_S:
            quarrels[what] = Quarrel(0, now_s + _wait_s(0), step)

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._failures.pop(key, None)
        self._since.pop(key, None)
        self._done.pop(key, None)
        self._quarrels.pop(key, None)


def _wait_s(count: int) -> float:
    return min(FIRST_S * 2.0 ** min(count, 16), LONGEST_S)


def _identity(step: Step) -> tuple[str, str]:
    return type(step).__name__, step.target


def _words(step: Step) -> _Words:
    return (*_identity(step), step.reason)
