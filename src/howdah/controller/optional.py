"""A kind that may not be installed: its objects are watched while its CRD is there, and nothing waits for it.

Without its CRD, or where it may not be seen, the operator works on and says that it is not served.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from howdah.kube.client import Client
from howdah.kube.informer import Informer, PartialObject
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS

POLL_S = 0.02
LONGEST_FIRST_LOOK_S = 30.0
FORBIDDEN_DELAY_S = 60.0


class OptionalKind:
    """`informers` watch the objects; `on_served` is called when the kind comes or goes."""

    def __init__(
        self, client: Client, definition: str, informers: tuple[Informer[Any], ...], on_served: Callable[[], None]
    ) -> None:
        self._informers = informers
        self._on_served = on_served
        self._turned = asyncio.Event()
        self._definition = Informer(
            client,
            CUSTOM_RESOURCE_DEFINITIONS,
            PartialObject,
            fields=f"metadata.name={definition}",
            metadata_only=True,
            forbidden_delay_s=FORBIDDEN_DELAY_S,  # an operator of single namespaces sees none, and that is as it should be
            significant=lambda definition: definition.metadata.uid,
            on_change=lambda _old, _new: self._turned.set(),
        )

    def is_served(self, namespace: str) -> bool:
        """Whether the kind is installed and all its objects in this namespace are known."""
        return any(informer.namespace in (None, namespace) for informer in self)

    def __iter__(self) -> Iterator[Informer[Any]]:
        """Those that know all objects of their namespace."""
        return (informer for informer in self._informers if len(self._definition) > 0 and informer.synced.is_set())

    async def run(self) -> None:
        """Keep the caches true until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._definition.run())
            tasks.create_task(self._follow())

    async def looked(self) -> None:
        """Wait until it is known whether the kind is served, and if so what objects there are; not for long."""
        await first_look(self._has_looked)

    def _has_looked(self) -> bool:
        if not self._definition.synced.is_set():
            return self._definition.denied is not None
        return len(self._definition) == 0 or all(informer.has_looked for informer in self._informers)

    async def _follow(self) -> None:
        """Watch the objects for as long as the definition is there."""
        watching: list[asyncio.Task[None]] = []
        try:
            while True:
                await self._turned.wait()
                self._turned.clear()
                if len(self._definition) > 0 and not watching:
                    watching = [asyncio.create_task(informer.run()) for informer in self._informers]
                    watching += [asyncio.create_task(self._tell_when_synced(one)) for one in self._informers]
                elif len(self._definition) == 0 and watching:
                    await _end(watching)
                    watching = []
                    for informer in self._informers:
                        informer.reset()
                self._on_served()
        finally:
            await _end(watching)

    async def _tell_when_synced(self, informer: Informer[Any]) -> None:
        """One that is refused does not keep the others waiting."""
        await informer.synced.wait()
        self._on_served()


async def first_look(has_looked: Callable[[], bool]) -> None:
    """Wait until something is known or refused, whichever comes first; not for long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_FIRST_LOOK_S):
            while not has_looked():  # noqa: ASYNC110 - either event
                await asyncio.sleep(POLL_S)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
