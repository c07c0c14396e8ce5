"""A pod that cannot run says why in the cluster's status, harms nobody, and runs once the reason is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from e2e.clusters import PostgresCluster
from e2e.world import condition
from howdah.kube.resources import STORAGE_CLASSES

Named = Callable[[str], PostgresCluster]
HUGE = {"requests": {"cpu": "100", "memory": "100Mi"}, "limits": {"cpu": "100", "memory": "500Mi"}}
SMALL = {"requests": {"cpu": "50m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "500Mi"}}


def said_of(resource: dict[str, Any]) -> str:
    return " | ".join(
        str(condition(resource, name).get("message", "")) for name in ("Ready", "Progressing", "Degraded")
    )


async def test_pod_without_room_waits_and_says_so(cluster_named: Named) -> None:
    cluster = cluster_named("acid-no-room")
    await cluster.create(numberOfInstances=1, resources=HUGE)
    await cluster.status_where("the want of room to be said", lambda r: "Insufficient cpu" in said_of(r))
    await cluster.change(resources=SMALL)
    await cluster.settled(90)


async def test_replica_without_room_leaves_the_leader_alone(cluster_named: Named) -> None:
    cluster = cluster_named("acid-no-room-left")
    await cluster.create(numberOfInstances=2)
    await cluster.settled(120)
    leader = await cluster.leader()
    uid = await cluster.pod_uid(leader)
    await cluster.change(resources=HUGE)
    await cluster.status_where("the want of room to be said", lambda r: "Insufficient cpu" in said_of(r))
    assert await cluster.pod_uid(leader) == uid
    assert await cluster.ask("select pg_is_in_recovery()") is False
    await cluster.change(resources=None)
    await cluster.settled(90)
    assert await cluster.pod_uid(leader) == uid


async def test_image_that_does_not_exist_is_named(cluster_named: Named) -> None:
    cluster = cluster_named("acid-no-image")
    await cluster.create(numberOfInstances=1, dockerImage="localhost/no-such-image:1")
    await cluster.status_where("the image to be named", lambda r: "localhost/no-such-image:1" in said_of(r))
    await cluster.change(dockerImage=None)
    await cluster.settled(90)


@pytest.fixture
async def late_class(cluster_named: Named) -> Any:
    """A storage class that is made only later, and removed after the test."""
    body = {"metadata": {"name": "late"}, "provisioner": "kubernetes.io/host-path"}
    cluster = cluster_named("acid-no-volume")
    yield lambda: cluster.client.create(STORAGE_CLASSES, body)
    await cluster.client.delete(STORAGE_CLASSES, "late")


async def test_claim_that_stays_pending_is_named_until_there_is_a_volume(
    cluster_named: Named, late_class: Callable[[], Any]
) -> None:
    cluster = cluster_named("acid-no-volume")
    await cluster.create(numberOfInstances=1, volume={"size": "1Gi", "storageClass": "late"})
    await cluster.status_where("the claim to be named", lambda r: "pgdata-acid-no-volume-0" in said_of(r))
    await late_class()
    await cluster.settled(120)
