"""Deleting a cluster leaves nothing of it, and its name is free at once."""

from __future__ import annotations

from collections.abc import Callable

from e2e.clusters import PostgresCluster
from e2e.world import until
from howdah.kube.errors import KubeError
from howdah.kube.resources import (
    BUILT_IN,
    CLUSTER_ROLES,
    CUSTOM_RESOURCE_DEFINITIONS,
    EVENTS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
)
from howdah.local.node import processes

Named = Callable[[str], PostgresCluster]
NOT_OURS = (
    EVENTS, NAMESPACES, NODES, STORAGE_CLASSES, CUSTOM_RESOURCE_DEFINITIONS, CLUSTER_ROLES, PERSISTENT_VOLUMES
)  # fmt: skip


async def objects_of(cluster: PostgresCluster) -> list[str]:
    """Everything in the namespace that bears the cluster's name or label."""
    found = []
    for resource in BUILT_IN:
        if resource in NOT_OURS:
            continue
        for item in (await cluster.client.list(resource, namespace=cluster.namespace)).items:
            meta = item["metadata"]
            label = (meta.get("labels") or {}).get("cluster-name")
            if label == cluster.name or cluster.name in meta["name"]:
                found.append(f"{resource.kind} {meta['name']}")
    return found


async def test_deleted_cluster_leaves_nothing_and_its_name_is_free_at_once(cluster_named: Named) -> None:
    cluster = cluster_named("acid-delete")
    await cluster.create()
    await cluster.settled()
    await cluster.run("create table old (id int)")
    folders = await cluster.volume_folders()
    assert len(folders) == 2
    pids = [cluster.world.pod_processes(uid) for uid in (await cluster.uids()).values()]
    everybody = [found for pod in pids for pid in (pod.shim, *pod.everybody) if (found := processes.identity(pid))]
    assert everybody

    await cluster.delete()
    await cluster.gone()
    await cluster.create()  # at once: what is left of the old one must not get into the new one

    async def folders_are_gone() -> bool:
        return not any(folder.exists() for folder in folders)

    await until(folders_are_gone, "the volumes' folders to be gone", timeout_s=10)
    assert not [who for who in everybody if processes.is_alive(who)]
    await cluster.settled()
    assert await cluster.ask("select to_regclass('old')::text") is None

    await cluster.delete()
    await cluster.gone()

    async def nothing_is_left() -> bool:
        left = await objects_of(cluster)
        if left:
            raise KubeError(", ".join(left))
        return True

    await until(nothing_is_left, "every object to be gone", timeout_s=10)
