"""Password rotation on a running cluster: nobody who reads the Secret is ever locked out, and only system roles cost pods."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import psycopg

from e2e.clusters import PostgresCluster
from e2e.world import until
from howdah.kube.resources import SECRETS

Named = Callable[[str], PostgresCluster]
PAST = "2020-01-01T00:00:00Z"


async def held(cluster: PostgresCluster, user: str) -> dict[str, str]:
    found = await cluster.client.get(SECRETS, cluster.secret_name(user), namespace=cluster.namespace)
    return {key: base64.b64decode(text).decode() for key, text in found["data"].items()}


async def set_due(cluster: PostgresCluster, user: str) -> None:
    await until(lambda: _has_date(cluster, user), f"the next rotation of {user}", timeout_s=20)
    patch = {"data": {"nextRotation": base64.b64encode(PAST.encode()).decode()}}
    await cluster.client.merge_patch(SECRETS, cluster.secret_name(user), patch, namespace=cluster.namespace)


async def _has_date(cluster: PostgresCluster, user: str) -> bool:
    return "nextRotation" in await held(cluster, user)


async def log_in(cluster: PostgresCluster, user: str) -> None:
    """As an application does: read the Secret, connect."""
    secret, address = await held(cluster, user), await cluster.address()
    session = await psycopg.AsyncConnection.connect(
        host=address, user=secret["username"], password=secret["password"], dbname="foo", connect_timeout=5
    )
    await session.close()


async def test_a_rotation_locks_nobody_out_and_replaces_no_pod(cluster_named: Named) -> None:
    cluster = cluster_named("acid-rotating")
    await cluster.create(usersWithSecretRotation=["foo_user"], numberOfInstances=1)
    await cluster.settled()
    before = await cluster.uids()
    await set_due(cluster, "foo_user")
    logins = 0
    while (await held(cluster, "foo_user"))["username"] == "foo_user":
        await log_in(cluster, "foo_user")
        logins += 1
        assert logins < 500, "it is not rotated"
    for _ in range(20):
        await log_in(cluster, "foo_user")
    await cluster.settled()
    assert await cluster.uids() == before


async def test_the_superusers_password_is_rotated_in_place_with_a_roll(cluster_named: Named) -> None:
    cluster = cluster_named("acid-rotating-super")
    await cluster.create(usersWithInPlaceSecretRotation=["postgres"], numberOfInstances=1)
    await cluster.settled()
    before, first = await cluster.uids(), await held(cluster, "postgres")
    await set_due(cluster, "postgres")

    async def is_replaced() -> bool:
        return await cluster.uids() != before

    await until(is_replaced, "the pod to be replaced", timeout_s=60)
    await asyncio.sleep(1)
    await cluster.settled()
    second = await held(cluster, "postgres")
    assert second["username"] == "postgres"
    assert second["password"] != first["password"]
    await log_in(cluster, "postgres")
