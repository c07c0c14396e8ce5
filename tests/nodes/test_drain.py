"""A node is drained: disruption budgets hold it up where a leader is, and nobody loses a server that is written to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from e2e.clusters import PostgresCluster
from e2e.nodes_world import NodesWorld
from e2e.world import PATIENCE
from e2e.writing import lost, writing
from nodes import kubectl

Named = Callable[[str], PostgresCluster]
GAP_S = 5 * PATIENCE


async def sync_standby(cluster: PostgresCluster) -> str:
    """The member that may take over without losing anything."""
    sql = "select application_name from pg_stat_replication where sync_state = 'sync'"
    return str(await cluster.ask(sql, user="postgres"))


@asynccontextmanager
async def drained(world: NodesWorld, cluster: PostgresCluster, node: str) -> AsyncIterator[tuple[bool, str]]:
    """Whether it could be drained of the cluster's pods in 20 seconds, and what was said; in service again afterwards."""
    selector = f"--pod-selector=cluster-name={cluster.name}"
    try:
        done = await kubectl.run(world, "drain", node, selector, "--delete-emptydir-data", "--timeout=20s")
        yield done.returncode == 0, done.stderr
    finally:
        await kubectl.said(world, "uncordon", node)


async def test_drained_node_of_a_replica_loses_it_and_gets_it_back(trio: PostgresCluster, world: NodesWorld) -> None:
    leader, victim = await trio.leader(), (await trio.replicas())[0]
    uid = await trio.pod_uid(victim)
    node = await world.node_of(trio.client, victim)
    async with writing(trio) as writer:
        async with drained(world, trio, node) as (is_empty, said):
            assert is_empty, said
        await trio.settled(120)
    assert await trio.pod_uid(victim) != uid
    assert await trio.leader() == leader
    assert writer.longest_gap_s < GAP_S
    assert await lost(trio, writer) == []


async def test_drain_waits_for_a_leader_until_it_has_handed_over(trio: PostgresCluster, world: NodesWorld) -> None:
    old = await trio.leader()
    uid = await trio.pod_uid(old)
    node = await world.node_of(trio.client, old)
    async with writing(trio) as writer:
        async with drained(world, trio, node) as (is_empty, said):
            assert is_empty or "disruption budget" in said
            assert is_empty == ((await trio.uids()).get(old) != uid)
            if not is_empty:  # a person hands over, and drains again
                assert await trio.leader() == old
                await trio.switch_over(await sync_standby(trio))
                await trio.status_where("another member to lead", lambda r: r["status"].get("leader") != old)
                await asyncio.sleep(3)
                done = await kubectl.run(world, "drain", node, f"--pod-selector=cluster-name={trio.name}",
                                         "--delete-emptydir-data", "--timeout=60s")  # fmt: skip
                assert done.returncode == 0, done.stderr
        await trio.settled(120)
    assert await trio.leader() != old
    assert writer.longest_gap_s < GAP_S
    assert await lost(trio, writer) == []


async def test_single_server_is_not_evicted_and_the_budget_says_why(cluster_named: Named, world: NodesWorld) -> None:
    cluster = cluster_named("acid-drained-single")
    await cluster.create(numberOfInstances=1)
    await cluster.settled(120)
    uids = await cluster.uids()
    node = await world.node_of(cluster.client, f"{cluster.name}-0")
    async with drained(world, cluster, node) as (is_empty, said):
        assert not is_empty
        assert "disruption budget" in said
        assert await cluster.ask("select pg_is_in_recovery()") is False
    assert await cluster.uids() == uids
