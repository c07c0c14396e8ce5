"""Everything may be killed: who is connected through the service address notices only what must be noticed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from e2e.clusters import Connection, PostgresCluster
from e2e.faults import send
from e2e.world import PATIENCE, World, condition, until

Named = Callable[[str], PostgresCluster]
TAKE_OVER_S = 20


@asynccontextmanager
async def connected(cluster: PostgresCluster) -> AsyncIterator[list[float]]:
    """One connection that is used all the time; gaps between its answers in seconds. It must never break."""
    gaps: list[float] = []

    async def talk(connection: Connection) -> None:
        last = time.monotonic()
        while True:
            await connection.execute(b"select 1")
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
            await asyncio.sleep(0.02)

    connection = await cluster.connect()
    task = asyncio.create_task(talk(connection))
    try:
        yield gaps
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait({task})
        await connection.close()


async def test_second_operator_takes_over_and_nobody_is_cut(cluster_named: Named, world: World) -> None:
    cluster = cluster_named("acid-take-over")
    await cluster.create(numberOfInstances=1)
    await cluster.settled()
    uids = await cluster.uids()
    leading = await world.leading_operator(cluster.client)
    async with connected(cluster) as gaps:
        begin = time.monotonic()
        pid = world.signal(leading, signal.SIGSTOP)  # so that its supervisor does not start it anew
        try:
            await cluster.change(users={"after_take_over": []})
            await cluster.reachable(user="after_take_over", timeout_s=TAKE_OVER_S + 5)
            assert time.monotonic() - begin < TAKE_OVER_S * PATIENCE
        finally:
            world.signal(leading, signal.SIGKILL)

        async def ended() -> bool:
            return pid not in world.pids(leading)

        await until(ended, "the killed operator to end", timeout_s=20)
    assert max(gaps) < 2 * PATIENCE
    await cluster.settled()
    assert await cluster.uids() == uids


@pytest.mark.local_platform("supervisor and platform are its processes; tests/nodes restarts the control plane")
@pytest.mark.parametrize("name", ["platform", "apiserver", "supervisor"])
async def test_killed_process_of_the_platform_cuts_nobody(cluster_named: Named, world: World, name: str) -> None:
    cluster = cluster_named(f"acid-kill-{name}")
    await cluster.create(numberOfInstances=1)
    await cluster.settled()
    uids = await cluster.uids()
    async with connected(cluster) as gaps:
        old = world.signal(name)
        if name == "supervisor":
            await world.restore()

        async def restarted() -> bool:
            return bool(world.pids(name)) and world.pids(name) != [old]

        await until(restarted, f"{name} to run again", timeout_s=20)
        await world.all_run()
        await cluster.change(users={"afterwards": []})
        await cluster.reachable(user="afterwards")
    assert max(gaps) < 2 * PATIENCE
    await cluster.settled()
    assert await cluster.uids() == uids


async def asked_until_it_breaks(connection: Connection) -> None:
    while True:
        await connection.execute(b"select 1")


@pytest.mark.local_platform("services are no process there")
async def test_killed_services_cut_connections_once_and_lead_on_at_once(cluster_named: Named, world: World) -> None:
    cluster = cluster_named("acid-kill-services")
    await cluster.create(numberOfInstances=1)
    await cluster.settled()
    uids = await cluster.uids()
    async with await cluster.connect() as connection:
        world.signal("services")
        with pytest.raises(psycopg.OperationalError):
            await asked_until_it_breaks(connection)
    begin = time.monotonic()
    await cluster.reachable(timeout_s=15)
    assert time.monotonic() - begin < 15 * PATIENCE
    assert await cluster.uids() == uids


@pytest.mark.local_platform("supervisor and platform are its processes")
async def test_everything_of_the_operator_and_the_platform_may_die_together(cluster_named: Named, world: World) -> None:
    cluster = cluster_named("acid-kill-all")
    await cluster.create()
    await cluster.settled()
    uids = await cluster.uids()
    for name in ("supervisor", "platform", "apiserver", "operator-0", "operator-1"):
        world.signal(name)
    await cluster.world.restore()
    await world.all_run()
    await cluster.change(users={"afterwards": []})
    await cluster.reachable(user="afterwards", timeout_s=40)
    found = await cluster.settled()
    assert await cluster.uids() == uids
    assert condition(found, "Degraded")["status"] == "False"


async def test_killed_leader_of_a_pair_is_replaced_and_comes_back(cluster_named: Named) -> None:
    cluster = cluster_named("acid-kill-leader")
    await cluster.create()
    await cluster.settled()
    leader = await cluster.leader()
    pod = cluster.world.pod_processes(await cluster.pod_uid(leader))
    send((*pod.everybody, pod.shim), signal.SIGKILL)
    begin = time.monotonic()
    await cluster.reachable(timeout_s=20)
    assert time.monotonic() - begin < 15 * PATIENCE
    await cluster.settled()
