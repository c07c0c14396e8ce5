"""A node is drained: a leader has handed over before it is evicted, a replica just goes, and an only member stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from e2e.clusters import PostgresCluster
from e2e.nodes_world import NodesWorld
from e2e.world import PATIENCE, condition
from e2e.writing import lost, writing
from nodes import kubectl

Named = Callable[[str], PostgresCluster]
GAP_S = 5 * PATIENCE


@asynccontextmanager
async def drained(world: NodesWorld, cluster: PostgresCluster, node: str) -> AsyncIterator[tuple[bool, str]]:
    """Whether it could be drained of the cluster's pods in a minute, and what was said; in service again afterwards."""
    selector = f"--pod-selector=cluster-name={cluster.name}"
    try:
        done = await kubectl.run(world, "drain", node, selector, "--delete-emptydir-data", "--timeout=60s")
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


async def test_leader_hands_over_before_the_drain_reaches_it(trio: PostgresCluster, world: NodesWorld) -> None:
    old = await trio.leader()
    uid = await trio.pod_uid(old)
    node = await world.node_of(trio.client, old)
    async with writing(trio) as writer:
        async with drained(world, trio, node) as (is_empty, said):
            assert is_empty, said
            assert (await trio.uids()).get(old) != uid
        await trio.settled(120)
    assert await trio.leader() != old
    assert writer.longest_gap_s < GAP_S
    assert await lost(trio, writer) == []


async def test_only_member_stays_and_it_is_said_what_a_person_may_do(cluster_named: Named, world: NodesWorld) -> None:
    cluster = cluster_named("acid-drained-single")
    await cluster.create(numberOfInstances=1)
    await cluster.settled(120)
    uids = await cluster.uids()
    node = await world.node_of(cluster.client, f"{cluster.name}-0")
    async with drained(world, cluster, node) as (is_empty, said):
        assert not is_empty
        assert "disruption budget" in said
        found = await cluster.status_where("the move to be due", lambda r: condition(r, "LeaderMovePending"))
        assert "it is the only member" in condition(found, "LeaderMovePending")["message"]
        assert await cluster.ask("select pg_is_in_recovery()") is False
    assert await cluster.uids() == uids
