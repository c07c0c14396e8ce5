"""Reading many: lists with selectors, pages and versions, in the forms that clients ask for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from howdah.kube.errors import UNREADABLE

from .errors import ApiError, Subject, bad_request, expired, field_forbidden, invalid_object, unsupported
from .kinds import Kind
from .objects import Obj, decode, encode
from .requests import number
from .selectors import Selector
from .store import Record, Store
from .writes import is_shown_as_stored, shown

CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)


@dataclass(frozen=True, slots=True)
class Page:
    """What a list request gets."""

    records: list[Record]
    version: int
    token: str = ""
    remaining: int | None = None

    def meta(self) -> Obj:
        found: Obj = {"resourceVersion": str(self.version)}
        if self.token:
            found["continue"] = self.token
        if self.remaining:
            found["remainingItemCount"] = self.remaining
        return found


def page(store: Store, kind: Kind, namespace: str, selector: Selector, query: Mapping[str, str]) -> Page:
    """The objects of one page, by namespace and name. Later pages show the version of the first."""
    after, version = _start(store, kind, query)
    limit = max(number(query, "limit") or 0, 0)
    found = (
        store.records(kind.storage, namespace) if version >= store.version else _as_of(store, kind, namespace, version)
    )
    accepted = sorted(
        (record for record in found if selector.accepts(record)),
        key=lambda record: (record.namespace, record.name),
    )
    if after is not None:
        accepted = [record for record in accepted if (record.namespace, record.name) > after]
    if not limit or len(accepted) <= limit:
        return Page(accepted, version)
    rest = len(accepted) - limit
    last = accepted[limit - 1]
    token = {"v": "meta.k8s.io/v1", "rv": version, "start": [last.namespace, last.name]}
    text = base64.urlsafe_b64encode(encode(token)).rstrip(b"=").decode()
    return Page(accepted[:limit], version, text, rest if selector.is_empty else None)


def _as_of(store: Store, kind: Kind, namespace: str, version: int) -> list[Record]:
    """What was stored at an earlier version that history still reaches: later changes taken back."""
    if version < store.collection(kind.storage).forgotten:
        raise expired(CONTINUE_TOO_OLD)
    records = dict(store.collection(kind.storage).records)
    for change in reversed(store.changes_since(kind.storage, version)):
        key = change.last.namespace, change.last.name
        if change.before is None:
            records.pop(key, None)
        else:
            records[key] = change.before
    return [record for record in records.values() if not namespace or record.namespace == namespace]


def _start(store: Store, kind: Kind, query: Mapping[str, str]) -> tuple[tuple[str, str] | None, int]:
    """Where the page starts, and the version that the list is of."""
    token = query.get("continue")
    if token:
        try:
            found: Any = decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            version, (namespace, name) = int(found["rv"]), found["start"]
        except (ValueError, KeyError, TypeError, *UNREADABLE) as error:
            raise bad_request(f"continue key is not valid: {error}") from error
        if version_number(query.get("resourceVersion", "")):
            raise bad_request("specifying resource version is not allowed when using continue")
        return (namespace, name), version
    check_options(query)
    wanted = version_number(query.get("resourceVersion", ""))
    _check_version(store, wanted)
    return None, wanted if query.get("resourceVersionMatch") == "Exact" else store.version


_MATCHES = ("Exact", "NotOlderThan", "")


def check_options(query: Mapping[str, str], *, watching: bool = False) -> None:
    """422 for options of lists and watches that do not go together."""
    given, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    errors = []
    if watching and initial is not None and match != "NotOlderThan":
        why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        errors.append(field_forbidden("resourceVersionMatch", why))
    elif watching and match and initial is None:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        errors.append(field_forbidden("resourceVersionMatch", why))
        if match != "NotOlderThan":
            errors.append(unsupported("resourceVersionMatch", match, ("NotOlderThan",)))
    elif not watching and initial is not None:
        errors.append(field_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif not watching and match and not given:
        why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        errors.append(field_forbidden("resourceVersionMatch", why))
    elif match not in _MATCHES:
        errors.append(unsupported("resourceVersionMatch", match, _MATCHES))
    elif match == "Exact" and given == "0":
        why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        errors.append(field_forbidden("resourceVersionMatch", why))
    if errors:
        raise invalid_object(Subject("meta.k8s.io", "listoptions", "ListOptions"), "", errors)


def _check_version(store: Store, wanted: int) -> None:
    if wanted > store.version:
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        raise ApiError(
            504,
            "Timeout",
            f"Timeout: Too large resource version: {wanted}, current: {store.version}",
            details={"causes": [cause], "retryAfterSeconds": 1},
            headers={"Retry-After": "1"},
        )


def version_number(text: str) -> int:
    """A resourceVersion of a query; 400 where it is no number."""
    if not text:
        return 0
    if not text.isdigit():
        why = f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise bad_request(f"invalid resource version: resourceVersion: {why}")
    return int(text)


def list_text(kind: Kind, found: Page) -> bytes:
    """A page as the JSON of a KindList."""
    metadata = found.meta() if kind.custom is None else {"continue": "", **found.meta()}
    head = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": metadata, "items": []}
    return encode(head)[:-2] + b",".join(item_text(kind, record) for record in found.records) + b"]}"


def item_text(kind: Kind, record: Record) -> bytes:
    """An item of a list: as stored, where that is what this version shows.

    Items of built-in kinds do not repeat their type, as in the real server.
    """
    if kind.custom is None:
        head = b'{"apiVersion":"%b","kind":"%b",' % (kind.api_version.encode(), kind.kind.encode())
        if record.body.startswith(head) and kind.storage != "events":
            return b"{" + record.body[len(head) :]
        item = shown(kind, record.obj())
        return encode({key: item[key] for key in item if key not in ("kind", "apiVersion")})
    if is_shown_as_stored(kind):
        return record.body
    return encode(shown(kind, record.obj()))


def partial(obj: Obj, api_version: str = "meta.k8s.io/v1") -> Obj:
    """The metadata of an object alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}


def partial_list(found: Page, api_version: str) -> Obj:
    return {
        "kind": "PartialObjectMetadataList",
        "apiVersion": api_version,
        "metadata": found.meta(),
        "items": [partial(record.obj(), api_version) for record in found.records],
    }
