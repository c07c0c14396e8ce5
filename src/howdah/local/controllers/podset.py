"""What the controllers that make pods have in common: the pod of a template, adoption, and numbers about pods. No I/O."""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from howdah.local.controllers.caches import Object
from howdah.local.controllers.owners import controller_of, controller_reference, is_ready, matches

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, no look-alikes: as Kubernetes names generated things


def short_hash(content: Any, length: int = 10) -> str:
    """A stable name for some content."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:length])


def template_pod(owner: Object, api_version: str, kind: str, name: str, node: str) -> dict[str, Any]:
    """A pod of the owner's template, controlled by the owner and placed on the node."""
    template = copy.deepcopy(owner["spec"]["template"])
    described = template.get("metadata") or {}
    metadata = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": described.get("labels") or {},
        "annotations": described.get("annotations") or {},
        "ownerReferences": [controller_reference(owner, api_version, kind)],
    }
    if described.get("finalizers"):
        metadata["finalizers"] = described["finalizers"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**template["spec"], "nodeName": node}}


def owned(items: Iterable[Object], owner: Object) -> list[Object]:
    """Those that this very owner controls."""
    uid = owner["metadata"]["uid"]
    return [item for item in items if (controller_of(item) or {}).get("uid") == uid]


def is_orphan_of(item: Object, owner: Object) -> bool:
    """Whether nobody controls the item, the owner's selector fits, and neither is on its way out."""
    return (
        controller_of(item) is None
        and matches(owner["spec"].get("selector"), item["metadata"].get("labels"))
        and not item["metadata"].get("deletionTimestamp")
        and not owner["metadata"].get("deletionTimestamp")
    )


def adoption(item: Object, owner: Object, api_version: str, kind: str) -> dict[str, Any]:
    """The patch that makes the owner the controller of this very object as it is now."""
    references = [*(item["metadata"].get("ownerReferences") or ()), controller_reference(owner, api_version, kind)]
    metadata = item["metadata"]
    return {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "ownerReferences": references,
        }
    }


def ready_count(pods: Iterable[Object]) -> int:
    """How many are ready and wanted."""
    return sum(1 for pod in pods if is_ready(pod))


def changed(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """Whether a status differs in a field that we write."""
    return any((before or {}).get(field) != value for field, value in after.items())
