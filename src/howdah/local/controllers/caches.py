"""One informer per kind, shared by all controllers and the node; a controller subscribes to what it wants to hear of."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from howdah.kube.client import Client
from howdah.kube.informer import Informer
from howdah.kube.resources import Resource

Object = dict[str, Any]
Listener = Callable[[Object | None, Object | None], None]

LONGEST_DELAY_S = 1.0  # the API server is a process of this machine: it is back soon or not at all
SEEN_TIMEOUT_S = 5.0
SEEN_INTERVAL_S = 0.005


class Caches:
    """Run `run()` as a task and wait for `synced()`; listeners are called from the loop, in order."""

    def __init__(self, client: Client, resources: Iterable[Resource]) -> None:
        self._listeners: dict[Resource, list[Listener]] = {resource: [] for resource in resources}
        self._informers: dict[Resource, Informer[Object]] = {
            resource: Informer(
                client, resource, Object, on_change=self._teller(resource), longest_delay_s=LONGEST_DELAY_S
            )
            for resource in self._listeners
        }

    def _teller(self, resource: Resource) -> Listener:
        def tell(old: Object | None, new: Object | None) -> None:
            for listener in self._listeners[resource]:
                listener(old, new)

        return tell

    def subscribe(self, resource: Resource, listener: Listener) -> None:
        """Hear of every change of a kind from now on."""
        self._listeners[resource].append(listener)

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object as last seen."""
        return self._informers[resource].get(namespace, name)

    def all(self, resource: Resource) -> Iterator[Object]:
        """Every object of a kind."""
        return iter(self._informers[resource])

    def of(self, resource: Resource, namespace: str) -> list[Object]:
        """The objects of a namespace, by name."""
        found = [item for item in self._informers[resource] if item["metadata"].get("namespace") == namespace]
        return sorted(found, key=lambda item: str(item["metadata"]["name"]))

    async def synced(self) -> None:
        """Returns when every kind was listed."""
        for informer in self._informers.values():
            await informer.synced.wait()

    async def seen(self, resource: Resource, written: Object) -> None:
        """Wait until the cache has caught up with an object that was just made, so that it is not made twice."""
        metadata = written["metadata"]
        deadline = asyncio.get_running_loop().time() + SEEN_TIMEOUT_S
        while asyncio.get_running_loop().time() < deadline:
            found = self.get(resource, metadata["namespace"], metadata["name"])
            if found is not None and found["metadata"]["uid"] == metadata["uid"]:
                return
            await asyncio.sleep(SEEN_INTERVAL_S)

    async def run(self) -> None:
        """Keep all caches true until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())
