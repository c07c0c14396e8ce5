"""Clocks for tests that stand while the machine does not run them.

On a busy machine a process may get no processor for seconds. Timers and limits go on meanwhile, so that what should have come
between two of them comes after both, and a test fails that says nothing but that. On these clocks only the time goes by in
which the process worked, or waited of its own will: what is claimed of order and of spans holds on any machine. What another
process does takes as long as it takes: it is waited for with a limit that only ends a hang, `HANGS_S`.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

HANGS_S = 60.0
"""What has not come by then never comes; what comes sooner costs nothing."""
LATE_S = 0.005
"""As much of a delay goes by all the same: it is not told from the work of the system itself."""
LONGEST_WAIT_S = 0.05
"""So long a wait is asked of the system at most; what it takes beyond that is a delay."""


class Clock:
    """Seconds without those in which this thread wanted to run, and did not. Ask it often: it can't tell one delay from two."""

    def __init__(
        self, wall: Callable[[], float] = time.monotonic, worked: Callable[[], float] = time.thread_time
    ) -> None:
        self._wall, self._worked = wall, worked
        self._seen = (wall(), worked())
        self._now = self._seen[0]

    @property
    def seen_s(self) -> float:
        """What `now` said last."""
        return self._now

    def now(self, waited_s: float = 0.0) -> float:
        """`waited_s`: how much of the time since the last call this thread may have slept because it wanted to."""
        wall, worked = self._wall(), self._worked()
        took_s, worked_s = wall - self._seen[0], worked - self._seen[1]
        self._seen = (wall, worked)
        self._now += min(took_s, worked_s + waited_s + LATE_S)
        return self._now


class _Selector(selectors.DefaultSelector):
    """Waits a little at a time, and tells the clock how long it was asked to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        self._clock.now()
        wait_s = LONGEST_WAIT_S if timeout is None else min(max(timeout, 0.0), LONGEST_WAIT_S)
        ready = super().select(wait_s)
        self._clock.now(waited_s=wait_s)
        return ready


class SteadyLoop(asyncio.SelectorEventLoop):
    """For all asynchronous tests, but for those in made-up time (`looptime`)."""

    def __init__(self) -> None:
        self.clock = Clock()
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        return self.clock.now()


TICK_S = 0.01


@contextmanager
def process_clock() -> Iterator[Callable[[], float]]:
    """A clock for all threads of this process: seconds, as its own thread was run to count them."""
    clock, over = Clock(worked=lambda: 0.0), threading.Event()

    def count() -> None:
        while not over.wait(TICK_S):
            clock.now(waited_s=TICK_S)

    counting = threading.Thread(target=count, daemon=True)
    counting.start()
    try:
        yield lambda: clock.seen_s
    finally:
        over.set()
        counting.join()


def pause(for_s: float) -> None:
    """Sleep until this process, and with it its other threads, has been run for so long."""
    clock = Clock(worked=lambda: 0.0)
    until_s = clock.now() + for_s
    while clock.now(waited_s=TICK_S) < until_s:
        time.sleep(TICK_S)


def quickest(took_s: Callable[[], float], *, limit_s: float, tries: int = 5) -> float:
    """Of the seconds that it takes the first below the limit, else the fewest: a machine slows down some tries, not all."""
    fewest_s = float("inf")
    for _ in range(tries):
        fewest_s = min(fewest_s, took_s())
        if fewest_s < limit_s:
            break
    return fewest_s
