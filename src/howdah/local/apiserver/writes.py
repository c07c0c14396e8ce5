"""Every write, in the order of the real server: decode, admit, default, validate, own, store.

Between reading the live object and storing the new one nothing is awaited, so no two writes interleave.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from . import custom, decoding
from .defaulting import apply_defaults
from .errors import (
    ApiError,
    Subject,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    invalid_object,
    not_found,
)
from .fields import typed_problem
from .kinds import Kind, Registry
from .objects import Obj, clone, dig, encode, meta, name_of, namespace_of, timestamp
from .ownership import LAST_APPLIED, Applied, Write, applied, updated, with_owners
from .prepare import (
    CRD_STORAGE,
    DEFAULT_SERVICE_RANGE,
    SYSTEM_PRIORITIES,
    allocate_service,
    bump_generation,
    keep_identity,
    keep_other_half,
    prepare_create,
    prepare_update,
    stamp_new,
)
from .rules import create_errors, finalizer_warnings, update_errors
from .store import Store

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_BASE_MAX = 58


@dataclass(slots=True)
class State:
    """What the server holds."""

    store: Store
    registry: Registry
    services: IPv4Network = DEFAULT_SERVICE_RANGE
    """Where addresses of services are taken from."""
    specs: dict[str, Obj] = field(default_factory=dict)
    """The spec of each installed CRD, as it is served."""


@dataclass(slots=True)
class Call:
    """One request for one resource, as far as writing needs it."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    """Paths of the body's repeated keys."""

    @property
    def write(self) -> Write:
        return Write(self.kind, self.manager, timestamp(), self.subresource)


def decode_object(state: State, call: Call, body: Any) -> Obj:
    """The object of a body, of the kind that the address names; unknown fields are refused, warned of or dropped."""
    kind = call.kind
    if not isinstance(body, dict):
        raise bad_request(f"the body of the request is not an object: expected a {kind.kind}")
    decoding.check_type(body, kind)
    if kind.custom is None:
        obj, unknown = decoding.decoded(body, kind)
    else:
        obj, unknown = custom.decoded(body, kind, state.registry.object_meta)
    call.warnings += decoding.strictness(kind, unknown, call.repeated, call.validation)
    if kind.custom is not None:
        call.warnings += finalizer_warnings(obj) if call.subresource == "" else []
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
    if dig(body, "metadata", "managedFields") == []:
        meta(obj)["managedFields"] = [{}]  # an empty list resets, a missing one does not
    meta(obj)
    return obj


def create(state: State, call: Call, body: Any) -> Obj:
    """Stores a new object; 409 where the name is taken."""
    obj = decode_object(state, call, body)
    return create_decoded(state, call, obj)


def create_decoded(state: State, call: Call, obj: Obj, owned: Applied | None = None) -> Obj:
    """A creation from here on is the same for POST, and for PUT and apply of something missing."""
    kind = call.kind
    _place(call, obj)
    if obj["metadata"].get("resourceVersion"):
        raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
    if not name_of(obj) and obj["metadata"].get("generateName"):
        obj["metadata"]["name"] = _generated(obj["metadata"]["generateName"])
    _default(kind, obj)
    obj["metadata"].pop("deletionTimestamp", None)
    obj = with_owners(obj, owned.owners) if owned else updated(call.write, None, obj)
    _require_namespace(state, call, obj)
    stamp_new(kind, obj)
    _admit(state, call, obj)
    prepare_create(state.store, kind, obj)
    _default(kind, obj)
    if kind.storage == "services":
        allocate_service(state.store, obj, state.services)
    errors = create_errors(kind, obj)
    if errors:
        raise invalid_object(_judged(kind), name_of(obj), errors)
    if (namespace_of(obj), name_of(obj)) in state.store.collection(kind.storage).records:
        raise _taken(state, kind, obj)
    if call.dry_run:
        return obj
    return shown(kind, state.store.put(kind.storage, _stored(kind, obj)))


def _judged(kind: Kind) -> Subject:
    """Whose rules refuse an object: events of both groups are core events inside."""
    return Subject("", kind.plural, kind.kind) if kind.storage == "events" else kind.subject


def _taken(state: State, kind: Kind, obj: Obj) -> ApiError:
    found = already_exists(kind.subject, name_of(obj))
    live = state.store.get(kind.storage, namespace_of(obj), name_of(obj))
    if live is None or not dig(live, "metadata", "deletionTimestamp"):
        return found
    return ApiError(409, found.reason, f"object is being deleted: {found.message}", details=found.details)


