"""Which fields we own by server-side apply and no longer intend: the next apply removes them.

Read from our own entries of managedFields (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.core.objects.api import DEFAULTS, EMPTY, FREE_MAPS, SERVERS

_NEVER_OURS = frozenset({"data", "stringData"})
"""Of Secrets: written once, and not part of what is intended."""


def given_up(managed_fields: Iterable[Mapping[str, Any]], intended: Mapping[str, Any], manager: str) -> tuple[str, ...]:
    """Paths, the highest of each, that entries of `manager` hold and `intended` does not. Of a subresource: none.

    What the server fills in by itself is left out: it would fill it in again.
    """
    paths: set[str] = set()
    for entry in managed_fields:
        if entry.get("manager") == manager and not entry.get("subresource"):
            paths.update(_missing(entry.get("fieldsV1") or {}, intended, ""))
    return tuple(sorted(paths))


def _missing(fields: Mapping[str, Any], intended: Any, path: str) -> Iterator[str]:
    for key, below in fields.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            yield from _field(name, below, intended, path, is_data=path.rpartition(".")[2] in FREE_MAPS)
        elif kind == "k":
            yield from _item(json.loads(name), below, intended, path)
        elif kind == "v" and json.loads(name) not in (intended or ()):
            yield f"{path}[{json.loads(name)}]"


def _field(name: str, below: Mapping[str, Any], intended: Any, path: str, *, is_data: bool) -> Iterator[str]:
    here = f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}".removeprefix(".")
    if isinstance(intended, Mapping) and name in intended:
        yield from _missing(below, intended[name], here)
    elif is_data or not _may_be_filled_in(name, below):
        yield here


def _may_be_filled_in(name: str, below: Mapping[str, Any]) -> bool:
    return name in DEFAULTS or name in SERVERS or name in _NEVER_OURS or (name in EMPTY and not below)


def _item(key: Mapping[str, Any], below: Mapping[str, Any], intended: Any, path: str) -> Iterator[str]:
    said = ",".join(str(value) for value in key.values())
    match = next((item for item in intended or () if _has(item, key)), None)
    if match is None:
        yield f"{path}[{said}]"
    else:
        yield from _missing(below, match, f"{path}[{said}]")


def _has(item: Any, key: Mapping[str, Any]) -> bool:
    return isinstance(item, Mapping) and all(
        item.get(name, "TCP" if name == "protocol" else None) == value for name, value in key.items()
    )
