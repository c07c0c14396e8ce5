"""Whose field is it: what was written by ordinary writes, ours or the reference operator's, becomes ours by apply.

Fields of an `Update` entry outlive every apply that leaves them out (docs/adr/0002). client-go does the same when it
moves from client-side to server-side apply: https://pkg.go.dev/k8s.io/client-go/util/csaupgrade
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from howdah.model.names import FIELD_MANAGER
from howdah.model.observed import Live

Entry = Mapping[str, Any]

REFERENCE = "postgres-operator"
MOVED = frozenset({FIELD_MANAGER, REFERENCE})
"""Managers whose ordinary writes are taken over: our own POST, and the reference operator. Nobody else's."""


def is_of_reference(live: Live) -> bool:
    """Whether the reference operator owns fields: they are taken over at first sight, not only with a change.

    Asked in every pass of every object, so no paths are decoded.
    """
    entries = live.meta.managed_fields or ()
    return any(e.manager == REFERENCE and e.operation == "Update" and not e.subresource for e in entries)


def taken_over(managed_fields: Iterable[Entry]) -> tuple[Entry, ...] | None:
    """The managedFields as they are to be, our Apply entry first; None when nothing has to move."""
    entries = tuple(managed_fields)
    moving = tuple(entry for entry in entries if _moves(entry))
    if not moving:
        return None
    ours = next((entry for entry in entries if _is_ours(entry)), None)
    fields: Mapping[str, Any] = {}
    for entry in (*moving, *((ours,) if ours is not None else ())):
        fields = _merged(fields, entry.get("fieldsV1") or {})
    first = ours or moving[0]
    whole = {**first, "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
    return (whole, *(entry for entry in entries if entry not in moving and entry is not ours))


def _moves(entry: Entry) -> bool:
    return entry.get("operation") == "Update" and not entry.get("subresource") and entry.get("manager") in MOVED


def _is_ours(entry: Entry) -> bool:
    return entry.get("operation") == "Apply" and not entry.get("subresource") and entry.get("manager") == FIELD_MANAGER


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        both[key] = _merged(both[key], value) if key in both else value
    return both
