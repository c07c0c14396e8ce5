"""`python -m bench.nodes`: failover on three real nodes, inside the lane of `make nodes-up`; what is asked is issue 4's table.

A probe in the cluster writes every 20 ms through the service (bench/nodes_probe.py); every gap is between two writes that were
acknowledged. Run by `make bench-nodes`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.report import machine, number
from e2e.clusters import PostgresCluster
from e2e.nodes_world import CGROUPS, OPERATOR_NAMESPACE, NodesWorld, here
from e2e.world import until
from howdah.kube.client import Client
from howdah.kube.errors import NotFound
from howdah.kube.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)

PATRONI = {"ttl": 20, "loop_wait": 5, "retry_timeout": 5}
NAME, PROBE = "acid-bench", "probe"
QUIET_S = 120.0
STEADY_S = 3.0
CLEAR_S, CLEAR_TIMEOUT_S = 5.0, 30.0
CLEAN_MIB = 8.0
ANSWERS_WITHIN_S = 0.1
NEIGHBOURS = {  # the asked median, and what was measured of CloudNativePG 1.30 and Patroni 3.0
    "create → first write": ("s", 4, "18.1", "5.4"),
    "create → all three streaming": ("s", 10, "57", "10.7"),
    "switchover": ("s", 2, "7.7", "2.4"),
    "leader's postgres kill -9": ("s", 2.5, "7.9", "3.3"),
    "leader's pod deleted: gap": ("s", 2.5, "2.9", "2.5"),
    "leader's pod deleted: until new connections write": ("s", 2.5, "187", "2.9"),
    "leader's pod force-deleted": ("s", 2, "18.1", "2.0"),
    "leader's pod force-deleted, operator at 0 replicas": ("s", 2, "never", "2.0"),
    "leader's node cut off": ("s", 21, "72", "23"),
    "leader's node cut off: healed after it is back": ("s", 4, "> 146", "4.2"),
    "cluster deleted → everything gone": ("s", 5, "7.6 (a secret left)", "–"),
    "PSS of the agent beside PostgreSQL, per pod": ("MiB", 40, "61", "37"),
    "API requests per minute, one quiet cluster, operator included": ("requests", 50, "85", "48"),
}
DELETED = (
    PODS,
    SERVICES,
    SECRETS,
    CONFIGMAPS,
    ENDPOINTS,
    STATEFUL_SETS,
    POD_DISRUPTION_BUDGETS,
    PERSISTENT_VOLUME_CLAIMS,
)

Fault = Callable[["Bench"], Awaitable[None]]


@dataclass(slots=True)
class Bench:
    """The cluster, its probe's node, and the samples by row."""

    world: NodesWorld
    client: Client
    cluster: PostgresCluster
    rounds: int
    samples: dict[str, list[float]] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)

    def note(self, row: str, value: float) -> None:
        """A sample, said at once."""
        self.samples.setdefault(row, []).append(value)
        print(f"  {row}: {value:.2f}", file=sys.stderr, flush=True)

    async def leader(self) -> tuple[str, str]:
        """Name and uid of the leader's pod."""
        name = await self.cluster.leader()
        return name, await self.cluster.pod_uid(name)


# --- the probe ----------------------------------------------------------------------------------------------------


