"""A watch: the changes of one kind that a selector accepts, as lines of JSON, from a version on.

An object that leaves the selector is DELETED for that watch, one that enters it is ADDED.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .errors import ApiError, expired
from .objects import Obj, encode
from .selectors import Selector
from .store import Change, Collection, Record, Store, record_of

BOOKMARK_PERIOD_S = 55.0
CHUNK_BYTES = 64 * 1024
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
    show: Show | None
    """What the client sees of an object; None for the object as it is stored."""
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


def event_of(change: Change, wanted: Wanted) -> tuple[str, Record] | None:
    """The event that a change is for this watch, if any."""
    if wanted.namespace and change.last.namespace != wanted.namespace:
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


def _as_left(change: Change) -> Record:
    """An object that left the selector: as it was, with the version of leaving."""
    assert change.before is not None
    obj = change.before.obj()
    obj["metadata"]["resourceVersion"] = str(change.version)
    return record_of(obj)


def _line(event: tuple[str, Record] | None, wanted: Wanted) -> bytes:
    if event is None:
        return b""
    kind, record = event
    body = record.body if wanted.show is None else encode(wanted.show(record.obj()))
    return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"


def _bookmark(wanted: Wanted, version: int, *, ends_initial: bool = False) -> bytes:
    metadata: Obj = {"resourceVersion": str(version)}
    if ends_initial:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    return event_line("BOOKMARK", {**wanted.bookmark, "metadata": metadata})


async def lines(store: Store, resource: str, wanted: Wanted) -> AsyncGenerator[bytes, None]:
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
        async for chunk in _stream(store, resource, wanted, queue, wake):
            yield chunk
    finally:
        collection.listeners.discard(hear)


async def _stream(
    store: Store, resource: str, wanted: Wanted, queue: deque[Change], wake: asyncio.Event
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wanted.timeout_s
    first, seen = _beginning(store, resource, wanted)
    await store.durable()
    for chunk in _chunks(first):
        yield chunk
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


def _chunks(found: Iterable[bytes]) -> Iterator[bytes]:
    """Lines joined into pieces that are worth sending and cheap to hold."""
    waiting: list[bytes] = []
    size = 0
    for line in found:
        waiting.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


def _beginning(store: Store, resource: str, wanted: Wanted) -> tuple[Iterator[bytes], int]:
    """What is sent at once, made as it is sent, and the version that it reaches."""
    since = wanted.since
    if since is not None:
        missed = [change for change in store.collection(resource).history if change.version > since]
        return (_line(event_of(change, wanted), wanted) for change in missed), max(since, store.published)
    return _present(store.records(resource, wanted.namespace), wanted, store.version), store.version


def _present(records: list[Record], wanted: Wanted, version: int) -> Iterator[bytes]:
    for record in sorted(records, key=lambda record: (record.namespace, record.name)):
        if wanted.selector.accepts(record):
            yield _line(("ADDED", record), wanted)
    if wanted.end_of_initial:
        yield _bookmark(wanted, version, ends_initial=True)


def _drain(queue: deque[Change], wanted: Wanted, seen: int) -> tuple[bytes, int]:
    if len(queue) > BACKLOG:
        raise TooSlowError
    found = []
    while queue:
        change = queue.popleft()
        if change.version > seen:
            seen = change.version
            found.append(_line(event_of(change, wanted), wanted))
    return b"".join(found), seen


def error_line(error: ApiError) -> bytes:
    """A failure inside a stream."""
    return event_line("ERROR", error.body)
