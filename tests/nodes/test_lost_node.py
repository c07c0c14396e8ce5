"""A node is cut off and comes back: another leads, the service never leads to two, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import time

from e2e.clusters import QUICK_PATRONI, PostgresCluster
from e2e.nodes_world import NodesWorld
from e2e.world import PATIENCE, until
from e2e.writing import Writer, lost, probing, split_brain, writing
from nodes import kubectl

RESUMED_S = QUICK_PATRONI["ttl"] + 2 * QUICK_PATRONI["loop_wait"] + 6
NOT_READY_S = 55  # when the node controller has given the node up


async def resumed(writer: Writer, since: float) -> None:
    """Wait until writes are answered again."""

    async def question() -> bool:
        return writer.last_answer > since

    await until(question, "writes to be answered again", timeout_s=60)


async def test_leaders_node_is_cut_off_and_comes_back(trio: PostgresCluster, world: NodesWorld) -> None:
    old = await trio.leader()
    node = await world.node_of(trio.client, old)
    async with writing(trio) as writer, probing(trio, seed=1) as probe:
        await asyncio.sleep(2)
        writer.restart_clock()
        async with world.cut_off(node):
            cut = time.monotonic()
            await trio.status_where(
                "another member to lead", lambda r: r["status"].get("leader") not in ("", None, old)
            )
            await resumed(writer, cut + 5)
            gap_s = writer.longest_gap_s
            await asyncio.sleep(max(0.0, NOT_READY_S - (time.monotonic() - cut)))
            leader = await trio.leader()
            writer.restart_clock()
            await asyncio.sleep(3)
            assert writer.longest_gap_s < 3 * PATIENCE, "the service leads to the lost node"
        await trio.settled(120)
        assert await trio.leader() == leader, "a member that comes back takes nothing over"
    # PostgreSQL did not wait for replicas out of reach: the old leader was a replica before its node was back.
    assert "replicas cannot be reached" in await kubectl.said(world, "logs", old, "-n", trio.namespace)
    assert gap_s < RESUMED_S * PATIENCE
    assert split_brain(probe.accepted) is None
    assert await lost(trio, writer) == []
    assert await trio.ask("select count(*) from pg_stat_replication where state = 'streaming'", user="postgres") == 2


async def test_replicas_node_is_cut_off_and_comes_back(trio: PostgresCluster, world: NodesWorld) -> None:
    leader = await trio.leader()
    node = await world.node_of(trio.client, (await trio.replicas())[0])
    async with writing(trio) as writer:
        await asyncio.sleep(2)
        writer.restart_clock()
        async with world.cut_off(node):
            await asyncio.sleep(NOT_READY_S)
        await trio.settled(120)
    assert await trio.leader() == leader
    assert (
        writer.longest_gap_s < RESUMED_S * PATIENCE
    )  # a synchronous standby that is gone is replaced after a loop or two
    assert await lost(trio, writer) == []
