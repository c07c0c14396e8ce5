"""A watch: the changes of one kind that a selector accepts, as lines of JSON, from a version on.

An object that leaves the selector is DELETED for that watch, one that enters it is ADDED.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ApiError, expired
from .objects import Obj, encode, namespace_of
from .selectors import Selector
from .store import Change, Collection, Store

BOOKMARK_PERIOD_S = 55.0
BACKLOG = 5000
"""Changes that a slow client may be behind before its stream is closed."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

Show: TypeAlias = Callable[[Obj], Obj]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked to watch. `since` None starts with everything that exists now."""

    namespace: str
    selector: Selector
    since: int | None
    show: Show
    format: str
    """Names what `show` makes, so that lines are shared between clients of the same format."""
    bookmark: Obj
    """An empty object of the kind: apiVersion and kind."""
    bookmarks: bool = False
    end_of_initial: bool = False
    timeout_s: float = 3600.0


class TooSlowError(Exception):
    """The client is too slow: the stream ends, it will start again from its last version."""


def event_line(kind: str, obj: Obj) -> bytes:
    return encode({"type": kind, "object": obj}) + b"\n"


def check_since(collection: Collection, since: int) -> None:
    """Raises 410 where changes after `since` are no longer known."""
    if since < collection.forgotten:
        raise expired(f"too old resource version: {since} ({collection.forgotten})")


def event_of(change: Change, wanted: Wanted) -> tuple[str, Obj] | None:
    """The event that a change is for this watch, if any."""
    if wanted.namespace and namespace_of(change.last) != wanted.namespace:
        return None
    accepts = wanted.selector.accepts
    now = change.after is not None and accepts(change.after)
    before = change.before is not None and accepts(change.before)
    match before, now:
        case False, False:
            return None
        case False, True:
            return "ADDED", change.last
        case True, True:
            return "MODIFIED", change.last
        case _:
            return "DELETED", change.last if change.after is None else _as_left(change)


def _as_left(change: Change) -> Obj:
    """An object that left the selector: as it was, with the version of leaving."""
    before = change.before or {}
    return {**before, "metadata": {**before["metadata"], "resourceVersion": str(change.version)}}


def _line(change: Change, wanted: Wanted) -> bytes | None:
    event = event_of(change, wanted)
    if event is None:
        return None
    kind, obj = event
    if obj is not change.last:
        return event_line(kind, wanted.show(obj))
    key = kind + wanted.format
    if key not in change.lines:
        change.lines[key] = event_line(kind, wanted.show(obj))
    return change.lines[key]


def _bookmark(wanted: Wanted, version: int, *, ends_initial: bool = False) -> bytes:
    metadata: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return event_line("BOOKMARK", {**wanted.bookmark, "metadata": metadata})


async def lines(store: Store, resource: str, wanted: Wanted) -> AsyncIterator[bytes]:
    """Chunks of event lines until the time is up. Raises ApiError 410 before the first chunk."""
    collection = store.collection(resource)
    queue: deque[Change] = deque()
    wake = asyncio.Event()

    def hear(change: Change) -> None:
        queue.append(change)
        wake.set()

    if wanted.since is not None:
        check_since(collection, wanted.since)
    collection.listeners.add(hear)
    try:
        async for chunk in _stream(store, collection, wanted, queue, wake):
            yield chunk
    finally:
        collection.listeners.discard(hear)


async def _stream(
    store: Store, collection: Collection, wanted: Wanted, queue: deque[Change], wake: asyncio.Event
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wanted.timeout_s
    first, seen = _beginning(store, collection, wanted)
    await store.durable()
    if first:
        yield first
    while True:
        chunk, seen = _drain(queue, wanted, seen)
        if chunk:
            yield chunk
            continue
        wake.clear()
        left_s = deadline - loop.time()
        if left_s <= 0:
            return
        try:
            async with asyncio.timeout(min(left_s, BOOKMARK_PERIOD_S) if wanted.bookmarks else left_s):
                await wake.wait()
        except TimeoutError:
            if wanted.bookmarks and not queue:
                seen = max(seen, store.published)
                yield _bookmark(wanted, seen)


def _beginning(store: Store, collection: Collection, wanted: Wanted) -> tuple[bytes, int]:
    """What is sent at once, and the version that it reaches."""
    if wanted.since is not None:
        missed = (change for change in collection.history if change.version > wanted.since)
        found = [line for change in missed if (line := _line(change, wanted))]
        return b"".join(found), max(wanted.since, store.published)
    keys = sorted(collection.objects)
    present = [collection.objects[key] for key in keys if not wanted.namespace or key[0] == wanted.namespace]
    found = [event_line("ADDED", wanted.show(obj)) for obj in present if wanted.selector.accepts(obj)]
    if wanted.end_of_initial:
        found.append(_bookmark(wanted, store.version, ends_initial=True))
    return b"".join(found), store.version


def _drain(queue: deque[Change], wanted: Wanted, seen: int) -> tuple[bytes, int]:
    if len(queue) > BACKLOG:
        raise TooSlowError
    found = []
    while queue:
        change = queue.popleft()
        if change.version > seen:
            seen = change.version
            line = _line(change, wanted)
            if line:
                found.append(line)
    return b"".join(found), seen


def error_line(error: ApiError) -> bytes:
    """A failure inside a stream."""
    return event_line("ERROR", error.body)
