"""Who owns whom: owner references and label selectors. No I/O."""

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def controller_of(item: Object) -> Mapping[str, Any] | None:
    """The owner reference of the controller, if any."""
    references = item["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def controller_reference(owner: Object, api_version: str, kind: str) -> dict[str, Any]:
    """What a controlled object carries."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether labels fit a `LabelSelector`; an absent selector fits nothing, an empty one everything."""
    if selector is None:
        return False
    labels = labels or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_holds(term, labels) for term in selector.get("matchExpressions") or ())


def _holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    present, value = term["key"] in labels, labels.get(term["key"])
    return {
        "In": value in (term.get("values") or ()),
        "NotIn": value not in (term.get("values") or ()),
        "Exists": present,
        "DoesNotExist": not present,
    }[term["operator"]]


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition holds and nobody has asked for its deletion."""
    if pod["metadata"].get("deletionTimestamp"):
        return False
    found = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in found)


def is_active(pod: Object) -> bool:
    """Neither finished nor on its way out."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")