def _default(kind: Kind, obj: Obj) -> None:
    if kind.custom is None:
        decoding.with_schema_defaults(obj, kind.schema)
        apply_defaults(kind.storage, obj)


def _stored(kind: Kind, obj: Obj) -> Obj:
    """The form in which all versions of a resource are kept."""
    if kind.storage == "events" and kind.group:
        return stored_event(obj)
    if kind.custom is not None and kind.custom.storage_version != kind.version:
        return {**obj, "apiVersion": f"{kind.group}/{kind.custom.storage_version}"}
    return obj


_EVENT_FIELDS = (
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
)


def stored_event(obj: Obj) -> Obj:
    """An events.k8s.io Event as the core Event that is kept."""
    names = dict(_EVENT_FIELDS)
    result = {names.get(key, key): value for key, value in obj.items()}
    return {**result, "apiVersion": "v1"}


def is_shown_as_stored(kind: Kind) -> bool:
    """This version of a kind is the one that is kept."""
    if kind.custom is not None:
        return kind.custom.storage_version == kind.version
    return kind.storage != "events"


def shown(kind: Kind, obj: Obj) -> Obj:
    """A stored object as this version of its kind shows it."""
    if kind.storage == "events":
        return _shown_event(kind, obj)
    if obj.get("apiVersion") == kind.api_version:
        return obj
    return {**obj, "apiVersion": kind.api_version}


_EVENT_TIMES = ("eventTime", "firstTimestamp", "lastTimestamp")


def _shown_event(kind: Kind, obj: Obj) -> Obj:
    """Events show times that they do not have as null."""
    obj = dict.fromkeys(_EVENT_TIMES) | obj
    if kind.group:
        names = {old: new for new, old in _EVENT_FIELDS}
        obj = {names.get(key, key): value for key, value in obj.items()}
        obj = {key: value for key, value in obj.items() if value != "" or not key.startswith("reporting")}
    return {**obj, "apiVersion": kind.api_version}


def _place(call: Call, obj: Obj) -> None:
    """The namespace of an object is that of the address."""
    metadata = obj["metadata"]
    if not call.kind.namespaced:
        metadata.pop("namespace", None)
        return
    found = metadata.setdefault("namespace", call.namespace)
    if found != call.namespace:
        message = "the namespace of the provided object does not match the namespace sent on the request"
        raise bad_request(message)


def _generated(base: str) -> str:
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
    return base[:GENERATED_BASE_MAX] + suffix


def _require_namespace(state: State, call: Call, obj: Obj) -> None:
    if not call.kind.namespaced:
        return
    namespace = state.store.get("namespaces", "", call.namespace)
    namespaces = state.registry.find("", "v1", "namespaces")
    if namespace is None and namespaces is not None:
        raise not_found(namespaces.subject, call.namespace)
    if namespace is not None and dig(namespace, "metadata", "deletionTimestamp"):
        why = f"unable to create new content in namespace {call.namespace} because it is being terminated"
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {call.namespace} is being terminated",
            "field": "metadata.namespace",
        }
        raise forbidden(call.kind.subject, name_of(obj), why, causes=[cause])


def _admit(state: State, call: Call, obj: Obj) -> None:
    """What a pod refers to must exist, as admission demands it. The default account always does."""
    if call.kind.storage != "pods":
        return
    account = dig(obj, "spec", "serviceAccountName") or "default"
    if account != "default" and state.store.get("serviceaccounts", call.namespace, account) is None:
        why = f'error looking up service account {call.namespace}/{account}: serviceaccount "{account}" not found'
        raise forbidden(call.kind.subject, name_of(obj), why)
    priority = dig(obj, "spec", "priorityClassName")
    known = not priority or priority in SYSTEM_PRIORITIES
    if not known and state.store.get("priorityclasses.scheduling.k8s.io", "", priority) is None:
        raise forbidden(call.kind.subject, name_of(obj), f"no PriorityClass with name {priority} was found")


def live_object(state: State, call: Call) -> Obj:
    """The stored object that a request names, in the version it asks for; 404."""
    found = state.store.get(call.kind.storage, call.namespace, call.name)
    if found is None:
        raise not_found(call.kind.subject, call.name)
    return shown(call.kind, found)


_MADE_BY_PUT = frozenset(
    {
        "endpoints",
        "events",
        "services",
        "leases.coordination.k8s.io",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
    }
)
"""Kinds that a PUT creates where they are missing."""


