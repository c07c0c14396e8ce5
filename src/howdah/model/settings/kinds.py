"""Kinds of option: how a value reads as a string of a ConfigMap, as JSON of an OperatorConfiguration, as a schema.

A parser raises ValueError with a sentence. The string rules are the reference's, with their oddities: lists are not
trimmed, quotes in maps stay, an empty string means the zero value and not the default.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, get_args

from howdah.model.units import (
    CPU_PATTERN,
    CRON_PATTERN,
    SIZE_PATTERN,
    WINDOW_PATTERN,
    Duration,
    MaintenanceWindow,
    Quantity,
)

DURATION_PATTERN = r"^(0|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))*)$"

Json = Any
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of option: its name in the reference pages, both parsers, schema and zero value."""

    name: str
    schema: Schema
    zero: Any
    from_text: Callable[[str], Any]
    from_json: Callable[[Json], Any]
    known_keys: tuple[str, ...] = ()
    """The keys of a map that has no others; an unknown one only warns, for the reference ignores it."""

    def is_empty(self, value: Json) -> bool:
        """Does the reference take this JSON value for absent? Never a boolean."""
        return value is None or (not isinstance(value, bool) and value in ("", 0, [], {}))


@dataclass(frozen=True, slots=True, order=True)
class NamespacedName:
    """A name with its namespace; an empty namespace is the operator's own."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "NamespacedName":
        """`namespace/name` or `name`."""
        namespace, slash, name = text.rpartition("/")
        if not name or "/" in namespace or (slash and not namespace):
            raise ValueError(f'"{text}" is not a name; write name or namespace/name')
        return cls(namespace, name)

    def __str__(self) -> str:
        """`namespace/name` or `name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class InfrastructureRoleSecret:
    """A Secret that holds one role: under which of its keys, and what stands in for a missing key.

    With `is_template` it holds any number of roles, and its keys end in their numbers: `user1`, `password1`, `user2`.
    """

    secret: NamespacedName
    user_key: str = ""
    password_key: str = ""
    role_key: str = ""
    default_user_value: str = ""
    default_role_value: str = ""
    is_template: bool = False


_TRUE = ("1", "t", "T", "true", "True", "TRUE")
_FALSE = ("0", "f", "F", "false", "False", "FALSE")


def _bool_text(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError(f'"{text}" is not a boolean; write true or false')
    return text in _TRUE


def _bool_json(value: Json) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is not a boolean; write true or false without quotes")
    return value


BOOL = Kind("boolean", {"type": "boolean"}, False, _bool_text, _bool_json)


def integer(minimum: int, maximum: int = 2**31 - 1, *, absent: int | None = 0) -> Kind:
    """An integer within bounds; `absent` is its value when it is not there (None: not set)."""

    def check(value: int) -> int:
        if not minimum <= value <= maximum:
            raise ValueError(f"{value} is out of range; write an integer from {minimum} to {maximum}")
        return value

    def from_text(text: str) -> int:
        octal = re.sub(r"^([+-]?)0+(?=[0-7])", r"\g<1>0o", text)
        try:
            return check(int(octal, 0))
        except ValueError as error:
            if "out of range" in str(error):
                raise
            raise ValueError(f'"{text}" is not an integer; write digits, such as 8') from None

    def from_json(value: Json) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{_shown(value)} is not an integer; write digits without quotes")
        return check(value)

    size = "int64" if maximum > 2**31 - 1 else "int32"
    # Past 2^53 a JSON number is not exact; the format alone says the limit.
    limits = {"minimum": minimum, "maximum": maximum} if maximum < 2**53 else {"minimum": minimum}
    schema = {"type": "integer", "format": size, **limits}
    return Kind("integer", schema, absent, from_text, from_json)


UINT32 = integer(0, 2**32 - 1)
RUN_AS_ID = integer(0, 2**63 - 1, absent=None)


def _text_json(value: Json) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not a string; write it in quotes")
    return value


def _parsed(name: str, parse: Callable[[str], Any], schema: Schema, zero: Any) -> Kind:
    """A kind that both forms write as the same string."""

    def from_json(value: Json) -> Any:
        text = _text_json(value)
        return parse(text) if text else zero

    return Kind(name, {"type": "string", **schema}, zero, parse, from_json)


def _pattern_or_empty(pattern: str) -> Schema:
    """An empty string counts as absent in an OperatorConfiguration."""
    return {"pattern": f"^$|{pattern}"}


def _cron(text: str) -> str:
    if re.fullmatch(CRON_PATTERN, text) is None:
        raise ValueError(f'"{text}" is not a cron schedule; write five fields, such as 30 00 * * *')
    return text


def _duration(text: str) -> Duration:
    found = Duration.parse(text)
    if found < Duration(0):
        raise ValueError(f'"{text}" is negative; write a time such as 30s, 10m or 1h30m')
    return found


TEXT = _parsed("string", str, {}, "")
CRON = _parsed("cron schedule", _cron, _pattern_or_empty(CRON_PATTERN), "")
DURATION = _parsed("duration", _duration, {"pattern": DURATION_PATTERN}, Duration(0))
CPU = _parsed("CPU quantity", Quantity.parse, _pattern_or_empty(CPU_PATTERN), None)
MEMORY = _parsed("memory quantity", Quantity.parse, _pattern_or_empty(SIZE_PATTERN), None)
NAMESPACED = _parsed("name or namespace/name", NamespacedName.parse, {}, None)


def choice(values: Any, absent: str = "") -> Kind:
    """One word of the Literal type `values`."""
    words: tuple[str, ...] = get_args(values)

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f'"{text}" is not known; write one of {", ".join(filter(None, words))}')
        return text

    return Kind(
        "one of " + ", ".join(filter(None, words)),
        {"type": "string", "enum": [word for word in words if word]},
        absent,
        parse,
        lambda value: parse(_text_json(value)),
    )


def _list_json(value: Json) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{_shown(value)} is not a list of strings; write a YAML list")
    return tuple(value)


TEXTS = Kind(
    "list of strings",
    {"type": "array", "items": {"type": "string"}},
    (),
    lambda text: tuple(text.split(",")),
    _list_json,
)
WINDOWS = Kind(
    "list of windows",
    {"type": "array", "items": {"type": "string", "pattern": WINDOW_PATTERN}},
    (),
    lambda text: tuple(MaintenanceWindow.parse(part) for part in text.split(",")),
    lambda value: tuple(MaintenanceWindow.parse(part) for part in _list_json(value)),
)


def _map_text(text: str) -> Mapping[str, str]:
    """Pairs `k:v,k:v`; a comma in quotes belongs to the value, and the quotes stay."""
    pairs = [pair for pair in _split_outside_quotes(text) if pair]
    if any(pair.count(":") != 1 for pair in pairs):
        raise ValueError(f'"{text}" is not a map; write key:value,key:value with one colon in each pair')
    return MappingProxyType(dict(_pair(pair) for pair in pairs))


def _split_outside_quotes(text: str) -> list[str]:
    parts, quote = [""], ""
    for character in text:
        if character == "," and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        parts[-1] += character
    return [part.strip(" \t") for part in parts]


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition(":")
    return key, value


def _map_json(value: Json) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"{_shown(value)} is not a map of strings; write key: value lines, values quoted")
    return MappingProxyType(dict(value))


_NOTHING: Mapping[str, str] = MappingProxyType({})
MAP = Kind(
    "map of strings",
    {"type": "object", "additionalProperties": {"type": "string"}},
    _NOTHING,
    _map_text,
    _map_json,
)


def map_of(keys: Mapping[str, tuple[str, ...]]) -> Kind:
    """A map with known keys; a key with words takes only these."""

    def check(pairs: Mapping[str, str]) -> Mapping[str, str]:
        for key, value in pairs.items():
            if keys.get(key) and value not in keys[key]:
                raise ValueError(f'{key} "{value}" is not known; write one of {", ".join(keys[key])}')
        return pairs

    properties = {key: {"type": "string"} | ({"enum": list(words)} if words else {}) for key, words in keys.items()}
    return Kind(
        "map with " + ", ".join(keys),
        {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": properties},
        _NOTHING,
        lambda text: check(_map_text(text)),
        lambda value: check(_map_json(value)),
        tuple(keys),
    )


def _not_in_a_configmap(text: str) -> Any:
    raise ValueError("cannot be written as a string; use an OperatorConfiguration for it")


def _object_json(value: Json) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is not an object; write key: value lines")
    return value


def _named_objects_json(value: Json) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) and item.get("name") for item in value):
        raise ValueError("is not a list of containers; write a YAML list whose items have a name")
    return tuple(value)


_OPAQUE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PROBE = Kind("probe", _OPAQUE, None, _not_in_a_configmap, _object_json)
CONTAINERS = Kind(
    "list of containers", {"type": "array", "items": _OPAQUE}, (), _not_in_a_configmap, _named_objects_json
)

_ROLE_KEYS = {
    "userkey": "user_key",
    "passwordkey": "password_key",
    "rolekey": "role_key",
    "defaultuservalue": "default_user_value",
    "defaultrolevalue": "default_role_value",
}


def _role_secret(pairs: Mapping[str, str], namespace: str) -> InfrastructureRoleSecret:
    if not pairs.get("secretname"):
        raise ValueError("an infrastructure role names no Secret; add secretname")
    name = NamespacedName.parse(pairs["secretname"])
    keys = {field: pairs[key] for key, field in _ROLE_KEYS.items() if key in pairs}
    is_template = pairs.get("template") == "true"
    return InfrastructureRoleSecret(
        NamespacedName(name.namespace or namespace, name.name), **keys, is_template=is_template
    )


def _role_secrets_json(value: Json) -> tuple[InfrastructureRoleSecret, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{_shown(value)} is not a list; write a YAML list of objects")
    return tuple(_role_secret(_texts(_object_json(item)), "") for item in value)


def _texts(item: Json) -> dict[str, str]:
    flags = {key: "true" for key, flag in item.items() if flag is True}
    return flags | {key: text for key, text in item.items() if isinstance(text, str)}


ROLE_SECRETS = Kind(
    "list of role Secrets",
    {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["secretname"],
            "properties": {
                **{key: {"type": "string"} for key in ("secretname", *_ROLE_KEYS, "details")},
                "template": {"type": "boolean"},
            },
        },
    },
    (),
    # The one entry of a ConfigMap looks for its Secret in the namespace `default`, as the reference does.
    lambda text: (_role_secret(_map_text(text), "default"),),
    _role_secrets_json,
)


def _shown(value: Json) -> str:
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
