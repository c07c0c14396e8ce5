"""The objects of the fake API server and their history: versions, preconditions, finalizers, ownership, what watches see.

Knows no HTTP. Stored objects are never changed in place, so they may be read freely and must not be written to.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from howdah.kube.errors import ApiError, api_error
from howdah.kube.resources import BUILT_IN, LEASES, PODS, Resource

from .ownership import ApplyConflict, Manager, applied, copied, managers_of, updated
from .selectors import Predicate

Object = dict[str, Any]
Key = tuple[str, str]
HISTORY = 20_000
_SYSTEM = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields")
_WITHOUT_GENERATION = {"leases", "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes", "services"}
_BUILT_IN_GROUPS = {resource.group for resource in BUILT_IN}


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history: `old` is None for a new object, `new` for one that has gone (with `old` at the last version)."""

    version: int
    resource: Resource
    old: Object | None
    new: Object | None


@dataclass(frozen=True, slots=True)
class Writer:
    """How a write is done: by whom, to which part, and whether it counts."""

    manager: str = "unknown"
    subresource: str = ""
    dry_run: bool = False


class Watcher:
    """One open watch: the changes that it has not been given yet, and orders to end."""

    def __init__(self, resource: Resource, namespace: str | None, fits: Predicate) -> None:
        self.resource, self.namespace, self.fits = resource, namespace, fits
        self.inbox: asyncio.Queue[Change | str | bytes] = asyncio.Queue()
        """Changes, raw lines, or one of the words "bookmark", "end", "cut"."""

    def event(self, change: Change) -> tuple[str, Object] | None:
        """The change as this watch sees it: an object that leaves the selection is DELETED, one that enters it ADDED."""
        before = change.old is not None and self._selects(change.old)
        after = change.new is not None and self._selects(change.new)
        if after and change.new is not None:
            return ("MODIFIED" if before else "ADDED", change.new)
        if before and change.old is not None:
            gone = change.new or change.old
            return ("DELETED", _with_metadata(gone, resourceVersion=str(change.version)))
        return None

    def _selects(self, obj: Object) -> bool:
        return (not self.namespace or obj["metadata"].get("namespace") == self.namespace) and self.fits(obj)


