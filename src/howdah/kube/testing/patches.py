"""JSON merge patch (RFC 7396) and JSON patch (RFC 6902) on plain objects."""

from __future__ import annotations

from typing import Any

import jsonpatch

from .store import Object, refusal


def merge_patched(live: Any, patch: Any) -> Any:
    """`live` with the merge patch; null removes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(live) if isinstance(live, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patched(merged.get(key), value)
    return merged


def json_patched(live: Object, patch: Any) -> Object:
    """`live` with the operations; refuses as the API server does where one cannot be done."""
    try:
        patched: Object = jsonpatch.apply_patch(live, patch)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        raise refusal(422, "Invalid", "the server rejected our request due to an error in our request") from None
    return patched
