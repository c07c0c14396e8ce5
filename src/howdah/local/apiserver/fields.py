"""Sets of fields, as server-side apply counts them: which places of an object are set, which differ, which to take out.

A path is a tuple of FieldsV1 elements (`f:spec`, `k:{"name":"x"}`, `v:"a"`); a set is a set of paths.
The rules (what is a leaf, when a parent counts itself) are those of structured-merge-diff.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .errors import bad_request
from .objects import Obj, decode, encode
from .schema import Schema

Path: TypeAlias = tuple[str, ...]
FieldSet: TypeAlias = frozenset[Path]

EMPTY: FieldSet = frozenset()
_MISSING = object()


def from_fields_v1(tree: Obj) -> FieldSet:
    """The set that a managedFields entry holds."""
    return frozenset(_leaves(tree, ()))


def _leaves(tree: Obj, path: Path) -> Iterator[Path]:
    for element, inner in tree.items():
        if element == ".":
            yield path
            continue
        place = (*path, element)
        if inner:
            yield from _leaves(inner, place)
        else:
            yield place


def to_fields_v1(paths: Iterable[Path]) -> Obj:
    """A set as a managedFields entry holds it."""
    tree: Obj = {}
    members = sorted(paths)
    for path in members:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    _drop_lone_dots(tree)
    return tree


def _drop_lone_dots(tree: Obj) -> None:
    for inner in tree.values():
        if len(inner) == 1 and "." in inner:
            del inner["."]
        else:
            _drop_lone_dots(inner)


def _is_keyed(schema: Schema) -> bool:
    return schema.list_type == "map" and bool(schema.map_keys)


def is_atomic_list(schema: Schema) -> bool:
    return not _is_keyed(schema) and schema.list_type != "set"


def element_of(item: Any, schema: Schema) -> str:
    """The path element of an item of an associative list."""
    if not _is_keyed(schema):
        return "v:" + encode(item).decode()
    if not isinstance(item, dict):
        raise bad_request("associative list with keys may not have a non-map element")
    keys = {}
    for key in sorted(schema.map_keys):
        part = schema.items.field(key)
        if key in item:
            keys[key] = item[key]
        elif part.has_default:
            keys[key] = part.default
    if not keys:
        raise bad_request(f"associative list with keys has an element that omits key field {schema.map_keys[0]!r}")
    return "k:" + encode(keys).decode()


def indexed(items: Iterable[Any], schema: Schema) -> dict[str, Any]:
    """Items of an associative list by their path element, in order."""
    return {element_of(item, schema): item for item in items}


_EXPECTED = {
    "integer": ((int, float), "numeric (int or float)"),
    "number": ((int, float), "numeric (int or float)"),
    "string": ((str,), "string"),
    "boolean": ((bool,), "boolean"),
    "object": ((dict,), "map"),
    "array": ((list,), "list"),
}


def typed_problem(value: Any, schema: Schema, path: str = "") -> str | None:
    """Why a value cannot be merged by its schema: a wrong type, or two items of the same key."""
    if value is None or schema.int_or_string or ("oneOf" in schema.raw and not schema.type):
        return None
    types, name = _EXPECTED.get(schema.type or "", ((object,), ""))
    if not isinstance(value, types) or (isinstance(value, bool) and name.startswith("numeric")):
        return f"{path}: expected {name}, got {_go_kind(value)}"
    if isinstance(value, dict):
        parts = ((item, schema.field(key), f"{path}.{key}") for key, item in value.items())
    elif isinstance(value, list):
        seen: set[str] = set()
        for item in () if is_atomic_list(schema) else value:
            element = element_of(item, schema)
            if element in seen:
                return f"{path}: duplicate entries for key {shown_path((element,))}"
            seen.add(element)
        parts = ((item, schema.items, f"{path}[{index}]") for index, item in enumerate(value))
    else:
        return None
    return next((found for part in parts if (found := typed_problem(*part))), None)


def _go_kind(value: Any) -> str:
    return {dict: "map", list: "list", str: "string", bool: "boolean"}.get(
        type(value), f"&value.valueUnstructured{{Value:{value}}}"
    )


def field_set(value: Any, schema: Schema) -> FieldSet:
    """Every field that a (partial) object sets."""
    found: list[Path] = []
    _collect(value, schema, (), found)
    return frozenset(found)


def _collect(value: Any, schema: Schema, path: Path, found: list[Path]) -> None:
    if isinstance(value, dict) and not schema.is_atomic_map:
        for key, item in value.items():
            place = (*path, "f:" + key)
            _collect(item, schema.field(key), place, found)
            if item is None or item == {} or key not in schema.properties:
                found.append(place)
    elif isinstance(value, list) and not is_atomic_list(schema):
        for element, item in indexed(value, schema).items():
            place = (*path, element)
            _collect(item, schema.items, place, found)
            found.append(place)
    elif (path and not isinstance(value, (dict, list))) or path:
        found.append(path)


@dataclass(slots=True)
class Difference:
    """How one object differs from another."""

    added: set[Path] = field(default_factory=set)
    modified: set[Path] = field(default_factory=set)
    removed: set[Path] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.modified or self.removed)


def difference(before: Any, after: Any, schema: Schema) -> Difference:
    """Added, modified and removed paths. A part that exists on one side only counts with all that it holds."""
    found = Difference()
    _compare(before, after, schema, (), found)
    return found


def _compare(before: Any, after: Any, schema: Schema, path: Path, found: Difference) -> None:
    if before is after or (before == after and type(before) is type(after)):
        return
    side = before if after is _MISSING or after is None else after
    if isinstance(side, dict) and _comparable(before, after, dict) and not schema.is_atomic_map:
        if not (before is _MISSING or after is _MISSING) or side:
            _compare_maps(before, after, schema, path, found)
            _count_structure(before, after, path, found)
            return
    elif isinstance(side, list) and _comparable(before, after, list) and not is_atomic_list(schema) and side:
        _compare_lists(before, after, schema, path, found)
        _count_structure(before, after, path, found)
        return
    _count_leaf(before, after, path, found)


def _comparable(before: Any, after: Any, kind: type) -> bool:
    return all(value is _MISSING or value is None or isinstance(value, kind) for value in (before, after))


def _count_structure(before: Any, after: Any, path: Path, found: Difference) -> None:
    if before is _MISSING:
        found.added.add(path)
    elif after is _MISSING:
        found.removed.add(path)


def _count_leaf(before: Any, after: Any, path: Path, found: Difference) -> None:
    if before is _MISSING:
        found.added.add(path)
    elif after is _MISSING:
        found.removed.add(path)
    elif before != after:
        found.modified.add(path)


def _compare_maps(before: Any, after: Any, schema: Schema, path: Path, found: Difference) -> None:
    old: Mapping[str, Any] = before if isinstance(before, dict) else {}
    new: Mapping[str, Any] = after if isinstance(after, dict) else {}
    for key in {**old, **new}:
        place = (*path, "f:" + key)
        _compare(old.get(key, _MISSING), new.get(key, _MISSING), schema.field(key), place, found)


def _compare_lists(before: Any, after: Any, schema: Schema, path: Path, found: Difference) -> None:
    old = indexed(before if isinstance(before, list) else (), schema)
    new = indexed(after if isinstance(after, list) else (), schema)
    for element in {**old, **new}:
        place = (*path, element)
        _compare(old.get(element, _MISSING), new.get(element, _MISSING), schema.items, place, found)


def with_named_parents(paths: Iterable[Path], schema: Schema) -> FieldSet:
    """The set with every declared field on the way to a member as a member too (not map keys, not list items)."""
    found = set(paths)
    for path in tuple(found):
        place = schema
        for length, element in enumerate(path[:-1], 1):
            if not element.startswith("f:"):
                place = place.items
                continue
            name = element[2:]
            if name in place.properties:
                found.add(path[:length])
            place = place.field(name)
    return frozenset(found)


def without(value: Any, schema: Schema, paths: Iterable[Path]) -> Any:
    """An object with the given paths taken out; parts that become empty are None."""
    tree: Obj = {}
    for path in paths:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _taken_out(value, schema, tree)


def _taken_out(value: Any, schema: Schema, tree: Obj) -> Any:
    if isinstance(value, dict) and value and not schema.is_atomic_map:
        kept = {}
        for key, item in value.items():
            inner = tree.get("f:" + key, {})
            if "." not in inner:
                kept[key] = _taken_out(item, schema.field(key), inner) if inner else item
        return kept or None
    if isinstance(value, list) and not is_atomic_list(schema):
        rest = []
        for element, item in indexed(value, schema).items():
            inner = tree.get(element, {})
            if "." not in inner:
                rest.append(_taken_out(item, schema.items, inner) if inner else item)
        return rest or None
    return value


def merged(live: Any, config: Any, schema: Schema) -> Any:
    """The live object with what the configuration sets: maps and keyed lists merge, the rest is replaced."""
    if isinstance(config, dict) and isinstance(live, dict) and not schema.is_atomic_map:
        result = dict(live)
        for key, item in config.items():
            result[key] = merged(live[key], item, schema.field(key)) if key in live else item
        return result
    if isinstance(config, list) and isinstance(live, list) and not is_atomic_list(schema):
        return _merged_list(live, config, schema)
    return config


def _merged_list(live: list[Any], config: list[Any], schema: Schema) -> list[Any]:
    """Order: as the configuration says for what it names, the others stay where they were between them."""
    old, new = indexed(live, schema), indexed(config, schema)
    lefts, rights = list(old), list(new)
    shared = [element for element in rights if element in old]
    result, at, wanted = [], 0, 0
    while at < len(lefts) or wanted < len(rights):
        if at < len(lefts):
            element = lefts[at]
            if element not in new:
                result.append(old[element])
                at += 1
                continue
            if wanted < len(rights) and element != rights[wanted] and shared and shared[0] != element:
                at += 1  # it comes where the configuration names it
                continue
        if wanted < len(rights):
            element = rights[wanted]
            wanted += 1
            if element in old:
                result.append(merged(old[element], new[element], schema.items))
                shared = shared[1:] if shared and shared[0] == element else shared
                at += 1 if at < len(lefts) and lefts[at] == element else 0
            else:
                result.append(new[element])
        else:
            at += 1
    return result


def zero(schema: Schema) -> Any:
    """The empty object of a typed kind: the parts that always exist in it, and required ones as null."""
    result: Obj = dict.fromkeys(schema.required)
    for name, part in schema.properties.items():
        if part.has_default:
            result[name] = zero(part) if part.default == {} else part.default
    return result


def shown_path(path: Path) -> str:
    """A path as conflicts show it: `.spec.containers[name="x"].image`."""
    text = ""
    for element in path:
        if element.startswith("f:"):
            text += "." + element[2:]
        elif element.startswith("k:"):
            keys = decode(element[2:].encode())
            text += "[" + ",".join(f"{key}={encode(value).decode()}" for key, value in keys.items()) + "]"
        else:
            text += "[=" + element[2:] + "]"
    return text
