"""Rows of pure processor time: the command's start, rendering, resolving and building, one quiet pass."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import yaml

from bench import fleet, operator_process, processes, roles
from bench.figures import Figure, figure
from bench.scale import FEW, simulated
from bench.world import Wishes, say
from howdah.core.objects.build import build
from howdah.core.resolve import resolve
from howdah.model.settings import default_settings

LARGEST = Path(__file__).parents[1] / "examples" / "complete.yaml"
CLUSTERS = 1_000
TIMEOUT_S = 30.0


async def measure_help(wishes: Wishes) -> list[Figure]:
    """The wall time of the command, files cached."""
    argv = [sys.executable, "-m", "howdah.cli.main", "--help"]
    _timed(argv)
    return [figure("help", [_timed(argv) for _ in range(wishes.rounds)])]


def _timed(argv: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S, env=dict(os.environ))
    return time.perf_counter() - began


async def measure_build(wishes: Wishes) -> list[Figure]:
    """In this process: the largest manifest from its text to the text of its objects; and a thousand clusters."""
    settings, _ = default_settings()
    text = LARGEST.read_text()
    render_ms, build_s = [], []
    for _ in range(wishes.rounds):
        began = time.perf_counter()
        bodies = build(resolve(next(yaml.load_all(text, yaml.CSafeLoader)), settings))
        yaml.dump_all(bodies, Dumper=yaml.CSafeDumper)
        render_ms.append((time.perf_counter() - began) * 1000)
    manifests = [fleet.manifest(f"acid-c{number:04d}") for number in range(CLUSTERS)]
    known = fleet.settings()
    for _ in range(wishes.rounds):
        began = time.perf_counter()
        for manifest in manifests:
            build(resolve(manifest, known))
        build_s.append(time.perf_counter() - began)
    return [figure("render-largest", render_ms, LARGEST.name), figure("resolve-build", build_s)]


async def measure_difference(wishes: Wishes) -> list[Figure]:
    """In this process: from the sections of a manifest to no statement, every user rotated, half of the databases prepared."""
    request = roles.request()
    catalogue = roles.as_desired(request)
    samples = []
    for _ in range(wishes.rounds):
        began = time.perf_counter()
        if roles.missing(request, catalogue):
            raise RuntimeError("the catalogue lacks something: that is another comparison")
        samples.append((time.perf_counter() - began) * 1000)
    return [figure("difference", samples)]


async def measure_pass(wishes: Wishes) -> list[Figure]:
    """Processor time of the operator, divided by the passes of as many resyncs; idle time and Lease included."""
    samples = []
    async with (
        simulated(FEW, resync_period="2s") as world,
        operator_process.running(world.url, world.place) as operator,
    ):
        await operator.until_decided(FEW)
        await asyncio.sleep(4)
        for _ in range(wishes.rounds):
            passes, before = await operator.passes(), processes.cpu_s(operator.pid)
            await asyncio.sleep(3)
            used = processes.cpu_s(operator.pid) - before
            made = await operator.passes() - passes
            if made < FEW:
                raise RuntimeError(f"{made} passes of {FEW} clusters in 3 s: the resync period is not in force")
            samples.append(used / made * 1000)
    say(f"  median {statistics.median(samples):.2f} ms")
    return [figure("quiet-pass", samples, f"all that the process uses, by {FEW} clusters' passes every 2 s")]
