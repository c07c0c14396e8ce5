"""Label and field selectors as predicates, in the grammar of kubectl's `-l` and `--field-selector`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Labels = Mapping[str, str]
Predicate = Callable[[dict[str, Any]], bool]

_IN = re.compile(r"^\s*(?P<key>[^\s,!=()]+)\s+(?P<not>not)?in\s*\((?P<values>[^)]*)\)\s*$")
_EQUAL = re.compile(r"^\s*(?P<key>[^\s,!=()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s,()=]*)\s*$")
_EXISTS = re.compile(r"^\s*(?P<not>!)?\s*(?P<key>[^\s,!=()]+)\s*$")


def selection(labels: str, fields: str) -> Predicate:
    """Whether an object fits both selectors; raises ValueError naming the part that is not understood."""
    requirements = [_label_requirement(part) for part in _parts(labels)]
    conditions = [_field_condition(part) for part in _parts(fields)]

    def fits(obj: dict[str, Any]) -> bool:
        own: Labels = obj["metadata"].get("labels") or {}
        return all(holds(own) for holds in requirements) and all(holds(obj) for holds in conditions)

    return fits


def _parts(selector: str) -> list[str]:
    return [part for part in re.split(r",(?![^(]*\))", selector) if part.strip()]


def _label_requirement(part: str) -> Callable[[Labels], bool]:
    if found := _IN.match(part):
        key, negated = found["key"], bool(found["not"])
        values = {value.strip() for value in found["values"].split(",")}
        # As Kubernetes has it: notin and != also hold where the label is missing.
        return lambda labels: (labels[key] in values) != negated if key in labels else negated
    if found := _EQUAL.match(part):
        key, value, negated = found["key"], found["value"], found["operator"] == "!="
        return lambda labels: (labels[key] == value) != negated if key in labels else negated
    if found := _EXISTS.match(part):
        key, negated = found["key"], bool(found["not"])
        return lambda labels: (key in labels) != negated
    raise ValueError(f"label selector {part!r} is not understood")


def _field_condition(part: str) -> Predicate:
    found = _EQUAL.match(part)
    if not found:
        raise ValueError(f"field selector {part!r} is not understood; write path=value or path!=value")
    path, value, negated = found["key"].split("."), found["value"], found["operator"] == "!="
    return lambda obj: (_at(obj, path) == value) != negated


def _at(value: Any, path: list[str]) -> str:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return "" if value is None else str(value)
