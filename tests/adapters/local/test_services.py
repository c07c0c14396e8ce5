"""A service port that somebody else holds: real sockets, and an API whose objects change all the time."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from howdah.kube.client import Client
from howdah.kube.events import EventRecorder
from howdah.kube.resources import ENDPOINTS, EVENTS, SERVICES
from howdah.kube.testing.server import FakeKubernetes
from howdah.local.controllers.caches import Caches
from howdah.local.relay import Relay
from howdah.local.services import BIND_RETRY_S, Listener, Port, Proxy
from steady import HANGS_S

NS = "default"


@pytest.fixture
def held() -> Iterator[tuple[Port, socket.socket]]:
    """A port, and who holds it."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        yield Port("127.0.0.1", holder.getsockname()[1]), holder


async def test_a_taken_port_is_tried_once_a_second_however_often_it_is_asked_for(held: Any) -> None:
    port, holder = held
    refused: list[float] = []
    clock = asyncio.get_running_loop().time
    listener = Listener(port, Relay(), lambda *_: refused.append(clock()))
    for _ in range(100):
        listener.open()
    assert len(refused) == 1
    await asyncio.sleep(2.5 * BIND_RETRY_S)
    assert len(refused) == 3
    holder.close()
    async with asyncio.timeout(HANGS_S):
        while not listener.is_bound:
            await asyncio.sleep(0.01)
    listener.close()


async def test_a_closed_listener_tries_no_more(held: Any) -> None:
    port, holder = held
    listener = Listener(port, Relay(), lambda *_: None)
    listener.open()
    listener.close()
    holder.close()
    await asyncio.sleep(1.5 * BIND_RETRY_S)
    assert not listener.is_bound


@contextlib.asynccontextmanager
async def proxying(kube: FakeKubernetes, why: Callable[[Port, OSError], tuple[str, str]]) -> AsyncIterator[Client]:
    async with kube.client() as client:
        events = EventRecorder(client, "test")
        caches = Caches(client, (SERVICES, ENDPOINTS))
        proxy = Proxy(client, caches, events, why)
        proxy.start()
        tasks = [asyncio.create_task(work) for work in (caches.run(), events.run())]
        try:
            yield client
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            proxy.stop()


def service(port: Port) -> dict[str, Any]:
    spec = {"clusterIP": port.address, "ports": [{"port": port.number}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "held", "namespace": NS}, "spec": spec}


async def test_who_holds_a_port_is_asked_once_for_many_events_and_keeps_nobody_waiting(held: Any) -> None:
    port, _ = held
    asked: list[Port] = []
    may_answer = threading.Event()

    def why(port: Port, _problem: OSError) -> tuple[str, str]:
        asked.append(port)
        assert may_answer.wait(HANGS_S), "the loop waits for its own answer"
        return "AddressTaken", "somebody holds it"

    async with FakeKubernetes() as kube, proxying(kube, why) as client:
        await client.create(SERVICES, service(port))
        endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "held", "namespace": NS}}
        await client.create(ENDPOINTS, endpoints)
        for number in range(20):
            patch = {"metadata": {"annotations": {"renewed": str(number)}}}
            await client.merge_patch(ENDPOINTS, "held", patch, namespace=NS)
        await asyncio.sleep(1.5 * BIND_RETRY_S)
        may_answer.set()
        async with asyncio.timeout(HANGS_S):
            while not (found := (await client.list(EVENTS, namespace=NS)).items):
                await asyncio.sleep(0.02)
        assert [event["reason"] for event in found] == ["AddressTaken"]
        assert asked == [port]
