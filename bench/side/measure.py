"""One operator over one number of clusters: made, left alone, started anew, changed. The clock is the audit log's."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bench import fleet, processes
from bench.side import operators
from bench.side.audit import OWN, Request, by_verb_and_kind, of_clusters
from bench.side.operators import Howdah, Operator, Reference, Running
from bench.side.plane import ROOT, Plane, plane, simulated_patroni, until
from bench.world import say

CHANGES = 20
PATIENCE_S = 45.0  # for each cluster, of an operator that allows itself 10 requests a second
RESYNC_PATIENCE_S = 1.0  # for each cluster: two resyncs of each, on a machine that also runs the control plane
SETTLE_S = 5.0
STEADY_S = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """All figures of one operator over one fleet; `requests_*` are per cluster, by verb and kind."""

    operator: str
    clusters: int
    objects_s: float
    running_s: float
    restart_s: float
    change_s: tuple[float, ...]  # from each changed manifest to the first write that carries it
    create_requests: dict[str, float] = field(default_factory=dict)
    resync_requests: dict[str, float] = field(default_factory=dict)
    steady_writes: int = 0
    steady_cpu_s: float = 0.0
    create_cpu_s: float = 0.0
    restart_cpu_s: float = 0.0
    simulator_cpu_s: float = 0.0  # of the simulated Patroni, while the clusters were made
    plane_cpu_s: float = 0.0  # of the control plane and kwok, meanwhile
    load: float = 0.0  # of the machine, averaged over a minute, when the clusters were made
    restart_load: float = 0.0  # likewise, when every cluster was decided after the restart
    rss_mib: float = 0.0

    @property
    def resync_writes(self) -> float:
        return sum(n for what, n in self.resync_requests.items() if what.split()[0] not in ("get", "list"))

    @property
    def resync_reads(self) -> float:
        return sum(self.resync_requests.values()) - self.resync_writes

    @property
    def median_change_s(self) -> float:
        return statistics.median(self.change_s)


OPERATORS: dict[str, Operator] = {
    "howdah": Howdah(),
    "reference": Reference(),
    "reference-qps": Reference(qps=1000),
}


def measure(name: str, clusters: int, *, steady_s: float = STEADY_S) -> Result:
    """A fresh control plane for each: nothing of the other operator is there."""
    operator = OPERATORS[name]
    with plane() as made:
        operators.prepare(made, operators.configuration(), fleet.NAMESPACE)
        with simulated_patroni(made) as simulator:
            return _measured(name, operator, made, simulator.pid, clusters, steady_s)


def _measured(name: str, operator: Operator, made: Plane, simulator: int, clusters: int, steady_s: float) -> Result:
    found: dict[str, Any] = {}
    with operators.started(made, operator, f"{name}-create") as running:
        _until_ready(operator, running)
        simulated, others = processes.cpu_s(simulator), made.cpu_s()
        found |= _create(operator, running, clusters)
        found |= {"simulator_cpu_s": processes.cpu_s(simulator) - simulated, "plane_cpu_s": made.cpu_s() - others}
        found["load"] = os.getloadavg()[0]
        found |= _steady(operator, running, steady_s)
        say(f"  {name}, {clusters}: {found}")
    made.apply([operators.configuration(resync="10s" if clusters <= 100 else "30s")])
    with operators.started(made, operator, f"{name}-restart") as running:
        found |= _restart(operator, running, clusters)
        found["change_s"] = _change(operator, running, min(CHANGES, clusters), clusters)
        found["rss_mib"] = running.rss_mib()
        say(f"  {name}, {clusters}: {found}")
    return Result(name, clusters, **found)


def _until_ready(operator: Operator, running: Running) -> None:
    if isinstance(operator, Howdah):
        until(lambda: operator.metrics(running).get("howdah_leading"), running.said, within_s=60)
    else:
        until(lambda: "started working in background" in running.said(), running.said, within_s=60)


def manifests(clusters: int) -> list[dict[str, Any]]:
    """The benchmark's usual manifest, in a version that both operators know, without our finalizer."""
    found = []
    for name in fleet.Fleet(clusters).names():
        body = fleet.manifest(name)
        body["metadata"] = {"name": name, "namespace": fleet.NAMESPACE}
        body["spec"]["postgresql"]["version"] = "17"
        found.append(body)
    return found


