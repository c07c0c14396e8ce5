"""What follows from a write besides the write: kinds come and go with their CRD, a terminating namespace empties."""

from __future__ import annotations

from .crds import accepted_status, kinds_of
from .deletes import CRD_FINALIZER, DeleteOptions, delete, empty_namespace
from .kinds import Kind
from .objects import Obj, dig
from .prepare import CRD_STORAGE
from .writes import Call, State


def follow(state: State, kind: Kind, namespace: str) -> None:
    """Called after each write to a kind, in the same turn of the event loop."""
    if kind.storage == CRD_STORAGE:
        for crd in state.store.objects(CRD_STORAGE):
            _follow_crd(state, crd)
        _forget_removed(state)
    elif kind.custom is not None:
        crd_now = state.store.get(CRD_STORAGE, "", kind.custom.crd)
        if crd_now is not None and dig(crd_now, "metadata", "deletionTimestamp"):
            _follow_crd(state, crd_now)
            _forget_removed(state)
    if namespace:
        found = state.store.get("namespaces", "", namespace)
        if found is not None and dig(found, "metadata", "deletionTimestamp"):
            empty_namespace(state, namespace)
    elif kind.storage == "namespaces":
        for found in state.store.objects("namespaces"):
            if dig(found, "metadata", "deletionTimestamp"):
                empty_namespace(state, found["metadata"]["name"])


def _follow_crd(state: State, crd: Obj) -> None:
    name = crd["metadata"]["name"]
    if dig(crd, "metadata", "deletionTimestamp"):
        _empty_crd(state, crd)
        return
    status = accepted_status(crd)
    if status != crd.get("status"):
        crd = state.store.put(CRD_STORAGE, {**crd, "status": status})
    if state.specs.get(name) != crd["spec"]:
        state.specs[name] = crd["spec"]
        state.registry.install(name, kinds_of(crd))


def _empty_crd(state: State, crd: Obj) -> None:
    """Deletes the custom resources, and the definition after the last of them."""
    kinds = kinds_of(crd)
    if kinds:
        kind = kinds[0]
        for record in state.store.records(kind.storage):
            call = Call(kind, record.namespace, record.name)
            delete(state, call, DeleteOptions(policy="Background"))
        if state.store.records(kind.storage):
            return
    rest = [name for name in crd["metadata"].get("finalizers") or () if name != CRD_FINALIZER]
    if rest:
        if rest != crd["metadata"].get("finalizers"):
            state.store.put(CRD_STORAGE, {**crd, "metadata": {**crd["metadata"], "finalizers": rest}})
        return
    state.store.delete(CRD_STORAGE, crd)


def _forget_removed(state: State) -> None:
    present = {crd["metadata"]["name"] for crd in state.store.objects(CRD_STORAGE)}
    for name in {kind.custom.crd for kind in state.registry if kind.custom is not None} - present:
        state.registry.remove(name)
        state.specs.pop(name, None)
