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
KEEPER = "howdah-kept"
"""The manager of what is left as the reference wrote it."""
KEPT_ANNOTATIONS = frozenset({"service.beta.kubernetes.io/aws-load-balancer-connection-idle-timeout"})
"""Written by the reference up to v1.15 on each service with a load balancer, which it acts on, and left there by v2.0:
without it connections that are silent for a minute would be cut."""
MOVED = frozenset({FIELD_MANAGER, REFERENCE})
"""Managers whose ordinary writes are taken over: our own POST, and the reference operator. Nobody else's."""


def is_of_reference(live: Live) -> bool:
    """Whether the reference operator owns fields: they are taken over at first sight, not only with a change.

    Asked in every pass of every object, so no paths are decoded.
    """
    entries = live.meta.managed_fields or ()
    return any(e.manager == REFERENCE and e.operation == "Update" and not e.subresource for e in entries)


def unintended_but_kept(intended: Mapping[str, Any]) -> frozenset[str]:
    """Annotations that stay where the reference wrote them, although this object does not intend them."""
    return KEPT_ANNOTATIONS - set(intended["metadata"].get("annotations") or ())


def taken_over(managed_fields: Iterable[Entry], *, leaving: frozenset[str] = frozenset()) -> tuple[Entry, ...] | None:
    """The managedFields as they are to be, our Apply entry first; None when nothing has to move.

    `leaving`: annotations that do not become ours with the rest, so that no apply of ours removes them.
    """
    entries = tuple(managed_fields)
    moving = tuple(entry for entry in entries if _moves(entry))
    if not moving:
        return None
    ours = next((entry for entry in entries if _is_ours(entry)), None)
    fields: Mapping[str, Any] = {}
    left: Mapping[str, Any] = {}
    for entry in moving:
        mine, kept = _divided(entry.get("fieldsV1") or {}, leaving)
        fields, left = _merged(fields, mine), _merged(left, kept)
    fields = _merged(fields, (ours or {}).get("fieldsV1") or {})
    first = ours or moving[0]
    whole = {**first, "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}
    others = tuple(entry for entry in entries if entry not in moving and entry is not ours)
    return (whole, *(_with_kept(others, {**moving[0], "fieldsV1": left}) if left else others))


def _divided(fields: Mapping[str, Any], leaving: frozenset[str]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Fields without these annotations, and these."""
    metadata = fields.get("f:metadata") or {}
    annotations: Mapping[str, Any] = metadata.get("f:annotations") or {}
    left = {key: below for key, below in annotations.items() if key.removeprefix("f:") in leaving}
    if not left:
        return fields, {}
    kept = {key: below for key, below in annotations.items() if key not in left}
    mine = {**fields, "f:metadata": {**metadata, "f:annotations": kept}}
    return mine, {"f:metadata": {"f:annotations": left}}


def _with_kept(others: tuple[Entry, ...], kept: Entry) -> tuple[Entry, ...]:
    """The server takes one entry of a manager for each version."""
    before = [entry for entry in others if entry.get("manager") == KEEPER]
    fields: Mapping[str, Any] = kept["fieldsV1"]
    for entry in before:
        fields = _merged(fields, entry.get("fieldsV1") or {})
    whole = {**kept, "manager": KEEPER, "operation": "Update", "fieldsV1": fields}
    return (*(entry for entry in others if entry not in before), whole)


def _moves(entry: Entry) -> bool:
    return entry.get("operation") == "Update" and not entry.get("subresource") and entry.get("manager") in MOVED


def _is_ours(entry: Entry) -> bool:
    return entry.get("operation") == "Apply" and not entry.get("subresource") and entry.get("manager") == FIELD_MANAGER


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(one)
    for key, value in other.items():
        both[key] = _merged(both[key], value) if key in both else value
    return both
