"""How soon a step that failed may be tried again. Events of any kind wake passes; they must not make failures a hot loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from howdah.core.plan import Step
from howdah.kube.informer import Key

FIRST_S = 0.5
LONGEST_S = 60.0
QUARREL, QUARREL_S = 5, 20.0


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a step; `not_before` on the clock of `Attempts`."""

    count: int
    not_before: float
    error: str


class Attempts:
    """Several steps of a cluster can have failed, where the first ones held up nothing. `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: dict[Key, dict[tuple[str, str], Failure]] = {}
        self._done: dict[Key, dict[tuple[str, str, str], deque[float]]] = {}

    def held_back(self, key: Key, step: Step) -> Failure | None:
        """The failure because of which the step is not to be tried yet."""
        failure = self._failures.get(key, {}).get(_identity(step))
        return failure if failure is not None and failure.not_before > self._clock() else None

    def left_s(self, key: Key) -> float:
        """Seconds until the first of the cluster's failed steps may be tried again."""
        left = (failure.not_before - self._clock() for failure in self._failures.get(key, {}).values())
        return min((seconds for seconds in left if seconds > 0), default=0.0)

    def failed(self, key: Key, step: Step, error: str) -> None:
        """Note a failure; the same step again doubles the wait."""
        of_cluster = self._failures.setdefault(key, {})
        before = of_cluster.get(_identity(step))
        count = before.count + 1 if before is not None else 0
        wait_s = min(FIRST_S * 2.0 ** min(count, 16), LONGEST_S)
        of_cluster[_identity(step)] = Failure(count, self._clock() + wait_s, error)

    def succeeded(self, key: Key) -> None:
        """A pass in which nothing failed or was held back."""
        self._failures.pop(key, None)

    def done(self, key: Key, step: Step) -> None:
        """Note a success; one that is needed again and again is a quarrel with somebody, and gets slower."""
        self._failures.get(key, {}).pop(_identity(step), None)
        now_s, of_cluster = self._clock(), self._done.setdefault(key, {})
        for what in [what for what, times in of_cluster.items() if now_s - times[-1] >= QUARREL_S]:
            del of_cluster[what]  # too long ago to be part of a quarrel
        times = of_cluster.setdefault((*_identity(step), step.reason), deque(maxlen=QUARREL))
        times.append(now_s)
        if len(times) == QUARREL and times[-1] - times[0] < QUARREL_S:
            self.failed(key, step, f"done {QUARREL} times in {QUARREL_S:g} s: somebody else undoes it")

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._failures.pop(key, None)
        self._done.pop(key, None)


def _identity(step: Step) -> tuple[str, str]:
    return type(step).__name__, step.target
