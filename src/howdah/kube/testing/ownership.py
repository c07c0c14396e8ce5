"""Who owns which field: server-side apply and managedFields, without schemas.

Lists are taken as keyed, sets or atomic by the name of their field, as the built-in kinds have them; lists of custom resources
are atomic. Good enough to see conflicts, fields given up and fields taken over; the real thing is structured-merge-diff.
Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

Path = tuple[str, ...]
"""Steps as fieldsV1 writes them: `f:name`, `k:{"name":"x"}`, `v:"x"`, and `.` for a list's item itself."""
Paths = frozenset[Path]
Object = dict[str, Any]

_KEYED: dict[str, tuple[tuple[str, ...], ...]] = {
    "conditions": (("type",),),
    "containers": (("name",),),
    "env": (("name",),),
    "ephemeralContainers": (("name",),),
    "imagePullSecrets": (("name",),),
    "initContainers": (("name",),),
    "ownerReferences": (("uid",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "topologySpreadConstraints": (("topologyKey", "whenUnsatisfiable"),),
    "volumeMounts": (("mountPath",),),
    "volumes": (("name",),),
}
_SETS = {"finalizers"}
_ATOMIC_MAPS = {
    "configMapKeyRef",
    "fieldRef",
    "labelSelector",
    "nodeSelector",
    "resourceFieldRef",
    "secretKeyRef",
    "selector",
}
_DEFAULTS = {"protocol": "TCP"}
_OWNED_METADATA = ("labels", "annotations", "ownerReferences", "finalizers")


@dataclass(frozen=True, slots=True)
class Manager:
    """One entry of managedFields."""

    name: str
    operation: str
    subresource: str
    paths: Paths
    time: str = ""
    api_version: str = ""


class ApplyConflict(Exception):  # noqa: N818 - an outcome, as the API names it
    """Fields that other managers own with other values."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__(fields)
        self.fields = fields
        """(manager, dotted path), sorted."""


def copied(obj: Object) -> Object:
    """A deep copy of what came as JSON; by way of JSON, which is many times faster than `copy.deepcopy`."""
    copy: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copy


def managers_of(obj: Object) -> tuple[Manager, ...]:
    """managedFields, parsed."""
    return tuple(
        Manager(
            entry["manager"],
            entry["operation"],
            entry.get("subresource", ""),
            frozenset(_parsed(entry.get("fieldsV1") or {})),
            entry.get("time", ""),
            entry.get("apiVersion", ""),
        )
        for entry in obj["metadata"].get("managedFields") or ()
    )


def managed_fields(managers: Iterable[Manager]) -> list[Object]:
    """managedFields, as the API shows them."""
    return [
        {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": manager.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": _tree(manager.paths),
            **({"subresource": manager.subresource} if manager.subresource else {}),
        }
        for manager in managers
        if manager.paths
    ]


def owned_paths(obj: Object, *, keyed: bool) -> Paths:
    """Every field of an object that can have an owner."""
    metadata = {key: obj["metadata"][key] for key in _OWNED_METADATA if key in obj["metadata"]}
    body = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata"}}
    whole = {**body, "metadata": metadata} if metadata else body
    return frozenset(_paths(whole, (), keyed)) if whole else frozenset()


def applied(live: Object, intent: Object, me: Manager, *, force: bool, keyed: bool) -> Object:
    """`live` after `me` applied `intent`; raises ApplyConflict."""
    wanted = owned_paths(intent, keyed=keyed)
    others = [m for m in managers_of(live) if not _same(m, me)]
    before = next((m.paths for m in managers_of(live) if _same(m, me)), frozenset())
    disputed = {
        path: manager.name
        for manager in others
        for path in wanted & manager.paths
        if path[-1] != "." and _value(live, path) != _value(intent, path)
    }
    if disputed and not force:
        raise ApplyConflict(sorted((name, _dotted(path)) for path, name in disputed.items()))
    others = [replace(manager, paths=manager.paths - disputed.keys()) for manager in others]
    kept: Paths = frozenset().union(*(manager.paths for manager in others))
    result: Object = _merged(copied(live), copied(intent), (), keyed)
    # Whole items first: without its key fields an item could not be found any more.
    for path in sorted(before - wanted - kept, key=lambda path: (path[-1] != ".", -len(path))):
        _remove(result, path, kept | wanted)
    result["metadata"]["managedFields"] = managed_fields([*others, replace(me, paths=wanted)])
    return result


def updated(old: Object | None, new: Object, me: Manager, *, keyed: bool) -> Object:
    """`new` with managedFields after `me` wrote it by POST, PUT or a patch: what changed is now its own.

    A write may change managedFields themselves; one that empties them is taken as saying nothing of them.
    """
    paths = owned_paths(new, keyed=keyed)
    before = owned_paths(old, keyed=keyed) if old else frozenset()
    changed = {p for p in paths if p not in before or (p[-1] != "." and _value(old, p) != _value(new, p))}
    managers = (managers_of(new) or managers_of(old)) if old else ()
    others = [replace(m, paths=(m.paths & paths) - changed) for m in managers if not _same(m, me)]
    own = next((m for m in managers if _same(m, me)), None)
    kept = (own.paths & paths) if own else frozenset()
    mine = replace(me if changed or own is None else own, paths=kept | changed)
    return {**new, "metadata": {**new["metadata"], "managedFields": managed_fields([*others, mine])}}


def _same(one: Manager, other: Manager) -> bool:
    return (one.name, one.operation, one.subresource) == (other.name, other.operation, other.subresource)


def _keys(field: str, items: list[Any]) -> tuple[str, ...] | None:
    """The keys that tell the items of a list apart; None for an atomic list."""
    for keys in _KEYED.get(field, ()):
        if items and all(isinstance(item, dict) and keys[0] in item for item in items):
            return keys
    return None


def _key(item: Object, keys: tuple[str, ...]) -> str:
    named = {key: item.get(key, _DEFAULTS.get(key)) for key in sorted(keys)}
    return "k:" + json.dumps(named, separators=(",", ":"))


def _paths(value: Any, at: Path, keyed: bool) -> Iterator[Path]:
    if isinstance(value, dict) and value and not (keyed and _field(at) in _ATOMIC_MAPS):
        for key, inner in value.items():
            yield from _paths(inner, (*at, f"f:{key}"), keyed)
    elif isinstance(value, list) and keyed and (keys := _keys(_field(at), value)):
        for item in value:
            here = (*at, _key(item, keys))
            yield (*here, ".")
            yield from _paths(item, here, keyed)
    elif isinstance(value, list) and keyed and _field(at) in _SETS:
        yield from ((*at, "v:" + json.dumps(item)) for item in value)
    else:
        yield at


def _field(at: Path) -> str:
    return at[-1][2:] if at else ""


def _merged(live: Any, intent: Any, at: Path, keyed: bool) -> Any:
    if isinstance(live, dict) and isinstance(intent, dict) and not (keyed and _field(at) in _ATOMIC_MAPS):
        merged = {
            key: _merged(live[key], value, (*at, f"f:{key}"), keyed) if key in live else value
            for key, value in intent.items()
        }
        return {**live, **merged}
    if isinstance(live, list) and isinstance(intent, list) and keyed:
        if _field(at) in _SETS:
            return [*live, *(item for item in intent if item not in live)]
        if not intent and _keys(_field(at), live):
            return live  # an empty keyed list names no item, so it changes none
        if (keys := _keys(_field(at), intent)) and _keys(_field(at), live) == keys:
            wanted = {_key(item, keys): item for item in intent}
            held = {_key(item, keys): item for item in live}
            both = {key: _merged(held[key], item, at, keyed) if key in held else item for key, item in wanted.items()}
            order = both if held.keys() <= both.keys() else {**held, **both}
            return [both.get(key, held.get(key)) for key in order]
    return intent


def _step(value: Any, step: str) -> Any:
    """The child of a value, or None."""
    if step.startswith("f:"):
        return value.get(step[2:]) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    if step.startswith("v:"):
        wanted = json.loads(step[2:])
        return wanted if wanted in value else None
    wanted = json.loads(step[2:])
    return next((item for item in value if _has(item, wanted)), None)


def _has(item: Any, wanted: Object) -> bool:
    return isinstance(item, dict) and all(item.get(k, _DEFAULTS.get(k)) == v for k, v in wanted.items())


def _value(obj: Any, path: Path) -> Any:
    for step in path:
        if step != ".":
            obj = _step(obj, step)
    return obj


def _remove(obj: Object, path: Path, kept: Iterable[Path]) -> None:
    """Take a field out, with the containers that it leaves empty; an item of a list only if nobody has a part of it."""
    steps = path[:-1] if path[-1] == "." else path
    if path[-1] == "." and any(other[: len(steps)] == steps for other in kept):
        return
    parents: list[Any] = [obj]
    for step in steps[:-1]:
        parents.append(_step(parents[-1], step))
    for parent, step in zip(reversed(parents), reversed(steps), strict=True):
        _take_out(parent, step)
        if parent != {} and parent != []:
            return


def _take_out(parent: Any, step: str) -> None:
    child = _step(parent, step)
    if isinstance(parent, dict):
        parent.pop(step[2:], None)
    elif isinstance(parent, list) and child is not None:
        parent.remove(child)


def _tree(paths: Iterable[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for step in path:
            node = node.setdefault(step, {})
    return tree


def _parsed(tree: Object, at: Path = ()) -> Iterator[Path]:
    for step, inner in tree.items():
        if inner:
            yield from _parsed(inner, (*at, step))
        else:
            yield (*at, step)


def _dotted(path: Path) -> str:
    return "".join(f".{step[2:]}" if step.startswith("f:") else f"[{step[2:]}]" for step in path if step != ".")
