"""Leader election: who may write, known at any moment without asking anybody.

A thread of its own with its own connection stands for the Lease, so that a blocked event loop does not lose it; and it stops
when the loop has been dead for long, so that a hung process does not keep it. What it does there is `lease.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import uuid
from collections.abc import Callable

from .access import Access
from .client import Client
from .errors import KubeError
from .lease import Candidate, LeaseTimes, boottime_s
from .transport import Observer

STOP_TIMEOUT_S = 5.0


def process_identity() -> str:
    """A holder name that no other process ever has: a restarted pod must not take itself for its predecessor."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4()}"


class LeaderElection:
    """`start()` from the event loop that does the work; ask `is_leading()` before each write; `stop()` after the last one.

    `on_gain` and `on_loss` are called in that loop. A process that lost may gain again.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        *,
        namespace: str,
        identity: str | None = None,
        times: LeaseTimes | None = None,
        on_gain: Callable[[], None] = lambda: None,
        on_loss: Callable[[], None] = lambda: None,
        observe: Observer | None = None,
        clock: Callable[[], float] = boottime_s,
        loop_patience_s: float = 60.0,
    ) -> None:
        self._access = access
        self._times = times or LeaseTimes()
        self._callbacks = {True: on_gain, False: on_loss}
        self._observe = observe
        self._clock = clock
        self._loop_patience_s = loop_patience_s
        self._last_beat = clock()
        self._main: asyncio.AbstractEventLoop | None = None
        self._own: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._candidate = Candidate(
            name,
            namespace=namespace,
            identity=identity or process_identity(),
            times=self._times,
            tell=self._tell,
            may_stand=self._loop_is_alive,
            clock=clock,
        )
        self._thread = threading.Thread(target=self._run_thread, name=f"lease-{name}", daemon=True)

    @property
    def identity(self) -> str:
        """Under which name this process holds the Lease."""
        return self._candidate.identity

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; "" for nobody."""
        return self._candidate.holder

    @property
    def last_error(self) -> KubeError | None:
        """Why the last request failed; None when it did not."""
        return self._candidate.last_error

    def is_leading(self) -> bool:
        """Whether writing is allowed now. Cheap; from any thread."""
        return not self._stopping.is_set() and self._candidate.is_leading()

    @property
    def alive(self) -> bool:
        """Whether the election goes on; False after `stop()` or where its thread died of a bug. For health checks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to stand for election."""
        self._main = asyncio.get_running_loop()
        self._last_beat = self._clock()
        self._thread.start()

    async def stop(self) -> None:
        """Stop, and release the Lease so that another can lead at once. The caller's writes must have ended before."""
        self._stopping.set()
        if self._own is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                self._own.call_soon_threadsafe(self._candidate.end)
        await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)

    # the thread

    def _run_thread(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._own = asyncio.get_running_loop()
        if self._stopping.is_set():
            return
        async with Client(
            self._access, timeout_s=self._times.timeout_s, observe=self._observe, user_agent="howdah-lease"
        ) as client:
            await self._candidate.run(client)

    def _loop_is_alive(self) -> bool:
        try:
            if self._main is not None:
                self._main.call_soon_threadsafe(self._beat)
        except RuntimeError:  # closed without stop(): nobody is left who could work
            self._candidate.end()
            return False
        return self._clock() - self._last_beat < self._loop_patience_s

    def _beat(self) -> None:
        self._last_beat = self._clock()

    def _tell(self, leading: bool) -> None:
        if self._main is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to tell
                self._main.call_soon_threadsafe(self._callbacks[leading])
