"""A local platform for a measurement, its cluster as a client sees it, and its processes by pid."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import yaml

from bench import processes as own
from bench.world import folder
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.installation import CONFIGURATION, OPERATOR_NAMESPACE, install
from howdah.kube import resources as r
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError, NotFound
from howdah.local import supervisor, up
from howdah.local.configuration import Command, Platform
from howdah.local.node import containers, processes

EXAMPLE = Path(__file__).parents[1] / "examples" / "minimal.yaml"
NAMESPACE = "default"
LEASE = "howdah"
POLL_S = 0.03
WAIT_S = 150.0
LEFT = (
    r.PODS,
    r.SERVICES,
    r.SECRETS,
    r.CONFIGMAPS,
    r.ENDPOINTS,
    r.STATEFUL_SETS,
    r.POD_DISRUPTION_BUDGETS,
    r.PERSISTENT_VOLUME_CLAIMS,
)


async def until(question: Callable[[], Awaitable[Any]], what: str, *, timeout_s: float = WAIT_S) -> Any:
    """The first answer that is true. Raises TimeoutError saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(KubeError, OSError, psycopg.Error):
            if answer := await question():
                return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        await asyncio.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class LocalPlatform:
    """A platform that is up, and a client of its API."""

    platform: Platform
    client: Client

    def pids(self, name: str) -> list[int]:
        """Processes that the supervisor started under this name."""
        return [who.pid for who in supervisor.running(self.platform.directory, name)]

    async def leading_operator(self) -> str:
        """The name of the process that holds the Lease."""
        lease = await self.client.get(r.LEASES, LEASE, namespace=OPERATOR_NAMESPACE)
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]

    def signal_pod(self, uid: str, number: int) -> None:
        """Send a signal to everything in the pod's container but its first process, which sees how that ends."""
        found = containers.adopt(self.platform.directory / "node" / "pods" / uid / "containers" / "postgres")
        if found is None:
            raise RuntimeError(f"no container of pod {uid} is known")
        for pid in sorted(processes.descendants([found.run.init.pid]) - {found.run.init.pid}):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@asynccontextmanager
async def started(*, operators: int = 1) -> AsyncIterator[LocalPlatform]:
    """A whole platform in a folder of its own; nothing is left of it."""
    with folder("local") as parent:
        platform = Platform(parent / "p", {"spilo": (sys.executable, "-m", "howdah.instance")})
        try:
            await up.up(platform, timeout_s=60)
            async with Client(load_access(str(platform.kubeconfig)), timeout_s=10) as client:
                await install(client)
                names = [f"operator-{number}" for number in range(operators)]
                platform = replace(platform, processes={name: _operator(name) for name in names})
                await up.up(platform, timeout_s=60)
                world = LocalPlatform(platform, client)
                await until(world.leading_operator, "an operator that leads")
                yield world
        finally:
            await up.down(platform.directory, remove=True)


def _operator(name: str) -> Command:
    listen = f"127.0.0.1:{own.free_port()}"
    environment = {
        "OPERATOR_NAMESPACE": OPERATOR_NAMESPACE,
        "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": CONFIGURATION,
        "POD_NAME": name,
    }
    return Command((sys.executable, "-m", "howdah.cli.main", "operator", "--listen", listen), environment)


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """One cluster by name."""

    world: LocalPlatform
    name: str

    async def create(self, **spec: Any) -> None:
        """The minimal example, with some keys of its spec replaced."""
        body: dict[str, Any] = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
        body["metadata"] = {"name": self.name, "namespace": NAMESPACE}
        body["spec"] |= spec
        await self.world.client.create(POSTGRESQLS, body)

    async def resource(self) -> Mapping[str, Any]:
        return await self.world.client.get(POSTGRESQLS, self.name, namespace=NAMESPACE)

    async def conninfo(self, role: str = "") -> str:
        """Of the superuser, through the service address (`role` "-repl": the replicas')."""
        service = await self.world.client.get(r.SERVICES, f"{self.name}{role}", namespace=NAMESPACE)
        secret = f"postgres.{self.name}.credentials.postgresql.acid.zalan.do"
        found = await self.world.client.get(r.SECRETS, secret, namespace=NAMESPACE)
        return psycopg.conninfo.make_conninfo(
            host=service["spec"]["clusterIP"],
            user="postgres",
            password=base64.b64decode(found["data"]["password"]).decode(),
            dbname="postgres",
            connect_timeout=2,
        )

    async def ask(self, statement: str) -> Any:
        """The first value of the first row, from the leader through the service; None for no row."""
        async with await psycopg.AsyncConnection.connect(await self.conninfo(), autocommit=True) as session:
            cursor = await session.execute(statement.encode())
            row = await cursor.fetchone() if cursor.description else (True,)
            return row[0] if row else None

    async def until_writable(self) -> None:
        """Until the service address leads to a server that commits."""

        async def question() -> bool:
            return bool(await self.ask("SELECT pg_current_xact_id()::text"))

        await until(question, f"{self.name} to accept writes")

    async def streaming(self) -> int:
        """Replicas that stream, as the leader says."""
        return int(await self.ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"))

    async def until_streaming(self, replicas: int) -> None:
        async def question() -> bool:
            return await self.streaming() >= replicas

        await until(question, f"{replicas} streaming replicas of {self.name}")

    async def until_synchronous(self) -> None:
        """Until commits wait for a standby, and Patroni has written down which."""

        async def question() -> bool:
            sync = await self.world.client.get(r.CONFIGMAPS, f"{self.name}-sync", namespace=NAMESPACE)
            said = sync["metadata"].get("annotations") or {}
            waits = await self.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')")
            return bool(said.get("sync_standby")) and said.get("leader") == await self.leader() and waits > 0

        await until(question, f"a synchronous standby of {self.name}")

    async def settled(self, members: int) -> None:
        """Everything as the manifest says, and nothing under way."""

        async def question() -> bool:
            status = (await self.resource()).get("status") or {}
            conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
            states = [member["state"] for member in status.get("members") or ()]
            return (
                status.get("PostgresClusterStatus") == "Running"
                and conditions.get("Progressing") == conditions.get("Degraded") == "False"
                and sorted(states) == ["running", *["streaming"] * (members - 1)]
            )

        await until(question, f"{self.name} to settle")

    async def leader(self) -> str:
        """By the leader lock."""
        found = await self.world.client.get(r.CONFIGMAPS, f"{self.name}-leader", namespace=NAMESPACE)
        return str(found["metadata"]["annotations"]["leader"])

    async def pod(self, name: str) -> Mapping[str, Any]:
        return await self.world.client.get(r.PODS, name, namespace=NAMESPACE)

    async def delete(self) -> float:
        """Seconds until neither the resource nor an object with its label is left."""
        began = time.perf_counter()
        await self.world.client.delete(POSTGRESQLS, self.name, namespace=NAMESPACE)

        async def question() -> bool:
            try:
                await self.resource()
            except NotFound:
                labels = f"cluster-name={self.name}"
                for kind in LEFT:
                    if (await self.world.client.list(kind, namespace=NAMESPACE, labels=labels)).items:
                        return False
                return True
            return False

        await until(question, f"{self.name} to be gone")
        return time.perf_counter() - began
