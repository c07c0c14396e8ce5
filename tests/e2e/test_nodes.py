"""Every node is cordoned, so that no leader can leave its own: that is said, and nothing else happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from e2e.clusters import PostgresCluster
from howdah.kube.resources import NODES, PODS


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
    node = (await cluster.client.get(PODS, leader, namespace=cluster.namespace))["spec"]["nodeName"]
    try:
        await cordon(cluster, unschedulable=True)
        found = await cluster.status_where(
            "the condition", lambda r: "cordoned, too" in (pending(r) or {}).get("message", "")
        )
        said = pending(found)
        assert said is not None
        assert (said["status"], said["reason"]) == ("True", "NoCandidate")
        assert f"{leader} leads, and node {node} is cordoned" in said["message"]
        resource = await cluster.settled()
        assert resource["status"]["PostgresClusterStatus"] == "Running"
    finally:
        await cordon(cluster, unschedulable=False)
    await cluster.status_where("the condition to go", lambda resource: pending(resource) is None)
    assert (await cluster.leader(), await cluster.uids()) == (leader, pods)


async def cordon(cluster: PostgresCluster, *, unschedulable: bool) -> None:
    """Every node; the leader's is never the only one."""
    leader = (await cluster.client.get(PODS, await cluster.leader(), namespace=cluster.namespace))["spec"]["nodeName"]
    names = [node["metadata"]["name"] for node in (await cluster.client.list(NODES)).items]
    for name in sorted(names, key=lambda name: (name == leader) is unschedulable):
        await cluster.client.merge_patch(NODES, name, {"spec": {"unschedulable": unschedulable}})