class Store:
    """All objects in memory. `clock` gives the times that are written into objects."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.version = 1000
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.watchers: set[Watcher] = set()
        self.collects_garbage = True
        self._clock = clock
        self._forgotten = self.version
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self._dependents: dict[str, dict[tuple[Resource, Key], None]] = {}
        self._names = itertools.count()

    # reading

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(resource, {}).get((namespace, name))

    def read(self, resource: Resource, namespace: str, name: str) -> Object:
        """The object; raises NotFound."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise refusal(404, "NotFound", f'{resource.plural} "{name}" not found')
        return found

    def select(self, resource: Resource, namespace: str | None, fits: Predicate) -> list[Object]:
        """The objects that fit, by namespace and name."""
        held = self._objects.get(resource, {})
        return [held[key] for key in sorted(held) if (not namespace or key[0] == namespace) and fits(held[key])]

    def since(self, version: int) -> Iterator[Change]:
        """The changes after a version; raises Gone where they are not known any more."""
        if version < self._forgotten or version > self.version:
            raise refusal(410, "Expired", f"too old resource version: {version} ({self._forgotten})")
        return (change for change in tuple(self.history) if change.version > version)

    def forget(self) -> None:
        """Compact: a watch or a page from any version before now gets 410."""
        self.version += 1
        self._forgotten = self.version
        self.history.clear()

    # writing

    def create(self, resource: Resource, obj: Mapping[str, Any], writer: Writer) -> Object:
        """POST."""
        new = self._born(resource, obj)
        key = key_of(new)
        if key in self._objects.get(resource, {}):
            raise refusal(409, "AlreadyExists", f'{resource.plural} "{key[1]}" already exists')
        new = updated(None, new, self._manager(resource, writer, "Update"), keyed=_keyed(resource))
        return self._commit(resource, None, new, writer)

    def update(self, resource: Resource, obj: Object, writer: Writer) -> Object:
        """PUT."""
        old = self.read(resource, *key_of(obj))
        asked = obj["metadata"].get("resourceVersion")
        if not asked and (resource == LEASES or not _keyed(resource)):
            raise refusal(422, "Invalid", "metadata.resourceVersion: Invalid value: 0: must be specified for an update")
        return self._change(resource, old, copied(obj), writer)

    def patch(self, resource: Resource, key: Key, change: Callable[[Object], Object], writer: Writer) -> Object:
        """A patch as a function from the live object (a copy) to the new one."""
        old = self.read(resource, *key)
        return self._change(resource, old, change(copied(old)), writer)

    def apply(self, resource: Resource, intent: Object, writer: Writer, *, force: bool) -> Object:
        """Server-side apply."""
        me = self._manager(resource, writer, "Apply")
        old = self.find(resource, *key_of(intent))
        asked = intent["metadata"].get("uid")
        if old is None:
            if asked:
                text = f"uid mismatch: the provided object specified uid {asked}, and no existing object was found"
                raise _not_possible(resource, intent, text)
            new = self._born(resource, intent)
            me = self._manager(resource, writer, "Apply")
            return self._commit(resource, None, applied(new, intent, me, force=True, keyed=_keyed(resource)), writer)
        self._check_locks(resource, old, intent)
        try:
            new = applied(old, _intended(intent, writer), me, force=force, keyed=_keyed(resource))
        except ApplyConflict as conflict:
            raise _apply_refusal(conflict) from None
        return self._finish(resource, old, new, writer)

    def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str = "",
        version: str = "",
        propagation: str = "",
        grace_s: int | None = None,
        dry_run: bool = False,
    ) -> Object:
        """DELETE; the object stays while it has finalizers, or, as a pod on a node, until its grace time was cut to 0."""
        old = self.read(resource, *key)
        metadata = old["metadata"]
        for field, asked, live in (
            ("UID", uid, metadata["uid"]),
            ("ResourceVersion", version, metadata["resourceVersion"]),
        ):
            if asked and asked != live:
                text = f"the {field} in the precondition ({asked}) does not match the {field} in record ({live})"
                raise _not_possible(resource, old, text)
        if dry_run:
            return old
        if propagation == "Orphan":
            self._orphan_dependents(metadata["uid"])
        seconds = _grace_s(resource, old, grace_s)
        if metadata.get("finalizers") or seconds > 0:
            if "deletionTimestamp" in metadata:
                return old
            marks = {"deletionTimestamp": self._now(), "deletionGracePeriodSeconds": seconds}
            return self._commit(resource, old, _with_metadata(old, **marks), Writer())
        self._remove(resource, old)
        return old

    def seed(self, resource: Resource, *objects: Mapping[str, Any]) -> None:
        """Put objects in as they are given, status included, fast; for the start of a test."""
        for obj in objects:
            new = self._born(resource, obj)
            if "status" in obj:
                new["status"] = copied(obj["status"])
            self._commit(resource, self.find(resource, *key_of(new)), new, Writer())

    def _born(self, resource: Resource, obj: Mapping[str, Any]) -> Object:
        new: Object = {"apiVersion": resource.api_version, "kind": resource.kind, **_encoded(copied(dict(obj)))}
        metadata = {k: v for k, v in (new.get("metadata") or {}).items() if k not in _SYSTEM}
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._names):05x}"
        if not metadata.get("name"):
            raise refusal(422, "Invalid", f"{resource.kind} is invalid: metadata.name: Required value")
        if resource.namespaced and not metadata.get("namespace"):
            raise refusal(422, "Invalid", f"{resource.kind} is invalid: metadata.namespace: Required value")
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self._now()}
        if "spec" in new and resource.plural not in _WITHOUT_GENERATION:
            metadata["generation"] = 1
        new["metadata"] = metadata
        return new

    def _change(self, resource: Resource, old: Object, asked: Object, writer: Writer) -> Object:
        self._check_locks(resource, old, asked)
        new = _part(old, _encoded(asked), writer.subresource)
        me = self._manager(resource, writer, "Update")
        return self._finish(resource, old, updated(old, new, me, keyed=_keyed(resource)), writer)

    def _finish(self, resource: Resource, old: Object, new: Object, writer: Writer) -> Object:
        """Commit where anything but managedFields' times differs."""
        system = {key: old["metadata"][key] for key in _SYSTEM if key in old["metadata"] and key != "managedFields"}
        new["metadata"] = {**new["metadata"], **system}
        if not writer.subresource and _content(old) != _content(new) and "generation" in system:
            new["metadata"]["generation"] += 1
        if _same(old, new):
            return old
        committed = self._commit(resource, old, new, writer)
        ended = "deletionTimestamp" in system and not new["metadata"].get("finalizers")
        if ended and not writer.dry_run and _grace_s(resource, new, None) == 0:
            self._remove(resource, committed)
        return committed

    def _commit(self, resource: Resource, old: Object | None, new: Object, writer: Writer) -> Object:
        if writer.dry_run:
            return new
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._objects.setdefault(resource, {})[key_of(new)] = new
        for owner in new["metadata"].get("ownerReferences") or ():
            self._dependents.setdefault(owner["uid"], {})[resource, key_of(new)] = None
        self._publish(Change(self.version, resource, old, new))
        return new

    def _remove(self, resource: Resource, old: Object) -> None:
        self.version += 1
        del self._objects[resource][key_of(old)]
        self._publish(Change(self.version, resource, old, None))
        if self.collects_garbage:
            self._collect(old["metadata"]["uid"])

    def _collect(self, uid: str) -> None:
        """Delete what the object owned, where it was the last owner; at once, where the real one takes a moment."""
        for resource, key in self._dependents.pop(uid, {}):
            found = self.find(resource, *key)
            owners = (found or {"metadata": {}})["metadata"].get("ownerReferences") or []
            if found and [owner["uid"] for owner in owners] == [uid]:
                self.delete(resource, key)

    def _orphan_dependents(self, uid: str) -> None:
        for resource, key in self._dependents.pop(uid, {}):
            if found := self.find(resource, *key):
                owners = [o for o in found["metadata"].get("ownerReferences") or () if o["uid"] != uid]
                self._commit(resource, found, _with_metadata(found, ownerReferences=owners), Writer())

    def _publish(self, change: Change) -> None:
        self.history.append(change)
        if len(self.history) == self.history.maxlen:
            self._forgotten = self.history[0].version
        for watcher in self.watchers:
            if watcher.resource == change.resource:
                watcher.inbox.put_nowait(change)

    def _check_locks(self, resource: Resource, old: Object, asked: Object) -> None:
        metadata = asked.get("metadata") or {}
        version, uid = metadata.get("resourceVersion"), metadata.get("uid")
        if version and version != old["metadata"]["resourceVersion"]:
            text = "the object has been modified; please apply your changes to the latest version and try again"
            raise _not_possible(resource, old, text)
        if uid and uid != old["metadata"]["uid"]:  # 422 and not 409, as the real one
            text = f'{resource.kind} is invalid: metadata.uid: Invalid value: "{uid}": field is immutable'
            raise refusal(422, "Invalid", text, causes=[{"field": "metadata.uid", "message": "field is immutable"}])

    def _manager(self, resource: Resource, writer: Writer, operation: str) -> Manager:
        return Manager(writer.manager, operation, writer.subresource, frozenset(), self._now(), resource.api_version)

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _encoded(obj: Object) -> Object:
    """As the real server: what is written in `stringData` of a Secret is kept in `data`."""
    plain = obj.pop("stringData", None)
    if plain:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **data}
    return obj