def _create(operator: Operator, running: Running, clusters: int) -> dict[str, Any]:
    """From the first manifest on until the last object was made; and until every cluster is said to run."""
    log, cpu = running.plane.audit, running.cpu_s()
    log.skip()
    _make(running.plane, clusters)
    until(
        lambda: _phases(running).count("Running") >= clusters,
        lambda: f"{_phases(running).count('Running')} of {clusters} run; {running.said()[-1500:]}",
        within_s=60 + PATIENCE_S * clusters,
        every_s=0.5,
    )
    used = running.cpu_s() - cpu
    time.sleep(SETTLE_S)
    requests = log.read()
    began = min(r.received_at for r in requests if r.user == "admin")
    mine = of_clusters(requests, operator.user)
    made = [r.answered_at for r in mine if r.verb == "create" and r.code == 201 and r.kind != "events"]
    told = [r.answered_at for r in mine if r.resource == "postgresqls/status"]
    return {
        "objects_s": max(made) - began,
        "running_s": max(told) - began,
        "create_cpu_s": used,
        "create_requests": _each(mine, clusters),
    }


def _make(plane: Plane, clusters: int) -> None:
    command = (sys.executable, "-m", "bench.side.make", plane.kubeconfig)
    plane.run(*command, text=json.dumps(manifests(clusters)), timeout_s=300, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")


def _phases(running: Running) -> list[str]:
    running.check()
    path = "jsonpath={.items[*].status.PostgresClusterStatus}"
    return running.plane.kubectl("get", "postgresql", "-n", fleet.NAMESPACE, "-o", path).split()


def _each(requests: Iterable[Request], clusters: int) -> dict[str, float]:
    return {what: round(n / clusters, 2) for what, n in by_verb_and_kind(requests).most_common()}


def _steady(operator: Operator, running: Running, steady_s: float) -> dict[str, Any]:
    """Nothing happens, but that leaders renew their locks."""
    log, cpu = running.plane.audit, running.cpu_s()
    log.skip()
    time.sleep(steady_s)
    writes = [r for r in log.read() if r.user == operator.user and r.is_write and r.kind not in OWN]
    if writes:
        say(f"  writes in steady state: {dict(by_verb_and_kind(writes))}")
    return {"steady_writes": len(writes), "steady_cpu_s": (running.cpu_s() - cpu) * 60 / steady_s}


def _restart(operator: Operator, running: Running, clusters: int) -> dict[str, Any]:
    """From the process's start on; then one resync of all clusters, which for the reference is what it has just done."""
    log = running.plane.audit
    log.skip()
    seconds = operators.until_decided(operator, running, clusters, within_s=60 + PATIENCE_S * clusters)
    cpu, load, requests = running.cpu_s(), os.getloadavg()[0], log.read()
    if isinstance(operator, Howdah):
        passes = operator.passes(running)
        until(
            lambda: operator.passes(running) >= passes + 2 * clusters,
            running.said,
            within_s=120 + RESYNC_PATIENCE_S * clusters,
        )
        requests, looked = log.read(), operator.passes(running) - passes
    else:
        looked = operator.passes(running)
    mine = of_clusters(requests, operator.user)
    return {
        "restart_s": seconds,
        "restart_cpu_s": cpu,
        "restart_load": load,
        "resync_requests": _each(mine, looked),
    }


def _change(operator: Operator, running: Running, changes: int, clusters: int) -> tuple[float, ...]:
    """Each changed manifest until its service is written; resyncs go on meanwhile."""
    log = running.plane.audit
    log.skip()
    patch = json.dumps({"spec": {"serviceAnnotations": {"bench.howdah.dev/round": "1"}}})
    names = fleet.Fleet(clusters).names()[:: max(1, clusters // changes)][:changes]
    for name in names:
        running.plane.kubectl("patch", "postgresql", name, "-n", fleet.NAMESPACE, "--type=merge", "-p", patch)
    asked: dict[str, float] = {}
    written: dict[str, float] = {}

    def all_written() -> bool:
        running.check()
        for request in log.read():
            name = request.name.removesuffix("-repl")
            if request.user == "admin":
                asked[name] = request.answered_at
            elif request.user == operator.user and request.kind == "services" and request.is_write and name in asked:
                written.setdefault(name, request.answered_at)
        return len(written) == len(names)

    until(all_written, lambda: f"{len(written)} of {len(names)} written", within_s=60 + PATIENCE_S * clusters)
    _check(running, names)
    return tuple(round(written[name] - asked[name], 3) for name in names)


def _check(running: Running, names: Iterable[str]) -> None:
    """What was written is what was asked."""
    services = running.plane.items("services", fleet.NAMESPACE)
    carry = {
        s["metadata"]["name"] for s in services if "bench.howdah.dev/round" in (s["metadata"].get("annotations") or {})
    }
    missing = set(names) - carry
    if missing:
        raise RuntimeError(f"services without the change: {sorted(missing)}")
