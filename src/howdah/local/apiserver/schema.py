"""What the published schemas say about a field: its type, its parts, how lists and maps merge.

One `Schema` serves validation, defaulting, patches and server-side apply, for built-in kinds (from the
package's OpenAPI files) and for custom resources (from their CRD). Parts are resolved when first used,
so that recursive definitions cost nothing.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Any, TypeAlias

from .objects import Obj, decode, encode

Raw: TypeAlias = Mapping[str, Any]

_REF = "#/components/schemas/"


class Definitions:
    """Named schemas that refer to each other; equal places share one `Schema`."""

    def __init__(self, raw: Mapping[str, Raw]) -> None:
        self._raw = raw
        self._resolved: dict[bytes, Schema] = {}

    def named(self, name: str) -> Schema:
        return self.resolved({"$ref": _REF + name})

    def resolved(self, raw: Raw) -> Schema:
        """The schema of a place, its reference followed; what the place says wins over the definition."""
        key = encode(raw) if "$ref" in raw or "allOf" in raw else b""
        if key and key in self._resolved:
            return self._resolved[key]
        found = Schema(self._merged(raw), self)
        if key:
            self._resolved[key] = found
        return found

    def _merged(self, raw: Raw) -> Raw:
        refs = [raw] if "$ref" in raw else [part for part in raw.get("allOf", ()) if "$ref" in part]
        if not refs:
            return raw
        target = refs[0]["$ref"].removeprefix(_REF)
        own = {key: value for key, value in raw.items() if key not in ("$ref", "allOf")}
        return {**self._raw.get(target, {}), **own, "x-definition": target}

    def kind_names(self) -> dict[tuple[str, str, str], str]:
        """(group, version, kind) → name of its definition."""
        found = {}
        for name, raw in self._raw.items():
            for gvk in raw.get("x-kubernetes-group-version-kind", ()):
                found[gvk["group"], gvk["version"], gvk["kind"]] = name
        return found


class Schema:
    """One place in an object. Attributes are the schema's keywords with their Kubernetes defaults."""

    def __init__(self, raw: Raw, definitions: Definitions | None = None, *, custom: bool = False) -> None:
        self.raw = raw
        self.custom = custom
        self._definitions = definitions
        self.type: str | None = raw.get("type")
        self.format: str | None = raw.get("format")
        self.required: tuple[str, ...] = tuple(raw.get("required", ()))
        self.has_default = "default" in raw
        self.int_or_string: bool = bool(raw.get("x-kubernetes-int-or-string")) or self.format == "int-or-string"
        self.preserve_unknown = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.nullable = bool(raw.get("nullable"))
        self.list_type: str = raw.get("x-kubernetes-list-type", "atomic")
        self.map_keys: tuple[str, ...] = tuple(raw.get("x-kubernetes-list-map-keys", ()))
        self.patch_strategy = frozenset(filter(None, raw.get("x-kubernetes-patch-strategy", "").split(",")))
        self.merge_key: str = raw.get("x-kubernetes-patch-merge-key", "")

    @property
    def default(self) -> Any:
        return self.raw["default"]

    @property
    def definition(self) -> str:
        """The published name of the type, or an empty string."""
        return str(self.raw.get("x-definition", ""))

    @cached_property
    def properties(self) -> Mapping[str, Schema]:
        return {name: self._part(raw) for name, raw in self.raw.get("properties", {}).items()}

    @cached_property
    def additional(self) -> Schema | None:
        """The schema of a map's values, or None where keys are fixed."""
        raw = self.raw.get("additionalProperties")
        if isinstance(raw, Mapping):
            return self._part(raw)
        return ANYTHING if raw is True else None

    @cached_property
    def items(self) -> Schema:
        raw = self.raw.get("items")
        return self._part(raw) if isinstance(raw, Mapping) else ANYTHING

    @cached_property
    def is_free(self) -> bool:
        """Says nothing about its fields: unknown ones belong here."""
        if self.preserve_unknown:
            return True
        return not (self.properties or self.additional) and self.type in (None, "object") and not self.custom

    @cached_property
    def is_atomic_map(self) -> bool:
        """Written as a whole by server-side apply."""
        if self.raw.get("x-kubernetes-map-type") == "atomic":
            return True
        return self.is_free and not self.preserve_unknown and not self.custom and self.type == "object"

    def field(self, name: str) -> Schema:
        """The schema of a field; one that allows anything where none is known."""
        return self.properties.get(name) or self.additional or ANYTHING

    def _part(self, raw: Raw) -> Schema:
        if self._definitions is not None:
            return self._definitions.resolved(raw)
        return Schema(raw, custom=self.custom)


ANYTHING = Schema({"x-kubernetes-preserve-unknown-fields": True})

_FILES = (
    "api_v1",
    "apis_apiextensions.k8s.io_v1",
    "apis_apps_v1",
    "apis_authentication.k8s.io_v1",
    "apis_authorization.k8s.io_v1",
    "apis_autoscaling_v1",
    "apis_batch_v1",
    "apis_coordination.k8s.io_v1",
    "apis_discovery.k8s.io_v1",
    "apis_events.k8s.io_v1",
    "apis_networking.k8s.io_v1",
    "apis_policy_v1",
    "apis_rbac.authorization.k8s.io_v1",
    "apis_scheduling.k8s.io_v1",
    "apis_storage.k8s.io_v1",
)


def document(name: str) -> bytes | None:
    """An OpenAPI v3 document of the package (`apis_apps_v1`) as JSON text."""
    if name not in _FILES:
        return None
    return gzip.decompress((resources.files(__package__) / "openapi" / f"{name}.json.gz").read_bytes())


def documents() -> tuple[str, ...]:
    """The names of the package's OpenAPI documents."""
    return _FILES


def builtin_definitions() -> Definitions:
    """The schemas of every built-in kind."""
    found: Obj = {}
    for name in _FILES:
        text = document(name)
        found |= decode(text)["components"]["schemas"] if text else {}
    return Definitions(found)
