"""One operator process as the world sees it: alive or not, and what it may still write before it is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from scenario.world.clock import VirtualLoop

LATENCY_S = 0.002


@dataclass(slots=True, eq=False)
class Hand:
    """`kill_after`: the number of the write after which it dies, with the effect done and no answer read.

    `lag_s`: how late its watches hear of things. `cuts` counts down requests that it is not answered.
    """

    name: str
    lag_s: float = 0.0
    kill_after: int | None = None
    observe_only: bool = False
    on_death: Callable[[Hand], None] = lambda hand: None
    when_read: Callable[[], None] = lambda: None  # it has read what a server holds
    writes: list[str] = field(default_factory=list)
    alive: bool = True
    started_s: float = 0.0
    told_to_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self) -> None:
        """The way to a server; the dead do not arrive."""
        await asyncio.sleep(LATENCY_S)
        if not self.alive:
            raise asyncio.CancelledError

    async def wrote(self, what: str) -> None:
        """A write has had its effect."""
        loop = asyncio.get_running_loop()
        self.writes.append(f"{loop.time():.3f} {what}")
        if self.kill_after is not None and len(self.writes) >= self.kill_after:
            self.die()
        await self.reach()

    def die(self) -> None:
        """kill -9."""
        if not self.alive:
            return
        self.alive = False
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.cancel_tasks_of(self)
        self.on_death(self)
