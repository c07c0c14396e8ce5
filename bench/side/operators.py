"""The two operators as processes, with the same questions: how long until every cluster is decided, what it costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench import processes
from bench.side.plane import ROOT, Plane, process, program, until
from howdah.core.permissions import Installation, roles

NAMESPACE = "ops"
CONFIGURATION = "side"
LISTEN = "127.0.0.1:8081"

Json = dict[str, Any]


def configuration(resync: str = "30m", *, use_configmaps: bool = True, **kubernetes: Any) -> Json:
    """One for both. No SQL, for there are no servers; the reference's waits are cut short by its own options."""
    return {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "OperatorConfiguration",
        "metadata": {"name": CONFIGURATION, "namespace": NAMESPACE},
        "configuration": {
            "docker_image": "ghcr.io/zalando/spilo-17:4.0-p3",
            "kubernetes_use_configmaps": use_configmaps,
            "resync_period": resync,
            "repair_period": resync,
            "kubernetes": {"watched_namespace": "*", **kubernetes},
            "debug": {"enable_database_access": False, "debug_logging": False},
            "load_balancer": {"enable_master_load_balancer": False, "enable_replica_load_balancer": False},
            "teams_api": {"enable_teams_api": False},
            "timeouts": {
                "resource_check_interval": "500ms",
                "ready_wait_interval": "200ms",
                "ready_wait_timeout": "30s",
            },
        },
    }


@dataclass(frozen=True, slots=True)
class Running:
    """One operator that runs."""

    plane: Plane
    process: subprocess.Popen[bytes]
    log: Path
    log_from: int  # where its own part of the log begins

    def said(self) -> str:
        """Its log since it was started."""
        with self.log.open("rb") as file:
            file.seek(self.log_from)
            return file.read().decode(errors="replace")

    def check(self) -> None:
        """Raises RuntimeError where it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"the operator ended with code {self.process.returncode}: {self.said()[-2000:]}")

    def cpu_s(self) -> float:
        return processes.cpu_s(self.process.pid)

    def rss_mib(self) -> float:
        return processes.rss_mib(self.process.pid)


class Operator(Protocol):
    """How one of them is started and asked."""

    @property
    def user(self) -> str: ...

    def start(self, plane: Plane, log: Path) -> tuple[tuple[str | Path, ...], Mapping[str, str]]:
        """Its command line and environment."""
        ...

    def passes(self, running: Running) -> int:
        """How many times it has looked at a cluster and come to an end, since it was started."""
        ...

    def is_idle(self, running: Running) -> bool:
        """Whether no cluster waits for it, as far as it tells."""
        ...


@dataclass(frozen=True, slots=True)
class Howdah:
    """Ours, from a source tree: this one, or that of another release."""

    source: Path = ROOT / "src"
    user: str = "howdah"

    def start(self, plane: Plane, log: Path) -> tuple[tuple[str | Path, ...], Mapping[str, str]]:
        del log
        command = (
            "-m",
            "howdah.cli.main",
            "operator",
            "--kubeconfig",
            plane.kubeconfig_of(self.user),
            "--listen",
            LISTEN,
        )
        return (sys.executable, *command), {
            "PYTHONPATH": str(self.source),
            "OPERATOR_NAMESPACE": NAMESPACE,
            "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": CONFIGURATION,
        }

    def metrics(self, running: Running) -> dict[str, float]:
        """Every sample by its name with labels; empty while it does not answer."""
        running.check()
        try:
            text = running.plane.run("curl", "-sf", "--max-time", "5", f"http://{LISTEN}/metrics", timeout_s=20)
        except RuntimeError:
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def passes(self, running: Running) -> int:
        found = self.metrics(running)
        return int(sum(v for name, v in found.items() if name.startswith("howdah_pass_duration_seconds_count")))

    def is_idle(self, running: Running) -> bool:
        return not self.metrics(running).get("howdah_queue_depth", 1.0)


@dataclass(frozen=True, slots=True)
class Reference:
    """zalando/postgres-operator v1.15.1. `qps`: how many requests a second it allows itself (its default is 10)."""

    qps: int = 10
    user: str = "reference"

    def start(self, plane: Plane, log: Path) -> tuple[tuple[str | Path, ...], Mapping[str, str]]:
        del log
        binary = program("postgres-operator")
        assert binary is not None
        limits = ("-kubeqps", str(self.qps), "-kubeburst", str(2 * self.qps))
        return (binary, "-outofcluster", "-kubeconfig", plane.kubeconfig_of(self.user), *limits), {
            "OPERATOR_NAMESPACE": NAMESPACE,
            "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": CONFIGURATION,
            "CRD_READY_WAIT_INTERVAL": "200ms",
        }

    def passes(self, running: Running) -> int:
        running.check()
        said = running.said()
        return sum(said.count(f"cluster has been {what}") for what in ("created", "synced", "updated"))

    def is_idle(self, running: Running) -> bool:
        return True  # it does not tell; a pass that has ended is all that is known


@contextmanager
def started(plane: Plane, operator: Operator, name: str = "") -> Iterator[Running]:
    """The operator at work; its log is `log/NAME` of the plane."""
    log = plane.directory / "log" / (name or operator.user)
    log.touch()
    begins = log.stat().st_size
    command, environment = operator.start(plane, log)
    with process(plane, log, *command, **environment) as run:
        yield Running(plane, run, log, begins)


def until_decided(operator: Operator, running: Running, clusters: int, *, within_s: float) -> float:
    """Seconds until it has looked at so many clusters, and none waits."""
    return until(
        lambda: operator.passes(running) >= clusters and operator.is_idle(running),
        lambda: f"{operator.passes(running)} of {clusters} clusters decided; {running.said()[-1500:]}",
        within_s=within_s,
        every_s=0.1,
    )


def are_served(definitions: Iterable[Json]) -> bool:
    """CRDs that are established. `kubectl wait` fails at one so new that its conditions are null."""
    conditions = [found.get("status", {}).get("conditions") or () for found in definitions]
    return all(any((one["type"], one["status"]) == ("Established", "True") for one in those) for those in conditions)


def prepare(plane: Plane, asked: Json, *namespaces: str, of_reference: bool = False) -> None:
    """What an installation brings along: namespaces, definitions (our chart's or the reference's), rights, configuration."""
    names = (NAMESPACE, *namespaces)
    plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names])
    binary = program("postgres-operator")
    assert binary is not None
    of_chart = ("-k", ROOT / "charts" / "howdah" / "crds")
    crds = ("-f", binary.with_name("postgres-operator-crds.yaml")) if of_reference else of_chart
    plane.kubectl("apply", "--server-side", "--force-conflicts", *map(str, crds))
    until(lambda: are_served(plane.items("crd")), "the definitions to be served", within_s=30)
    plane.apply([*rights(), asked])


def rights() -> Iterator[Json]:
    """Exactly what `howdah rbac` gives howdah, which is a user here. A chart's release `howdah` keeps its own roles."""
    user = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": Howdah().user}
    for body in roles(Installation("howdah-side", NAMESPACE, configuration=CONFIGURATION)):
        yield {**body, "subjects": [user]} if "subjects" in body else body
