"""What an installed definition would not keep of what ours has: a server prunes silently what its schema does not know.

Where an older definition is installed and may not be changed, its users' new fields never reach the operator.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

_KEEPS = "x-kubernetes-preserve-unknown-fields"


def lost_fields(installed: Json, ours: Json) -> tuple[str, ...]:
    """Paths of fields that `installed` (a CustomResourceDefinition) prunes; of a lost section only its own path."""
    versions = {version["name"]: version for version in ours["spec"]["versions"]}
    found: set[str] = set()
    for version in (installed.get("spec") or {}).get("versions") or ():
        if version.get("served") and version.get("name") in versions:
            found |= set(_lost(_schema(version), _schema(versions[version["name"]]), ""))
    return tuple(sorted(found))


def _schema(version: Json) -> Json:
    schema: Json = (version.get("schema") or {}).get("openAPIV3Schema") or {_KEEPS: True}
    return schema


def _lost(installed: Json, ours: Json, path: str) -> Iterator[str]:
    known = installed.get("properties") or {}
    for name, part in (ours.get("properties") or {}).items():
        place = f"{path}.{name}".lstrip(".")
        if name in known:
            yield from _lost(known[name], part, place)
        elif not (installed.get(_KEEPS) or installed.get("additionalProperties")) and path:
            yield place
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(installed.get(key), Mapping) and isinstance(ours.get(key), Mapping):
            yield from _lost(installed[key], ours[key], path + mark)
