"""The scale subresource: the replicas of a workload or custom resource as an autoscaling/v1 Scale."""

from __future__ import annotations

from typing import Any

from .errors import bad_request, invalid, invalid_object, not_found
from .kinds import Kind
from .objects import Obj, clone, dig
from .selectors import selector_text
from .writes import Call, State, apply_to, decode_object, live_object, store_update

_BUILTIN = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
}
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def _path(kind: Kind, name: str) -> tuple[str, ...]:
    text = (kind.custom.scale if kind.custom is not None else _BUILTIN).get(name) or ""
    return tuple(text.strip(".").split(".")) if text else ()


def scale_of(kind: Kind, obj: Obj) -> Obj:
    """The Scale that an object shows."""
    replicas = dig(obj, *_path(kind, "specReplicasPath"))
    status: Obj = {"replicas": dig(obj, *_path(kind, "statusReplicasPath")) or 0}
    if kind.custom is None:
        selector = selector_text(dig(obj, "spec", "selector"))
        status["selector"] = "" if selector == "<none>" else selector
    elif _path(kind, "labelSelectorPath"):
        found = dig(obj, *_path(kind, "labelSelectorPath"))
        if found:
            status["selector"] = found
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: obj["metadata"][key] for key in _META if key in obj["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def read(state: State, call: Call) -> Obj:
    return scale_of(call.kind, live_object(state, call))


def apply(state: State, call: Call, scale: Any, *, force: bool) -> Obj:
    """Server-side apply of a Scale: owns the replicas of the object."""
    if not isinstance(scale, dict) or scale.get("kind") != "Scale":
        raise bad_request("expected a Scale of autoscaling/v1 in the body")
    live = live_object(state, call)
    config: Obj = {"apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": {"name": call.name}}
    replicas = dig(scale, "spec", "replicas")
    path = _path(call.kind, "specReplicasPath")
    if replicas is not None and path:
        place = config
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = replicas
    return scale_of(call.kind, apply_to(state, call, live, config, force=force))


def write(state: State, call: Call, scale: Any) -> Obj:
    """Sets the replicas that a Scale asks for; its resourceVersion is that of the object."""
    if not isinstance(scale, dict) or scale.get("kind") not in (None, "Scale"):
        raise bad_request("expected a Scale of autoscaling/v1 in the body")
    live = live_object(state, call)
    replicas = dig(scale, "spec", "replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise bad_request(f"spec.replicas of a Scale must be an integer, got {replicas!r}")
    if replicas < 0 and call.kind.custom is None:
        error = invalid("spec.replicas", replicas, "must be greater than or equal to 0")
        raise invalid_object(call.kind.subject, call.name, [error])
    path = _path(call.kind, "specReplicasPath")
    if not path:
        raise not_found(call.kind.subject, call.name)
    changed = clone(live)
    place = changed
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = replicas
    obj = decode_object(state, call, changed)
    obj["metadata"]["resourceVersion"] = (
        dig(scale, "metadata", "resourceVersion") or live["metadata"]["resourceVersion"]
    )
    return scale_of(call.kind, store_update(state, call, live, obj))