def replace(state: State, call: Call, body: Any) -> tuple[Obj, bool]:
    """PUT: the object, and whether it was made (kinds that a PUT may create)."""
    obj = decode_object(state, call, body)
    name = name_of(obj)
    if name != call.name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
    _place(call, obj)
    if call.kind.storage in _MADE_BY_PUT and not call.subresource:
        missing = state.store.get(call.kind.storage, call.namespace, call.name) is None
        if missing and not obj["metadata"].get("resourceVersion"):
            return create_decoded(state, call, obj), True
    live = live_object(state, call)
    return store_update(state, call, live, obj), False


def change(state: State, call: Call, patch: Callable[[Obj], Obj]) -> Obj:
    """A patch: what it makes of the live object is stored as an update."""
    live = live_object(state, call)
    body = patch(live)
    obj = _decoded_patch(state, call, body)
    _place(call, obj)
    if not name_of(obj):
        why = f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if name_of(obj) != call.name:
        raise _immutable_name(call, obj)
    if dig(body, "metadata", "resourceVersion") in (None, "", "0"):
        obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    _check_uid_kept(call, obj, live)
    return store_update(state, call, live, obj)


def _decoded_patch(state: State, call: Call, body: Obj) -> Obj:
    """What a patch comes to; a result that the type cannot hold is the patch's fault (422)."""
    try:
        return decode_object(state, call, body)
    except ApiError as error:
        if error.code != 400 or call.kind.custom is not None:
            raise
        shown_body = encode(body).decode()
        raise invalid_object(Subject("", "", ""), "", [invalid("patch", shown_body, error.message)]) from error


def _check_uid_kept(call: Call, new: Obj, live: Obj) -> None:
    """A patch that names another uid means another object: the field is immutable."""
    uid = dig(new, "metadata", "uid")
    if uid and uid != live["metadata"]["uid"]:
        raise invalid_object(call.kind.subject, call.name, [invalid("metadata.uid", uid, "field is immutable")])


def _immutable_name(call: Call, obj: Obj) -> ApiError:
    message = f"the name of the object ({name_of(obj)}) does not match the name on the URL ({call.name})"
    return bad_request(message)


