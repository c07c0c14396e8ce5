"""A real control plane whose pods have addresses on this machine: all of it in a network namespace of its own.

kwok makes pods Running with addresses of 10.245.0.0/16. In the namespace that whole range is local, so that the simulated
Patroni (`patroni.py`) answers under each pod's address, and both operators speak to it as they do in a real cluster.
Claims are folders in a file system in memory. When the last process has ended, nothing of it is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import processes
from bench.side.audit import LOG, RULES, Audit

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "e2e" / "kubernetes"
PROGRAMS = ("kube-apiserver", "kwok", "postgres-operator")
OWN_PROCESSES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
ADMINISTRATORS = "system:masters"
USERS = {"howdah": "operators", "reference": ADMINISTRATORS, "patroni": ADMINISTRATORS}
"""By name: the group. howdah is to do with the rights that are shipped (`operators.prepare`)."""
PODS_RANGE = "10.245.0.0/16"
_HOLD = f"""
ip link set lo up
ip route add local {PODS_RANGE} dev lo
mkdir -p /tmp/hostpath_pv
mount -t tmpfs none /tmp/hostpath_pv
echo ready
exec cat
"""

Json = dict[str, Any]


class MissingError(Exception):
    """Something that this machine lacks; the text says how to get it."""


def missing() -> str | None:
    """Why the lane cannot run here; None where it can."""
    for name in PROGRAMS:
        target = "kube-build-reference" if name == "postgres-operator" else "kube-build"
        if program(name) is None:
            return f"no real control plane: {name} is not built; `make {target}` (Go)"
    for name in ("unshare", "nsenter", "ip", "curl", "openssl"):
        if shutil.which(name) is None:
            return f"no real control plane: {name} is missing (Debian: util-linux, iproute2, curl, openssl)"
    if os.geteuid() != 0:
        return "no real control plane with simulated pods: a network namespace needs root"
    return None


def program(name: str) -> Path | None:
    """A built program, by the same script that builds them."""
    found = subprocess.run([SCRIPTS / "tool.sh", name], capture_output=True, text=True, timeout=10, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Plane:
    """One control plane. `holder`: the process whose namespaces it lives in."""

    directory: Path
    holder: int
    kubectl_program: Path

    def command(self, *arguments: str | Path) -> list[str]:
        """The same command, in the plane's network."""
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", f"--mount=/proc/{self.holder}/ns/mnt", "--"] + [
            str(argument) for argument in arguments
        ]

    def run(self, *arguments: str | Path, text: str = "", timeout_s: float = 120, **env: str) -> str:
        """What a command says; fails with what it complains of."""
        done = subprocess.run(
            self.command(*arguments), input=text, capture_output=True, text=True, timeout=timeout_s, check=False,
            env={**os.environ, **env},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr or done.stdout}")
        return done.stdout

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def kubeconfig_of(self, user: str) -> Path:
        return self.directory / "pki" / f"{user}.conf"

    def kubectl(self, *arguments: str, text: str = "", timeout_s: float = 120) -> str:
        """As the administrator."""
        return self.run(
            self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments, text=text, timeout_s=timeout_s
        )

    def items(self, kinds: str, namespace: str = "") -> list[Json]:
        """All objects of these kinds; of all namespaces if none is named."""
        place = ("-n", namespace) if namespace else ("-A",)
        found: list[Json] = json.loads(self.kubectl("get", kinds, *place, "-o", "json"))["items"]
        return found

    def apply(self, objects: Iterable[Mapping[str, Any]], timeout_s: float = 300) -> None:
        """Server-side, as one call of kubectl."""
        text = "\n---\n".join(json.dumps(body) for body in objects)
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=text, timeout_s=timeout_s)

    def cpu_s(self) -> float:
        """Processor time of the control plane's own processes so far."""
        return sum(processes.cpu_s(int((self.directory / "run" / name).read_text())) for name in OWN_PROCESSES)

    @property
    def audit(self) -> Audit:
        return Audit(self.directory / LOG)


@contextmanager
def plane(nodes: int = 3, *, directory: Path | None = None) -> Iterator[Plane]:
    """A control plane with simulated nodes and a simulated Patroni; removed afterwards. Raises MissingError."""
    if (why := missing()) is not None:
        raise MissingError(why)
    place = directory or Path(tempfile.mkdtemp(prefix="howdah-side-", dir="/tmp"))
    with _namespaces() as holder:
        kubectl = program("kubectl")
        assert kubectl is not None
        made = Plane(place, holder, kubectl)
        try:
            made.run(SCRIPTS / "up.sh", place, AUDIT=RULES)
            made.run(SCRIPTS / "kwok.sh", place, str(nodes))
            for user, group in USERS.items():
                made.run(SCRIPTS / "user.sh", place, user, group)
            yield made
        finally:
            made.run(SCRIPTS / "down.sh", place, "remove")
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _namespaces() -> Iterator[int]:
    """A process in new network and mount namespaces; they end with it and the control plane's processes."""
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", _HOLD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "ready":
            raise MissingError("no real control plane: this machine allows no network namespace (unshare --net failed)")
        yield holder.pid
    finally:
        assert holder.stdin is not None
        holder.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            holder.wait(10)


WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")  # the kernel ends it should we be killed


@contextmanager
def process(plane: Plane, log: Path, *arguments: str | Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the plane's network, ended afterwards; what it says goes to `log`."""
    with log.open("ab") as output:
        started = subprocess.Popen(
            [*WITH_US, *plane.command(*arguments)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **env}, cwd=ROOT,
        )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@contextmanager
def simulated_patroni(plane: Plane, loop_wait_s: float = 10) -> Iterator[subprocess.Popen[bytes]]:
    """Members for every database pod of the plane."""
    log = plane.directory / "log" / "patroni"
    arguments = ("-m", "bench.side.patroni", "--kubeconfig", plane.kubeconfig_of("patroni"), "--loop", str(loop_wait_s))
    with process(plane, log, sys.executable, *arguments, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}") as started:
        until(lambda: log.exists() and "ready" in log.read_text(), lambda: log.read_text(), within_s=30)
        yield started


def until(
    holds: Callable[[], object], otherwise: str | Callable[[], str], *, within_s: float, every_s: float = 0.2
) -> float:
    """Seconds until it holds. Raises TimeoutError with what is said then."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"not within {within_s:g} s: {otherwise if isinstance(otherwise, str) else otherwise()}")
        time.sleep(every_s)
    return time.monotonic() - began
