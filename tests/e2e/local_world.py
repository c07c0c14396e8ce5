"""A whole local platform for tests: API server, node, services and operators, begun and ended as a person does it.

The proof that nothing is left is here too: what belonged to the platform is written down before its end (processes,
listeners, mounts, folders), and every one of them has to be gone after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from e2e.world import ENDPOINTS_NAMESPACE, LEASE, NAMESPACE, PodProcesses, command_line, until
from howdah.cli.local import NEEDS, ROLES
from howdah.instance.binaries import installations
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import CONFIGMAPS, CUSTOM_RESOURCE_DEFINITIONS, LEASES, NAMESPACES
from howdah.local import listeners, supervisor, up
from howdah.local.configuration import Command, Platform
from howdah.local.node import containers, processes
from howdah.model.crds import all_crds


def public_folder() -> Path:
    """A new folder that another user can pass through; where root has no user namespaces, containers are that user."""
    folder = Path(tempfile.mkdtemp(prefix="howdah-e2e-", dir="/tmp")).resolve()
    folder.chmod(0o711)
    return folder


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class LocalWorld:
    """One platform. Its processes are found by what only they carry, and killed by pid."""

    platform: Platform

    @property
    def directory(self) -> Path:
        return self.platform.directory

    @property
    def majors(self) -> tuple[str, ...]:
        """PostgreSQL of this machine."""
        return tuple(str(build.major) for build in installations(os.environ.get("PATH", "")))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """The administrator's client."""
        async with Client(load_access(str(self.platform.kubeconfig)), timeout_s=10, field_manager="e2e") as client:
            yield client

    def pids(self, name: str) -> list[int]:
        """Processes of the platform that were started under this name (`supervisor`, `apiserver`, `operator-0`, …)."""
        return [who.pid for who in supervisor.running(self.directory, name)]

    def signal(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process of the platform; its pid."""
        pid = self.pids(name)[0]
        os.kill(pid, number)
        return pid

    def pod_processes(self, uid: str) -> PodProcesses:
        """The processes of a pod as they are now."""
        folder = self.directory / "node" / "pods" / uid / "containers" / "postgres"
        container = containers.adopt(folder)
        assert container is not None, f"no container was ever started in {folder}"
        run = container.run
        everybody = sorted(processes.descendants([run.init.pid])) if processes.is_alive(run.init) else []
        launcher = run.launcher.pid if run.launcher != run.init and processes.is_alive(run.launcher) else None
        return PodProcesses.of(everybody, shim=run.init.pid, launcher=launcher)

    async def volume_folders(self, client: Client, claims: Iterable[Mapping[str, Any]]) -> list[Path]:
        """Each is named after its claim's uid."""
        names = tuple(claim["metadata"]["uid"] for claim in claims)
        return [folder for folder in (self.directory / "volumes").rglob("*") if folder.name.endswith(names)]

    def psql(self, pod: str, **env: str) -> list[str]:
        """The newest one of this machine."""
        del pod
        newest = max(installations(os.environ.get("PATH", "")), key=lambda build: build.major)
        return ["env", *(f"{key}={value}" for key, value in env.items()), f"{newest.bin_dir}/psql"]

    async def leading_operator(self, client: Client) -> str:
        """The name of the operator that holds the Lease now."""

        async def holder() -> str:
            lease = await client.get(LEASES, LEASE, namespace=NAMESPACE)
            name = str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
            return name if name in self.platform.processes and self.pids(name) else ""

        return await until(holder, "an operator that holds the Lease")

    async def all_run(self, timeout_s: float = 60) -> None:
        """Wait until every process of the platform runs, and its API answers."""

        async def question() -> bool:
            async with self.client() as client:
                await client.get_raw("/version", timeout_s=2)
            return (await asyncio.to_thread(up.status, self.directory)).is_up

        await until(question, "every process of the platform to run", timeout_s=timeout_s)

    async def restore(self) -> None:
        """What a person does after killing things: `up` again."""
        await up.up(self.platform, timeout_s=60)


def operator_command(name: str, **env: str) -> Command:
    """The operator as `howdah local up` starts it; its Lease tells its name."""
    listen = f"127.0.0.1:{free_port()}"
    return Command((sys.executable, "-m", "howdah.cli.main", "operator", "--listen", listen), {"POD_NAME": name, **env})


def ending(directory: Path) -> tuple[str, ...]:
    """The command that ends a platform; `lifetimes.guarded` runs it where its test dies."""
    return (sys.executable, "-m", "howdah.cli.main", "local", "down", "--remove", "--dir", str(directory))


def platform_in(directory: Path) -> Platform:
    """A platform without operators, which need the CRDs first."""
    return Platform(directory, ROLES, needs=NEEDS)


async def start(
    directory: Path, *, operators: int = 2, in_endpoints: bool = False, on_progress: Callable[[str], None] | None = None
) -> LocalWorld:
    """Start everything and install the CRDs."""
    platform = platform_in(directory)
    await up.up(platform, on_progress or (lambda _: None), timeout_s=60)
    world = LocalWorld(platform)
    async with world.client() as client:
        for crd in all_crds():
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, force=True)
        if in_endpoints:
            await _configure_endpoints(client)
    wanted = {f"operator-{number}": operator_command(f"operator-{number}") for number in range(operators)}
    if in_endpoints:
        wanted["operator-endpoints"] = operator_command(
            "operator-endpoints",
            OPERATOR_NAMESPACE=ENDPOINTS_NAMESPACE,
            WATCHED_NAMESPACE=ENDPOINTS_NAMESPACE,
            CONFIG_MAP_NAME=f"{ENDPOINTS_NAMESPACE}/operator",
        )
    world = LocalWorld(replace(platform, processes=wanted))
    await up.up(world.platform, timeout_s=60)
    return world


