"""YAML as kubectl reads it: YAML 1.1 without its dates and its numbers to the base 60.

What a plain word means is as in go-yaml v2, over which sigs.k8s.io/yaml makes JSON of a manifest; `kubectl annotate --local
-o json` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_TRUE, _FALSE = ("y", "yes", "true", "on"), ("n", "no", "false", "off")
_BOOLEANS = {form: word in _TRUE for word in (*_TRUE, *_FALSE) for form in (word, word.capitalize(), word.upper())}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_LARGEST_EXACT = 1e21
"""A whole float below this is written without a point in JSON, and so is an integer."""


def read_documents(text: str | bytes) -> Iterator[Any]:
    """Each document as JSON has it: keys are text, and no value is a date. Raises yaml.YAMLError."""
    yield from yaml.load_all(text, Loader=_Loader)


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader with other plain words."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the base has it

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[str, Any]:
        if not isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = super().construct_mapping(node, deep=deep)  # raises, with the place
            return made
        self.flatten_mapping(node)
        return {self._key(key): self.construct_object(value, deep=deep) for key, value in node.value}

    def _key(self, node: yaml.Node) -> str:
        key = self.construct_object(node)
        if isinstance(key, bool):
            return "true" if key else "false"
        if not isinstance(key, str | int | float):
            raise yaml.constructor.ConstructorError(None, None, "this is no name of a field", node.start_mark)
        return str(key)


def _boolean(loader: Any, node: yaml.ScalarNode) -> bool:
    return _BOOLEANS[loader.construct_scalar(node)]


def _integer(loader: Any, node: yaml.ScalarNode) -> int:
    word = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (-1, word[1:]) if word[0] == "-" else (1, word.lstrip("+"))
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8), ("0", 8)):
        if digits.lower().startswith(prefix) and digits != "0":
            return sign * int(digits[len(prefix) :] or "0", base)
    return sign * int(digits)


def _float(loader: Any, node: yaml.ScalarNode) -> float | int:
    number = float(str(loader.construct_scalar(node)).replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return int(number) if number.is_integer() and abs(number) < _LARGEST_EXACT else number


def _made(name: str, words: str, first: str, construct: Callable[[Any, Any], Any] | None = None) -> None:
    _Loader.add_implicit_resolver(_TAG + name, re.compile(f"(?:{words})\\Z"), list(first))
    if construct is not None:
        _Loader.add_constructor(_TAG + name, construct)


_made("bool", "|".join(_BOOLEANS), "yYnNtTfFoO", _boolean)
_made("int", _INTEGER.pattern, "-+0123456789", _integer)
_made("float", _FLOAT.pattern, "-+.0123456789", _float)
_made("null", "~|null|Null|NULL", "~nN")
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"\Z"), [""])
_made("merge", "<<", "<", lambda loader, node: loader.construct_scalar(node))
