"""Poolers on the whole platform: the operator's Deployment, PgBouncer, and clients that come through the service address."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from e2e.clusters import PostgresCluster
from e2e.world import PATIENCE, condition, until
from e2e.writing import lost, make_tables, writing
from howdah.kube.errors import NotFound
from howdah.kube.resources import DEPLOYMENTS, PODS, SECRETS, SERVICES

pytestmark = pytest.mark.skipif(
    shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="PgBouncer is not installed"
)
WITHOUT_PREPARED = {"prepare_threshold": None}


@dataclass(frozen=True, slots=True)
class ThroughPooler(PostgresCluster):
    """The same cluster for clients that know only the pooler's address."""

    async def address(self, role: str = "leader") -> str:
        return await PostgresCluster.address(self, "pooler" if role == "leader" else "replica pooler")


@pytest.fixture
def pooled(cluster_named: Callable[[str], PostgresCluster]) -> Callable[[str], ThroughPooler]:
    def handle(name: str) -> ThroughPooler:
        made = cluster_named(name)
        return ThroughPooler(made.world, made.client, made.name)

    return handle


async def available(cluster: PostgresCluster, pods: int, suffix: str = "-pooler") -> None:
    """Wait until so many pods of a pooler take connections, all of the newest template."""

    async def question() -> bool:
        found = await cluster.client.get(DEPLOYMENTS, f"{cluster.name}{suffix}", namespace=cluster.namespace)
        status = found.get("status") or {}
        seen = (status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas"))
        is_seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return is_seen and found["spec"]["replicas"] == pods and all(count == pods for count in seen)

    await until(question, f"{pods} pods of {cluster.name}{suffix}", timeout_s=40)


async def pooler_objects(cluster: PostgresCluster) -> set[str]:
    """Kind and name of everything of its poolers, pods aside."""
    labels = f"application=db-connection-pooler,cluster-name={cluster.name}"
    return {
        f"{resource.kind} {item['metadata']['name']}"
        for resource in (DEPLOYMENTS, SERVICES, SECRETS)
        for item in (await cluster.client.list(resource, namespace=cluster.namespace, labels=labels)).items
    }


async def logs_in(cluster: PostgresCluster, user: str, password: str, database: str = "foo") -> bool:
    info = psycopg.conninfo.make_conninfo(
        host=await cluster.address(), user=user, password=password, dbname=database, connect_timeout=5
    )
    try:
        connection = await psycopg.AsyncConnection.connect(info)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


async def test_poolers_come_scale_roll_go_and_come_again(pooled: Callable[[str], ThroughPooler]) -> None:
    cluster = pooled("acid-pooled")
    await cluster.create(enableConnectionPooler=True, connectionPooler={"numberOfInstances": 1})
    await cluster.settled(60)
    await available(cluster, 1)
    await cluster.run("create table t (id int)")
    assert await cluster.ask("select session_user || ' in ' || current_database()") == "zalando in foo"
    assert not await logs_in(cluster, "zalando", "wrong")

    # An ordinary user's password, and then the pooler's own.
    await cluster.set_password("zalando", "chosen by a person")

    async def takes_the_new() -> bool:
        return await logs_in(cluster, "zalando", "chosen by a person")

    await until(takes_the_new, "the edited password to count", timeout_s=30)
    before = await pod_uids(cluster)
    await cluster.set_password("pooler", "also chosen")

    async def rolled() -> bool:
        return not before & await pod_uids(cluster)

    await until(rolled, "the pooler's pods to be made anew", timeout_s=40)
    await available(cluster, 1)
    await until(takes_the_new, "logins after the pooler's password was edited", timeout_s=30)

    # More pods, another mode, and the replicas' pooler.
    await cluster.change(
        enableReplicaConnectionPooler=True, connectionPooler={"numberOfInstances": 2, "mode": "session"}
    )
    await available(cluster, 2)
    await available(cluster, 2, "-pooler-repl")
    found = await cluster.status_where(
        "both poolers", lambda resource: condition(resource, "PoolersReady").get("reason") == "AllPods"
    )
    assert "acid-pooled-pooler-repl: 2 of 2" in condition(found, "PoolersReady")["message"]
    assert await cluster.ask("select pg_is_in_recovery()", role="replica") is True

    # Off: nothing of them is left; on again: with another password.
    await cluster.change(enableConnectionPooler=False, enableReplicaConnectionPooler=False)

    async def none_left() -> bool:
        return not await pooler_objects(cluster) and not await pod_uids(cluster)

    await until(none_left, "nothing of the poolers to be left", timeout_s=40)
    with pytest.raises(NotFound):
        await cluster.password("pooler")
    await cluster.change(enableConnectionPooler=True)
    await cluster.status_where(
        "the pooler again", lambda resource: condition(resource, "PoolersReady").get("status") == "True"
    )
    await until(takes_the_new, "logins through the new pooler", timeout_s=30)
    quiet = await cluster.quiet()
    assert condition(quiet, "Degraded")["status"] == "False"

    await cluster.delete()
    await cluster.gone()
    assert await pooler_objects(cluster) <= {f"Secret {cluster.secret_name('pooler')}"}


async def pod_uids(cluster: PostgresCluster) -> set[str]:
    labels = f"connection-pooler,cluster-name={cluster.name}"
    found = (await cluster.client.list(PODS, namespace=cluster.namespace, labels=labels)).items
    return {pod["metadata"]["uid"] for pod in found}


async def test_a_writing_client_comes_through_a_switchover(pooled: Callable[[str], ThroughPooler]) -> None:
    """Every commit that was answered is there, and PgBouncer finds the new leader by itself."""
    cluster = pooled("acid-pooled-switch")
    await cluster.create(enableConnectionPooler=True, connectionPooler={"numberOfInstances": 1})
    await cluster.settled(60)
    await available(cluster, 1)
    await make_tables(cluster)
    uids = await pod_uids(cluster)
    async with writing(cluster) as writer:
        await until_acknowledged(cluster, len(writer.acknowledged) + 20, writer)
        old = await cluster.leader()
        (candidate,) = await cluster.replicas()
        await cluster.switch_over(candidate)
        await cluster.status_where("another leader", lambda found: found["status"].get("leader") == candidate)
        await until_acknowledged(cluster, len(writer.acknowledged) + 20, writer)
    assert await lost(cluster, writer) == []
    assert old != candidate
    assert await pod_uids(cluster) == uids
    assert writer.longest_gap_s < 15 * PATIENCE, writer.troubles


async def until_acknowledged(cluster: PostgresCluster, count: int, writer: Any) -> None:
    begin = time.monotonic()

    async def question() -> bool:
        return len(writer.acknowledged) >= count

    await until(
        question, lambda: f"{count} writes after {time.monotonic() - begin:.0f} s: {writer.troubles}", timeout_s=40
    )
