"""Custom resources: objects whose kind a CRD made, decoded, pruned and defaulted by its schema."""

from __future__ import annotations

from typing import Any

from .decoding import Decoder, WrongTypeError, refusal
from .errors import bad_request
from .kinds import Kind
from .objects import Obj, clone
from .schema import Schema


def decoded(body: Obj, kind: Kind, metadata: Schema) -> tuple[Obj, list[str]]:
    """The pruned and defaulted object of a body, and the paths of what was pruned."""
    unknown: list[str] = []
    result = dict(body)
    result["metadata"] = _metadata(body.get("metadata"), kind, metadata, unknown)
    obj = pruned(result, kind.schema, "", unknown, root=True)
    return default_into(obj, kind.schema), sorted(unknown)


def _metadata(value: Any, kind: Kind, schema: Schema, unknown: list[str]) -> Obj:
    decoder = Decoder()
    try:
        found = decoder.value(value or {}, schema, "")
    except WrongTypeError as error:
        raise bad_request(refusal(kind, str(error))) from error
    unknown += [f"metadata.{path}" for path in decoder.unknown]
    return dict(found)


def pruned(value: Any, schema: Schema, path: str, unknown: list[str], *, root: bool = False) -> Any:
    """A copy without the fields that the schema does not know."""
    if isinstance(value, list):
        return [pruned(item, schema.items, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    always = ("apiVersion", "kind", "metadata") if root or schema.embedded else ()
    result = {}
    for key, item in value.items():
        place = f"{path}.{key}" if path else key
        if key in always:
            result[key] = clone(item)
        elif key in schema.properties:
            result[key] = pruned(item, schema.properties[key], place, unknown)
        elif schema.additional is not None:
            result[key] = pruned(item, schema.additional, place, unknown)
        elif schema.is_free:
            result[key] = clone(item)
        else:
            unknown.append(place)
    return result


def default_into(value: Any, schema: Schema) -> Any:
    """Fills defaults in place; a null where null is not allowed counts as missing."""
    if isinstance(value, dict):
        for key, part in schema.properties.items():
            if key in value and value[key] is None and not part.nullable:
                del value[key]
            if key not in value and part.has_default:
                value[key] = clone(part.default)
            if key in value:
                default_into(value[key], part)
        if schema.additional is not None:
            _default_entries(value, schema.additional)
    elif isinstance(value, list):
        for item in value:
            default_into(item, schema.items)
    return value


def _default_entries(value: Obj, schema: Schema) -> None:
    for key in [key for key, item in value.items() if item is None and not schema.nullable]:
        del value[key]
    for item in value.values():
        default_into(item, schema)
