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
MOST_LEVELS = 200
"""Deeper than any manifest. The parser of PyYAML in C has no limit, and ends the process where its stack ends."""
MOST_DIGITS = 400
"""More than any number has that a float can hold; Python refuses to read or write some thousands."""
_LARGEST_EXACT = 1e21
"""A whole float below this is written without a point in JSON, and so is an integer."""


def read_documents(text: str | bytes) -> Iterator[Any]:
    """Each document as JSON has it: keys are text, no value is a date, and none is within itself.

    Raises yaml.YAMLError, and nothing else for whatever text; its `problem` quotes no value.
    """
    yield from yaml.load_all(text, Loader=_Loader)


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader with other plain words, and a limit to how deep it goes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - as the base has it
    _level = 0

    def descend_resolver(self, current_node: yaml.Node | None, current_index: Any) -> None:
        """Called at each node that is begun, before those in it."""
        self._level += 1
        if current_node is not None and self._level > MOST_LEVELS:
            raise _nested(current_node)
        super().descend_resolver(current_node, current_index)

    def ascend_resolver(self) -> None:
        self._level -= 1
        super().ascend_resolver()

    def construct_document(self, node: yaml.Node) -> Any:
        if (deepest := _too_deep(node)) is not None:
            raise _nested(deepest)
        return super().construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError):  # a word after an explicit tag may be any
            said = f"this is no {str(node.tag).removeprefix(_TAG)} that can be read"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark) from None

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


def _too_deep(root: yaml.Node) -> yaml.Node | None:
    """A node that is nested too deeply, or in itself: by its name, which costs the parser no level."""
    reached: dict[int, int] = {}
    ahead = [(root, 1)]
    while ahead:
        node, level = ahead.pop()
        if level > MOST_LEVELS:
            return node
        if isinstance(node, yaml.CollectionNode) and level > reached.get(id(node), 0):
            reached[id(node)] = level
            ahead.extend((part, level + 1) for part in _parts(node))
    return None


def _parts(node: yaml.CollectionNode) -> Iterator[yaml.Node]:
    for part in node.value:
        yield from part if isinstance(node, yaml.MappingNode) else (part,)


def _nested(node: yaml.Node) -> yaml.YAMLError:
    said = f"this is nested in itself, or deeper than {MOST_LEVELS} levels"
    return yaml.constructor.ConstructorError(None, None, said, node.start_mark)


def _boolean(loader: Any, node: yaml.ScalarNode) -> bool:
    return _BOOLEANS[loader.construct_scalar(node)]


def _integer(loader: Any, node: yaml.ScalarNode) -> int:
    word = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (-1, word[1:]) if word[0] == "-" else (1, word.lstrip("+"))
    if len(digits) > MOST_DIGITS:
        raise ValueError
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
