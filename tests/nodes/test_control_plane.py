"""The control plane goes away and comes back, and the operator loses its place: databases go on."""

from __future__ import annotations

import asyncio

import psycopg

from e2e.clusters import QUICK_PATRONI, PostgresCluster
from e2e.nodes_world import OPERATOR_NAMESPACE, NodesWorld
from e2e.world import PATIENCE, until
from e2e.writing import lost, writing
from howdah.kube.resources import PODS
from nodes import kubectl

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
AWAY_S = QUICK_PATRONI["ttl"] + 8


async def test_restarted_control_plane_cuts_nobody(trio: PostgresCluster, world: NodesWorld) -> None:
    uids, leader = await trio.uids(), await trio.leader()
    async with writing(trio) as writer:
        await asyncio.sleep(2)
        writer.restart_clock()
        for name in CONTROL_PLANE:
            world.signal(name)
        await asyncio.sleep(AWAY_S)  # longer than a leader's lock lives: the members vouch for it (failsafe_mode)
        await world.restore()
        await world.all_run()
        assert writer.longest_gap_s < 5 * PATIENCE
        await trio.change(users={"afterwards": []})
        await trio.reachable(user="afterwards", timeout_s=60)
    await trio.settled(60)
    assert (await trio.uids(), await trio.leader()) == (uids, leader)
    assert await lost(trio, writer) == []


async def test_evicted_operators_roll_is_finished_by_the_other(trio: PostgresCluster, world: NodesWorld) -> None:
    before, leading = await trio.uids(), await world.leading_operator(trio.client)
    await trio.change(env=[{"name": "ROLLED", "value": "yes"}])

    async def begun() -> bool:
        now = await trio.uids()
        return any(now.get(name) != before[name] for name in before)

    await until(begun, "the roll to begin", timeout_s=60)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": leading}}
    await trio.client.create(PODS, eviction, namespace=OPERATOR_NAMESPACE, name=leading, subresource="eviction")

    async def rolled() -> bool:
        now = await trio.uids()
        return len(now) == len(before) and all(now[name] != before[name] for name in before)

    await until(rolled, "the roll to be finished", timeout_s=120)
    await trio.settled(60)
    assert await world.leading_operator(trio.client) != leading
    found = await trio.client.list(PODS, namespace=OPERATOR_NAMESPACE, labels="app.kubernetes.io/name=howdah")
    assert leading not in [pod["metadata"]["name"] for pod in found.items]


async def test_names_lead_there_from_inside_and_the_plugin_from_outside(
    trio: PostgresCluster, world: NodesWorld
) -> None:
    ask = (
        "import sys, psycopg; "
        "print(*(psycopg.connect(f'host={h} user=zalando dbname=foo connect_timeout=5', password=sys.argv[1])"
        ".execute('select pg_is_in_recovery()').fetchone()[0] for h in sys.argv[2:]))"
    )
    hosts = (trio.name, f"{trio.name}.default.svc.cluster.local", f"{trio.name}-repl.{trio.namespace}")
    password = await trio.password("zalando")
    operator = await world.leading_operator(trio.client)
    argv = ["exec", operator, "--", "python3", "-P", "-c", ask, password, *hosts]
    assert (await kubectl.said(world, *argv)).split() == ["False", "False", "True"]
    assert trio.name in await kubectl.said(world, "pg", "status")
    url = (await kubectl.said(world, "pg", "url", trio.name, "--user", "zalando", "--dbname", "foo")).strip()
    async with await psycopg.AsyncConnection.connect(url, connect_timeout=5) as connection:
        row = await (await connection.execute("select pg_is_in_recovery()")).fetchone()
        assert row == (False,)
    before = await trio.leader()
    await kubectl.said(world, "pg", "switchover", trio.name)
    await trio.status_where("another member to lead", lambda r: r["status"].get("leader") not in (None, "", before))
