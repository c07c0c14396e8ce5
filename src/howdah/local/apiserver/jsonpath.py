"""The JSONPath of printer columns: fields, `[*]`, indexes and `[?(@.key=="value")]` filters."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.?(?P<field>[^.\[\]'"]+) | \['(?P<quoted>[^']+)'\] | \["(?P<double>[^"]+)"\] | \[(?P<all>\*)\] |
    \[(?P<index>-?\d+)\] | \[\?\(\s*@\.(?P<key>[^=\s]+)\s*==\s*['"]?(?P<value>[^'")]*)['"]?\s*\)\]""",
    re.VERBOSE,
)


@lru_cache(maxsize=512)
def _steps(path: str) -> tuple[tuple[str, str, str], ...]:
    text = path.strip().removeprefix("{").removesuffix("}").replace("\\.", "\0")
    found = []
    for match in _STEP.finditer(text):
        kind = match.lastgroup or ""
        if match["value"] is not None:
            found.append(("filter", match["key"].replace("\0", "."), match["value"]))
        else:
            name = "field" if kind in ("field", "quoted", "double") else kind
            found.append((name, match[kind].replace("\0", "."), ""))
    return tuple(found)


def values_at(obj: Any, path: str) -> list[Any]:
    """Every value that a path finds; empty where there is none."""
    found = [obj]
    for kind, name, wanted in _steps(path):
        found = [inner for value in found for inner in _stepped(value, kind, name, wanted)]
    return found


def _stepped(value: Any, kind: str, name: str, wanted: str) -> list[Any]:
    if kind == "field":
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return list(value.values()) if kind == "all" and isinstance(value, dict) else []
    if kind == "all":
        return value
    if kind == "index":
        return value[int(name) : int(name) + 1 or None]
    return [item for item in value if isinstance(item, dict) and _text(item.get(name)) == wanted]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
