"""Rows of the local platform: real PostgreSQL and Patroni, from the manifest to the first write, and through failures."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.figures import Figure, figure
from bench.platform import NAMESPACE, LocalPlatform, PostgresCluster, started, until
from bench.watches import verdict
from bench.world import Wishes, folder, say
from bench.writer import writing
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube import resources as r

AWAY_S, AWAY_SHORT_S = 600.0, 60.0
BETWEEN_S = 1.0
LOOP_WAIT_S = 10.0


async def measure_lifecycle(wishes: Wishes) -> list[Figure]:
    """Create and delete, again and again."""
    primary, replica, gone = [], [], []
    async with started() as world:
        for number in range(wishes.rounds):
            cluster = PostgresCluster(world, f"acid-b{number}")
            began = time.perf_counter()
            await cluster.create()
            await cluster.until_writable()
            primary.append(time.perf_counter() - began)
            await cluster.until_streaming(1)
            replica.append(time.perf_counter() - began)
            await cluster.settled(2)
            gone.append(await cluster.delete())
            say(f"  primary {primary[-1]:.2f} s, replica {replica[-1]:.2f} s, deleted {gone[-1]:.2f} s")
    return [figure("create-primary", primary), figure("create-replica", replica), figure("delete", gone)]


async def measure_demo(wishes: Wishes) -> list[Figure]:
    """The command that `make demo` runs, with a folder of its own."""
    samples = []
    for _ in range(wishes.rounds):
        with folder("demo") as parent:
            place = str(parent / "p")
            began = time.perf_counter()
            try:
                await _run("local", "up", "examples/minimal.yaml", "--dir", place)
                samples.append(time.perf_counter() - began)
            finally:
                await _run("local", "down", "--remove", "--dir", place)
        say(f"  {samples[-1]:.1f} s")
    return [figure("demo", samples)]


async def _run(*words: str) -> None:
    argv = (sys.executable, "-m", "howdah.cli.main", *words)
    quiet = asyncio.subprocess.DEVNULL
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdout=quiet, stderr=pipe, cwd=Path(__file__).parents[1])
    _, said = await asyncio.wait_for(process.communicate(), 180)
    if process.returncode:
        raise RuntimeError(f"howdah {' '.join(words)} ended with code {process.returncode}: {said.decode()[-500:]}")


async def measure_failures(wishes: Wishes) -> list[Figure]:
    """Gaps in writes: a planned switchover, and killed processes of a pod that has not crashed before."""
    switched, killed = [], []
    async with _one_cluster(2) as cluster:
        for _ in range(wishes.rounds):
            switched.append(await _gap_s(cluster, _switch_over))
            victim = await cluster.leader()
            killed.append(await _gap_s(cluster, _kill))
            await _renew_pod(cluster, victim)  # a second crash of the same pod would wait for its back-off
            say(f"  switchover {switched[-1]:.2f} s, killed {killed[-1]:.2f} s")
    return [figure("switchover", switched), figure("leader-killed", killed)]


async def measure_proved(wishes: Wishes) -> list[Figure]:
    """The pod is deleted and its processes killed at once; a synchronous standby has all commits, so nothing waits."""
    samples = []
    async with _one_cluster(2, synchronous_mode=True) as cluster:
        for _ in range(wishes.rounds):
            await cluster.until_synchronous()
            samples.append(await _gap_s(cluster, _delete_and_kill))
            say(f"  {samples[-1]:.2f} s")
    return [figure("leader-gone-proved", samples, "synchronous_mode on")]


async def measure_lease(wishes: Wishes) -> list[Figure]:
    """Nothing says that the leader is gone: its processes are stopped, not dead, at any moment of its loop."""
    samples = []
    moments = random.Random(1)
    async with _one_cluster(2) as cluster:
        for _ in range(wishes.rounds):
            await asyncio.sleep(moments.uniform(0, LOOP_WAIT_S))
            samples.append(await _gap_s(cluster, _stop, timeout_s=90))
            say(f"  {samples[-1]:.1f} s")
    return [figure("leader-gone-lease", samples, "the leader's processes are stopped (SIGSTOP), and woken afterwards")]


Fault = Callable[[PostgresCluster], Awaitable[Callable[[], None] | None]]
"""Does it; may answer what undoes it."""


async def _gap_s(cluster: PostgresCluster, fault: Fault, *, timeout_s: float = 60) -> float:
    """The longest time without an acknowledged write around a fault; returns when the cluster is whole again."""
    await asyncio.sleep(BETWEEN_S)
    async with writing(cluster) as writer:
        began = time.perf_counter()
        undo = await fault(cluster)
        try:
            await writer.until_writing(began, timeout_s)
        finally:
            if undo is not None:
                undo()
        gap_s = writer.longest_gap_s(began)
    await cluster.until_streaming(1)
    await cluster.settled(2)
    return gap_s


async def _switch_over(cluster: PostgresCluster) -> None:
    kubeconfig = str(cluster.world.platform.kubeconfig)
    await _run("switchover", cluster.name, "--kubeconfig", kubeconfig, "--namespace", NAMESPACE)


async def _kill(cluster: PostgresCluster) -> None:
    pod = await cluster.pod(await cluster.leader())
    cluster.world.signal_pod(pod["metadata"]["uid"], signal.SIGKILL)


async def _renew_pod(cluster: PostgresCluster, name: str) -> None:
    """Another pod of the same name, with nothing to its discredit."""
    before = (await cluster.pod(name))["metadata"]["uid"]
    await cluster.world.client.delete(r.PODS, name, namespace=NAMESPACE, uid=before)

    async def question() -> bool:
        return bool((await cluster.pod(name))["metadata"]["uid"] != before)

    await until(question, f"another pod {name}")
    await cluster.until_streaming(1)
    await cluster.settled(2)


async def _delete_and_kill(cluster: PostgresCluster) -> None:
    pod = await cluster.pod(await cluster.leader())
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    await cluster.world.client.delete(r.PODS, name, namespace=NAMESPACE, uid=uid)
    cluster.world.signal_pod(uid, signal.SIGKILL)


async def _stop(cluster: PostgresCluster) -> Callable[[], None]:
    uid = (await cluster.pod(await cluster.leader()))["metadata"]["uid"]
    cluster.world.signal_pod(uid, signal.SIGSTOP)
    return lambda: cluster.world.signal_pod(uid, signal.SIGCONT)


async def measure_outage(wishes: Wishes) -> list[Figure]:
    """The API server is killed again and again before it can answer, and its history is gone when it is back."""
    away_s = AWAY_S if wishes.full else AWAY_SHORT_S
    async with _one_cluster(3) as cluster:
        async with writing(cluster) as writer:
            log = cluster.world.platform.directory / "log" / "apiserver.log"
            stopped = _signal(cluster.world, "apiserver", signal.SIGSTOP)
            before = log.read_text()
            await asyncio.sleep(away_s)
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)  # the next one has no history: each watch is answered 410
            await until(cluster.resource, "the API server")
            await asyncio.sleep(15)
            failed, gap = writer.failed, writer.longest_gap_s(0)
        await cluster.settled(3)
        watched = verdict(before, log.read_text().removeprefix(before))
    note = f"away for {away_s:g} s; longest gap between two writes {gap:.2f} s; {watched}"
    return [figure("api-away", [failed], note)]


async def measure_operator(wishes: Wishes) -> list[Figure]:
    """kill -9 of the leading operator, at the same time a changed manifest: until a service shows the change."""
    samples = []
    async with started(operators=2) as world:
        cluster = PostgresCluster(world, "acid-b0")
        await cluster.create(numberOfInstances=1)
        await cluster.settled(1)
        for number in range(wishes.rounds):
            await asyncio.sleep(BETWEEN_S)
            began = time.perf_counter()
            _signal(world, await world.leading_operator(), signal.SIGKILL)
            await _annotate_services(cluster, str(number))
            samples.append(time.perf_counter() - began)
            say(f"  {samples[-1]:.1f} s")
            await until(world.leading_operator, "an operator that leads")
    return [figure("operator-killed", samples)]


async def _annotate_services(cluster: PostgresCluster, value: str) -> None:
    key, client = "bench.howdah.dev/round", cluster.world.client
    patch = {"spec": {"serviceAnnotations": {key: value}}}
    await client.merge_patch(POSTGRESQLS, cluster.name, patch, namespace=NAMESPACE)

    async def question() -> bool:
        service = await client.get(r.SERVICES, cluster.name, namespace=NAMESPACE)
        return bool((service["metadata"].get("annotations") or {}).get(key) == value)

    await until(question, "the other operator to act")


def _signal(world: LocalPlatform, name: str, number: int) -> list[int]:
    pids = world.pids(name)
    for pid in pids:
        os.kill(pid, number)
    return pids


@asynccontextmanager
async def _one_cluster(members: int, **patroni: object) -> AsyncIterator[PostgresCluster]:
    async with started() as world:
        cluster = PostgresCluster(world, "acid-b0")
        await cluster.create(numberOfInstances=members, patroni=patroni)
        await cluster.settled(members)
        yield cluster
