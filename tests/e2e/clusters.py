"""One cluster as its user sees it: a manifest, its status, and connections through the service addresses."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from e2e.world import NAMESPACE, World, condition, until
from howdah.adapters.answers import new_session
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.adapters.patroni import Endpoint, Patroni, RefusedError
from howdah.core.patroni.credentials import derived_credentials
from howdah.kube.client import Client
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICES, Resource

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal.yaml"
QUICK_PATRONI = {"ttl": 20, "loop_wait": 2, "retry_timeout": 5}
"""The quickest that Patroni allows: a test need not wait 30 seconds for a lease."""
CONNECT_TIMEOUT_S = 3

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


def manifest(name: str, namespace: str = NAMESPACE, **spec: Any) -> dict[str, Any]:
    """The minimal example under another name; `spec` replaces its keys (None removes one)."""
    made: dict[str, Any] = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
    made["metadata"] = {"name": name, "namespace": namespace}
    made["spec"] = {key: value for key, value in (made["spec"] | spec).items() if value is not None}
    made["spec"]["patroni"] = QUICK_PATRONI | (spec.get("patroni") or {})
    return made


def is_settled(resource: Mapping[str, Any], instances: int) -> bool:
    """Running as the manifest of this generation says, with every member in place, and nothing under way."""
    status = resource.get("status") or {}
    members = status.get("members") or ()
    return (
        status.get("observedGeneration") == resource["metadata"]["generation"]
        and status.get("PostgresClusterStatus") == "Running"
        and len(members) == instances
        and sum(member["role"] == "leader" for member in members) == (1 if instances else 0)
        and all(member["state"] == ("running" if member["role"] == "leader" else "streaming") for member in members)
        and all(condition(dict(resource), name).get("status") == "False" for name in ("Progressing", "Degraded"))
    )


@dataclass(frozen=True, slots=True)
class PostgresCluster:
    """A `postgresql` resource by name."""

    world: World
    client: Client
    name: str
    namespace: str = NAMESPACE

    # the resource

    async def create(self, **spec: Any) -> dict[str, Any]:
        """From the minimal example."""
        newest = {"postgresql": {"version": self.world.majors[-1]}}
        return await self.client.create(POSTGRESQLS, manifest(self.name, self.namespace, **(newest | spec)))

    async def change(self, **spec: Any) -> None:
        """Merge into the spec; None removes a key."""
        await self.client.merge_patch(POSTGRESQLS, self.name, {"spec": spec}, namespace=self.namespace)

    async def annotate(self, **annotations: str | None) -> None:
        """`howdah_dev__pause` is `howdah.dev/pause`."""
        named = {key.replace("__", "/").replace("_", "."): value for key, value in annotations.items()}
        patch = {"metadata": {"annotations": named}}
        await self.client.merge_patch(POSTGRESQLS, self.name, patch, namespace=self.namespace)

    async def resource(self) -> dict[str, Any]:
        return await self.client.get(POSTGRESQLS, self.name, namespace=self.namespace)

    async def settled(self, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until everything is as the manifest says, and nothing is under way."""
        last: dict[str, Any] = {}

        async def question() -> dict[str, Any] | None:
            nonlocal last
            last = await self.resource()
            return last if is_settled(last, last["spec"]["numberOfInstances"]) else None

        def what() -> str:
            return f"{self.name} to settle; status {last.get('status')}"

        found = await until(question, what, timeout_s=timeout_s)
        assert found is not None
        return found

    async def quiet(self, timeout_s: float = 60, for_s: float = 2.5) -> dict[str, Any]:
        """Settled, and then for a while nothing that anybody writes to the resource."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = await self.settled(max(1.0, deadline - time.monotonic()))
            await asyncio.sleep(for_s)
            with contextlib.suppress(KubeError):
                if (await self.resource())["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]:
                    return found

    async def status_where(self, what: str, question: Any, timeout_s: float = 40) -> dict[str, Any]:
        """The resource once `question(resource)` holds."""
        last: dict[str, Any] = {}

        async def ask() -> dict[str, Any] | None:
            nonlocal last
            last = await self.resource()
            return last if question(last) else None

        found = await until(ask, lambda: f"{what}; status {last.get('status')}", timeout_s=timeout_s)
        assert found is not None
        return found

    async def delete(self) -> None:
        await self.client.delete(POSTGRESQLS, self.name, namespace=self.namespace)

    async def gone(self, timeout_s: float = 30) -> None:
        """Wait until the resource is gone."""

        async def question() -> bool:
            try:
                await self.resource()
            except NotFound:
                return True
            return False

        await until(question, f"{self.name} to be gone", timeout_s=timeout_s)

    # its objects

    async def owned(self, resource: Resource) -> list[dict[str, Any]]:
        """Objects with the cluster's label."""
        listing = await self.client.list(resource, namespace=self.namespace, labels=f"cluster-name={self.name}")
        return list(listing.items)

    async def pods(self) -> list[dict[str, Any]]:
        """By ordinal."""
        return sorted(await self.owned(PODS), key=lambda pod: str(pod["metadata"]["name"]))

    async def uids(self) -> dict[str, str]:
        """Pod name → uid."""
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in await self.pods()}

    async def pod_uid(self, name: str) -> str:
        return str((await self.client.get(PODS, name, namespace=self.namespace))["metadata"]["uid"])

    async def leader(self) -> str:
        """The leader by the status of the resource."""
        return str((await self.resource())["status"]["leader"])

    async def replicas(self) -> list[str]:
        """Members that do not lead, by name."""
        found = (await self.resource())["status"]["members"]
        return sorted(member["name"] for member in found if member["role"] != "leader")

    async def volume_folders(self) -> list[Path]:
        """Where the claims' data are on this machine."""
        return await self.world.volume_folders(self.client, await self.owned(PERSISTENT_VOLUME_CLAIMS))

    # credentials

    def secret_name(self, user: str) -> str:
        return f"{user.replace('_', '-')}.{self.name}.credentials.postgresql.acid.zalan.do"

    async def password(self, user: str) -> str:
        secret = await self.client.get(SECRETS, self.secret_name(user), namespace=self.namespace)
        return base64.b64decode(secret["data"]["password"]).decode()

    async def set_password(self, user: str, password: str) -> None:
        """Edit the Secret as a person does."""
        patch = {"data": {"password": base64.b64encode(password.encode()).decode()}}
        await self.client.merge_patch(SECRETS, self.secret_name(user), patch, namespace=self.namespace)

    # connections

    async def address(self, role: str = "leader") -> str:
        """The service address."""
        suffix = {"leader": "", "replica": "-repl", "pooler": "-pooler", "replica pooler": "-pooler-repl"}[role]
        service = await self.client.get(SERVICES, f"{self.name}{suffix}", namespace=self.namespace)
        return str(service["spec"]["clusterIP"])

    async def conninfo(self, user: str = "zalando", database: str = "foo", role: str = "leader", **more: Any) -> str:
        """What libpq needs for a connection through the service."""
        return psycopg.conninfo.make_conninfo(
            host=await self.address(role),
            user=user,
            password=await self.password(user),
            dbname=database,
            connect_timeout=CONNECT_TIMEOUT_S,
            **more,
        )

    async def connect(self, user: str = "zalando", database: str = "foo", role: str = "leader") -> Connection:
        return await psycopg.AsyncConnection.connect(await self.conninfo(user, database, role), autocommit=True)

    async def ask(self, sql: str, *, user: str = "zalando", database: str = "foo", role: str = "leader") -> Any:
        """The first column of the first row."""
        async with await self.connect(user, database, role) as connection:
            row = await (await connection.execute(sql.encode())).fetchone()
            return row[0] if row is not None else None

    async def run(self, sql: str, *, user: str = "zalando", database: str = "foo") -> None:
        """A statement without answer."""
        async with await self.connect(user, database) as connection:
            await connection.execute(sql.encode())

    async def reachable(self, timeout_s: float = 30, **who: str) -> None:
        """Wait until a statement can be run through the service."""

        async def question() -> bool:
            try:
                return bool(await self.ask("select 1", **who))
            except psycopg.Error as error:
                raise OSError(str(error)) from error

        await until(question, f"{self.name} to answer through its service", timeout_s=timeout_s)

    # Patroni

    async def switch_over(self, candidate: str) -> None:
        """Ask Patroni, with the credentials that the operator uses. Raises RefusedError."""
        leader = await self.leader()
        pod = await self.client.get(PODS, leader, namespace=self.namespace)
        who = derived_credentials("postgres", await self.password("postgres"))
        endpoint = Endpoint(f"http://{pod['status']['podIP']}:8008", who.username, who.password)
        async with new_session() as session:
            await Patroni(session).switchover(endpoint, leader=leader, candidate=candidate)


__all__ = ["EXAMPLE", "QUICK_PATRONI", "Connection", "PostgresCluster", "RefusedError", "is_settled", "manifest"]