async def start_probe(bench: Bench, node: str) -> None:
    """A pod on this node that writes on."""
    operators = (
        await bench.client.list(PODS, namespace=OPERATOR_NAMESPACE, labels="app.kubernetes.io/name=howdah")
    ).items
    secret = {"name": bench.cluster.secret_name("zalando"), "key": "password"}
    env = [
        {"name": "CONNINFO", "value": f"host={NAME} user=zalando dbname=foo"},
        {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": secret}},
    ]
    source = Path(__file__).with_name("nodes_probe.py").read_text()
    container = {
        "name": PROBE,
        "image": operators[0]["spec"]["containers"][0]["image"],
        "command": ["python3", "-P", "-c", source],
        "env": env,
    }
    spec = {"nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]}
    await bench.cluster.run("create table if not exists probe (id bigint primary key, at timestamptz default now())")
    await bench.client.create(PODS, {"metadata": {"name": PROBE}, "spec": spec}, namespace=OPERATOR_NAMESPACE)
    await until(lambda: _writes(bench), "the probe to write", timeout_s=60)


async def _writes(bench: Bench) -> bool:
    return bool(answers(bench, "held"))


def answers(bench: Bench, kind: str) -> list[float]:
    """When writes of this kind were acknowledged, Unix seconds, oldest first."""
    return [float(words[1]) for words in _said(bench) if words[0] == kind]


def _said(bench: Bench) -> list[list[str]]:
    """The probe's lines, from the container's log on this machine: a node that is cut off has nothing to do with it."""
    files = sorted(bench.world.directory.glob(f"log/node-*/{OPERATOR_NAMESPACE}_{PROBE}_*/{PROBE}/*.log*"))
    lines = [line.split(" ", 3)[3] for file in files for line in file.read_text().splitlines() if " stdout F " in line]
    return [line.split() for line in lines]


def longest_gap_s(bench: Bench, kind: str, since: float) -> float:
    """Between two acknowledged writes, of which the later came after `since`."""
    found = answers(bench, kind)
    pairs = itertools.pairwise(found)
    return max((later - earlier for earlier, later in pairs if later >= since), default=float("inf"))


async def checked(bench: Bench) -> None:
    """The probe reads everything back."""
    pod = await bench.client.get(PODS, PROBE, namespace=OPERATOR_NAMESPACE)
    before = len(bench.checks)
    os.kill(bench.world.pod_processes(pod["metadata"]["uid"]).shim, signal.SIGUSR1)

    async def question() -> bool:
        bench.checks[:] = [" ".join(words) for words in _said(bench) if words[0] == "lost"]
        return len(bench.checks) > before

    await until(question, "the probe to read back", timeout_s=120)


# --- faults -------------------------------------------------------------------------------------------------------


async def switch_over(bench: Bench) -> None:
    """To the first replica."""
    await bench.cluster.switch_over((await bench.cluster.replicas())[0])


async def kill_postgres(bench: Bench) -> None:
    """The postmaster of the leader."""
    _, uid = await bench.leader()
    for pid in bench.world.pod_processes(uid).postmaster:
        os.kill(pid, signal.SIGKILL)


def delete_pod(grace_s: int | None) -> Fault:
    """The leader's, in good order or at once."""

    async def fault(bench: Bench) -> None:
        name, uid = await bench.leader()
        await bench.client.delete(PODS, name, namespace=bench.cluster.namespace, uid=uid, grace_period_s=grace_s)

    return fault


async def gap(bench: Bench, fault: Fault) -> float:
    """When it was done; writes have stopped and gone on for a while."""
    await steady(bench, time.time() - STEADY_S)
    begun = time.time()
    await fault(bench)
    await asyncio.sleep(0.5)
    await steady(bench, begun)
    return begun


async def steady(bench: Bench, since: float) -> None:
    """Wait until writes over both sorts of connections have gone on for some seconds."""

    async def question() -> bool:
        now = time.time()
        if now < since + STEADY_S + 1:
            return False
        recent = [[at for at in answers(bench, kind) if at > now - STEADY_S] for kind in ("held", "new")]
        return all(found and found[0] < now - STEADY_S + 0.5 and found[-1] > now - 0.5 for found in recent) and all(
            b - a < 0.5 for found in recent for a, b in itertools.pairwise(found)
        )

    await until(question, "writes to go on", timeout_s=180, every_s=0.25)


# --- rows ---------------------------------------------------------------------------------------------------------


async def measure_creation(bench: Bench) -> None:
    """Create and delete, again and again; the last one stays."""
    for index in range(bench.rounds):
        if index:
            await _cleared(bench, await _delete(bench))
        begun = time.time()
        await bench.cluster.create(numberOfInstances=3, patroni=PATRONI)
        await _first_write(bench)
        bench.note("create → first write", time.time() - begun)
        await _all_stream(bench)
        bench.note("create → all three streaming", time.time() - begun)
        await bench.cluster.settled(120)


async def _delete(bench: Bench) -> list[str]:
    """The uids of the pods that were."""
    uids = list((await bench.cluster.uids()).values())
    claims = await bench.cluster.owned(PERSISTENT_VOLUME_CLAIMS)
    volumes = [claim["spec"]["volumeName"] for claim in claims]
    begun = time.time()
    await bench.cluster.delete()

    async def gone() -> bool:
        left = [item for kind in DELETED for item in await bench.cluster.owned(kind)]
        return not left and not await _exist(bench, volumes)

    await until(gone, "everything to be gone", timeout_s=120, every_s=0.05)
    await bench.cluster.gone()
    bench.note("cluster deleted → everything gone", time.time() - begun)
    return uids


async def _cleared(bench: Bench, uids: list[str]) -> None:
    """Nodes have nothing more of these pods, nor the machine anything to write: no user's new cluster meets another's remains.

    For some seconds on end: a kubelet looks every two for what it may take away, and ext4 commits every five. A machine that
    does other things may never get there: after a while it is said what is left, and the round begins.
    """
    await asyncio.to_thread(os.sync)
    begun = since = time.monotonic()
    while time.monotonic() < min(since + CLEAR_S, begun + CLEAR_TIMEOUT_S):
        if left_on_nodes(bench.world.directory, uids) or unwritten_mib() > CLEAN_MIB:
            since = time.monotonic()
        await asyncio.sleep(0.1)
    if time.monotonic() < since + CLEAR_S:
        left = [str(path) for path in left_on_nodes(bench.world.directory, uids)]
        print(f"  begun with {left} on nodes, {unwritten_mib():.0f} MiB to be written", file=sys.stderr, flush=True)


def left_on_nodes(directory: Path, uids: list[str], cgroups: Path = CGROUPS) -> list[Path]:
    """Folders and cgroups of pods that a kubelet has not taken away yet."""
    kubelets = [directory.glob(f"node-?/kubelet/pods/{uid}") for uid in uids]
    places = [f"{version}howdah-*/node-?/kubepods/{quality}pod" for version in ("", "pids/") for quality in ("", "*/")]
    return [path for found in (*kubelets, *(cgroups.glob(f"{p}{u}") for p in places for u in uids)) for path in found]


def unwritten_mib() -> float:
    """What the machine has to write to its disks yet."""
    sizes = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(sizes[name].split()[0]) for name in ("Dirty", "Writeback")) / 1024


async def _exist(bench: Bench, volumes: list[str]) -> bool:
    for volume in volumes:
        try:
            await bench.client.get(PERSISTENT_VOLUMES, volume)
        except NotFound:
            continue
        return True
    return False


async def _first_write(bench: Bench) -> None:
    """Whether anybody is behind the service is asked by itself: TCP would try again after a second only, and then after two."""

    async def question() -> bool:
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                _, held = await asyncio.open_connection(await bench.cluster.address(), 5432)
            held.close()
            await bench.cluster.run("create table if not exists first (id int); insert into first values (1)")
        except (psycopg.Error, NotFound):
            return False
        return True

    await until(question, "the first write", timeout_s=180, every_s=0.02)


async def _all_stream(bench: Bench) -> None:
    async def question() -> bool:
        sql = "select count(*) from pg_stat_replication where state = 'streaming'"
        try:
            return bool(await bench.cluster.ask(sql, user="postgres", database="postgres") == 2)
        except psycopg.Error:
            return False

    await until(question, "both replicas to stream", timeout_s=180, every_s=0.05)


async def measure_fault(bench: Bench, row: str, fault: Fault, new_row: str = "") -> None:
    """One round after the other, each on a settled cluster."""
    for _ in range(bench.rounds):
        await bench.cluster.settled(180)
        begun = await gap(bench, fault)
        held, new = longest_gap_s(bench, "held", begun), longest_gap_s(bench, "new", begun)
        bench.note(row, held if new_row else max(held, new))
        if new_row:
            bench.note(new_row, new)
    await bench.cluster.settled(180)


@asynccontextmanager
async def no_operator(bench: Bench) -> AsyncIterator[None]:
    """At 0 replicas while the block runs. Nobody writes the status meanwhile."""
    place = {"namespace": OPERATOR_NAMESPACE}
    await bench.client.merge_patch(DEPLOYMENTS, "howdah", {"spec": {"replicas": 0}}, **place)

    async def gone() -> bool:
        return not (await bench.client.list(PODS, **place, labels="app.kubernetes.io/name=howdah")).items

    await until(gone, "the operators to be gone", timeout_s=60)
    try:
        yield
    finally:
        await bench.client.merge_patch(DEPLOYMENTS, "howdah", {"spec": {"replicas": 2}}, **place)
        await until(lambda: _answers(bench), "the operators to be back", timeout_s=120)


async def _answers(bench: Bench) -> bool:
    await bench.world.all_run(60)
    return True


async def measure_without_operator(bench: Bench) -> None:
    """The leader is found by its label: the status is as old as the operator's end."""
    for _ in range(bench.rounds):
        await bench.cluster.settled(180)
        async with no_operator(bench):
            begun = await gap(bench, delete_pod(0))
            value = max(longest_gap_s(bench, kind, begun) for kind in ("held", "new"))
            bench.note("leader's pod force-deleted, operator at 0 replicas", value)


async def measure_cut_off(bench: Bench, probe_node: str) -> None:
    """The leader's node, never the probe's own; the rounds are spread over the time between two renewals of the lock."""
    for index in range(bench.rounds):
        await bench.cluster.settled(240)
        name, _ = await bench.leader()
        if await bench.world.node_of(bench.client, name) == probe_node:
            await switch_over(bench)
            await bench.cluster.status_where("another leader", lambda r, old=name: r["status"].get("leader") != old)
            await bench.cluster.settled(180)
            name, _ = await bench.leader()
        node = await bench.world.node_of(bench.client, name)
        await steady(bench, time.time() - STEADY_S)
        await _renewed(bench)
        await asyncio.sleep((index + 0.5) / bench.rounds * PATRONI["loop_wait"])
        begun = time.time()
        async with bench.world.cut_off(node):
            await asyncio.sleep(1)
            await steady(bench, begun)
            bench.note("leader's node cut off", max(longest_gap_s(bench, kind, begun) for kind in ("held", "new")))
        back = time.time()
        await _all_stream(bench)
        bench.note("leader's node cut off: healed after it is back", time.time() - back)


async def _renewed(bench: Bench) -> None:
    """Wait for a renewal of the lock. The waits before a round end with one, too: the worst moment, time and again."""

    async def renewal() -> str:
        leader = await bench.client.get(CONFIGMAPS, f"{NAME}-leader", namespace=bench.cluster.namespace)
        return str(leader["metadata"]["annotations"]["renewTime"])

    before = await renewal()

    async def question() -> bool:
        return await renewal() != before

    await until(question, "the lock to be renewed", timeout_s=60)


async def measure_memory(bench: Bench) -> None:
    """What runs in the database container and is not PostgreSQL."""
    for uid in (await bench.cluster.uids()).values():
        pod = bench.world.pod_processes(uid)
        agents = set(pod.everybody) - set(pod.postgres)
        bench.note("PSS of the agent beside PostgreSQL, per pod", sum(map(pss_mib, agents)))


def pss_mib(pid: int) -> float:
    """Proportional set size of one process; nothing of one that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


async def measure_requests(bench: Bench) -> None:
    """By the API server's audit log: what the operators' and the pods' accounts of this namespace ask."""
    await bench.client.delete(PODS, PROBE, namespace=OPERATOR_NAMESPACE)
    await bench.cluster.quiet(120)
    await asyncio.sleep(20)
    log = bench.world.directory / "log" / "audit"
    before = len(log.read_text().splitlines())
    await asyncio.sleep(QUIET_S)
    lines = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    bench.note("API requests per minute, one quiet cluster, operator included", len(lines) / QUIET_S * 60)
    counted: dict[str, int] = {}
    for line in lines:
        what = f"{line['user']['username'].rpartition(':')[2]} {line['verb']} {line['objectRef'].get('resource')}"
        counted[what] = counted.get(what, 0) + 1
    print(json.dumps(counted, indent=1), file=sys.stderr)


# --- all of it ----------------------------------------------------------------------------------------------------


async def measure(world: NodesWorld, rounds: int, only: tuple[str, ...]) -> Bench:
    """Everything, or what was named; at the end the probe's writes are read back."""
    async with world.client() as client:
        bench = Bench(world, client, PostgresCluster(world, client, NAME), rounds)
        await measure_creation(bench if not only or "create" in only else _once(bench))
        node = await _quiet_node(bench)
        await start_probe(bench, node)
        # A lost node first: pg_rewind copies all of pg_wal, to which each failover adds a segment or two.
        steps: Mapping[str, Callable[[], Awaitable[None]]] = {
            "cut": lambda: measure_cut_off(bench, node),
            "switchover": lambda: measure_fault(bench, "switchover", switch_over),
            "kill": lambda: measure_fault(bench, "leader's postgres kill -9", kill_postgres),
            "delete": lambda: measure_fault(
                bench,
                "leader's pod deleted: gap",
                delete_pod(None),
                "leader's pod deleted: until new connections write",
            ),
            "force": lambda: measure_fault(bench, "leader's pod force-deleted", delete_pod(0)),
            "alone": lambda: measure_without_operator(bench),
            "memory": lambda: measure_memory(bench),
        }
        try:
            for name, step in steps.items():
                if not only or name in only:
                    print(name, file=sys.stderr, flush=True)
                    await step()
            await checked(bench)
            if not only or "requests" in only:
                await measure_requests(bench)
        finally:
            await _end(bench)
        return bench


def _once(bench: Bench) -> Bench:
    return Bench(bench.world, bench.client, bench.cluster, 1, {})


async def _quiet_node(bench: Bench) -> str:
    """A node without the leader, so that the probe is not beside it."""
    name, _ = await bench.leader()
    mine = await bench.world.node_of(bench.client, name)
    return next(f"node-{n}" for n in reversed(bench.world.nodes()) if f"node-{n}" != mine)


async def _end(bench: Bench) -> None:
    for delete in (
        bench.client.delete(PODS, PROBE, namespace=OPERATOR_NAMESPACE, grace_period_s=0),
        bench.cluster.delete(),
    ):
        try:
            await delete
        except NotFound:
            continue
    await bench.cluster.gone(120)


def table(samples: Mapping[str, list[float]]) -> str:
    """Markdown for docs/performance-nodes.md."""
    lines = [
        "| event | unit | CloudNativePG | Patroni | asked | ours, median | ours, maximum | rounds |  |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row, (unit, asked, cnpg, patroni) in NEIGHBOURS.items():
        if row in samples:
            found = samples[row]
            median = statistics.median(found)
            missed = "" if median <= asked else "missed"
            cells = (row, unit, cnpg, patroni, asked, number(median), number(max(found)), len(found), missed)
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; keep every sample where asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__)
    parser.add_argument("only", nargs="*", help="create switchover kill delete force alone cut memory requests")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    bench = asyncio.run(measure(here(), asked.rounds, tuple(asked.only)))
    print(table(bench.samples))
    print(f"\n{', '.join(bench.checks)}\n{', '.join(f'{key}: {value}' for key, value in machine().items())}")
    print(f"Patroni: {PATRONI}; load average {os.getloadavg()}")
    if asked.json is not None:
        found: dict[str, Any] = {"samples": bench.samples, "machine": machine(), "patroni": PATRONI}
        asked.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
