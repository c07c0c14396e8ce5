"""A real control plane for tests of the chart: helm and kubectl as its administrator, and the operator that was installed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.rendering import CACHE, IS_WANTED, ROOT, Json, tool
from lifetimes import ended_with_us, guarded

SCRIPTS = ROOT / "e2e" / "kubernetes"
IS_BUILT = any(CACHE.glob("*/bin/kube-apiserver"))
PATIENCE = float(os.environ.get("HOWDAH_PATIENCE", "1"))
HANGS_S = 120.0 * PATIENCE

needs_control_plane = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(300 * PATIENCE),
    pytest.mark.skipif(
        not (IS_BUILT or IS_WANTED), reason="no real control plane is built: `make kube-build` (Go, 7 minutes)"
    ),
]

MANIFEST: Json = {
    "apiVersion": "acid.zalan.do/v1",
    "kind": "postgresql",
    "metadata": {"name": "acid-a", "namespace": "team"},
    "spec": {
        "teamId": "acid",
        "numberOfInstances": 1,
        "volume": {"size": "1Gi"},
        "postgresql": {"version": "18"},
        "users": {"zalando": []},
        "databases": {"foo": "zalando"},
    },
}
Log = Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Cluster:
    folder: Path

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def run(self, name: str, *arguments: str | Path, text: str = "") -> str:
        """helm or kubectl as the administrator."""
        done = self.tried(name, *arguments, text=text)
        assert done.returncode == 0, f"{name} {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def tried(self, name: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        """The same, whatever becomes of it."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HELM_CACHE_HOME": str(self.folder / "helm")}
        return subprocess.run(
            [tool(name), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=HANGS_S,
            check=False,
            env=environment,
        )

    def kubectl(self, *arguments: str, text: str = "") -> str:
        return self.run("kubectl", *arguments, text=text)

    def names(self, kind: str, namespace: str = "team") -> set[str]:
        return set(self.kubectl("get", kind, "-n", namespace, "-o", "name").split())

    def get(self, kind: str, name: str, namespace: str) -> Json:
        found: Json = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        return found


@contextlib.contextmanager
def control_plane(*namespaces: str, nodes: bool = False) -> Iterator[Cluster]:
    """A new one; with simulated nodes, where pods come up at once."""
    folder = Path(tempfile.mkdtemp(prefix="howdah-chart-"))
    end = (SCRIPTS / "down.sh", folder, "remove")
    with guarded(*end):
        try:
            for script in ("up.sh", "kwok.sh")[: 2 if nodes else 1]:
                subprocess.run([SCRIPTS / script, folder], check=True, timeout=HANGS_S, capture_output=True)
            found = Cluster(folder)
            for namespace in namespaces:
                found.kubectl("create", "namespace", namespace)
            yield found
        finally:
            subprocess.run(end, check=False, timeout=HANGS_S, capture_output=True)
            shutil.rmtree(folder, ignore_errors=True)


CANARIES = {"": "finches", "Cluster": "canaries"}
CANARY: Json = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": f"{scope}{kind}",
            "metadata": {"name": "canary", **({} if scope else {"namespace": "default"})},
            **part,
        }
        for scope in CANARIES
        for kind, part in (
            ("Role", {"rules": [{"apiGroups": [""], "resources": [CANARIES[scope]], "verbs": ["get"]}]}),
            (
                "RoleBinding",
                {
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": f"{scope}Role", "name": "canary"},
                    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "canary"}],
                },
            ),
        )
    ],
}


def await_rights(cluster: Cluster) -> None:
    """Until every right that was given or taken before is in force: the API server hears of each kind's changes in order."""
    cluster.kubectl("apply", "-f", "-", text=json.dumps(CANARY))
    asks = ("auth", "can-i", "get", "--as=canary", "--namespace=default")
    for resource in CANARIES.values():
        until(lambda resource=resource: cluster.tried("kubectl", *asks, resource).returncode == 0, list)
    cluster.kubectl("delete", "-f", "-", text=json.dumps(CANARY))


def kubeconfig_of(cluster: Cluster, account: str, namespace: str, path: Path) -> Path:
    """A kubeconfig with which somebody is this service account, whose rights are in force."""
    await_rights(cluster)
    token = cluster.kubectl("create", "token", account, "--namespace", namespace).strip()
    config: Any = yaml.safe_load(cluster.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path


@contextlib.contextmanager
def operator(
    cluster: Cluster,
    folder: Path,
    *,
    account: str = "howdah",
    namespace: str = "ops",
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Log]:
    """The operator outside of the cluster, as an installed service account; ready."""
    kubeconfig, output = kubeconfig_of(cluster, account, namespace, folder / "kubeconfig"), folder / "log"
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    if environment is None:
        environment = {"OPERATOR_NAMESPACE": namespace, "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "howdah"}
    command = "from howdah.cli.main import run; run()"
    arguments = ("operator", "--kubeconfig", str(kubeconfig), "--listen", f"127.0.0.1:{port}", *arguments)
    with output.open("wb") as file:
        process = subprocess.Popen(
            ended_with_us(sys.executable, "-c", command, *arguments),
            stderr=file,
            stdout=file,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        )
    log: Log = lambda: output.read_text().splitlines()  # noqa: E731
    try:
        until(lambda: is_ready(port), log)
        yield log
    except BaseException:
        print(*log()[-100:], sep="\n")  # pytest shows it beside what failed
        raise
    finally:
        process.terminate()
        process.wait(HANGS_S)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(holds: Callable[[], bool], log: Log) -> None:
    ends = time.monotonic() + HANGS_S
    while not holds():
        assert time.monotonic() < ends, "\n".join(log()[-20:])
        time.sleep(0.3)
