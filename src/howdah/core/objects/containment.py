"""Is what is intended contained in what is live? Field by field, as the Kubernetes API sees fields.

Two questions differ in one point: whether something beside what is intended counts (`Scope`). On a live object it does
not, for others may write too; between two pod templates it does, for a container that is left out is a change.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from howdah.core.objects.api import FREE_MAPS, KEY_DEFAULTS, QUANTITIES, SETS, is_filled_in, list_keys
from howdah.model.units import Quantity

ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "absent", "__bool__": lambda _: False})()
"""Stands for a side that has no such field."""

_CONFIGURATION = "SPILO_CONFIGURATION"
_SCALARS = frozenset({str, int, bool, float})


class Scope(Enum):
    """What counts: only that something intended is missing, or also what is there beside it."""

    CONTAINED = "contained"
    EQUAL = "equal"


@dataclass(frozen=True, slots=True)
class Found:
    """One difference: `steps` lead to it, a list item's step is its key in brackets."""

    steps: tuple[str, ...]
    intended: Any
    live: Any


class Step(NamedTuple):
    """Where a comparison is: the steps so far and the name of the field."""

    steps: tuple[str, ...]
    name: str

    def below(self, name: str) -> "Step":
        return Step((*self.steps, name), name)

    def item(self, key: str) -> "Step":
        return Step((*self.steps, f"[{key}]"), self.name)


ROOT = Step((), "")


def found_differences(intended: Any, live: Any, scope: Scope, at: Step = ROOT) -> Iterator[Found]:
    """Every difference, the deepest path of each."""
    if isinstance(intended, Mapping) and isinstance(live, Mapping):
        yield from _mappings(intended, live, scope, at)
    elif isinstance(intended, list | tuple) and isinstance(live, list | tuple):
        yield from _lists(list(intended), list(live), scope, at)
    elif not is_same(at.name, intended, live):
        yield Found(at.steps, intended, live)


def is_same(name: str, intended: Any, live: Any) -> bool:
    """Whether two scalars, or a value and its absence, mean the same in field `name`."""
    if intended is ABSENT or live is ABSENT:
        return _is_nothing(name, live if intended is ABSENT else intended)
    if intended == live and isinstance(intended, bool) == isinstance(live, bool):
        return True
    return name in QUANTITIES and _amount(intended) is not None and _amount(intended) == _amount(live)


def _is_nothing(name: str, value: Any) -> bool:
    """Empty values are not stored; `emptyDir: {}` is the exception, for it says which kind of volume it is."""
    if name in ("emptyDir",):
        return False
    return value is None or value == "" or value is False or value == {} or value == [] or value == ()


def _amount(value: Any) -> Quantity | None:
    try:
        return Quantity.parse(str(value))
    except ValueError:
        return None


def _mappings(intended: Mapping[str, Any], live: Mapping[str, Any], scope: Scope, at: Step) -> Iterator[Found]:
    if at.name == "env" and intended.get("name") == _CONFIGURATION:
        intended, live = _parsed(intended), _parsed(live)
    # A variable is one thing: which of value and valueFrom holds is not told by what is contained.
    scope = Scope.EQUAL if at.name == "env" else scope
    for name in sorted({*intended, *live}):
        one, other = intended.get(name, ABSENT), live.get(name, ABSENT)
        if type(one) in _SCALARS and type(one) is type(other) and one == other:
            continue  # nearly always: a comparison of two templates has hundreds of these
        if one is ABSENT:
            if scope is Scope.EQUAL and _counts_beside(at.name, name, other):
                yield Found(at.below(name).steps, ABSENT, other)
        elif other is ABSENT:
            if not is_same(name, one, ABSENT):
                yield Found(at.below(name).steps, one, ABSENT)
        else:
            yield from found_differences(one, other, scope, at.below(name))


def _counts_beside(parent: str, name: str, value: Any) -> bool:
    """Whether a field that is not intended was written by somebody, and says something."""
    return parent in FREE_MAPS or not (is_filled_in(name, value) or is_same(name, ABSENT, value))


def _parsed(variable: Mapping[str, Any]) -> Mapping[str, Any]:
    """SPILO_CONFIGURATION as a document. Without its bootstrap section, which says nothing to a member that exists."""
    try:
        document = json.loads(variable["value"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return variable
    if not isinstance(document, dict):
        return variable
    return {**variable, "value": {name: part for name, part in document.items() if name != "bootstrap"}}


def _lists(intended: list[Any], live: list[Any], scope: Scope, at: Step) -> Iterator[Found]:
    keys = list_keys(at.name, intended or live)
    if keys:
        yield from _keyed(intended, live, scope, at, keys)
    elif at.name in SETS:
        if not _is_same_set(intended, live, at):
            yield Found(at.steps, intended, live)
    elif len(intended) != len(live):
        yield Found(at.steps, intended, live)
    else:
        for index, (one, other) in enumerate(zip(intended, live, strict=True)):
            yield from found_differences(one, other, scope, at.item(str(index)))


def _keyed(intended: list[Any], live: list[Any], scope: Scope, at: Step, keys: tuple[str, ...]) -> Iterator[Found]:
    wanted, there = _by_key(intended, keys), _by_key(live, keys)
    for key, item in wanted.items():
        if key not in there:
            yield Found(at.item(key).steps, item, ABSENT)
        else:
            yield from found_differences(item, there[key], scope, at.item(key))
    if scope is Scope.EQUAL:
        for key, item in there.items():
            if key not in wanted:
                yield Found(at.item(key).steps, ABSENT, item)


def _by_key(items: list[Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Of items with the same key the last one holds, as for variables in a container."""
    return {",".join(str(item.get(key, KEY_DEFAULTS.get(key, ""))) for key in keys): item for item in items}


def _is_same_set(intended: list[Any], live: list[Any], at: Step) -> bool:
    """Each intended item finds its own live one, defaults aside, and none is left over."""
    left = list(live)
    for item in intended:
        match = next(
            (i for i, other in enumerate(left) if not any(found_differences(item, other, Scope.EQUAL, at.item("")))),
            None,
        )
        if match is None:
            return False
        left.pop(match)
    return not left
