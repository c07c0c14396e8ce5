"""Random faults under clients that write all the time: `python -m e2e.chaos --rounds N [--seed S] [--only FAULT,…]`.

Each round: one to three faults, then everything has to become Running and quiet, and every acknowledged write has to be
there; all the time no two servers that accept writes may be reachable through the service. The seed repeats the choice
of faults, not the world's timing.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from e2e.clusters import PostgresCluster
from e2e.faults import FAULTS, Ground, persist
from e2e.local_world import end, ending, public_folder, start
from e2e.world import World
from e2e.writing import Probe, Writer, lost, probing, split_brain, writing
from lifetimes import guarded

MEMBERS = 3
SETTLE_TIMEOUT_S = 120.0
NAME, OTHER = "acid-chaos", "acid-other"


@dataclass(slots=True)
class Report:
    """What happened, and the verdict."""

    seed: int
    rounds: int = 0
    violations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        """One line with the time since the start."""
        line = f"{time.monotonic() - self.begun:7.1f}  {text}"
        self.lines.append(line)
        print(line, flush=True)


async def run(
    world: World, *, rounds: int, seed: int, only: Sequence[str] = (), limit_s: float | None = None
) -> Report:
    """Rounds of faults on a platform that runs; stops at the first violation, or when `limit_s` have passed."""
    report = Report(seed)
    report.tell(f"seed {seed}, {rounds} rounds")
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(world.client())
        cluster, other = PostgresCluster(world, client, NAME), PostgresCluster(world, client, OTHER)
        await cluster.create(numberOfInstances=MEMBERS, patroni={"synchronous_mode": True})
        await other.create(numberOfInstances=1)
        await cluster.settled()
        await other.settled()
        writer = await stack.enter_async_context(writing(cluster, clients=2))
        probe = await stack.enter_async_context(probing(cluster, seed))
        ground = Ground(cluster, other, random.Random(seed), report.tell)
        for number in range(1, rounds + 1):
            if limit_s is not None and time.monotonic() - report.begun > limit_s:
                report.tell(f"{limit_s:g} s have passed: no further round")
                break
            await _round(number, ground, writer, probe, report, only)
            report.rounds = number
            if report.violations:
                break
    if not report.violations:
        await cluster.delete()
        await other.delete()
        await cluster.gone()
        await other.gone()
    return report


async def _round(
    number: int, ground: Ground, writer: Writer, probe: Probe, report: Report, only: Sequence[str]
) -> None:
    names = list(only) or list(FAULTS)
    weights = [FAULTS[name][0] for name in names]
    chosen = ground.chance.choices(names, weights, k=ground.chance.choice((1, 1, 2, 3)))
    report.tell(f"round {number}: {', '.join(chosen)}")
    writer.restart_clock()
    for name in chosen:
        await persist(name, ground)
        await asyncio.sleep(ground.chance.choice((0.0, 0.1, 0.5, 2.0)))
    try:
        await ground.cluster.world.all_run(SETTLE_TIMEOUT_S)
        await ground.cluster.quiet(SETTLE_TIMEOUT_S)
        await ground.other.settled(SETTLE_TIMEOUT_S)
    except AssertionError as error:
        report.violations.append(str(error))
    report.violations += await _verdict(ground.cluster, writer, probe)
    report.tell(
        f"  {len(writer.acknowledged)} writes acknowledged, {len(writer.unknown)} unknown, longest gap "
        f"{writer.longest_gap_s:.1f} s, {len(probe.accepted)} probes; "
        + ("; ".join(report.violations) if report.violations else "ok")
    )


async def _verdict(cluster: PostgresCluster, writer: Writer, probe: Probe) -> list[str]:
    found = []
    split = split_brain(probe.accepted)
    if split is not None:
        found.append(f"two servers accepted writes: {split}")
    del probe.accepted[:-200]
    try:
        missing = await lost(cluster, writer)
    except Exception as error:  # noqa: BLE001 - whatever it is, the writes could not be read back
        return [*found, f"the writes cannot be read back: {error}"]
    if missing:
        found.append(f"{len(missing)} acknowledged writes are lost, such as {missing[:5]}")
    return found


async def _main(rounds: int, seed: int, only: Sequence[str], keep: bool) -> int:
    parent = public_folder()
    print(f"platform in {parent}/p", flush=True)
    with guarded(*(("true",) if keep else ending(parent / "p"))):
        world = await start(parent / "p", operators=2)
        try:
            report = await run(world, rounds=rounds, seed=seed, only=only)
        finally:
            if not keep:
                left = await end(world)
    if keep:
        print(f"kept: {world.directory}; end it with `howdah local down --remove --dir {world.directory}`")
        return 1 if report.violations else 0
    shutil.rmtree(parent)
    report.violations += [f"left behind: {what}" for what in left]
    for violation in report.violations:
        print(f"VIOLATION: {violation}")
    verdict = "FAILED" if report.violations else "passed"
    print(f"{verdict}: {report.rounds} of {rounds} rounds; repeat with --seed {seed}")
    return 1 if report.violations else 0


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Random faults under clients that write all the time.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="repeats a choice of faults (default: a new one)")
    parser.add_argument("--only", default="", help=f"faults by name, with commas: {', '.join(FAULTS)}")
    parser.add_argument("--keep", action="store_true", help="leave the platform running, to look at it")
    given = parser.parse_args()
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    if unknown := [name for name in only if name not in FAULTS]:
        parser.error(f"no such fault: {', '.join(unknown)}")
    seed = given.seed if given.seed is not None else secrets.randbelow(10**6)
    sys.exit(asyncio.run(_main(given.rounds, seed, only, given.keep)))


if __name__ == "__main__":
    main()
