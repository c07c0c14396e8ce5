"""Patches that need to know how lists merge: strategic merge; and the two that do not: merge and JSON patch.

Strategic merge follows the published patch strategies and merge keys of each field. Custom resources have
none: for them only merge and JSON patch exist (415 otherwise), as in the real server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonpatch

from .errors import ApiError, bad_request, unsupported_media_type
from .kinds import Kind
from .objects import Obj, clone
from .schema import ANYTHING, Schema

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

_DELETE = "$patch"
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386: null deletes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patched(result.get(key), value)
    return result


def json_patched(target: Obj, patch: Any) -> Obj:
    """RFC 6902; a failed `test` or a missing path is 422."""
    if not isinstance(patch, list):
        raise bad_request("json patch: the body must be a list of operations")
    if len(patch) > 10_000:
        message = f"The allowed maximum operations in a JSON patch is 10000, got {len(patch)}"
        raise ApiError(413, "RequestEntityTooLarge", message)
    try:
        result = clone(target)
        for operation in patch:
            result = jsonpatch.apply_patch(result, [_lenient(operation, result)], in_place=True)
    except (TypeError, KeyError, jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ApiError(
            422, "Invalid", "the server rejected our request due to an error in our request", details={}
        ) from error
    if not isinstance(result, dict):
        raise bad_request("json patch: the result is not an object")
    return result


def _lenient(operation: Obj, target: Obj) -> Obj:
    """Replacing a missing field of an existing object adds it, as the real server's library does."""
    if operation.get("op") != "replace":
        return operation
    parent, _, name = str(operation["path"]).rpartition("/")
    found = jsonpatch.JsonPointer(parent).resolve(target, None)
    missing = isinstance(found, dict) and name.replace("~1", "/").replace("~0", "~") not in found
    return {**operation, "op": "add"} if missing else operation


def strategic_patched(target: Any, patch: Any, schema: Schema) -> Any:
    """The target changed by a strategic merge patch."""
    if not isinstance(patch, dict):
        return clone(patch)
    directive = patch.get(_DELETE)
    if directive == "replace":
        return _without_directives({key: value for key, value in patch.items() if key != _DELETE})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"unrecognized type of $patch directive: {directive}")
    result = dict(target) if isinstance(target, dict) else {}
    _retain_keys(result, patch)
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(result, patch, key, value, schema.field(key))
    for key, value in patch.items():
        _apply_list_directive(result, patch, key, value, schema)
    return result


def _retain_keys(result: Obj, patch: Obj) -> None:
    kept = patch.get(_RETAIN)
    if kept is None:
        return
    missing = [key for key in patch if not key.startswith("$") and patch[key] is not None and key not in kept]
    if missing:
        raise bad_request("The content in the patch doesn't obey retainKeys list")
    for key in [key for key in result if key not in kept]:
        del result[key]


def _merge_field(result: Obj, patch: Obj, key: str, value: Any, schema: Schema) -> None:
    current = result.get(key)
    if value is None:
        result.pop(key, None)
    elif isinstance(value, dict) and "replace" not in schema.patch_strategy:
        result[key] = strategic_patched(current, value, schema)
    elif isinstance(value, list) and isinstance(current, list) and "merge" in schema.patch_strategy:
        result[key] = _merged_list(current, value, patch.get(_ORDER + key), schema)
    else:
        result[key] = _without_directives(value)


def _merged_list(current: list[Any], value: list[Any], order: list[Any] | None, schema: Schema) -> list[Any]:
    if not any(isinstance(item, dict) for item in (*current, *value)):
        merged = [*current, *(item for item in dict.fromkeys(value) if item not in current)]
        return _ordered(merged, order or value, None, current)
    if any(isinstance(item, dict) and item.get(_DELETE) == "replace" for item in value):
        return [_without_directives(item) for item in value if _DELETE not in item]
    merge_key = schema.merge_key
    merged = list(current)
    for item in value:
        _merge_item(merged, item, merge_key, schema.items)
    return _ordered(merged, value if order is None else order, merge_key, current)


def _merge_item(merged: list[Any], item: Any, merge_key: str, schema: Schema) -> None:
    if not isinstance(item, dict) or merge_key not in item:
        raise bad_request(f"map: {item} does not contain declared merge key: {merge_key}")
    same = [index for index, found in enumerate(merged) if found.get(merge_key) == item[merge_key]]
    if item.get(_DELETE) == "delete":
        for index in reversed(same):
            del merged[index]
    elif same:
        merged[same[0]] = strategic_patched(merged[same[0]], item, schema)
    else:
        merged.append(strategic_patched({}, item, schema))


def _ordered(merged: list[Any], order: list[Any], merge_key: str | None, before: list[Any]) -> list[Any]:
    """Items that the patch names in its order; each other item before the first that it preceded so far."""

    def identity(item: Any) -> Any:
        return item.get(merge_key) if merge_key and isinstance(item, dict) else item

    wanted = list(dict.fromkeys(identity(item) for item in order))
    named = sorted((item for item in merged if identity(item) in wanted), key=lambda x: wanted.index(identity(x)))
    others = [item for item in merged if identity(item) not in wanted]
    place = {identity(item): index for index, item in enumerate(before)}
    result: list[Any] = []
    while named and others:
        left, right = place.get(identity(others[0])), place.get(identity(named[0]))
        comes_first = left is not None and right is not None and left < right
        result.append(others.pop(0) if comes_first else named.pop(0))
    return [*result, *named, *others]


def _apply_list_directive(result: Obj, patch: Obj, key: str, value: Any, schema: Schema) -> None:
    if key.startswith(_REMOVE):
        name = key.removeprefix(_REMOVE)
        result[name] = [item for item in result.get(name) or [] if item not in value]
    elif key.startswith(_ORDER):
        name = key.removeprefix(_ORDER)
        if name not in patch and isinstance(result.get(name), list):
            merge_key = schema.field(name).merge_key or None
            result[name] = _ordered(result[name], value, merge_key, result[name])


def _without_directives(value: Any) -> Any:
    """New content as it is stored: no directive keys, nulls dropped from maps."""
    if isinstance(value, list):
        return [_without_directives(item) for item in value]
    if isinstance(value, dict):
        return strategic_patched({}, value, ANYTHING)
    return value


def check_patch_type(kind: Kind, content: str) -> None:
    if kind.custom is not None and content not in (JSON, MERGE, APPLY):
        raise unsupported_media_type((JSON, MERGE, APPLY))
    if content not in (JSON, MERGE, STRATEGIC, APPLY):
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})


def patcher(kind: Kind, content: str, patch: Any) -> Callable[[Obj], Obj]:
    """The function that a patch is."""
    if content == JSON:
        return lambda obj: json_patched(obj, patch)
    if not isinstance(patch, dict):
        raise bad_request("the body of a patch must be an object")
    if content == MERGE:
        return lambda obj: _as_object(merge_patched(obj, patch))
    return lambda obj: _as_object(strategic_patched(obj, patch, kind.schema))


def _as_object(value: Any) -> Obj:
    assert isinstance(value, dict)
    return value
