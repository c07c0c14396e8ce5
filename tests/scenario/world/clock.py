"""Time that passes only when nothing else can happen: minutes of a scenario take milliseconds, and always the same ones.

Threads do their work at once, in the loop, so that no chance is left in who comes first.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import selectors
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

OWNER: ContextVar[object] = ContextVar("OWNER", default=None)
"""Whose work a task is: an operator that is killed takes its tasks with it."""


class _Jumping(selectors.DefaultSelector):
    """Nobody is waited for: with nothing to read, the clock jumps to the next timer."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen in this world: no timer is left")
            self.loop.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own."""

    def __init__(self) -> None:
        selector = _Jumping()
        self.now_s = 1000.0
        super().__init__(selector)
        selector.loop = self
        self.owners: WeakKeyDictionary[asyncio.Task[Any], object] = WeakKeyDictionary()
        self.set_task_factory(self._task)  # type: ignore[arg-type]

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: what a thread computes takes no time of this world."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to the caller
            future.set_exception(error)
        return future

    def _task(self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **more)
        self.owners[task] = OWNER.get()
        return task

    def cancel_tasks_of(self, owner: object) -> None:
        """The end of a process: none of its tasks goes on."""
        for task in asyncio.all_tasks(self):
            if self.owners.get(task) is owner:
                task.cancel()


def now() -> dt.datetime:
    """The time of day in the running world."""
    return EPOCH + dt.timedelta(seconds=asyncio.get_running_loop().time())
