"""A fake Kubernetes API server in the test's own event loop: real HTTP on loopback, objects in memory, faults on demand.

    async with FakeKubernetes() as kube, kube.client() as client:
        await client.create(CONFIGMAPS, {...})
        kube.fail_next(409, "Conflict", verb="apply")

It has no schemas, defaulting, validation, admission or controllers (owner references are followed). Every namespace is there,
but for those that a test names in `absent_namespaces`: nothing can be made in them.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from howdah.kube.client import Client
from howdah.kube.credentials import Access, Proof
from howdah.kube.errors import UNREADABLE, ApiError
from howdah.kube.exec import V5, ExecResult
from howdah.kube.resources import BUILT_IN, CUSTOM_RESOURCE_DEFINITIONS, PODS, Resource

from .answers import (
    bookmark_line,
    exec_status,
    json_answer,
    metadata_only,
    refused,
    scale_object,
    status_object,
)
from .faults import Fault, Faults, Hook, Request, fitting
from .patches import json_patched, merge_patched
from .permissions import Permissions, asks
from .selectors import selection
from .store import Change, Object, Store, Watcher, Writer, refusal

ExecHandler = Callable[[str, str, str, list[str], bytes], ExecResult]
"""(namespace, pod, container, argv, stdin) → what the command answers."""

_PATCHES: dict[str, Callable[[Object, Any], Object]] = {
    "application/merge-patch+json": merge_patched,
    "application/json-patch+json": json_patched,
}
_APPLY = "application/apply-patch+yaml"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class NoCredentials:
    """Shows nothing: the fake lets everybody in."""

    async def proof(self) -> Proof:
        """An empty proof."""
        return Proof()

    def reject(self) -> None:
        """Nothing to forget."""


class FakeKubernetes:
    """The server and the test's hands on it: `store` for objects, `requests` for what was asked, methods for faults."""

    def __init__(
        self,
        *custom: Resource,
        bookmark_s: float = 60.0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = Store(clock)
        self.requests: list[Request] = []
        self.faults = Faults()
        self.permissions: Permissions | None = None
        """What the callers may do; None: everything."""
        self.absent_namespaces: set[str] = set()
        self.before: Hook | None = None
        """Called with each request before it is worked on; may wait, or raise an ApiError that becomes the answer."""
        self.exec_handler: ExecHandler = lambda *_: ExecResult(0, b"", b"")
        self.logs: dict[tuple[str, str], bytes] = {}
        self.url = ""
        self._bookmark_s = bookmark_s
        self._resources = {(r.group, r.version, r.plural): r for r in (*BUILT_IN, *custom)}
        self._raw: dict[tuple[str, str, str], bytes] = {}
        self._pages: dict[str, tuple[int, list[Object]]] = {}
        self._page_numbers = itertools.count()  # lists of several kinds are read page by page at the same time
        self._runner: web.AppRunner | None = None
        self._port = 0

    # for tests

    async def __aenter__(self) -> FakeKubernetes:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on loopback; after `stop()` on the same port, with the same objects."""
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Refuse connections and cut those that are open: the server is away."""
        if self._runner:
            self._tell_watchers("cut")
            await self._runner.cleanup()
            self._runner = None

    def access(self, namespace: str = "default") -> Access:
        """What a Client needs."""
        return Access(self.url, namespace, NoCredentials())

    def write_kubeconfig(self, path: Path, namespace: str = "default") -> None:
        """What a program needs that finds the server by `KUBECONFIG`."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": {"token": "fake"}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake", "namespace": namespace}}],
        }
        path.write_bytes(msgspec.json.encode(document))

    def client(self, **settings: Any) -> Client:
        """A new client of this server."""
        return Client(self.access(), **settings)

    def register(self, resource: Resource) -> None:
        """Serve a custom resource (creating its CustomResourceDefinition does it too)."""
        self._resources[resource.group, resource.version, resource.plural] = resource

    def writes(self) -> list[Request]:
        """The requests that could change something."""
        return [request for request in self.requests if request.is_write]

    def fail_next(
        self,
        status: int = 500,
        reason: str = "InternalError",
        *,
        verb: str = "",
        resource: str = "",
        name: str = "",
        times: int = 1,
        retry_after_s: int | None = None,
        after_effect: bool = False,
        delay_s: float = 0.0,
    ) -> None:
        """Refuse the next requests that fit; `status` 0 cuts their connection instead. See `faults.Fault`."""
        fits = fitting(verb, resource, name)
        fault = Fault(fits, status, reason, times=times, retry_after_s=retry_after_s)
        fault.after_effect, fault.delay_s = after_effect, delay_s
        self.faults.add(fault)

    def stall_next(self, seconds: float, *, verb: str = "", resource: str = "", times: int = 1) -> None:
        """Answer the next requests that fit rightly, but late."""
        self.faults.add(Fault(fitting(verb, resource), delay_s=seconds, only_delay=True, times=times))

    def spoil(self, resource: Resource, namespace: str, name: str, raw: bytes | None) -> None:
        """Show this text instead of the object in lists and new watch events; None heals it. It must be one line."""
        key = (resource.plural, namespace, name)
        if raw is None:
            self._raw.pop(key, None)
        else:
            self._raw[key] = raw

    def cut_watches(self) -> None:
        """Cut all open streams in the middle of a line."""
        self._tell_watchers("cut")

    def end_watches(self) -> None:
        """End all open streams properly."""
        self._tell_watchers("end")

    def bookmark(self) -> None:
        """Send a bookmark into all open streams."""
        self._tell_watchers("bookmark")

    def expire(self, *, in_streams: bool = True) -> None:
        """Forget history: older versions get 410; with `in_streams` open watches get it as an ERROR event."""
        self.store.forget()
        self._pages.clear()
        if in_streams:
            status = msgspec.json.encode(status_object(refusal(410, "Expired", "too old resource version")))
            self.send_raw(b'{"type":"ERROR","object":%s}' % status)
            self.end_watches()

    def send_raw(self, line: bytes) -> None:
        """Send a line into all open streams."""
        for watcher in self.store.watchers:
            watcher.inbox.put_nowait(line)

    def _tell_watchers(self, order: str) -> None:
        for watcher in self.store.watchers:
            watcher.inbox.put_nowait(order)

    # answering

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        request, resource = Request("get", "", "", ""), None
        try:
            if http.path == "/version":
                return web.json_response({"major": "1", "minor": "36", "gitVersion": "v1.36.0-fake"})
            resource, request = self._understood(http)
            self.requests.append(request)
            request.body = _body(await http.read())
            self.authorize(resource, request)
            if self.before:
                await self.before(request)
            response = await self._with_faults(http, request, resource)
        except ApiError as error:
            response = refused(error)
        except ConnectionError:  # cut on purpose, or the client has gone: nobody reads the answer
            return web.Response()
        request.status = response.status
        return response

    async def _with_faults(self, http: web.Request, request: Request, resource: Resource) -> web.StreamResponse:
        fault = self.faults.take(request)
        if fault is None:
            return await self._work(http, request, resource)
        await asyncio.sleep(fault.delay_s)
        if fault.only_delay:
            return await self._work(http, request, resource)
        if fault.after_effect:
            with suppress(ApiError):
                await self._work(http, request, resource)
        if fault.status == 0:
            _cut(http)
        error = refusal(fault.status, fault.reason, fault.message)
        error.retry_after_s = fault.retry_after_s
        return refused(error)

    def authorize(self, resource: Resource, request: Request) -> None:
        """Raises Forbidden where the permissions do not allow it."""
        if self.permissions is None:
            return
        exists = self.store.find(resource, request.namespace, request.name) is not None
        for ask in asks(resource, request, exists=exists):
            if (why := self.permissions.refusal(ask)) is not None:
                raise refusal(403, "Forbidden", why)

    def _understood(self, http: web.Request) -> tuple[Resource, Request]:
        parts = [part for part in http.path.split("/") if part]
        group, rest = ("", parts[1:]) if parts[:1] == ["api"] else (parts[1] if len(parts) > 1 else "", parts[2:])
        version, rest = (rest[0] if rest else ""), rest[1:]
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "", "")[:3]
        resource = self._resources.get((group, version, plural))
        if resource is None:
            raise refusal(404, "", "404 page not found")
        params = {key: value for key, value in http.query.items() if key != "command"}
        kind = f"{plural}/{subresource}" if subresource else plural
        content_type = http.content_type if http.can_read_body else ""
        verb = _verb(http.method, content_type, name, params)
        return resource, Request(verb, kind, namespace, name, params, content_type)

    async def _work(self, http: web.Request, request: Request, resource: Resource) -> web.StreamResponse:
        _, _, subresource = request.resource.partition("/")
        if subresource == "exec":
            return await self._exec(http, request)
        if subresource == "log":
            return web.Response(body=self.logs.get((request.namespace, request.name), b""))
        if request.verb == "watch":
            return await self._watch(http, request, resource)
        if request.verb == "list":
            return self._list(http, request, resource)
        if subresource == "scale":
            return json_answer(self._scale(request, resource))
        answer = self._one(request, resource, subresource)
        if resource == CUSTOM_RESOURCE_DEFINITIONS and request.verb in {"create", "apply"}:
            self._register_definition(answer)
        shown = metadata_only(answer) if _wants_metadata(http) else answer
        return json_answer(shown, 201 if request.verb == "create" else 200)

    def _one(self, request: Request, resource: Resource, subresource: str) -> Object:
        key, body = (request.namespace, request.name), request.body
        manager = request.params.get("fieldManager") or "unknown"
        writer = Writer(manager, subresource, dry_run=request.params.get("dryRun") == "All")
        if request.verb == "get":
            return self.store.read(resource, *key)
        if request.verb == "delete" or subresource == "eviction":
            return self._delete(
                resource, key, body if request.verb == "delete" else body.get("deleteOptions"), writer.dry_run
            )
        if request.verb == "patch":
            change = _PATCHES.get(request.content_type)
            if change is None:
                raise refusal(415, "UnsupportedMediaType", f"{request.content_type} is not served by the fake")
            return self.store.patch(resource, key, lambda live: change(live, body), writer)
        metadata = body.setdefault("metadata", {})
        if request.namespace:
            metadata.setdefault("namespace", request.namespace)
        if request.verb in {"create", "apply"} and request.namespace in self.absent_namespaces:
            details = {"kind": "namespaces", "name": request.namespace}
            raise refusal(404, "NotFound", f'namespaces "{request.namespace}" not found', **details)
        if request.verb == "create":
            return self.store.create(resource, body, writer)
        metadata.setdefault("name", request.name)
        if request.verb == "apply":
            return self.store.apply(resource, body, writer, force=request.params.get("force") == "true")
        return self.store.update(resource, body, writer)

    def _delete(self, resource: Resource, key: tuple[str, str], body: Any, dry_run: bool) -> Object:
        options = body or {}
        preconditions = options.get("preconditions") or {}
        return self.store.delete(
            resource,
            key,
            uid=preconditions.get("uid", ""),
            version=preconditions.get("resourceVersion", ""),
            propagation=options.get("propagationPolicy", ""),
            grace_s=options.get("gracePeriodSeconds"),
            dry_run=dry_run,
        )

    def _scale(self, request: Request, resource: Resource) -> Object:
        key = (request.namespace, request.name)
        if request.verb != "get":
            replicas = request.body["spec"]["replicas"]
            writer = Writer(request.params.get("fieldManager") or "unknown", "")
            self.store.patch(resource, key, lambda live: merge_patched(live, {"spec": {"replicas": replicas}}), writer)
        return scale_object(self.store.read(resource, *key))

    def _list(self, http: web.Request, request: Request, resource: Resource) -> web.Response:
        limit = int(request.params.get("limit", 0))
        token = request.params.get("continue", "")
        if token and token not in self._pages:
            raise refusal(410, "Expired", "The provided continue parameter is too old")
        if token:
            version, items = self._pages.pop(token)
        else:
            version, items = self.store.version, self.store.select(resource, request.namespace, _selection(request))
        page, rest = (items[:limit], items[limit:]) if limit else (items, [])
        metadata = {"resourceVersion": str(version)}
        if rest:
            metadata["continue"] = base64.b64encode(f"{version}/{next(self._page_numbers)}".encode()).decode()
            metadata["remainingItemCount"] = str(len(rest))
            self._pages[metadata["continue"]] = (version, rest)
        partial = _wants_metadata(http)
        envelope = {
            "kind": "PartialObjectMetadataList" if partial else f"{resource.kind}List",
            "apiVersion": "meta.k8s.io/v1" if partial else resource.api_version,
            "metadata": metadata,
            "items": [self._shown(resource, item, partial, in_list=True) for item in page],
        }
        return json_answer(envelope)

    def _shown(self, resource: Resource, obj: Object, partial: bool, *, in_list: bool = False) -> Any:
        key = (resource.plural, obj["metadata"].get("namespace") or "", obj["metadata"]["name"])
        if key in self._raw:
            return msgspec.Raw(self._raw[key])
        if partial:
            return metadata_only(obj)
        # As the real one: items of built-in lists do not say what they are.
        return {k: v for k, v in obj.items() if k not in {"kind", "apiVersion"}} if in_list else obj

    async def _watch(self, http: web.Request, request: Request, resource: Resource) -> web.StreamResponse:
        watcher = Watcher(resource, request.namespace, _selection(request))
        asked = request.params.get("resourceVersion") or "0"
        if asked == "0":
            for obj in self.store.select(resource, request.namespace, watcher.fits):
                watcher.inbox.put_nowait(Change(int(obj["metadata"]["resourceVersion"]), resource, None, obj))
        else:
            for change in self.store.since(int(asked)):
                if change.resource == resource:
                    watcher.inbox.put_nowait(change)
        self.store.watchers.add(watcher)  # nothing is awaited between the replay and this: no change is lost
        try:
            return await self._stream(http, request, watcher, partial=_wants_metadata(http))
        finally:
            self.store.watchers.discard(watcher)

    async def _stream(
        self, http: web.Request, request: Request, watcher: Watcher, *, partial: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(http)
        loop = asyncio.get_running_loop()
        ends = loop.time() + float(request.params.get("timeoutSeconds") or 3600)
        while (left_s := ends - loop.time()) > 0:
            try:
                item = await asyncio.wait_for(watcher.inbox.get(), min(self._bookmark_s, left_s))
            except TimeoutError:
                item = "bookmark"
            if item == "end":
                break
            if item == "cut":
                await response.write(b'{"type":"MODI')
                _cut(http)
            if line := self._line(item, watcher, partial, request):
                await response.write(line)
        return response

    def _line(self, item: Change | str | bytes, watcher: Watcher, partial: bool, request: Request) -> bytes:
        if isinstance(item, bytes):
            return item + b"\n"
        if isinstance(item, str):
            wanted = request.params.get("allowWatchBookmarks") == "true"
            return bookmark_line(watcher.resource, self.store.version) if wanted else b""
        event = watcher.event(item)
        if event is None:
            return b""
        shown = self._shown(watcher.resource, event[1], partial)
        return msgspec.json.encode({"type": event[0], "object": shown}) + b"\n"

    async def _exec(self, http: web.Request, request: Request) -> web.StreamResponse:
        self.store.read(PODS, request.namespace, request.name)
        socket = web.WebSocketResponse(protocols=(V5,))
        await socket.prepare(http)
        stdin = b"".join([part async for part in _stdin(socket)]) if "stdin" in request.params else b""
        argv, container = http.query.getall("command", []), request.params.get("container", "")
        result = self.exec_handler(request.namespace, request.name, container, argv, stdin)
        for channel, data in ((1, result.stdout), (2, result.stderr), (3, exec_status(result.exit_code))):
            if data:
                await socket.send_bytes(bytes([channel]) + data)
        await socket.close()
        return socket

    def _register_definition(self, definition: Object) -> None:
        spec = definition["spec"]
        for version in spec["versions"]:
            names, namespaced = spec["names"], spec.get("scope") != "Cluster"
            self.register(Resource(spec["group"], version["name"], names["plural"], names["kind"], namespaced))


def _verb(method: str, content_type: str, name: str, params: dict[str, str]) -> str:
    if method == "GET":
        return "get" if name else ("watch" if params.get("watch", "").lower() in {"true", "1"} else "list")
    return "apply" if content_type == _APPLY else _VERBS.get(method, method.lower())


def _body(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data) if data else None
    except UNREADABLE as error:
        raise refusal(400, "BadRequest", f"the body is not JSON: {error}") from None


def _selection(request: Request) -> Callable[[Object], bool]:
    try:
        return selection(request.params.get("labelSelector", ""), request.params.get("fieldSelector", ""))
    except ValueError as error:
        raise refusal(400, "BadRequest", str(error)) from None


def _wants_metadata(http: web.Request) -> bool:
    return "as=PartialObjectMetadata" in http.headers.get("Accept", "")


def _cut(http: web.Request) -> None:
    if http.transport:
        http.transport.abort()
    raise ConnectionResetError("cut by the test")


async def _stdin(socket: web.WebSocketResponse) -> Any:
    async for message in socket:
        if message.data[:1] == b"\xff":
            return
        if message.data[:1] == b"\x00":
            yield message.data[1:]
