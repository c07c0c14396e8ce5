"""A watch: the changes of one collection from a version on, as they come; ends when the stream does.

Only one stream: who resumes, lists anew and backs off is `informer.py`.
Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from .client import Client
from .errors import UNREADABLE, ApiError, Malformed, api_error, status_code
from .outline import outline
from .resources import Resource
from .transport import Call

IDLE_S = 70.0
"""The server sends a bookmark each minute, so a stream that is silent for longer is dead."""
SHORTEST_STREAM_S, LONGEST_STREAM_S = 300, 600
"""The server is asked to end a stream after a random time between, so that watches spread over several servers."""


class WatchEvent(msgspec.Struct):
    """`type` is ADDED, MODIFIED, DELETED or BOOKMARK; the object is left to be decoded by who knows it."""

    type: str
    object: msgspec.Raw


class _EventOutline(msgspec.Struct):
    type: str
    object: int


_EVENT = msgspec.json.Decoder(WatchEvent)
_EVENT_OUTLINE = msgspec.json.Decoder(_EventOutline)


async def watch_batches(
    client: Client,
    resource: Resource,
    resource_version: str,
    *,
    namespace: str | None = None,
    labels: str = "",
    fields: str = "",
    metadata_only: bool = False,
    idle_s: float = IDLE_S,
) -> AsyncGenerator[tuple[WatchEvent, ...], None]:
    """Events in the batches in which they arrive; an empty batch tells that the stream is open.

    Raises Gone where the version is too old, Unreachable where the stream is cut or silent, Malformed where it is no JSON.
    """
    what = f"watch {resource.plural} {namespace or '*'}"
    kind = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    params = {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(random.randint(SHORTEST_STREAM_S, LONGEST_STREAM_S)),
        "labelSelector": labels,
        "fieldSelector": fields,
    }
    call = Call(
        "watch",
        resource.plural,
        what,
        "GET",
        resource.path(namespace),
        tuple((key, value) for key, value in params.items() if value),
        {"Accept": kind if metadata_only else "application/json"},
    )
    lines = LineSplitter()
    async with client.transport.stream(call, idle_s=idle_s) as content:
        yield ()
        async for chunk in content.iter_any():
            events = tuple(_event(line, what) for line in lines.feed(chunk))
            if events:
                yield events


async def watch(
    client: Client, resource: Resource, resource_version: str, *, namespace: str | None = None, labels: str = ""
) -> AsyncGenerator[WatchEvent, None]:
    """The same event by event, for callers that wait for one thing."""
    async with aclosing(
        watch_batches(client, resource, resource_version, namespace=namespace, labels=labels)
    ) as batches:
        async for batch in batches:
            for event in batch:
                yield event


class LineSplitter:
    """Cuts chunks into lines; what is left of the last one waits for the next chunk."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes, without line ends and empty ones."""
        if b"\n" not in chunk:  # a part of a large object: joined once, not at each chunk
            self._parts.append(chunk)
            return []
        *lines, rest = b"".join((*self._parts, chunk)).split(b"\n")
        self._parts = [rest] if rest else []
        return [line for line in lines if line]


def _event(line: bytes, what: str) -> WatchEvent:
    try:
        event = _read(line)
    except UNREADABLE as error:
        raise Malformed(f"{what}: the stream is not of watch events: {error}") from None
    if event.type == "ERROR":
        raise _refusal(bytes(event.object), what)
    return event


def _read(line: bytes) -> WatchEvent:
    """Also of an object that no decoder can read, nor skip: the stream is no worse for it."""
    try:
        return _EVENT.decode(line)
    except RecursionError:
        short, parts = outline(line, 1)
        found = _EVENT_OUTLINE.decode(short)
        return WatchEvent(found.type, parts[found.object])


def _refusal(body: bytes, what: str) -> ApiError:
    return api_error(what, status_code(body), body)
