"""Kubernetes objects as plain dicts: reading, copying and stamping them. No rules of any kind are here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

Obj: TypeAlias = dict[str, Any]

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder().decode


def clone(value: Any) -> Any:
    """A deep copy of JSON data; stored objects are never changed in place."""
    if isinstance(value, dict):
        return {key: clone(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clone(item) for item in value]
    return value


def dig(obj: Any, *path: str) -> Any:
    """The value at a path of keys, or None where any of them is missing."""
    for key in path:
        if not isinstance(obj, Mapping):
            return None
        obj = obj.get(key)
    return obj


def meta(obj: Obj) -> Obj:
    """The metadata of an object, made where it is missing or null."""
    found = obj.get("metadata")
    if not isinstance(found, dict):
        found = obj["metadata"] = {}
    return found


def name_of(obj: Obj) -> str:
    """metadata.name, or an empty string."""
    return str(dig(obj, "metadata", "name") or "")


def namespace_of(obj: Obj) -> str:
    """metadata.namespace, or an empty string (cluster-scoped)."""
    return str(dig(obj, "metadata", "namespace") or "")


def version_of(obj: Obj) -> int:
    """metadata.resourceVersion as a number; 0 where there is none."""
    return int(dig(obj, "metadata", "resourceVersion") or 0)


def labels_of(obj: Obj) -> Mapping[str, str]:
    """metadata.labels, empty where missing or null."""
    return dig(obj, "metadata", "labels") or {}


def timestamp(now: datetime | None = None) -> str:
    """A time as the API writes it: RFC 3339, whole seconds, Z."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed_time(text: str) -> datetime:
    """The time of an RFC 3339 text."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def new_uid() -> str:
    """A fresh metadata.uid."""
    return str(uuid.uuid4())


def json_type(value: Any) -> str:
    """The name that OpenAPI gives to a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
