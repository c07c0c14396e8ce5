"""A work queue of keys: each key once in the queue, once at work, and again later if its work failed.

As in client-go's workqueue a key added while it is at work gets one more pass afterwards, so the last change is never missed
and a burst of changes is one pass. Otherwise than there a pass, which looks at everything, fulfils earlier wishes for a later
one; its worker says anew when to look again. In a crowd a key rests after its pass, so that many changes of many keys are
few passes of each; a key that has had none lately never waits. Not here: what a key means.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 300.0
REST_S = 0.005
LONGEST_REST_S = 0.5
"""How long a key rests after a pass for each other key that has something to do, and at most. A key alone never rests."""

_log = logging.getLogger(__name__)


class WorkQueue(Generic[K]):
    """Belongs to one event loop; `add`, `after` and `retry` never wait and may be called from callbacks."""

    def __init__(
        self,
        *,
        first_retry_s: float = FIRST_RETRY_S,
        longest_retry_s: float = LONGEST_RETRY_S,
        on_error: Callable[[K, Exception], None] | None = None,
    ) -> None:
        self._first_retry_s, self._longest_retry_s = first_retry_s, longest_retry_s
        self._on_error = on_error
        self._waiting: dict[K, float] = {}  # keys that want a pass, and since when; the oldest first
        self._ready: deque[K] = deque()  # those of them that are neither at work nor at rest
        self._resting: set[K] = set()
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()

    @property
    def depth(self) -> int:
        """Keys that want a pass now."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """Passes in progress."""
        return len(self._working)

    @property
    def delayed(self) -> int:
        """Keys with a pass at a later time."""
        return len(self._timers)

    @property
    def oldest_age_s(self) -> float:
        """How long the longest waiting key has waited; 0 for an empty queue."""
        first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else asyncio.get_running_loop().time() - first

    def failures(self, key: K) -> int:
        """How often in a row the key's pass has failed."""
        return self._failures.get(key, 0)

    def add(self, key: K) -> None:
        """Ask for a pass now."""
        if key in self._waiting:
            return
        self._waiting[key] = asyncio.get_running_loop().time()
        self._offer(key)

    def after(self, key: K, seconds: float) -> None:
        """Ask for a pass in some seconds; of several such wishes the earliest counts. A pass that begins before fulfils it."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._due, key)

    def retry(self, key: K) -> float:
        """Ask for a pass after the key's back-off, which doubles each time until `forget`; the seconds chosen."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        longest = self._longest_retry_s
        # The exponent is bounded: a float overflows after a thousand failures.
        seconds: float = min(self._first_retry_s * 2.0 ** min(failures, 32), longest) * random.uniform(0.5, 1.0)
        self.after(key, seconds)
        return seconds

    def forget(self, key: K) -> None:
        """The key's next failure is its first."""
        self._failures.pop(key, None)

    def discard(self, key: K) -> None:
        """The key is of no interest any more: no timers, no back-off. A pass in progress goes on."""
        self.forget(key)
        self._cancel_timer(key)
        if self._waiting.pop(key, None) is not None and key in self._ready:
            self._ready.remove(key)

    async def run(self, worker: Callable[[K], Awaitable[None]], *, concurrency: int = 32) -> None:
        """Work until cancelled, then cancel the passes in progress and wait for their end.

        A pass that raises is logged, told to `on_error` and retried with back-off; one that ends well is forgotten.
        An idle queue holds no tasks, so a high `concurrency` costs nothing. One that has ended has no timers either: the
        loop would hold it, and all that it knows, until the last of them is due.
        """
        slots = asyncio.Semaphore(concurrency)
        try:
            async with asyncio.TaskGroup() as passes:
                while True:
                    await slots.acquire()
                    key = await self._next()
                    passes.create_task(self._pass(key, worker, slots))
        finally:
            for key in tuple(self._timers):
                self._cancel_timer(key)

    async def _next(self) -> K:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        del self._waiting[key]
        self._cancel_timer(key)
        self._working.add(key)
        return key

    async def _pass(self, key: K, worker: Callable[[K], Awaitable[None]], slots: asyncio.Semaphore) -> None:
        try:
            await worker(key)
        except Exception as error:  # noqa: BLE001 - one key's failure must not touch the others
            seconds = self.retry(key)
            _log.warning("pass of %s failed, again in %.1f s: %s", key, seconds, error, exc_info=_unexpected(error))
            if self._on_error:
                self._on_error(key, error)
        else:
            self.forget(key)
        finally:
            self._working.discard(key)
            self._rest(key)
            self._offer(key)
            slots.release()

    def _offer(self, key: K) -> None:
        """A key that wants a pass and may have it now is next in line."""
        if key in self._waiting and key not in self._working and key not in self._resting:
            self._ready.append(key)
            self._wake.set()

    def _rest(self, key: K) -> None:
        crowd = len(self._working) + len(self._waiting) - (key in self._waiting)
        if crowd and key not in self._resting:
            self._resting.add(key)
            asyncio.get_running_loop().call_later(min(LONGEST_REST_S, crowd * REST_S), self._rested, key)

    def _rested(self, key: K) -> None:
        self._resting.discard(key)
        self._offer(key)

    def _cancel_timer(self, key: K) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)


def _unexpected(error: Exception) -> bool:
    """Whether a stack trace helps: not for what the outside world does."""
    return not getattr(error, "transient", False)
