"""Real nodes with real containers for tests: the lane of `e2e/kubernetes/nodes.sh`, in which these tests run.

The operators are Deployments of our chart. Whoever starts the tests has brought the lane up (`make nodes-up`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.world import LEASE, PodProcesses, command_line, until
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import DEPLOYMENTS, LEASES, NODES, PERSISTENT_VOLUMES, PODS

SCRIPTS = Path(__file__).parents[2] / "e2e" / "kubernetes"
OPERATOR_NAMESPACE = "default"
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class NodesWorld:
    """The lane in `directory`."""

    directory: Path
    majors: tuple[str, ...]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """The administrator's client."""
        access = load_access(str(self.directory / "kubeconfig"))
        async with Client(access, timeout_s=10, field_manager="e2e") as client:
            yield client

    def pids(self, name: str) -> list[int]:
        """`kube-apiserver`, `kubelet-node-1` and the like by their pid files; pods of the operator by name."""
        file = self.directory / "run" / name
        if file.exists():
            pid = int(file.read_text())
            return [pid] if command_line(pid) else []
        return _everybody(self._operator_uid(name))

    def signal(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process; its pid."""
        pid = self.pids(name)[0]
        os.kill(pid, number)
        return pid

    def pod_processes(self, uid: str) -> PodProcesses:
        """By the pod's cgroup; the pause container aside."""
        everybody = _everybody(uid)
        assert everybody, f"no container of pod {uid} runs"
        return PodProcesses.of(everybody, shim=_first(everybody))

    def _operator_uid(self, name: str) -> str:
        found = glob_one(self.directory, f"log/node-*/{OPERATOR_NAMESPACE}_{name}_*")
        return found.name.rpartition("_")[2]

    async def volume_folders(self, client: Client, claims: Iterable[Mapping[str, Any]]) -> list[Path]:
        """What the host-path provisioner made."""
        volumes = [await client.get(PERSISTENT_VOLUMES, claim["spec"]["volumeName"]) for claim in claims]
        return [Path(volume["spec"]["hostPath"]["path"]) for volume in volumes]

    def psql(self, pod: str, **env: str) -> list[str]:
        """The image's; this machine need not have one that knows TLS."""
        kubectl = ["kubectl", f"--kubeconfig={self.directory / 'kubeconfig'}", "exec", pod, "--"]
        return [*kubectl, "env", *(f"{key}={value}" for key, value in env.items()), "psql"]

    async def leading_operator(self, client: Client) -> str:
        """The pod that holds the Lease now."""

        async def holder() -> str:
            lease = await client.get(LEASES, LEASE, namespace=OPERATOR_NAMESPACE)
            return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]

        return await until(holder, "an operator that holds the Lease")

    async def all_run(self, timeout_s: float = 60) -> None:
        """Wait until every node and operator is ready."""

        async def question() -> bool:
            async with self.client() as client:
                nodes = (await client.list(NODES)).items
                deployments = (await client.list(DEPLOYMENTS, namespace=OPERATOR_NAMESPACE)).items
            ready = [
                any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", ()))
                for node in nodes
            ]
            replicas = [(d["spec"]["replicas"], (d.get("status") or {}).get("readyReplicas")) for d in deployments]
            return all(ready) and all(wanted == found for wanted, found in replicas)

        await until(question, "every node and operator to be ready", timeout_s=timeout_s)

    async def restore(self) -> None:
        """Start what was killed of Kubernetes."""
        for command in (["up.sh", str(self.directory)], *(["node.sh", str(self.directory), n] for n in self.nodes())):
            argv = [str(SCRIPTS / command[0]), *command[1:]]
            done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr

    def nodes(self) -> list[str]:
        """Their numbers."""
        return sorted(path.name.removeprefix("node-") for path in self.directory.glob("node-?"))

    async def node_of(self, client: Client, pod: str, namespace: str = "default") -> str:
        """Where a pod runs."""
        return str((await client.get(PODS, pod, namespace=namespace))["spec"]["nodeName"])

    @asynccontextmanager
    async def cut_off(self, node: str) -> AsyncIterator[None]:
        """Nobody reaches the node while the block runs; this machine's own way to services leads through another."""
        number = node.removeprefix("node-")
        other = next(n for n in self.nodes() if n != number)
        _ip("route", "replace", "10.96.0.0/16", "via", f"10.243.0.{100 + int(other)}")
        _ip("link", "set", f"kube-{number}", "down")
        try:
            yield
        finally:
            _ip("link", "set", f"kube-{number}", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


def glob_one(directory: Path, pattern: str) -> Path:
    """The one path; the folders of pods' logs are named NAMESPACE_NAME_UID."""
    (found,) = directory.glob(pattern)
    return found


def _everybody(uid: str) -> list[int]:
    """Processes of a pod, the pause container aside, as pids of the lane."""
    return sorted({pid for file in _lists(uid) for pid in _read(file) if not command_line(pid).startswith(b"/pause\0")})


def _lists(uid: str) -> Iterator[Path]:
    root = CGROUPS if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "pids"
    for where in (f"pod{uid}", f"*/pod{uid}"):
        yield from root.glob(f"howdah-*/node-*/kubepods/{where}/*/cgroup.procs")


def _read(file: Path) -> list[int]:
    try:
        return [pid for pid in map(int, file.read_text().split()) if pid]  # 0: not of this pid namespace
    except OSError:
        return []


def _first(pids: list[int]) -> int:
    """The container's own first process."""
    return next((pid for pid in pids if _is_first(pid)), pids[0])


def _is_first(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    line = next(line for line in text.splitlines() if line.startswith("NSpid:"))
    return line.split()[-1] == "1"


def here() -> NodesWorld:
    """The lane that these tests run in."""
    directory = Path(os.environ["HOWDAH_NODES"])
    majors = tuple((directory / "majors").read_text().split())
    return NodesWorld(directory, majors)
