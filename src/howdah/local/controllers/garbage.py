"""Owner references: what has lost all its owners goes; foreground and orphaning deletions are brought to their end.

An owner counts as gone only when the API itself says so for its uid, never because a cache does not hold it.
Semantics: https://kubernetes.io/docs/concepts/architecture/garbage-collection/
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from howdah.kube.client import Client
from howdah.kube.errors import Conflict, NotFound
from howdah.kube.informer import Informer
from howdah.kube.queue import WorkQueue
from howdah.kube.resources import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, EVENTS, Resource

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
LONGEST_DELAY_S = 1.0


class OwnerReference(msgspec.Struct, frozen=True, rename="camel"):
    """One owner."""

    kind: str
    name: str
    uid: str
    api_version: str = ""
    block_owner_deletion: bool | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    uid: str
    resource_version: str = ""
    namespace: str = ""
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None
    deletion_timestamp: str | None = None


class Item(msgspec.Struct, frozen=True):
    """What of any object matters here."""

    metadata: _Metadata


class _Names(msgspec.Struct, frozen=True):
    plural: str
    kind: str


class _Version(msgspec.Struct, frozen=True):
    name: str
    served: bool
    storage: bool


class _Spec(msgspec.Struct, frozen=True):
    group: str
    scope: str
    names: _Names
    versions: list[_Version]


class Definition(msgspec.Struct, frozen=True):
    """A custom kind."""

    spec: _Spec

    def resources(self) -> list[Resource]:
        """One per served version, the stored one first."""
        spec = self.spec
        served = sorted((version for version in spec.versions if version.served), key=lambda found: not found.storage)
        names = spec.names
        return [
            Resource(spec.group, version.name, names.plural, names.kind, spec.scope == "Namespaced")
            for version in served
        ]


@dataclass(frozen=True, slots=True)
class Node:
    """Where an object is found."""

    resource: Resource
    namespace: str
    name: str


class GarbageCollector:
    """Run `run()` as a task."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: WorkQueue[Node] = WorkQueue(first_retry_s=0.1, longest_retry_s=30.0)
        self._informers: dict[Resource, Informer[Item]] = {}
        self._dependents: dict[str, set[Node]] = {}
        self._owners: dict[str, Node] = {}
        self._kinds = {(resource.api_version, resource.kind): resource for resource in BUILT_IN}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Collect until cancelled."""
        definitions: Informer[Definition] = Informer(
            self._client,
            CUSTOM_RESOURCE_DEFINITIONS,
            Definition,
            on_change=self._on_definition,
            longest_delay_s=LONGEST_DELAY_S,
        )
        async with asyncio.TaskGroup() as group:
            self._group = group
            for resource in BUILT_IN:
                if resource != EVENTS:
                    self._watch(resource)
            group.create_task(definitions.run())
            for informer in list(self._informers.values()):
                await informer.synced.wait()
            group.create_task(self._queue.run(self._collect, concurrency=8))

    def _watch(self, resource: Resource) -> None:
        if resource in self._informers or self._group is None:
            return

        def tell(old: Item | None, new: Item | None) -> None:
            self._on_change(resource, old, new)

        informer = Informer(self._client, resource, Item, on_change=tell, longest_delay_s=LONGEST_DELAY_S)
        self._informers[resource] = informer
        self._group.create_task(informer.run())

    def _on_definition(self, _old: Definition | None, new: Definition | None) -> None:
        if new is None:
            return
        resources = new.resources()
        self._kinds |= {(resource.api_version, resource.kind): resource for resource in resources}
        for resource in resources[:1]:
            self._watch(resource)

    def _on_change(self, resource: Resource, old: Item | None, new: Item | None) -> None:
        seen = new or old
        if seen is None:
            return
        node = Node(resource, seen.metadata.namespace, seen.metadata.name)
        for reference in old.metadata.owner_references or () if old else ():
            self._dependents.get(reference.uid, set()).discard(node)
            # An owner may be waiting for this one's end.
            self._add(self._owners.get(reference.uid))
        if new is None:
            self._owners.pop(seen.metadata.uid, None)
            for dependent in self._dependents.get(seen.metadata.uid, ()):
                self._queue.add(dependent)
            return
        self._owners[new.metadata.uid] = node
        for reference in new.metadata.owner_references or ():
            self._dependents.setdefault(reference.uid, set()).add(node)
        if new.metadata.owner_references or new.metadata.deletion_timestamp:
            self._queue.add(node)

    def _add(self, node: Node | None) -> None:
        if node is not None:
            self._queue.add(node)

    def _item(self, node: Node) -> Item | None:
        return self._informers[node.resource].get(node.namespace, node.name)

    async def _collect(self, node: Node) -> None:
        item = self._item(node)
        if item is None:
            return
        finalizers = item.metadata.finalizers or ()
        if item.metadata.deletion_timestamp:
            if ORPHAN in finalizers:
                await self._orphan(node, item)
            elif FOREGROUND in finalizers:
                await self._finish_foreground(node, item)
            return
        references = item.metadata.owner_references or ()
        if references and await self._has_no_owner(node, references):
            await self._delete(node, item)

    async def _has_no_owner(self, node: Node, references: Iterable[OwnerReference]) -> bool:
        """Every owner is gone, or one that waits for this item in the foreground is the only one left."""
        for reference in references:
            owner = self._owners.get(reference.uid)
            held = self._item(owner) if owner else None
            if held is not None:
                waits = held.metadata.deletion_timestamp and FOREGROUND in (held.metadata.finalizers or ())
                if not waits:
                    return False
            elif not await self._is_gone(node, reference):
                return False
        return True

    async def _is_gone(self, node: Node, reference: OwnerReference) -> bool:
        resource = self._kinds.get((reference.api_version, reference.kind))
        if resource is None:
            return False  # a kind that nobody can ask for: unknown is alive
        namespace = node.namespace if resource.namespaced else None
        if resource.namespaced and not namespace:
            return False
        try:
            live = await self._client.get(resource, reference.name, namespace=namespace, type=Item)
        except NotFound:
            return True
        return live.metadata.uid != reference.uid

    async def _delete(self, node: Node, item: Item) -> None:
        """As it is now: who was let go or adopted after the cache heard of it stays."""
        place = node.namespace or None
        with contextlib.suppress(NotFound, Conflict):
            live = (await self._client.get(node.resource, node.name, namespace=place, type=Item)).metadata
            if live.uid != item.metadata.uid or live.owner_references != item.metadata.owner_references:
                return  # the change is on its way to the cache, and this item comes up again with it
            await self._client.delete(
                node.resource,
                node.name,
                namespace=place,
                uid=live.uid,
                resource_version=live.resource_version,
                propagation="Background",
            )

    def _dependents_of(self, item: Item) -> list[tuple[Node, Item]]:
        found = [(node, self._item(node)) for node in self._dependents.get(item.metadata.uid, ())]
        return [(node, dependent) for node, dependent in found if dependent is not None]

    async def _finish_foreground(self, node: Node, item: Item) -> None:
        dependents = self._dependents_of(item)
        for dependent, held in dependents:
            if not held.metadata.deletion_timestamp:
                self._queue.add(dependent)
        if not dependents:
            await self._drop_finalizer(node, item, FOREGROUND)

    async def _orphan(self, node: Node, item: Item) -> None:
        for dependent in await self._live_dependents(node, item):
            await self._let_go(dependent, item.metadata.uid)
        await self._drop_finalizer(node, item, ORPHAN)

    async def _live_dependents(self, node: Node, item: Item) -> list[Node]:
        """Asked of the API: a dependent that a cache does not hold yet would be deleted later instead of let go."""
        place = node.namespace or None
        resources = [resource for resource in self._informers if resource.namespaced or not place]
        lists = await asyncio.gather(
            *(self._client.list(resource, namespace=place, type=Item) for resource in resources)
        )
        return [
            Node(resource, found.metadata.namespace, found.metadata.name)
            for resource, listing in zip(resources, lists, strict=True)
            for found in listing.items
            if any(owner.uid == item.metadata.uid for owner in found.metadata.owner_references or ())
        ]

    async def _let_go(self, dependent: Node, owner_uid: str) -> None:
        place = dependent.namespace or None
        with contextlib.suppress(NotFound):
            live = await self._client.get(dependent.resource, dependent.name, namespace=place)
            metadata = live["metadata"]
            left = [found for found in metadata.get("ownerReferences") or () if found["uid"] != owner_uid]
            if left == (metadata.get("ownerReferences") or []):
                return
            patch = {
                "metadata": {
                    "uid": metadata["uid"],
                    "resourceVersion": metadata["resourceVersion"],
                    "ownerReferences": left or None,
                }
            }
            await self._client.merge_patch(dependent.resource, dependent.name, patch, namespace=place)

    async def _drop_finalizer(self, node: Node, item: Item, finalizer: str) -> None:
        place = node.namespace or None
        with contextlib.suppress(NotFound):
            live = await self._client.get(node.resource, node.name, namespace=place)
            metadata = live["metadata"]
            if metadata["uid"] != item.metadata.uid or finalizer not in (metadata.get("finalizers") or ()):
                return
            left = [name for name in metadata["finalizers"] if name != finalizer]
            patch = {
                "metadata": {
                    "uid": metadata["uid"],
                    "resourceVersion": metadata["resourceVersion"],
                    "finalizers": left or None,
                }
            }
            await self._client.merge_patch(node.resource, node.name, patch, namespace=place)
