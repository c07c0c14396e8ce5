"""Logs and exec: passed on to the node agent's unix socket, byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
from aiohttp import WSMsgType, web

from .errors import ApiError, bad_request
from .objects import Obj, dig

CONNECT_TIMEOUT_S = 5.0
CHUNK_BYTES = 64 * 1024


def container_of(pod: Obj, wanted: str | None) -> str:
    """The container that a request means: named, annotated as default, or the only one."""
    name = pod["metadata"]["name"]
    spec = pod["spec"]
    names = [c["name"] for key in ("containers", "initContainers") for c in spec.get(key) or ()]
    if wanted:
        if wanted not in names:
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    default = dig(pod, "metadata", "annotations", "kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    if len(spec["containers"]) == 1:
        return str(spec["containers"][0]["name"])
    listed = " ".join(c["name"] for c in spec["containers"])
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")


class Node:
    """The way to the node agent; `socket` is None where the server was started without one."""

    def __init__(self, socket: Path | None) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._socket is None:
            raise _away("no node socket is configured (start the server with --node-socket)")
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._socket), limit=0),
                timeout=timeout,
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def logs(self, request: web.BaseRequest, pod: Obj, container: str) -> web.StreamResponse:
        """`GET pods/NAME/log`, streamed as it comes."""
        url = _url("logs", pod, container, request)
        try:
            upstream = await self._client().get(url)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _away(str(error)) from error
        async with upstream:
            if upstream.status != 200:
                raise await _refused(upstream)
            answer = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await answer.prepare(request)
            async for chunk in upstream.content.iter_any():
                await answer.write(chunk)
            await answer.write_eof()
            return answer

    async def stream(self, request: web.BaseRequest, pod: Obj, container: str, verb: str) -> web.StreamResponse:
        """exec, attach and port-forward: two websockets with everything passed between them."""
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("Upgrade request required: only WebSocket is spoken here (kubectl 1.31 and later)")
        offered = request.headers.getall("Sec-WebSocket-Protocol", [])
        protocols = tuple(name.strip() for text in offered for name in text.split(",") if name.strip())
        try:
            upstream = await self._client().ws_connect(
                _url(verb, pod, container, request), protocols=protocols, max_msg_size=0, autoping=False
            )
        except aiohttp.WSServerHandshakeError as error:
            raise ApiError(error.status, "", f"the node refused: {error.message}") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _away(str(error)) from error
        async with upstream:
            chosen = (upstream.protocol,) if upstream.protocol else ()
            client = web.WebSocketResponse(protocols=chosen, max_msg_size=0, autoping=False, timeout=5.0)
            await client.prepare(request)
            await _join(client, upstream)
            return client


def _url(verb: str, pod: Obj, container: str, request: web.BaseRequest) -> str:
    metadata = pod["metadata"]
    path = "/".join(quote(part, safe="") for part in (verb, metadata["namespace"], metadata["name"], container))
    query = request.rel_url.raw_query_string
    return f"http://node/{path}" + (f"?{query}" if query else "")


def _away(why: str) -> ApiError:
    return ApiError(502, "InternalError", f"the node agent is away: {why}", details={})


async def _refused(upstream: aiohttp.ClientResponse) -> ApiError:
    text = (await upstream.text()).strip()
    reasons: Mapping[int, str] = {400: "BadRequest", 404: "NotFound"}
    return ApiError(upstream.status, reasons.get(upstream.status, "InternalError"), text or "the node refused")


async def _join(client: web.WebSocketResponse, upstream: aiohttp.ClientWebSocketResponse) -> None:
    """Passes messages both ways until one side closes; then closes the other in the same way."""
    there = asyncio.create_task(_pass(client, upstream))
    back = asyncio.create_task(_pass(upstream, client))
    try:
        await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
        if there.done() and not back.done():
            await asyncio.wait((back,), timeout=5.0)
    finally:
        for task in (there, back):
            task.cancel()
        await asyncio.gather(there, back, return_exceptions=True)


_WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def _pass(source: _WebSocket, target: _WebSocket) -> None:
    async for message in source:
        match message.type:
            case WSMsgType.BINARY:
                await target.send_bytes(message.data)
            case WSMsgType.TEXT:
                await target.send_str(message.data)
            case WSMsgType.PING:
                await target.ping(message.data)
            case WSMsgType.PONG:
                await target.pong(message.data)
    await target.close(code=source.close_code or 1000)
