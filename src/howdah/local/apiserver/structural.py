"""Whether a custom resource fits the schema of its CRD, in the words of the real server."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import Any

from .errors import FieldError, duplicate, invalid, required, unsupported, wrong_type
from .fields import element_of
from .objects import Obj, encode, json_type
from .schema import Schema

_PATTERNS: dict[str, re.Pattern[str]] = {}
NOWHERE = "<nil>"
"""The field of errors that the real server's validator does not place."""
_ROOT_SKIPPED = ("apiVersion", "kind", "metadata")


def structural_errors(obj: Obj, schema: Schema, live: Obj | None = None) -> list[FieldError]:
    """Every misfit. Parts that an update leaves as they were are not judged again (ratcheting)."""
    found = [required(name) for name in schema.required if name not in obj]
    for key, part in schema.properties.items():
        if key in obj and key not in _ROOT_SKIPPED and (live is None or live.get(key) != obj[key]):
            found += _errors(obj[key], part, key)
    return found


def status_errors(obj: Obj, schema: Schema) -> list[FieldError]:
    """The misfits of the status, which is judged alone when its subresource is written."""
    part = schema.properties.get("status")
    if part is None or "status" not in obj:
        return []
    found = _errors(obj["status"], part, "")
    return [FieldError(f"status{'.' if error.field else ''}{error.field}", error.kind, error.text) for error in found]


def scale_errors(obj: Obj, path: str) -> list[FieldError]:
    """The replicas that the scale subresource would read must be a count."""
    value: object = obj
    for key in path.strip(".").split("."):
        if not isinstance(value, dict):
            return [_accessor_error(path, value, "map[string]interface{}")]
        if key not in value:
            return []
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, int):
        return [_accessor_error(path, value, "int64")]
    return [invalid(path, value, "should be a non-negative integer")] if value < 0 else []


_GO_TYPES = {"string": "string", "boolean": "bool", "number": "float64", "array": "[]interface {}"}


def _accessor_error(path: str, value: object, expected: str) -> FieldError:
    kind = _GO_TYPES.get(json_type(value), json_type(value))
    shown = int(value) if isinstance(value, float) and value.is_integer() else value
    return invalid(path, 0, f"{path} accessor error: {shown} is of the type {kind}, expected {expected}")


def _errors(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if value is None and schema.nullable:
        return
    problem = _type_error(value, schema, path)
    if problem is not None:
        yield problem
        if schema.type == "integer" and isinstance(value, float):
            yield invalid(NOWHERE, "", f"Checked value must be of type integer (default format) in {path}")
        yield from _combined_errors(value, schema.raw, path)
        return
    yield from _value_errors(value, schema.raw, path)
    if isinstance(value, dict):
        yield from _object_errors(value, schema, path)
    elif isinstance(value, list):
        yield from _array_errors(value, schema, path)
    yield from _combined_errors(value, schema.raw, path)


def _type_error(value: Any, schema: Schema, path: str) -> FieldError | None:
    found = json_type(value)
    if schema.int_or_string:
        return None if found in ("integer", "string") else wrong_type(path, found, "integer,string")
    expected = schema.type
    if not expected or found == expected or (expected == "number" and found == "integer"):
        return None
    if expected == "integer" and found == "number" and float(value).is_integer():
        return None
    return wrong_type(path, found, expected)


def _value_errors(value: Any, raw: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """Keywords that look at the value alone."""
    if "enum" in raw and value not in raw["enum"]:
        yield unsupported(
            path, value, [item if isinstance(item, str) else encode(item).decode() for item in raw["enum"]]
        )
    if isinstance(value, str):
        yield from _string_errors(value, raw, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _number_errors(value, raw, path)


def _string_errors(value: str, raw: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """A format, and the first of length and pattern that does not hold: the real validator stops there."""
    pattern = raw.get("pattern")
    if "maxLength" in raw and len(value) > raw["maxLength"]:
        yield FieldError(path, "TooLong", f"Too long: may not be more than {raw['maxLength']} bytes")
    elif "minLength" in raw and len(value) < raw["minLength"]:
        yield invalid(path, value, f"{path} in body should be at least {raw['minLength']} chars long")
    elif pattern and not _pattern(pattern).search(value):
        yield invalid(path, value, f"{path} in body should match '{pattern}'")
    check = _FORMATS.get(raw.get("format", ""))
    if check is not None and not check(value):
        detail = f"{path} in body must be of type {raw['format']}: {encode(value).decode()}"
        yield FieldError(path, "TypeInvalid", f"Invalid value: {encode(value).decode()}: {detail}")


def _pattern(text: str) -> re.Pattern[str]:
    found = _PATTERNS.get(text)
    if found is None:
        found = _PATTERNS[text] = re.compile(text.replace("\\z", "\\Z"))
    return found


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _parses(lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))),
    "date": _parses(lambda text: datetime.strptime(text, "%Y-%m-%d").date()),  # noqa: DTZ007 - a date has no zone
    "ipv4": _parses(lambda text: ip_address(text)),
    "cidr": _parses(lambda text: ip_network(text, strict=False)),
    "byte": lambda text: re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text) is not None,
    "uuid": lambda text: re.fullmatch(r"(?i)[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", text) is not None,
}


