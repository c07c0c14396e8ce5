"""Deleting: preconditions, grace, propagation, finalizers; and namespaces, which take their content along.

The garbage of owners is collected elsewhere (by the controllers); here the finalizers that ask for it are set.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from .errors import Subject, bad_request, conflict, forbidden, invalid, invalid_object, unsupported
from .kinds import Kind
from .objects import Obj, dig, parsed_time, timestamp
from .prepare import CRD_STORAGE
from .requests import is_yes, number
from .store import Store
from .writes import Call, State, is_finished, live_object, remove, shown

CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
_POLICIES = ("Foreground", "Background", "Orphan")
_DELETE_OPTIONS = Subject("meta.k8s.io", "deleteoptions", "DeleteOptions")
_IMMORTAL = ("default", "kube-system", "kube-public", "kube-node-lease")

_RETURN_OBJECT = frozenset(
    {
        "pods",
        "services",
        "serviceaccounts",
        "persistentvolumeclaims",
        "persistentvolumes",
        "storageclasses.storage.k8s.io",
    }
)
"""Kinds whose deletion answers with the object instead of a Status."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a deletion asks for."""

    grace_s: int | None = None
    policy: str | None = None
    uid: str | None = None
    version: str | None = None


def options_from(body: Any, query: dict[str, str]) -> DeleteOptions:
    """DeleteOptions from the body, or from the query where there is none."""
    given = body if isinstance(body, dict) else {}
    if given.get("kind") not in (None, "DeleteOptions", ""):
        raise bad_request(f"expected DeleteOptions in the body, got {given.get('kind')}")
    grace = given.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy = given.get("propagationPolicy", query.get("propagationPolicy"))
    orphan = given.get("orphanDependents", query.get("orphanDependents"))
    if orphan is not None and policy is not None:
        error = invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
        raise invalid_object(_DELETE_OPTIONS, "", [error])
    if orphan is not None:
        policy = "Orphan" if is_yes(str(orphan)) else "Background"
    if policy is not None and policy not in _POLICIES:
        raise invalid_object(_DELETE_OPTIONS, "", [unsupported("propagationPolicy", policy, (*_POLICIES, "nil"))])
    conditions = given.get("preconditions") or {}
    return DeleteOptions(_seconds(grace), policy, conditions.get("uid"), conditions.get("resourceVersion"))


def _seconds(grace: Any) -> int | None:
    """A number of a body, or the text of one of a query; 400 for anything else."""
    if isinstance(grace, str):
        return number({"gracePeriodSeconds": grace}, "gracePeriodSeconds")
    if grace is not None and (not isinstance(grace, int) or isinstance(grace, bool)):
        raise bad_request("json: DeleteOptions.gracePeriodSeconds is not a whole number")
    return grace


def delete(state: State, call: Call, options: DeleteOptions) -> tuple[Obj, bool]:
    """The object in its last form, and whether it is gone."""
    live = live_object(state, call)
    _check_preconditions(call, live, options)
    if call.kind.storage == "namespaces" and call.name in _IMMORTAL[:3]:
        raise forbidden(call.kind.subject, call.name, "this namespace may not be deleted")
    marked = _marked(call.kind, live, options)
    if is_finished(marked):
        return _removed(state, call, live, marked), True
    if marked == live or call.dry_run:
        return marked, False
    stored = shown(call.kind, state.store.put(call.kind.storage, marked))
    if call.kind.storage == "namespaces":
        empty_namespace(state, call.name)
        stored = state.store.get("namespaces", "", call.name) or stored
    return stored, False


def _removed(state: State, call: Call, live: Obj, marked: Obj) -> Obj:
    """What was stored goes; deletion marks that nobody waited for are not shown."""
    if call.dry_run:
        return live
    last = live if not live["metadata"].get("deletionTimestamp") else marked
    if call.kind.storage == "pods":
        last = marked
    return shown(call.kind, remove(state.store, call.kind, last))


