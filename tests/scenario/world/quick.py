"""Writes of the simulated machinery, without the bookkeeping of managedFields that only people's and operators' writes need."""

from __future__ import annotations

from typing import Any

from howdah.kube.resources import Resource
from howdah.kube.testing import Store
from howdah.kube.testing.patches import merge_patched
from howdah.kube.testing.store import Writer


def quick_patch(store: Store, resource: Resource, key: tuple[str, str], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch; nothing is written where nothing differs. Not for objects with a generation or finalizers."""
    live = store.read(resource, *key)
    new: dict[str, Any] = merge_patched(live, patch)
    if new == live:
        return live
    return store._commit(resource, live, new, Writer())
