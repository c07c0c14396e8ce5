"""A node is cordoned. The local platform has only one, so nobody can leave it: that is said, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from e2e.clusters import PostgresCluster
from howdah.kube.resources import NODES


def pending(resource: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = resource.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == "LeaderMovePending"), None)


async def test_a_cordoned_node_is_said_and_forgotten_when_it_takes_pods_again(
    cluster_named: Callable[..., PostgresCluster],
) -> None:
    cluster = cluster_named("acid-cordoned")
    await cluster.create()
    await cluster.settled()
    leader, pods = await cluster.leader(), await cluster.uids()
    (node,) = (await cluster.client.list(NODES)).items
    name = node["metadata"]["name"]
    try:
        await cluster.client.merge_patch(NODES, name, {"spec": {"unschedulable": True}})  # as kubectl cordon
        said = pending(await cluster.status_where("the condition", lambda resource: pending(resource) is not None))
        assert said is not None
        assert (said["status"], said["reason"]) == ("True", "NoCandidate")
        assert f"{leader} leads, and node {name} is cordoned" in said["message"]
        assert "which is cordoned, too" in said["message"]
        resource = await cluster.settled()
        assert resource["status"]["PostgresClusterStatus"] == "Running"
    finally:
        await cluster.client.merge_patch(NODES, name, {"spec": {"unschedulable": False}})
    await cluster.status_where("the condition to go", lambda resource: pending(resource) is None)
    assert (await cluster.leader(), await cluster.uids()) == (leader, pods)
