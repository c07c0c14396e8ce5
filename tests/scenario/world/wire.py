"""From an operator's Kubernetes client to the fake API server without sockets: faults, kills and late watches on the way."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec

from howdah.kube.client import Client
from howdah.kube.errors import ApiError, NotFound, Unreachable, api_error
from howdah.kube.exec import ExecResult
from howdah.kube.resources import PODS, Resource
from howdah.kube.testing import FakeKubernetes, Request
from howdah.kube.testing.answers import bookmark_line, status_object
from howdah.kube.testing.selectors import selection
from howdah.kube.testing.store import Change, Watcher, refusal
from howdah.kube.transport import Call, Transport
from scenario.world.hand import Hand

BOOKMARK_S = 60.0

Judge = Callable[[Hand, Request, float], None]
"""Is told of each write before it has its effect."""


@dataclass(slots=True)
class _Http:
    """As much of a request as the fake server's own handlers look at."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content_type: str
    can_read_body: bool
    transport: None = None


@dataclass(slots=True)
class _Stream:
    """An open watch."""

    server: FakeKubernetes
    watcher: Watcher
    request: Request
    hand: Hand
    partial: bool
    ends_s: float
    backlog: list[Change | str | bytes] = field(default_factory=list)

    async def iter_any(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        while (left_s := self.ends_s - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(BOOKMARK_S, left_s)):
                    item = await self.watcher.inbox.get()
            except TimeoutError:
                yield bookmark_line(self.watcher.resource, self.server.store.version)
                continue
            if self.hand.lag_s:
                await asyncio.sleep(self.hand.lag_s)
            items = [item]
            while not self.watcher.inbox.empty():
                items.append(self.watcher.inbox.get_nowait())
            lines = b""
            for one in items:
                if one == "cut":
                    raise Unreachable("the watch was cut by the scenario")
                if one == "end":
                    return
                lines += self.server._line(one, self.watcher, self.partial, self.request)
            if lines:
                yield lines


class Wire(Transport):
    """A transport whose server is in the same loop; retries and time-outs are those of the real one."""

    def __init__(self, server: FakeKubernetes, hand: Hand, judge: Judge) -> None:
        super().__init__(server.access(), concurrency=64)
        self._server, self._hand, self._judge = server, hand, judge

    async def _once(self, call: Call) -> bytes:
        await self._hand.reach()
        http = _http(call)
        resource, request = self._server._understood(http)  # type: ignore[arg-type]
        request.body = msgspec.json.decode(call.body) if call.body else None
        self._server.requests.append(request)
        try:
            body = await self._answered(http, request, resource)
        except ApiError as error:
            request.status = error.status
            refused = msgspec.json.encode(status_object(error))
            raise api_error(
                call.what, error.status, refused, retry_after_s=error.retry_after_s, withhold=call.secret
            ) from None
        request.status = 200
        return body

    async def _answered(self, http: _Http, request: Request, resource: Resource) -> bytes:
        self._server.authorize(resource, request)
        fault = self._server.faults.take(request)
        sent_s = asyncio.get_running_loop().time()
        if fault is None:
            return await self._worked(http, request, resource, sent_s)
        if not fault.after_effect:
            await asyncio.sleep(fault.delay_s)
        if fault.only_delay:
            return await self._worked(http, request, resource, sent_s)
        if fault.after_effect:
            with suppress(ApiError):
                await self._worked(http, request, resource, sent_s)
            await asyncio.sleep(fault.delay_s)
        if fault.status == 0:
            raise Unreachable("cut by the scenario")
        error = refusal(fault.status, fault.reason, fault.message)
        error.retry_after_s = fault.retry_after_s
        raise error

    async def _worked(self, http: _Http, request: Request, resource: Resource, sent_s: float) -> bytes:
        is_write = request.is_write
        if is_write:
            _fold_secret(request)
            self._judge(self._hand, request, sent_s)
        response = await self._server._work(http, request, resource)  # type: ignore[arg-type]
        if is_write and request.resource not in ("leases", "events"):
            await self._hand.wrote(f"{request.verb} {request.resource} {request.name or _named(request)}")
        body: Any = response.body  # type: ignore[attr-defined]
        return bytes(body)

    @asynccontextmanager
    async def stream(  # type: ignore[override]
        self, call: Call, *, idle_s: float | None, connect_s: float | None = None
    ) -> AsyncIterator[_Stream]:
        del idle_s, connect_s
        await self._hand.reach()
        http = _http(call)
        resource, request = self._server._understood(http)  # type: ignore[arg-type]
        self._server.requests.append(request)
        fault = self._server.faults.take(request)
        try:
            if fault is not None and fault.status == 0:
                raise Unreachable(f"{call.what}: cut by the scenario")
            if fault is not None and not fault.only_delay:
                raise refusal(fault.status, fault.reason, fault.message)
            self._server.authorize(resource, request)
            watcher = self._watcher(request, resource)
        except ApiError as error:
            refused = msgspec.json.encode(status_object(error))
            raise api_error(call.what, error.status, refused, retry_after_s=error.retry_after_s) from None
        ends_s = asyncio.get_running_loop().time() + float(request.params.get("timeoutSeconds") or 3600)
        partial = "as=PartialObjectMetadata" in http.headers.get("Accept", "")
        try:
            yield _Stream(self._server, watcher, request, self._hand, partial, ends_s)
        finally:
            self._server.store.watchers.discard(watcher)

    def _watcher(self, request: Request, resource: Resource) -> Watcher:
        fits = selection(request.params.get("labelSelector", ""), request.params.get("fieldSelector", ""))
        watcher = Watcher(resource, request.namespace, fits)
        for change in self._server.store.since(int(request.params["resourceVersion"])):
            if change.resource == resource:
                watcher.inbox.put_nowait(change)
        self._server.store.watchers.add(watcher)
        return watcher


Shell = Callable[[str, str, bytes], int]
"""(namespace, pod, stdin) → exit code of psql on the local socket."""


class SimulatedClient(Client):
    """The operator's client on a wire."""

    def __init__(self, server: FakeKubernetes, hand: Hand, judge: Judge, shell: Shell) -> None:
        super().__init__(server.access(), concurrency=64)
        self.transport = Wire(server, hand, judge)
        self._server, self._hand, self._shell = server, hand, shell

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
        await self._hand.reach()
        if self._permit is not None:
            self._permit()
        self._server.authorize(PODS, Request("get", "pods/exec", namespace, pod))
        if self._server.store.find(PODS, namespace, pod) is None:
            raise NotFound(f"exec {pod}", status=404)
        code = self._shell(namespace, pod, stdin or b"")
        await self._hand.wrote(f"exec psql in {pod}")
        return ExecResult(code, b"", b"")


def _fold_secret(request: Request) -> None:
    """As the real server: `stringData` is written into `data`."""
    if request.resource == "secrets" and request.body and "stringData" in request.body:
        clear = request.body.pop("stringData")
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in clear.items()}
        request.body["data"] = {**(request.body.get("data") or {}), **encoded}


def _http(call: Call) -> _Http:
    kind = call.headers.get("Content-Type", "")
    return _Http(call.method, call.path, dict(call.params), dict(call.headers), kind, call.body is not None)


def _named(request: Request) -> str:
    metadata = (request.body or {}).get("metadata") or {}
    return str(metadata.get("name", ""))
