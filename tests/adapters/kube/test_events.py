import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from howdah.kube import events
from howdah.kube.client import Client
from howdah.kube.events import EventRecorder, Reference
from howdah.kube.resources import EVENTS, NODES, PODS
from howdah.kube.testing import FakeKubernetes
from steady import HANGS_S

POD = Reference(PODS, "c-0", "team", "uid-1")


@asynccontextmanager
async def recording(client: Client, **settings: Any) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(client, "howdah", instance="howdah-1", **settings)
    task = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def written(kube: FakeKubernetes) -> list[tuple[str, str, int]]:
    found = kube.store.select(EVENTS, None, lambda _: True)
    return sorted((event["reason"], event["message"], event["count"]) for event in found)


async def test_an_event_is_about_its_object(kube: FakeKubernetes, client: Client) -> None:
    async with recording(client) as recorder:
        recorder.record(POD, "Restarted", "the member was restarted", type="Warning")
        recorder.record(Reference(NODES, "n1"), "Seen", "a node")
        await asyncio.sleep(0.2)
    about_node, about_pod = kube.store.select(EVENTS, None, lambda _: True)
    assert about_pod["metadata"]["namespace"] == "team"
    assert about_pod["type"] == "Warning"
    assert about_pod["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "c-0",
        "namespace": "team",
        "uid": "uid-1",
    }
    assert about_node["metadata"]["namespace"] == "default"


async def test_a_repeated_event_counts_up_with_few_writes(kube: FakeKubernetes, client: Client) -> None:
    async with recording(client, repeat_s=0.3) as recorder:
        for _ in range(50):
            recorder.record(POD, "Waits", "no leader")
            await asyncio.sleep(0.01)
        recorder.record(POD, "Waits", "another sentence")
        await asyncio.sleep(0.6)
    assert written(kube) == [("Waits", "another sentence", 1), ("Waits", "no leader", 50)]
    assert len(kube.writes()) <= 6


async def test_an_event_that_expired_on_the_server_is_made_anew(kube: FakeKubernetes, client: Client) -> None:
    async with recording(client, repeat_s=0) as recorder:
        recorder.record(POD, "Waits", "no leader")
        await asyncio.sleep(0.1)
        [event] = (await client.list(EVENTS)).items
        await client.delete(EVENTS, event["metadata"]["name"], namespace="team")
        recorder.record(POD, "Waits", "no leader")
        await asyncio.sleep(0.1)
    assert written(kube) == [("Waits", "no leader", 2)]


async def test_a_failing_server_harms_nobody(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(403, "Forbidden", resource="events")
    kube.fail_next(500, resource="events")
    async with recording(client, repeat_s=0.1) as recorder:
        for reason in ("Forbidden", "Retried", "Written"):
            recorder.record(POD, reason, "x")
        await asyncio.sleep(0.4)
        assert recorder.failed == 2
    assert written(kube) == [("Retried", "x", 1), ("Written", "x", 1)]


async def test_the_queue_is_bounded(client: Client) -> None:
    recorder = EventRecorder(client, "howdah")
    for n in range(events.MOST_PENDING + 7):
        recorder.record(POD, "Many", str(n))
    assert recorder.dropped == 7


async def test_flush_writes_what_waits(kube: FakeKubernetes, client: Client) -> None:
    async with recording(client, repeat_s=60) as recorder:
        recorder.record(POD, "Waits", "no leader")
        await asyncio.sleep(0.1)
        recorder.record(POD, "Waits", "no leader")
        await asyncio.sleep(0.1)
        assert written(kube) == [("Waits", "no leader", 1)]
    recorder.record(POD, "Ends", "bye")
    await recorder.flush(HANGS_S)
    assert written(kube) == [("Ends", "bye", 1), ("Waits", "no leader", 2)]


async def test_a_flush_ends_in_time_and_counts_what_is_left(kube: FakeKubernetes, client: Client) -> None:
    recorder = EventRecorder(client, "howdah")
    recorder.record(POD, "Told", "in time")
    assert await recorder.flush(HANGS_S) == 0
    kube.stall_next(10 * HANGS_S, resource="events", times=1000)
    for n in range(5):
        recorder.record(POD, "Late", str(n))
    async with asyncio.timeout(HANGS_S):
        assert await recorder.flush(0.2) == 5
        assert await recorder.flush(0.2) == 0
    assert recorder.dropped == 5
    assert written(kube) == [("Told", "in time", 1)]


async def test_a_long_message_is_cut_to_what_the_api_takes(kube: FakeKubernetes, client: Client) -> None:
    async with recording(client) as recorder:
        recorder.record(POD, "Long", "x" * 5000)
        await asyncio.sleep(0.1)
    [(_, message, _)] = written(kube)
    assert len(message) == events.LONGEST_MESSAGE


async def test_what_is_not_told_again_for_an_hour_is_forgotten(kube: FakeKubernetes, client: Client) -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    recorder = EventRecorder(client, "howdah", clock=lambda: now)
    recorder.record(POD, "Waits", "no leader")
    await recorder.flush(HANGS_S)
    now += timedelta(minutes=59)
    recorder.record(POD, "Waits", "no leader")
    await recorder.flush(HANGS_S)
    now += timedelta(minutes=61)
    recorder.record(POD, "Waits", "another sentence")
    recorder.record(POD, "Waits", "no leader")
    await recorder.flush(HANGS_S)
    assert written(kube) == [("Waits", "another sentence", 1), ("Waits", "no leader", 1), ("Waits", "no leader", 2)]
