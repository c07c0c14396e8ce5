"""Logs and exec: passed to the node agent's socket and back, unchanged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from adapters.apiserver.client import Client, Server, pod
from steady import HANGS_S

PODS = "/api/v1/namespaces/default/pods"
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "local"}}


class Node:
    """A node agent that echoes what it is asked, in a thread of its own."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.loop = asyncio.new_event_loop()
        self.asked: list[str] = []
        self.release: asyncio.Event | None = None
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self.loop).result(HANGS_S)

    async def _start(self) -> None:
        self.release = asyncio.Event()
        app = web.Application()
        app.router.add_get("/logs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        await web.UnixSite(self.runner, str(self.socket)).start()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        if request.query.get("follow") == "true":
            assert self.release is not None
            await self.release.wait()
        await response.write(b"last\n")
        return response

    async def _exec(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append(request.path_qs)
        socket = web.WebSocketResponse(protocols=("v5.channel.k8s.io", "v4.channel.k8s.io"))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(b"\x01" + message.data[1:].upper())
            if message.data == b"\x00bye":
                break
        await socket.close(code=1000)
        return socket

    def go_on(self) -> None:
        assert self.release is not None
        self.loop.call_soon_threadsafe(self.release.set)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(HANGS_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[tuple[Server, Node]]:
    socket = tmp_path / "node.sock"
    node = Node(socket)
    server = Server(tmp_path / "state", "--node-socket", str(socket))
    server.start()
    server.client().post("/api/v1/nodes", NODE)
    server.client().post(PODS, pod("p", node="local"))
    yield server, node
    server.stop()
    node.stop()


def test_log_comes_with_its_query_and_container(proxied: tuple[Server, Node]) -> None:
    server, node = proxied
    answer = server.client().get(f"{PODS}/p/log?tailLines=2&timestamps=true")
    assert (answer.code, answer.body) == (200, "first\nlast\n")
    assert node.asked == ["/logs/default/p/main?tailLines=2&timestamps=true"]


def test_followed_log_comes_as_it_is_written(proxied: tuple[Server, Node]) -> None:
    server, node = proxied
    client = server.client()
    client.connection.request("GET", f"{PODS}/p/log?follow=true", headers=client.headers({}))
    response = client.connection.getresponse()
    assert response.readline() == b"first\n"
    node.go_on()
    assert response.read() == b"last\n"


def test_wrong_container_is_refused_here(proxied: tuple[Server, Node]) -> None:
    answer = proxied[0].client().get(f"{PODS}/p/log?container=no")
    assert (answer.code, answer["message"]) == (400, "container no is not valid for pod p")


async def test_exec_passes_messages_both_ways_with_the_protocol_of_the_node(proxied: tuple[Server, Node]) -> None:
    server, node = proxied
    client = server.client()
    url = f"https://{client.host}:{client.port}{PODS}/p/exec?command=cat&stdin=true"
    async with aiohttp.ClientSession() as session:
        offered = ("v5.channel.k8s.io", "v4.channel.k8s.io")
        async with session.ws_connect(url, protocols=offered, ssl=client.context) as socket:
            assert socket.protocol == "v5.channel.k8s.io"
            await socket.send_bytes(b"\x00hello")
            assert (await socket.receive_bytes(timeout=HANGS_S)) == b"\x01HELLO"
            await socket.send_bytes(b"\x00bye")
            assert (await socket.receive_bytes(timeout=HANGS_S)) == b"\x01BYE"
            assert (await socket.receive(timeout=HANGS_S)).type == aiohttp.WSMsgType.CLOSE
    assert node.asked == ["/exec/default/p/main?command=cat&stdin=true"]


@pytest.mark.parametrize("upgrade", [{}, {"Upgrade": "SPDY/3.1"}, {"Upgrade": "websocket"}])
def test_wrong_container_is_refused_before_the_protocol_is_looked_at(core: str, api: Client, upgrade: Any) -> None:
    api.post(f"{core}/pods", pod("p"))
    for verb in ("exec", "attach"):
        answer = api("POST", f"{core}/pods/p/{verb}?container=no&command=true", **upgrade)
        assert (answer.code, answer["message"]) == (400, "container no is not valid for pod p")


def test_pod_without_a_node_has_an_empty_log_and_no_host(api: Client, core: str) -> None:
    api.post(f"{core}/pods", pod("p"))
    log = api.get(f"{core}/pods/p/log")
    assert (log.code, log.body) == (204, "")
    for verb in ("exec", "portforward"):
        answer = api("POST", f"{core}/pods/p/{verb}?command=true")
        assert (answer.code, answer["message"]) == (400, "pod p does not have a host assigned")


def test_pod_on_a_node_that_is_gone_is_not_found(api: Client, core: str) -> None:
    api.post(f"{core}/pods", pod("p", node="gone"))
    assert api.get(f"{core}/pods/p/log").code == 404
    assert api("POST", f"{core}/pods/p/exec?command=true").code == 404


@pytest.mark.parametrize(
    ("query", "code"),
    [("tailLines=-1", 422), ("limitBytes=0", 422), ("sinceSeconds=0", 422), ("tailLines=x", 400), ("sinceTime=x", 400)],
)
def test_wrong_options_of_logs_are_refused_before_a_node_is_asked(
    api: Client, core: str, query: str, code: int
) -> None:
    api.post(f"{core}/pods", pod("p"))
    assert api.get(f"{core}/pods/p/log?{query}").code == code


def test_absent_node_is_said(own_server: Server) -> None:
    api: Client = own_server.client()
    api.post("/api/v1/nodes", NODE)
    api.post(PODS, pod("p", node="local"))
    answer = api.get(f"{PODS}/p/log")
    assert answer.code == 502
    assert "node agent is away" in answer["message"]
