"""Rows of many clusters: the operator as a process of its own against the simulator, 500 clusters of three members."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import fleet, operator_process, processes
from bench.figures import Figure, figure, percentile
from bench.operator_process import OperatorProcess
from bench.world import Wishes, folder, say

MANY, FEW = 500, 100
HANGING = 50
BEATS_PER_HOUR = 360  # loop_wait 10 s
HOURS = 24
RESYNCS = 60
RESYNC_S = 2
CHANGES_PER_ROUND = 10
QUIET_SHARE, BUSY_SHARE = 0.03, 0.5  # of a processor; what hangs is tried again and again
READS = ("get", "list", "watch")
OWN = ("leases", "operatorconfigurations", "customresourcedefinitions")  # the operator's own; of no cluster


@dataclass(frozen=True, slots=True)
class World:
    """A simulator that runs, and where an operator against it keeps its files."""

    process: asyncio.subprocess.Process
    place: Path
    url: str

    async def do(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Send a command to the simulator and wait for its answer."""
        return await _ask(self.process, {"do": name, **arguments})

    async def writes(self) -> int:
        """Writes but the Lease, since the last count."""
        return _writes(await self.do("counts"))


def _writes(counts: Mapping[str, int]) -> int:
    return sum(n for what, n in counts.items() if what.split()[0] not in READS and what.split()[1] not in OWN)


async def _ask(process: asyncio.subprocess.Process, command: Mapping[str, Any]) -> Mapping[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(command).encode() + b"\n")
    await process.stdin.drain()
    answer: Mapping[str, Any] = json.loads(await process.stdout.readline())
    return answer


@asynccontextmanager
async def simulated(clusters: int, *, hanging: int = 0, resync_period: str = "") -> AsyncIterator[World]:
    """A fleet, settled: an operator has written every status once, and has gone."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.simulator", stdin=pipe, stdout=pipe, env=dict(os.environ), limit=2**24
    )
    try:
        with folder("fleet") as place:
            say(f"  filling a simulated API server with {clusters} clusters")
            answer = await _ask(
                process, {"do": "fill", "clusters": clusters, "hanging": hanging, "resync_period": resync_period}
            )
            world = World(process, place, answer["url"])
            async with operator_process.running(world.url, place) as operator:
                await operator.until_decided(clusters - hanging)
                await operator.until_quiet(share=BUSY_SHARE if hanging or resync_period else QUIET_SHARE)
            await world.do("counts")
            yield world
    finally:
        if process.stdin is not None:
            process.stdin.close()
        await processes.stop(process)


async def measure_start(wishes: Wishes) -> list[Figure]:
    """How long a start takes and how much memory it holds then; what a start over settled clusters writes is told."""
    figures = []
    for clusters, memory_key in ((FEW, "fleet-rss-100"), (MANY, "fleet-rss-500")):
        async with simulated(clusters) as world:
            seconds, memory, writes = [], [], 0
            for _ in range(wishes.rounds):
                async with operator_process.running(world.url, world.place) as operator:
                    seconds.append(await operator.until_decided(clusters))
                    await asyncio.sleep(1)
                    memory.append(processes.rss_mib(operator.pid))
                writes += await world.writes()
                say(f"  {clusters} clusters: {seconds[-1]:.2f} s, {memory[-1]:.0f} MiB, {writes} writes")
        figures.append(figure(memory_key, memory))
    note = f"with {writes} writes in all starts but the Lease and the CRDs"
    return [figure("fleet-start", seconds, note), *figures]


async def measure_change(wishes: Wishes) -> list[Figure]:
    """Manifests change while other clusters' members hang: the 99th percentile of the time to the first write."""
    samples = []
    async with simulated(MANY, hanging=HANGING) as world, operator_process.running(world.url, world.place) as operator:
        await operator.until_decided(MANY - HANGING)
        for number in range(wishes.rounds):
            first = HANGING + number * CHANGES_PER_ROUND
            numbers = [HANGING + (first + i) % (MANY - HANGING) for i in range(CHANGES_PER_ROUND)]
            answer = await world.do("change", numbers=numbers, round=number, every_s=0.2)
            samples += answer["latencies_s"]
            if answer["without_write"]:
                raise RuntimeError(f"{answer['without_write']} changes were not acted on")
        say(f"  {len(samples)} changes: p50 {percentile(samples, 0.5):.3f} s, max {max(samples):.3f} s")
    return [figure("fleet-change", [percentile(samples, 0.99)], f"99th percentile of {len(samples)} changes")]


