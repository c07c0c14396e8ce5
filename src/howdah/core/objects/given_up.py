"""Which fields we own by server-side apply and no longer intend: the next apply removes them.

Read from our own entries of managedFields (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.core.objects.api import DEFAULTS, EMPTY, FREE_MAPS, KEY_DEFAULTS, SERVERS, is_filled_in

_NEVER_OURS = frozenset({"data", "stringData"})
"""Of Secrets: written once, and not part of what is intended."""


def given_up(
    managed_fields: Iterable[Mapping[str, Any]], intended: Mapping[str, Any], live: Mapping[str, Any], *, manager: str
) -> tuple[str, ...]:
    """Paths, the highest of each, that entries of `manager` hold and `intended` does not. Of a subresource: none.

    Of maps whose keys are data, such as annotations, each key.

    What the server fills in by itself is left out: it would fill it in again. That is told by the live value, for a field
    that the server would fill in may have been given another one.
    """
    paths: set[str] = set()
    for entry in managed_fields:
        if entry.get("manager") == manager and not entry.get("subresource"):
            paths.update(_missing(entry.get("fieldsV1") or {}, intended, live, ""))
    return tuple(sorted(paths))


def _missing(fields: Mapping[str, Any], intended: Any, live: Any, path: str) -> Iterator[str]:
    found: tuple[_Items, _Items] | None = None
    for name, below in fields.items():
        kind, _, said = name.partition(":")
        if kind == "f":
            yield from _field(said, below, intended, live, path)
        elif kind == "k":
            key = json.loads(said)
            found = found or (_by_key(intended, key), _by_key(live, key))
            yield from _item(key, below, *found, path)
        elif kind == "v" and json.loads(said) not in (intended or ()):
            yield f"{path}[{json.loads(said)}]"


def _field(name: str, below: Mapping[str, Any], intended: Any, live: Any, path: str) -> Iterator[str]:
    here = f"{path}[{name}]" if "." in name or "/" in name else f"{path}.{name}".removeprefix(".")
    there = live.get(name) if isinstance(live, Mapping) else None
    if isinstance(intended, Mapping) and name in intended:
        if below:
            yield from _missing(below, intended[name], there, here)
    elif name in FREE_MAPS and below:
        yield from _missing(below, {}, there, here)  # its keys, for those of others beside them stay
    elif path.rpartition(".")[2] in FREE_MAPS or not _may_be_filled_in(name, below, there):
        yield here


def _may_be_filled_in(name: str, below: Mapping[str, Any], live: Any) -> bool:
    if name in DEFAULTS:
        return is_filled_in(name, live)
    return name in SERVERS or name in _NEVER_OURS or (name in EMPTY and not below)


_Items = Mapping[tuple[Any, ...], Any]
"""Of a list that is a map: its items by the values of their keys."""


def _item(key: Mapping[str, Any], below: Mapping[str, Any], intended: _Items, live: _Items, path: str) -> Iterator[str]:
    values = tuple(key.values())
    here = f"{path}[{','.join(map(str, values))}]"
    if values not in intended:
        yield here
    else:
        yield from _missing(below, intended[values], live.get(values), here)


def _by_key(items: Any, names: Iterable[str]) -> _Items:
    found: dict[tuple[Any, ...], Any] = {}
    for item in items or ():
        if isinstance(item, Mapping):
            found.setdefault(tuple(item.get(name, KEY_DEFAULTS.get(name)) for name in names), item)
    return found
