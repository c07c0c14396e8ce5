"""From a pydantic model's JSON schema to the structural schema that a CustomResourceDefinition may have.

Kubernetes allows no references, no unions and no `type: null`; objects either list their fields or keep unknown ones.
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]

_DROPPED = frozenset(
    {"$defs", "title", "default", "examples", "uniqueItems", "additionalProperties", "items", "properties"}
)
_INT32_MAX = 2**31 - 1
_KEEPS_UNKNOWN = "x-kubernetes-preserve-unknown-fields"


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of `model`; raises ValueError for what has none."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(raw, raw.get("$defs", {}), ())


def property_at(schema: Schema, path: str) -> Schema:
    """The part of a structural schema at `path`: names joined by dots, `*` for a map's values or a list's items."""
    for step in path.split(".") if path else ():
        schema = schema.get("additionalProperties") or schema["items"] if step == "*" else schema["properties"][step]
    return schema


def _structural(raw: Mapping[str, Any], definitions: Mapping[str, Any], seen: tuple[str, ...]) -> Schema:
    if "$ref" in raw:
        return _inlined(raw, definitions, seen)
    if "anyOf" in raw:
        return _structural(_without_null(raw), definitions, seen)
    if not raw.keys() - {"title", "description", "default"}:
        return {_KEEPS_UNKNOWN: True}
    schema = {key: value for key, value in raw.items() if key not in _DROPPED}
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "type" not in schema:
        raise ValueError(f"a structural schema needs a type: {raw}")
    if "items" in raw:
        schema["items"] = _structural(raw["items"], definitions, seen)
    if "properties" in raw:
        schema["properties"] = {name: _structural(part, definitions, seen) for name, part in raw["properties"].items()}
    if raw["type"] == "object":
        schema |= _rest_of_object(raw, definitions, seen)
    return _with_integer_format(schema)


def _inlined(raw: Mapping[str, Any], definitions: Mapping[str, Any], seen: tuple[str, ...]) -> Schema:
    name = raw["$ref"].removeprefix("#/$defs/")
    if name in seen:
        raise ValueError(f"a structural schema cannot hold itself: {name}")
    beside = {key: value for key, value in raw.items() if key != "$ref"}
    return _structural({**definitions[name], **beside}, definitions, (*seen, name))


def _without_null(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """`X | None` as X: a null is as good as absent, and the server drops it."""
    choices = [choice for choice in raw["anyOf"] if choice.get("type") != "null"]
    if len(choices) != 1:
        raise ValueError(f"a structural schema has no unions: {raw}")
    return {**choices[0], **{key: value for key, value in raw.items() if key != "anyOf"}}


def _rest_of_object(raw: Mapping[str, Any], definitions: Mapping[str, Any], seen: tuple[str, ...]) -> Schema:
    rest = raw.get("additionalProperties", False)
    if isinstance(rest, dict) and rest:
        return {"additionalProperties": _structural(rest, definitions, seen)}
    return {_KEEPS_UNKNOWN: True} if rest in (True, {}) else {}


def _with_integer_format(schema: Schema) -> Schema:
    if schema["type"] != "integer":
        return schema
    is_wide = schema.get("maximum", _INT32_MAX) > _INT32_MAX
    # Past 2^53 a JSON number is not exact; the format alone says the limit.
    limits = {key: value for key, value in schema.items() if key != "maximum" or value < 2**53}
    return {"format": "int64" if is_wide else "int32", **limits}
