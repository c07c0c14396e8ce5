"""What every controller is: keys of objects in a queue, and a function that brings one object to what it should be."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from howdah.kube.client import Client
from howdah.kube.events import EventRecorder
from howdah.kube.queue import WorkQueue
from howdah.kube.resources import Resource
from howdah.local.controllers.caches import Caches, Object

Key = tuple[str, str]
"""(namespace, name)."""

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 10.0
CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class World:
    """What a controller works with. `node` is where its pods go: there is only one."""

    client: Client
    caches: Caches
    events: EventRecorder
    node: str


def key_of(item: Object) -> Key:
    """The object's key."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


Triggers = Callable[[Object], Sequence[Key]]
"""Which keys a change of an object concerns."""


class Controller:
    """Run `run()` as a task, after the caches are synced. A failed pass is tried again with back-off."""

    def __init__(
        self, world: World, triggers: Mapping[Resource, Triggers], reconcile: Callable[[Key], Awaitable[float | None]]
    ) -> None:
        """`reconcile` answers after how many seconds it wants to look again, `None` for never."""
        self._queue: WorkQueue[Key] = WorkQueue(first_retry_s=FIRST_RETRY_S, longest_retry_s=LONGEST_RETRY_S)
        self._reconcile = reconcile
        for resource, keys in triggers.items():
            world.caches.subscribe(resource, self._listener(keys))

    def _listener(self, keys: Triggers) -> Callable[[Object | None, Object | None], None]:
        def listen(old: Object | None, new: Object | None) -> None:
            # Both: an object that left the reach of a key concerns that key, too.
            for item in (old, new):
                for key in keys(item) if item is not None else ():
                    self._queue.add(key)

        return listen

    async def _work(self, key: Key) -> None:
        again_s = await self._reconcile(key)
        if again_s is not None:
            self._queue.after(key, again_s)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._queue.run(self._work, concurrency=CONCURRENCY)


async def run_all(controllers: Sequence[Controller]) -> None:
    """Run controllers side by side until cancelled."""
    async with asyncio.TaskGroup() as group:
        for controller in controllers:
            group.create_task(controller.run())