async def measure_churn(wishes: Wishes) -> list[Figure]:
    """Memory before and after a day of heartbeats, and of replicas that die and are made anew."""
    clusters = MANY if wishes.full else FEW
    async with simulated(clusters) as world, operator_process.running(world.url, world.place) as operator:
        await operator.until_decided(clusters)
        await world.do("beat", times=10)
        await operator.until_quiet()
        before, events = processes.rss_mib(operator.pid), 0
        for hour in range(HOURS):
            answer = await world.do("beat", times=BEATS_PER_HOUR)
            events += answer["events"]
            await world.do("replace_pods", numbers=[(hour * 5 + i) % clusters for i in range(5)])
            say(f"  hour {hour + 1}: {processes.rss_mib(operator.pid):.1f} MiB (before: {before:.1f})")
        await operator.until_quiet()
        after = processes.rss_mib(operator.pid)
    note = f"{clusters} clusters, {events} events, 5 replicas an hour made anew; {before:.1f} → {after:.1f} MiB"
    return [figure("fleet-churn", [(after / before - 1) * 100], note)]


async def measure_resyncs(wishes: Wishes) -> list[Figure]:
    """Resyncs every two seconds, the members reporting before each."""
    resyncs = RESYNCS if wishes.rounds >= 20 else max(3, 3 * wishes.rounds)
    period = f"{RESYNC_S}s"
    async with (
        simulated(FEW, resync_period=period) as world,
        operator_process.running(world.url, world.place) as operator,
    ):
        await operator.until_decided(FEW)
        await world.do("counts")
        passes, began = await operator.passes(), time.monotonic()
        while (made := (await operator.passes() - passes) / FEW) < resyncs:
            await world.do("beat", times=1)
            await asyncio.sleep(RESYNC_S / 2)
            if time.monotonic() - began > 10 * RESYNC_S * resyncs:
                raise TimeoutError(f"{made:.1f} resyncs in {time.monotonic() - began:.0f} s, {resyncs} were due")
        counts = await world.do("counts")
        say(f"  {made:.1f} resyncs in {time.monotonic() - began:.0f} s: {dict(counts)}")
    writes = _writes(counts)
    gets = sum(n for what, n in counts.items() if what.split()[0] in ("get", "list") and what.split()[1] not in OWN)
    note = f"{made:.0f} resyncs of {FEW} clusters, {RESYNC_S} s apart"
    return [figure("fleet-resync-writes", [writes], note), figure("fleet-resync-gets", [gets / (FEW * made)], note)]


async def measure_events(wishes: Wishes) -> list[Figure]:
    """Processor time for pod events that change nothing, each in a chunk of its own; idle time is taken off."""
    async with simulated(FEW) as world, operator_process.running(world.url, world.place) as operator:
        await operator.until_decided(FEW)
        await operator.until_quiet()
        passes = await operator.passes()
        samples = [await _event_cost_us(world, operator) for _ in range(wishes.rounds)]
        passes = await operator.passes() - passes
    size = len(fleet.heartbeat("x" * 12, 1, fleet.QUIET_IP, fleet.START_LSN))
    return [figure("fleet-event-cpu", samples, f"each event one chunk; annotation of {size} bytes; {passes} passes")]


async def _event_cost_us(world: World, operator: OperatorProcess) -> float:
    began, before = time.monotonic(), processes.cpu_s(operator.pid)
    events = int((await world.do("beat", times=10, together=False))["events"])
    await asyncio.sleep(0.5)
    busy_s, used = time.monotonic() - began, processes.cpu_s(operator.pid) - before
    idle_before = processes.cpu_s(operator.pid)
    await asyncio.sleep(busy_s)
    idle = processes.cpu_s(operator.pid) - idle_before
    return (used - idle) / events * 1e6