def apply(state: State, call: Call, config: Any, *, force: bool) -> tuple[Obj, bool]:
    """Server-side apply: the object, and whether it was made."""
    kind, config = call.kind, {} if config is None else config
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the configuration is not an object")
    if not config.get("kind") or not config.get("apiVersion"):
        group, _, version = str(config.get("apiVersion") or "").rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={config.get('kind') or ''}")
    decoding.check_type(config, kind)
    if dig(config, "metadata", "managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = _without_nulls_of_metadata(config)
    if not config["metadata"].get("name"):
        why = f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        raise bad_request(why)
    if config["metadata"]["name"] != call.name:
        message = (
            f"the name of the object ({config['metadata']['name']}) does not match the name on the URL ({call.name})"
        )
        raise bad_request(message)
    _check_declared(state, call, config)
    stored = state.store.get(kind.storage, call.namespace, call.name)
    if stored is None:
        return _apply_new(state, call, config, force=force), True
    live = shown(kind, stored)
    given = dig(config, "metadata", "resourceVersion")
    if given and given != live["metadata"]["resourceVersion"]:
        raise conflict(kind.subject, call.name)
    _check_uid_kept(call, config, live)
    return apply_to(state, call, live, config, force=force), False


def apply_to(state: State, call: Call, live: Obj, config: Obj, *, force: bool) -> Obj:
    """The live object with an applied configuration stored."""
    kind = call.kind
    result = applied(call.write, live, config, force=force)
    body = {**result.obj, "apiVersion": kind.api_version, "kind": kind.kind}
    if call.manager == "kubectl" and not call.subresource:
        body = _with_last_applied(body, config)
    obj = decode_object(state, call, body)
    obj["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
    return store_update(state, call, live, obj, result)


def _with_last_applied(body: Obj, config: Obj) -> Obj:
    """kubectl's annotation, where there is one, follows its server-side apply: a way back to client-side apply."""
    annotations = dig(body, "metadata", "annotations") or {}
    if LAST_APPLIED not in annotations:
        return body
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    return {**body, "metadata": {**body["metadata"], "annotations": {**annotations, LAST_APPLIED: text}}}


def _apply_new(state: State, call: Call, config: Obj, *, force: bool) -> Obj:
    if call.subresource:
        raise not_found(call.kind.subject, call.name)
    if dig(config, "metadata", "uid"):
        message = "uid mismatch: the provided object specified uid "
        raise conflict(
            call.kind.subject, call.name, message + f"{config['metadata']['uid']}, and no existing object was found"
        )
    empty = {"apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": {}}
    result = applied(call.write, empty, config, force=force)
    obj = decode_object(state, call, {**config, "metadata": dict(config["metadata"])})
    obj["metadata"].pop("resourceVersion", None)
    return create_decoded(state, call, obj, result)


def _without_nulls_of_metadata(config: Obj) -> Obj:
    metadata = config.get("metadata") or {}
    return {**config, "metadata": {key: value for key, value in metadata.items() if value is not None}}


def _check_declared(state: State, call: Call, config: Obj) -> None:
    """An applied configuration may name declared fields only."""
    problem = typed_problem(config, call.kind.schema) or _undeclared(state, call.kind, config)
    if problem:
        kind = call.kind
        where = f"{namespace_of(config)}/{call.name}; {kind.group}/{kind.version}, Kind={kind.kind}"
        message = f"failed to create typed patch object ({where}): {problem}"
        raise ApiError(500, "", message)


def _undeclared(state: State, kind: Kind, config: Obj) -> str | None:
    if kind.custom is None:
        _, unknown = decoding.decoded(config, kind)
    else:
        _, unknown = custom.decoded(clone(config), kind, state.registry.object_meta)
    return f".{unknown[0]}: field not declared in schema" if unknown else None


def _uid_conflict(call: Call, wanted: str, live: Obj) -> ApiError:
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {live['metadata']['uid']}"
    return conflict(call.kind.subject, call.name, why)


def store_update(state: State, call: Call, live: Obj, new: Obj, owned: Applied | None = None) -> Obj:
    """The common end of every update; an update that changes nothing writes nothing."""
    kind = call.kind
    given = new["metadata"].pop("resourceVersion", None)
    if given and given != live["metadata"]["resourceVersion"]:
        raise conflict(kind.subject, call.name)
    if not given and _needs_version(kind):
        why = invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise invalid_object(Subject(kind.group, kind.plural, kind.plural), call.name, [why])
    uid = new["metadata"].get("uid")
    if uid and uid != live["metadata"]["uid"]:
        raise _uid_conflict(call, uid, live)
    marked = new["metadata"].get("deletionTimestamp")
    if marked and marked != live["metadata"].get("deletionTimestamp"):
        refused = invalid("metadata.deletionTimestamp", marked, "field is immutable")
        raise invalid_object(kind.subject, call.name, [refused])
    keep_identity(kind, new, live)
    _default(kind, new)
    new = with_owners(new, owned.owners) if owned else updated(call.write, live, new)
    new = keep_other_half(kind, new, live, call.subresource)
    _default(kind, new)
    prepare_update(state.store, kind, new, live, services=state.services)
    bump_generation(kind, new, live)
    errors = update_errors(kind, new, live, call.subresource)
    if errors:
        raise invalid_object(kind.subject, call.name, errors)
    return _commit_update(state, call, live, new)


def _needs_version(kind: Kind) -> bool:
    """Kinds whose PUT must name the version that it replaces."""
    return kind.custom is not None or kind.storage in (
        CRD_STORAGE,
        "poddisruptionbudgets.policy",
        "leases.coordination.k8s.io",
        "priorityclasses.scheduling.k8s.io",
    )


def _significant(obj: Obj) -> Obj:
    """The metadata without what alone makes no new version: the version, and when owners wrote last."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    owners = [{**entry, "time": None} for entry in obj["metadata"].get("managedFields") or ()]
    return {**metadata, "managedFields": owners}


def _commit_update(state: State, call: Call, live: Obj, new: Obj) -> Obj:
    if {**new, "metadata": {}} == {**live, "metadata": {}} and _significant(new) == _significant(live):
        return live
    if call.dry_run:
        return {**new, "metadata": {**new["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}
    stored = _stored(call.kind, new)
    if is_finished(stored):  # watchers see it as it was, the writer as it would be
        remove(state.store, call.kind, _stored(call.kind, live))
        return {**new, "metadata": {**new["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}}
    return shown(call.kind, state.store.put(call.kind.storage, stored))


def remove(store: Store, kind: Kind, obj: Obj) -> Obj:
    """What was stored goes. A service takes the Endpoints of its name along, whoever wrote them, Patroni for one."""
    gone = store.delete(kind.storage, obj)
    if kind.storage == "services":
        endpoints = store.get("endpoints", namespace_of(obj), name_of(obj))
        if endpoints is not None:
            store.delete("endpoints", endpoints)
    return gone


def is_finished(obj: Obj) -> bool:
    """Marked for deletion, and nobody and nothing holds it any more."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if dig(obj, "spec", "finalizers") and obj.get("kind") == "Namespace":
        return False
    return not metadata.get("deletionGracePeriodSeconds")
