"""The metadata of every object of a cluster: empty parts are left out, keys are sorted."""

from collections.abc import Iterable, Mapping
from typing import Any

Body = dict[str, Any]


def metadata(
    name: str,
    namespace: str,
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    owner_references: Iterable[Mapping[str, Any]],
) -> Body:
    """The `metadata` of an object."""
    found: Body = {"name": name, "namespace": namespace}
    owners = [dict(owner) for owner in owner_references]
    parts = {"labels": dict(labels), "annotations": dict(annotations), "ownerReferences": owners}
    return found | {key: value for key, value in parts.items() if value}


def ordered(value: Any) -> Any:
    """The same JSON with the keys of every mapping sorted: the same input gives the same bytes."""
    if isinstance(value, Mapping):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [ordered(item) for item in value]
    return value
