"""Rules in CEL (`x-kubernetes-validations`) of custom resources, in the words of the real server.

Evaluated as https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
says, by a library. A definition whose rules use more than that library has (Kubernetes' own functions, escaped names,
message expressions) is refused, so that no rule is silently not evaluated. What a rule may cost is not reckoned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property, lru_cache
from typing import Any

from .errors import FieldError, invalid
from .objects import Obj
from .schema import Schema

NOT_CHECKED = FieldError(
    "<nil>",
    "Invalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
_BLOCKING = frozenset({"NotSupported", "Required", "TooLong", "TooMany", "TypeInvalid"})
_KEY = "x-kubernetes-validations"
_ESCAPED = re.compile(r"__(underscores|dot|dash|slash|[a-z]+)__")
_FUNCTIONS = frozenset(
    {"size", "matches", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bool"}
)
_WORDS = frozenset({"rule", "message"})


def checked(found: list[FieldError], obj: Obj, schema: Schema, live: Obj | None) -> list[FieldError]:
    """`found` (the schema's own errors) with those of the rules, which are asked only of an object of the right shape."""
    if not _rules(schema).exist:
        return found
    if any(error.kind in _BLOCKING for error in found):
        return [*found, NOT_CHECKED]
    return [*found, *_errors(obj, live, schema, "")]


def definition_errors(schema: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """Rules of a definition that cannot be evaluated."""
    for index, rule in enumerate(schema.get(_KEY) or ()):
        why = _unusable(rule)
        if why is not None:
            yield invalid(f"{path}.{_KEY}[{index}].rule", rule.get("rule", ""), why)
    for name, part in (schema.get("properties") or {}).items():
        yield from definition_errors(part, f"{path}.properties[{name}]")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from definition_errors(schema[key], f"{path}.{key}")


def _unusable(rule: Mapping[str, Any]) -> str | None:
    expression = rule.get("rule", "")
    more = sorted(set(rule) - _WORDS)
    if more:
        return f"{', '.join(more)} of a rule is not evaluated by this server"
    if _ESCAPED.search(expression):
        return "escaped names are not evaluated by this server"
    try:
        program = _compiled(expression)
    except ValueError as error:
        return f"compilation failed: {error}"
    foreign = sorted(name for name in program.functions() if name.isidentifier() and name not in _FUNCTIONS)
    if foreign:
        return f"{', '.join(foreign)} is not evaluated by this server"
    return None


@cache
def _compiled(expression: str) -> Any:
    import cel  # some tens of milliseconds and megabytes, for definitions with rules only

    return cel.compile(expression)


@lru_cache(maxsize=4096)
def _holds_for(expression: str, text: str) -> bool:
    """The same few texts come again with every write."""
    return bool(_compiled(expression).execute({"self": text}))


class _Rules:
    """The rules of one place, and whether there are any at or below it."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.here = tuple(schema.raw.get(_KEY) or ())

    @cached_property
    def exist(self) -> bool:
        below = [
            *self._schema.properties.values(),
            self._schema.additional,
            self._schema.raw.get("items") and self._schema.items,
        ]
        return bool(self.here) or any(_rules(part).exist for part in below if part)


def _rules(schema: Schema) -> _Rules:
    found: _Rules | None = schema.__dict__.get("rules_in_cel")
    if found is None:
        found = schema.__dict__["rules_in_cel"] = _Rules(schema)
    return found


def _errors(value: Any, live: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """What is as it was is not judged again, but for rules that compare with what was."""
    rules = _rules(schema)
    if value is None or not rules.exist:
        return
    for rule in rules.here:
        yield from _broken(rule, value, live, path)
    if isinstance(value, dict):
        before = live if isinstance(live, dict) else {}
        for key, item in value.items():
            part = schema.properties.get(key)
            if part is not None:
                yield from _errors(item, before.get(key), part, f"{path}.{key}" if path else key)
            elif schema.additional is not None:
                yield from _errors(item, before.get(key), schema.additional, f"{path}[{key}]")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            kept = item if isinstance(live, list) and item in live else None
            yield from _errors(item, kept, schema.items, f"{path}[{index}]")


def _broken(rule: Mapping[str, str], value: Any, live: Any, path: str) -> Iterator[FieldError]:
    program = _compiled(rule["rule"])
    compares = "oldSelf" in program.variables()
    if (compares and live is None) or (not compares and live == value):
        return
    try:
        known = isinstance(value, str) and not compares
        holds = _holds_for(rule["rule"], value) if known else program.execute({"self": value, "oldSelf": live})
    except Exception as error:  # noqa: BLE001 - the library raises what it has; each means that the rule says nothing
        yield _broken_rule(path, value, f"rule evaluation error: {error}")
        return
    if not holds:
        yield _broken_rule(path, value, rule.get("message") or f"failed rule: {rule['rule']}")


def _broken_rule(path: str, value: Any, why: str) -> FieldError:
    """Objects and lists are not shown."""
    is_large = isinstance(value, dict | list)
    return FieldError(path, "Invalid", f"Invalid value: {why}") if is_large else invalid(path, value, why)
