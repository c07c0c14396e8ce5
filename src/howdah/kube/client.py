"""The verbs of the Kubernetes API, one method each, over `transport.py`.

Answers are plain dicts, or the msgspec type given as `type`, which builds only the fields that it names. A trimmed object
must never be sent back whole: change with `apply`, `merge_patch` or `json_patch`.
"""
# ruff: noqa: A002 - `type` is what callers read best

from __future__ import annotations

import builtins
import copy
import sys
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Generic, cast

import msgspec

from .access import Access
from .errors import UNREADABLE, Gone, Malformed
from .exec import ExecResult, run_in_pod
from .outline import outline
from .resources import PODS, SECRETS, Resource
from .transport import Call, Observer, Transport

if sys.version_info >= (3, 13):
    from typing import TypeVar
else:
    from typing_extensions import TypeVar

Object = dict[str, Any]
T = TypeVar("T", default=Object)
_OBJECT: Any = Object

PAGE_SIZE = 500
CONTENT_TYPES = {
    "apply": "application/apply-patch+yaml",  # JSON is YAML
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of a list and the version from which a watch goes on."""

    items: tuple[T, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, not yet decoded, so that one bad object does not spoil the others."""

    items: tuple[msgspec.Raw, ...]
    resource_version: str
    token: str
    """Where the next page starts; empty on the last one."""


class Client:
    """One user of one API server. Use it from one event loop, and close it (or `async with`)."""

    def __init__(
        self,
        access: Access,
        *,
        concurrency: int = 32,
        timeout_s: float = 30.0,
        observe: Observer | None = None,
        field_manager: str = "howdah",
        user_agent: str = "howdah",
    ) -> None:
        self.access = access
        self.transport = Transport(
            access, concurrency=concurrency, timeout_s=timeout_s, observe=observe, user_agent=user_agent
        )
        self._field_manager = field_manager
        self._permit: Callable[[], None] | None = None

    def permitted_by(self, permit: Callable[[], None]) -> Client:
        """The same client, whose writes and commands in pods ask `permit` right before each is sent or sent again.

        What that raises is what the write ends with. Waiting for a turn, for a busy server or for a credential may take so
        long that who was allowed to write when it was asked for is not any more. Only a connection may have to be made yet.
        """
        permitted = copy.copy(self)
        permitted._permit = permit
        return permitted

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self.transport.close()

    @property
    def namespace(self) -> str:
        """The namespace that the credentials name as their own."""
        return self.access.namespace

    async def get(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        subresource: str = "",
        type: type[T] = _OBJECT,
        metadata_only: bool = False,
        timeout_s: float | None = None,
    ) -> T:
        """The live object, or its `status` or `scale`. Raises NotFound."""
        call = _call("get", "GET", resource, namespace, name, subresource)
        accept = _accept("PartialObjectMetadata", metadata_only)
        return decoded(await self._send(replace(call, headers=accept, repeatable=True), timeout_s), type, call)

    async def list(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        type: type[T] = _OBJECT,
        metadata_only: bool = False,
        not_older_than: str = "",
        timeout_s: float | None = None,
    ) -> Listing[T]:
        """All objects that fit the selectors, of one namespace or of all. Raises Malformed where one does not decode.

        `not_older_than`: a version that was seen; what is at least as new is good enough then. Without it a server that
        answers from its cache first waits until that has all that etcd has, which takes it up to a tenth of a second
        (https://kubernetes.io/docs/reference/using-api/api-concepts/#the-resourceversion-parameter).
        """
        items: builtins.list[T] = []
        version = ""
        what = _what("list", resource, namespace, "")
        pages = self.pages(
            resource,
            namespace=namespace,
            labels=labels,
            fields=fields,
            metadata_only=metadata_only,
            not_older_than=not_older_than,
            timeout_s=timeout_s,
        )
        async for page in pages:
            if page is None:
                items.clear()
                continue
            items.extend(_decoded(raw, type, what) for raw in page.items)
            version = page.resource_version
        return Listing(tuple(items), version)

    async def pages(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = PAGE_SIZE,
        not_older_than: str = "",
        timeout_s: float | None = None,
    ) -> AsyncIterator[Page | None]:
        """A list page by page. None says: the list took too long for the server; forget the pages so far, all come anew."""
        call = replace(
            _call("list", "GET", resource, namespace),
            headers=_accept("PartialObjectMetadataList", metadata_only),
            repeatable=True,
        )
        selectors = _params(labelSelector=labels, fieldSelector=fields)
        seen = _params(resourceVersion=not_older_than, resourceVersionMatch="NotOlderThan" if not_older_than else "")
        token = ""
        while True:
            place = _params(**{"continue": token}) if token else seen  # a continuation has its version in it
            params = (*selectors, *_params(limit=str(page_size) if page_size else ""), *place)
            try:
                body = await self._send(replace(call, params=params), timeout_s)
            except Gone:
                if not token:
                    raise
                page_size, token = 0, ""  # as client-go's pager: once more, in one piece
                yield None
                continue
            envelope = _listed(body, call)
            token = envelope.metadata.continue_ or ""
            yield Page(tuple(envelope.items or ()), envelope.metadata.resource_version or "", token)
            if not token:
                return

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str | None = None,
        name: str = "",
        subresource: str = "",
        type: type[T] = _OBJECT,
        dry_run: bool = False,
    ) -> T:
        """POST. Raises AlreadyExists. With `name` and `subresource` it asks for an eviction, a token and the like."""
        place = namespace or _metadata(body).get("namespace")
        called = f"{place}/{_metadata(body).get('name')}" if place else str(_metadata(body).get("name"))
        call = _call("create", "POST", resource, place, name, subresource, called=called)
        return await self._write(call, body, _params(fieldManager=self._field_manager), dry_run, type)

    async def apply(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        field_manager: str | None = None,
        force: bool = False,
        subresource: str = "",
        type: type[T] = _OBJECT,
        dry_run: bool = False,
        once: bool = False,
    ) -> T:
        """Server-side apply of `body` as the whole intent of the field manager.

        With `metadata.uid` in the body an object that has gone or was replaced is left alone (Conflict), with
        `metadata.resourceVersion` one that has changed. Without `force` a field that another manager owns with another
        value raises Conflict. `once`: not sent again after any answer.
        """
        whole = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
        metadata = _metadata(whole)
        call = _call(
            "apply", "PATCH", resource, metadata.get("namespace"), metadata["name"], subresource, content="apply"
        )
        params = _params(fieldManager=field_manager or self._field_manager, force="true" if force else "false")
        return await self._write(replace(call, repeatable=True, once=once), whole, params, dry_run, type)

    async def merge_patch(
        self,
        resource: Resource,
        name: str,
        patch: Mapping[str, Any],
        *,
        namespace: str | None = None,
        subresource: str = "",
        type: type[T] = _OBJECT,
        dry_run: bool = False,
        once: bool = False,
    ) -> T:
        """RFC 7396: null removes. `metadata.resourceVersion` and `metadata.uid` in the patch are preconditions (Conflict).

        `once`: not sent again after any answer.
        """
        call = replace(_call("patch", "PATCH", resource, namespace, name, subresource, content="merge"), once=once)
        return await self._write(call, patch, _params(fieldManager=self._field_manager), dry_run, type)

    async def json_patch(
        self,
        resource: Resource,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        namespace: str | None = None,
        subresource: str = "",
        type: type[T] = _OBJECT,
        dry_run: bool = False,
    ) -> T:
        """RFC 6902; a `test` that fails raises Invalid."""
        call = _call("patch", "PATCH", resource, namespace, name, subresource, content="json")
        return await self._write(call, operations, _params(fieldManager=self._field_manager), dry_run, type)

    async def replace(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        subresource: str = "",
        type: type[T] = _OBJECT,
        dry_run: bool = False,
    ) -> T:
        """PUT of a complete object; its `metadata.resourceVersion` is the optimistic lock (Conflict)."""
        metadata = _metadata(body)
        call = _call("update", "PUT", resource, metadata.get("namespace"), metadata["name"], subresource)
        return await self._write(call, body, _params(fieldManager=self._field_manager), dry_run, type)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str | None = None,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "",
        grace_period_s: int | None = None,
        dry_run: bool = False,
        once: bool = False,
    ) -> None:
        """Ask for deletion; the object may live on until its finalizers are done.

        `uid` and `resource_version` are preconditions (Conflict). `propagation`: Foreground, Background or Orphan.
        `once`: not sent again after any answer.
        """
        preconditions = _filled(uid=uid, resourceVersion=resource_version)
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            **_filled(propagationPolicy=propagation, preconditions=preconditions),
            **({} if grace_period_s is None else {"gracePeriodSeconds": grace_period_s}),
        }
        # Without the uid a second try could hit an object that was made meanwhile under the same name.
        call = replace(_call("delete", "DELETE", resource, namespace, name), repeatable=bool(uid), once=once)
        await self._send(_with_body(call, options, (), dry_run), None)

    async def get_raw(self, path: str, *, type: type[T] = _OBJECT, timeout_s: float | None = None) -> T:
        """GET of any path, for `/version` and discovery."""
        call = Call("get", "", f"get {path}", "GET", path, repeatable=True)
        return decoded(await self._send(call, timeout_s), type, call)

    @asynccontextmanager
    async def logs(
        self,
        pod: str,
        *,
        namespace: str,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
        since_s: int | None = None,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The log of a container in chunks; with `follow` it goes on until the container ends."""
        params = _params(
            container=container,
            follow="true" if follow else "",
            previous="true" if previous else "",
            tailLines="" if tail_lines is None else str(tail_lines),
            sinceSeconds="" if since_s is None else str(since_s),
        )
        call = replace(_call("get", "GET", PODS, namespace, pod, "log"), params=params)
        async with self.transport.stream(call, idle_s=None if follow else 60.0) as content:
            yield content.iter_any()

    async def exec(
        self,
        pod: str,
        *,
        namespace: str,
        container: str,
        argv: Sequence[str],
        stdin: bytes | None = None,
        timeout_s: float = 60.0,
    ) -> ExecResult:
        """Run a command in a container and wait for its end; see `exec.run_in_pod`."""
        return await run_in_pod(
            self.transport, pod, namespace, container, argv, stdin=stdin, timeout_s=timeout_s, permit=self._permit
        )

    async def _write(
        self,
        call: Call,
        body: object,
        params: tuple[tuple[str, str], ...],
        dry_run: bool,
        type: builtins.type[T],
    ) -> T:
        return decoded(await self._send(_with_body(call, body, params, dry_run), None), type, call)

    async def _send(self, call: Call, timeout_s: float | None) -> bytes:
        if self._permit is not None and call.method != "GET":
            call = replace(call, permit=self._permit)
        return await self.transport.request(call, timeout_s=timeout_s)


class _ListMeta(msgspec.Struct):
    resource_version: str | None = msgspec.field(default=None, name="resourceVersion")
    continue_: str | None = msgspec.field(default=None, name="continue")


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class _ListOutline(msgspec.Struct):
    metadata: _ListMeta
    items: list[int] | None = None


def _listed(body: bytes, call: Call) -> _List:
    """The parts of an answer. An item that no decoder can read, nor skip, does not hide the others."""
    try:
        listed: _List = decoder(_List).decode(body)
    except RecursionError:
        short, parts = outline(body, 2)
        found = decoded(short, _ListOutline, call)
        return _List(found.metadata, [parts[number] for number in found.items or ()])
    except UNREADABLE as error:
        raise _malformed(_List, call.what, error) from None
    return listed


def _call(
    verb: str,
    method: str,
    resource: Resource,
    namespace: str | None,
    name: str = "",
    subresource: str = "",
    *,
    called: str = "",
    content: str = "",
) -> Call:
    return Call(
        verb=verb,
        resource=f"{resource.plural}/{subresource}" if subresource else resource.plural,
        what=_what(verb, resource, namespace, name or called, subresource),
        method=method,
        path=resource.path(namespace, name, subresource),
        headers={"Content-Type": CONTENT_TYPES.get(content, "application/json")} if method != "GET" else {},
        secret=resource == SECRETS,
    )


def _what(verb: str, resource: Resource, namespace: str | None, name: str, subresource: str = "") -> str:
    kind = f"{resource.plural}/{subresource}" if subresource else resource.plural
    place = f"{namespace}/{name}" if namespace and name and "/" not in name else name or namespace or "*"
    return f"{verb} {kind} {place}"


def _with_body(call: Call, body: object, params: tuple[tuple[str, str], ...], dry_run: bool) -> Call:
    asked = (*params, ("dryRun", "All")) if dry_run else params
    return replace(call, body=msgspec.json.encode(body), params=asked)


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = body.get("metadata") or {}
    return metadata


def _params(**values: str) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, value in values.items() if value)


def _filled(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _accept(kind: str, metadata_only: bool) -> dict[str, str]:
    return {"Accept": f"application/json;as={kind};v=v1;g=meta.k8s.io" if metadata_only else "application/json"}


@lru_cache(maxsize=256)
def decoder(type: Hashable) -> msgspec.json.Decoder[Any]:
    """The decoder of a type; made once, since making one costs more than using it."""
    made: Any = type
    return msgspec.json.Decoder(made)


def decoded(body: bytes, type: builtins.type[T], call: Call) -> T:
    """The answer as the type that the caller asked for; raises Malformed."""
    return _decoded(body, type, call.what)


def _decoded(body: bytes | msgspec.Raw, type: builtins.type[T], what: str) -> T:
    try:
        answer: T = decoder(cast(Hashable, type)).decode(body)
    except UNREADABLE as error:
        raise _malformed(type, what, error) from None
    return answer


def _malformed(type: object, what: str, error: Exception) -> Malformed:
    return Malformed(f"{what}: the answer does not fit {getattr(type, '__name__', type)}: {error}")