def _check_preconditions(call: Call, live: Obj, options: DeleteOptions) -> None:
    metadata = live["metadata"]
    for wanted, found, name, fate in (
        (options.uid, metadata["uid"], "UID", "deleted and then recreated"),
        (options.version, metadata["resourceVersion"], "ResourceVersion", "modified"),
    ):
        if wanted is not None and wanted != found:
            why = (
                f"the {name} in the precondition ({wanted}) does not match the {name} in record ({found}). "
                f"The object might have been {fate}"
            )
            raise conflict(Subject(call.kind.group, call.kind.kind, call.kind.kind), call.name, why)


def _marked(kind: Kind, live: Obj, options: DeleteOptions) -> Obj:
    """The object as its deletion leaves it: deletionTimestamp, grace, and the finalizers of the policy."""
    metadata = dict(live["metadata"])
    grace_s = _grace_s(kind, live, options)
    finalizers = _finalizers(kind, metadata.get("finalizers") or [], options.policy)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    if not metadata.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = timestamp(datetime.now(UTC) + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
        if metadata.get("generation"):
            metadata["generation"] += 1
    elif grace_s < metadata.get("deletionGracePeriodSeconds", 0):
        asked = parsed_time(metadata["deletionTimestamp"]) - timedelta(seconds=metadata["deletionGracePeriodSeconds"])
        metadata["deletionTimestamp"] = timestamp(asked + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
    marked = {**live, "metadata": metadata}
    if kind.storage == "namespaces":
        marked["status"] = {**(live.get("status") or {}), "phase": "Terminating"}
    return marked


def _grace_s(kind: Kind, live: Obj, options: DeleteOptions) -> int:
    """Only pods on a node are given time."""
    if kind.storage != "pods" or not dig(live, "spec", "nodeName"):
        return 0
    if dig(live, "status", "phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_s is not None:
        return max(options.grace_s, 0) if options.grace_s >= 0 else 1
    return int(dig(live, "spec", "terminationGracePeriodSeconds") or 0)


def _finalizers(kind: Kind, present: list[str], policy: str | None) -> list[str]:
    """An explicit policy wins, then what is there already; jobs keep their pods unless asked."""
    if kind.storage == CRD_STORAGE:
        present = [*(name for name in present if name != CRD_FINALIZER), CRD_FINALIZER]
    others = [name for name in present if name not in (FOREGROUND, ORPHAN)]
    if policy is None:
        if kind.storage == "jobs.batch" and not present:
            return [ORPHAN]
        return list(present)
    extra = {"Foreground": [FOREGROUND], "Orphan": [ORPHAN], "Background": []}[policy]
    return others + extra


def status_of_removal(kind: Kind, obj: Obj) -> Obj:
    """What a deletion answers: most kinds a Status, some the object."""
    if kind.storage in _RETURN_OBJECT:
        return obj
    details = kind.subject.details(obj["metadata"]["name"]) | {"uid": obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def empty_namespace(state: State, namespace: str) -> None:
    """Deletes everything in a terminating namespace, and the namespace once it is empty."""
    found = state.store.get("namespaces", "", namespace)
    if found is None or not dig(found, "metadata", "deletionTimestamp"):
        return
    left = False
    for kind in {kind.storage: kind for kind in state.registry if kind.namespaced}.values():
        for record in state.store.records(kind.storage, namespace):
            call = Call(kind, namespace, record.name)
            _, gone = delete(state, call, DeleteOptions(policy="Background"))
            left = left or not gone
    if not left:
        _finish_namespace(state.store, found)


def _finish_namespace(store: Store, namespace: Obj) -> None:
    rest = [name for name in dig(namespace, "spec", "finalizers") or () if name != "kubernetes"]
    if rest or namespace["metadata"].get("finalizers"):
        if rest != dig(namespace, "spec", "finalizers"):
            store.put("namespaces", {**namespace, "spec": {**namespace["spec"], "finalizers": rest}})
        return
    store.delete("namespaces", namespace)