def key_of(obj: Mapping[str, Any]) -> Key:
    """(namespace, name)."""
    metadata = obj["metadata"]
    return (metadata.get("namespace") or "", metadata["name"])


def refusal(code: int, reason: str, message: str, **details: Any) -> ApiError:
    """What the server answers, as the error that the client makes of it."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    body |= {"reason": reason, "message": message, "details": details}
    return api_error("fake", code, msgspec.json.encode(body))


def _not_possible(resource: Resource, obj: Object, text: str) -> ApiError:
    name = obj["metadata"]["name"]
    kind = f"{resource.plural}.{resource.group}" if resource.group else resource.plural
    return refusal(409, "Conflict", f'Operation cannot be fulfilled on {kind} "{name}": {text}')


def _apply_refusal(conflict: ApplyConflict) -> ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": path}
        for manager, path in conflict.fields
    ]
    text = "; ".join(f'conflict with "{manager}": {path}' for manager, path in conflict.fields)
    return refusal(409, "Conflict", f"Apply failed with {len(causes)} conflict(s): {text}", causes=causes)


def _keyed(resource: Resource) -> bool:
    return resource.group in _BUILT_IN_GROUPS


def _part(old: Object, asked: Object, subresource: str) -> Object:
    """What a write may touch: of the main resource all but status, of `status` only that."""
    if subresource == "status":
        return {**old, "status": asked.get("status") or {}}
    kept = {"status": old["status"]} if "status" in old else {}
    return {**{key: value for key, value in asked.items() if key != "status"}, **kept}


def _intended(intent: Object, writer: Writer) -> Object:
    if writer.subresource == "status":
        return {"metadata": {}, "status": intent.get("status") or {}}
    metadata = {key: value for key, value in intent["metadata"].items() if key not in _SYSTEM}
    return {**{key: value for key, value in intent.items() if key != "status"}, "metadata": metadata}


def _content(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in {"metadata", "status"}}


def _same(old: Object, new: Object) -> bool:
    if _content(old) != _content(new) or old.get("status") != new.get("status"):
        return False
    if _plain(old["metadata"]) != _plain(new["metadata"]):
        return False
    owners = [{(m.name, m.operation, m.subresource, m.paths) for m in managers_of(obj)} for obj in (old, new)]
    return owners[0] == owners[1]


def _plain(metadata: Object) -> Object:
    return {key: value for key, value in metadata.items() if key not in {"managedFields", "resourceVersion"}}


def _with_metadata(obj: Object, **changes: Any) -> Object:
    return {**obj, "metadata": {**obj["metadata"], **changes}}


def _grace_s(resource: Resource, obj: Object, asked: int | None) -> int:
    """A pod on a node lives until its kubelet deletes it with grace 0; everything else goes at once."""
    if resource != PODS or not (obj.get("spec") or {}).get("nodeName"):
        return 0
    if asked is not None:
        return asked
    if "deletionTimestamp" in obj["metadata"]:
        return int(obj["metadata"].get("deletionGracePeriodSeconds", 30))
    return int(obj["spec"].get("terminationGracePeriodSeconds", 30))
