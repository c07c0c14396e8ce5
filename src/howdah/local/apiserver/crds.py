"""CustomResourceDefinitions: accepting one, and making served kinds of it."""

from __future__ import annotations

from collections.abc import Mapping

from .kinds import Custom, Kind
from .objects import Obj, dig, timestamp
from .schema import Schema


def accepted_status(crd: Obj) -> Obj:
    """The status that the real server's controllers write: names accepted, established."""
    now = timestamp()
    spec = crd["spec"]
    before = {c["type"]: c for c in dig(crd, "status", "conditions") or ()}

    def condition(kind: str, reason: str, message: str) -> Obj:
        if kind in before:
            return dict(before[kind])
        return {"lastTransitionTime": now, "message": message, "reason": reason, "status": "True", "type": kind}

    stored = dig(crd, "status", "storedVersions") or []
    storage = next((version["name"] for version in spec["versions"] if version.get("storage")), "")
    return {
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": spec["names"],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }


def kinds_of(crd: Obj) -> tuple[Kind, ...]:
    """The served versions of a CRD as kinds."""
    return tuple(_kind(crd, version) for version in crd["spec"]["versions"] if version.get("served"))


def _kind(crd: Obj, version: Obj) -> Kind:
    spec = crd["spec"]
    names = spec["names"]
    subresources: Mapping[str, Obj] = version.get("subresources") or {}
    storage = next((found["name"] for found in spec["versions"] if found.get("storage")), version["name"])
    custom = Custom(
        crd=crd["metadata"]["name"],
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        scale=subresources.get("scale") or {},
        selectable=tuple(field["jsonPath"] for field in version.get("selectableFields") or ()),
        storage_version=storage,
    )
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec["scope"] == "Namespaced",
        schema=_schema(dig(version, "schema", "openAPIV3Schema") or {}, bool(spec.get("preserveUnknownFields"))),
        storage=f"{names['plural']}.{spec['group']}",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=frozenset(subresources),
        has_generation=True,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        custom=custom,
    )


_META: Mapping[str, Obj] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "x-kubernetes-object-meta": True},
}
_OWNERS = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": True, "x-kubernetes-map-type": "atomic"},
}
_META_FIELDS: Mapping[str, Obj] = {
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    "finalizers": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
    "ownerReferences": {**_OWNERS, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["uid"]},
    **{
        name: {"type": "string"}
        for name in (
            "name",
            "namespace",
            "generateName",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "selfLink",
        )
    },
    "generation": {"type": "integer"},
    "deletionGracePeriodSeconds": {"type": "integer"},
    "managedFields": {"type": "array"},
}


def _schema(raw: Obj, preserve: bool) -> Schema:
    metadata = {**_META["metadata"], "properties": dict(_META_FIELDS)}
    properties = {**_META, **(raw.get("properties") or {}), "metadata": metadata}
    found = {**raw, "type": "object", "properties": properties}
    if preserve:
        found["x-kubernetes-preserve-unknown-fields"] = True
    return Schema(found, custom=True)