async def _configure_endpoints(client: Client) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ENDPOINTS_NAMESPACE}}
    await client.create(NAMESPACES, space)
    settings = {"kubernetes_use_configmaps": "false"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "operator"}, "data": settings}
    await client.create(CONFIGMAPS, body, namespace=ENDPOINTS_NAMESPACE)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a platform has on this machine, written down before it ends."""

    folders: tuple[Path, ...]
    addresses: tuple[str, ...]
    identities: tuple[processes.Identity, ...]


def belongs(pid: int, directory: str) -> bool:
    """Whether a process works for the platform in `directory`, as its environment, command line or folder says."""
    for name in ("environ", "cmdline"):
        with contextlib.suppress(OSError):
            if f"{directory}/".encode() in (found := Path(f"/proc/{pid}/{name}").read_bytes()) or (
                f"{directory}:".encode() in found
            ):
                return True
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink()).startswith(f"{directory}/")
    return False


def footprint(platform: Platform) -> Footprint:
    """Everything that must be gone after `down`."""
    mine = {pid for pid in processes.all_pids() if pid != os.getpid() and belongs(pid, str(platform.directory))}
    everybody = mine | processes.descendants(mine)
    who = tuple(found for pid in everybody - {os.getpid()} if (found := processes.identity(pid)) is not None)
    prefixes = [platform.service_range.rpartition(".0.0/")[0] + "."]
    book = platform.directory / "node" / "addresses.json"
    if book.exists():
        prefixes.append(book.read_text().split('"block": "')[1].partition(".0/24")[0] + ".")
    return Footprint((platform.directory, platform.runtime), tuple(prefixes), who)


def leftovers(before: Footprint) -> list[str]:
    """What is still there of a platform that has ended; each as a sentence."""
    found = [f"folder {folder} is there" for folder in before.folders if folder.exists()]
    found += [
        f"process {who.pid} lives: {command_line(who.pid)!r}" for who in before.identities if processes.is_alive(who)
    ]
    directory = str(before.folders[0])
    found += [
        f"process {pid} was started meanwhile: {command_line(pid)!r}"
        for pid in processes.all_pids()
        if pid != os.getpid() and belongs(pid, directory)
    ]
    found += [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines() if directory in line]
    # Somebody else's platform may share the service range (one of 32): only ports that we had are ours.
    pods = before.addresses[1:]
    found += [f"somebody listens on {address}" for address in listeners.addresses() if address.startswith(pods)]
    return found


async def end(world: LocalWorld) -> list[str]:
    """Take it down; what is left of it (nothing, if all is well)."""
    before = footprint(world.platform)
    await up.down(world.directory)
    return leftovers(before)


@contextmanager
def kept_logs(world: LocalWorld, target: Path | None) -> Iterator[None]:
    """On failure the platform's logs are kept where a person finds them."""
    try:
        yield
    except BaseException:
        if target is not None and (world.directory / "log").is_dir():
            shutil.copytree(world.directory / "log", target, dirs_exist_ok=True)
        raise