def _number_errors(value: float, raw: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    low, high = raw.get("minimum"), raw.get("maximum")
    if low is not None and (value < low or (raw.get("exclusiveMinimum") and value == low)):
        than = "greater than" if raw.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {_number(low)}")
    if high is not None and (value > high or (raw.get("exclusiveMaximum") and value == high)):
        than = "less than" if raw.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {_number(high)}")
    step = raw.get("multipleOf")
    if step and (value / step) % 1:
        yield invalid(path, value, f"{path} in body should be a multiple of {_number(step)}")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def _object_errors(value: Obj, schema: Schema, path: str) -> Iterator[FieldError]:
    for name in schema.required:
        if name not in value:
            yield required(_under(path, name))
    for key, item in value.items():
        if key in schema.properties:
            yield from _errors(item, schema.properties[key], _under(path, key))
        elif schema.additional is not None:
            yield from _errors(item, schema.additional, _under(path, key))
    low, high = schema.raw.get("minProperties"), schema.raw.get("maxProperties")
    if low is not None and len(value) < low:
        yield invalid(path, value, f"{path} in body should have at least {low} properties")
    if high is not None and len(value) > high:
        yield FieldError(path, "TooMany", f"Too many: {len(value)}: must have at most {high} items")


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _array_errors(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    for index, item in enumerate(value):
        yield from _errors(item, schema.items, f"{path}[{index}]")
    low, high = schema.raw.get("minItems"), schema.raw.get("maxItems")
    if low is not None and len(value) < low:
        yield invalid(path, len(value), f"{path} in body should have at least {low} items")
    if high is not None and len(value) > high:
        yield FieldError(path, "TooMany", f"Too many: {len(value)}: must have at most {high} items")
    if schema.list_type in ("map", "set"):
        yield from _duplicate_errors(value, schema, path)


def _duplicate_errors(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, item in enumerate(value):
        if schema.list_type == "map" and not isinstance(item, dict):
            continue
        element = element_of(item, schema) if _has_keys(item, schema) else f"#{index}"
        if element in seen:
            keys = {key: item[key] for key in schema.map_keys if key in item} if schema.map_keys else item
            yield duplicate(f"{path}[{index}]", keys)
        seen.add(element)


def _has_keys(item: Any, schema: Schema) -> bool:
    return schema.list_type == "set" or any(key in item for key in schema.map_keys)


def _combined_errors(value: Any, raw: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """allOf, anyOf, oneOf, not: they only restrict, types are said outside them."""

    def fits(part: Mapping[str, Any]) -> bool:
        return not any(_errors(value, Schema(part, custom=True), path))

    for part in raw.get("allOf", ()):
        yield from _errors(value, Schema(part, custom=True), path)
    options = raw.get("anyOf", ())
    if options and not any(fits(part) for part in options):
        yield invalid(NOWHERE, "", f'"{path}" must validate at least one schema (anyOf)')
        yield from _errors(value, Schema(options[0], custom=True), path)
    exact = raw.get("oneOf", ())
    if exact and (count := sum(1 for part in exact if fits(part))) != 1:
        found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
        yield invalid(NOWHERE, "", f'"{path}" must validate one and only one schema (oneOf). {found}')
        if count == 0:
            yield from _errors(value, Schema(exact[0], custom=True), path)
    if "not" in raw and fits(raw["not"]):
        yield invalid(NOWHERE, "", f'"{path}" must not validate the schema (not)')
