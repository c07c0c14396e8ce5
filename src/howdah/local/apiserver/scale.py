"""The scale subresource: the replicas of a workload or custom resource as an autoscaling/v1 Scale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import ApiError, Subject, bad_request, invalid, invalid_object, not_found
from .kinds import Kind
from .objects import Obj, clone, dig, encode, json_type
from .selectors import selector_text
from .writes import Call, State, apply_to, decode_object, live_object, store_update

_BUILTIN = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
}
_SUBJECT = Subject("autoscaling", "scales", "Scale")
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
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
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
    scale = _decoded(scale, call.name)
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
    """PUT of a Scale: sets the replicas that it asks for; its resourceVersion is that of the object."""
    return _stored(state, call, _decoded(scale, call.name))


def change(state: State, call: Call, patch: Callable[[Obj], Obj]) -> Obj:
    """A patch of the Scale; a result that a Scale cannot hold is the patch's fault (422)."""
    patched = patch(read(state, call))
    try:
        wanted = _decoded(patched, call.name)
    except ApiError as error:
        raise invalid_object(
            Subject("", "", ""), "", [invalid("patch", encode(patched).decode(), error.message)]
        ) from error
    return _stored(state, call, wanted)


def _decoded(body: Any, name: str) -> Obj:
    """A body as a Scale of the object `name`; 400."""
    if body is not None and not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type Scale): it is not an object")
    scale: Obj = body or {}
    kind = scale.get("kind") or "Scale"
    if kind != "Scale":
        raise bad_request(f'{kind} in version "v1" cannot be handled as a Scale: unknown conversion')
    replicas = dig(scale, "spec", "replicas") or 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        found = {"integer": "number", "boolean": "bool"}.get(json_type(replicas), json_type(replicas))
        raise bad_request(f"json: cannot unmarshal {found} into Go struct field ScaleSpec.spec.replicas of type int32")
    found_name = dig(scale, "metadata", "name")
    if not found_name:
        why = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if found_name != name:
        raise bad_request(f"the name of the object ({found_name}) does not match the name on the URL ({name})")
    return scale


def _stored(state: State, call: Call, scale: Obj) -> Obj:
    live = live_object(state, call)
    replicas = dig(scale, "spec", "replicas") or 0
    if replicas < 0 and call.kind.custom is None:
        raise invalid_object(
            _SUBJECT, call.name, [invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
        )
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
