"""Deployments and ReplicaSets, as far as stateless helpers of a cluster (a pooler) need them.

A Deployment keeps one ReplicaSet per template and moves pods from the old to the new within `maxSurge` and
`maxUnavailable`. Not here: progress deadlines, pausing, rollback by number.
"""

import contextlib
import secrets
from collections.abc import Mapping, Sequence
from math import ceil, floor
from typing import Any

from howdah.kube.errors import AlreadyExists, Conflict, NotFound
from howdah.kube.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Resource
from howdah.local.controllers import podset
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import controller_of, controller_reference, is_active, is_ready

API_VERSION = "apps/v1"
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


def _replicas(item: Object) -> int:
    found = item["spec"].get("replicas")
    return 1 if found is None else int(found)


def _share(value: Any, whole: int, *, up: bool) -> int:
    if isinstance(value, str) and value.endswith("%"):
        exact = whole * int(value[:-1]) / 100
        return ceil(exact) if up else floor(exact)
    return int(value)


def limits(deployment: Object) -> tuple[int, int]:
    """(most pods at all, fewest available pods) during a change."""
    wanted = _replicas(deployment)
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    return wanted + surge, wanted - (unavailable or (0 if surge else 1))


def scales(deployment: Object, new: Object, old: Sequence[Object]) -> dict[str, int]:
    """ReplicaSet name → replicas that it should have now, where they differ."""
    wanted = _replicas(deployment)
    if (deployment["spec"].get("strategy") or {}).get("type") == "Recreate":
        left = sum((item.get("status") or {}).get("replicas", 0) for item in old)
        targets = {item["metadata"]["name"]: 0 for item in old}
        targets[new["metadata"]["name"]] = wanted if not left else _replicas(new)
        return _changes(targets, [new, *old])
    most, fewest = limits(deployment)
    total = sum(_replicas(item) for item in (new, *old))
    room = most - total
    own = _replicas(new)
    targets = {new["metadata"]["name"]: min(wanted, own + max(0, room)) if own < wanted else wanted}
    spare = sum(_available(item) for item in (new, *old)) - fewest
    for item in old:
        ready = _available(item)
        # What is not available disturbs nobody when it goes.
        useless = max(0, _replicas(item) - ready)
        fewer = useless + max(0, min(spare, ready))
        spare -= max(0, fewer - useless)
        targets[item["metadata"]["name"]] = max(0, _replicas(item) - fewer)
    return _changes(targets, [new, *old])


def _available(item: Object) -> int:
    # A pod that is about to be scaled away is still there, but does not count any more.
    return min((item.get("status") or {}).get("availableReplicas") or 0, _replicas(item))


def _changes(targets: Mapping[str, int], items: Sequence[Object]) -> dict[str, int]:
    now = {item["metadata"]["name"]: _replicas(item) for item in items}
    return {name: target for name, target in targets.items() if now[name] != target}


def deployment_status(deployment: Object, new: Object | None, every: Sequence[Object]) -> dict[str, Any]:
    """The status; its conditions are what `kubectl rollout status` and `kubectl wait` read."""

    def total(field: str, items: Sequence[Object]) -> int:
        return sum((item.get("status") or {}).get(field) or 0 for item in items)

    replicas, available = total("replicas", every), total("availableReplicas", every)
    updated = total("replicas", [new] if new else [])
    enough = available >= limits(deployment)[1]
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": total("readyReplicas", every),
        "availableReplicas": available,
        "unavailableReplicas": max(0, _replicas(deployment) - available),
        "conditions": [
            {
                "type": "Available",
                "status": "True" if enough else "False",
                "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            },
            {
                "type": "Progressing",
                "status": "True",
                "reason": "NewReplicaSetAvailable" if enough else "ReplicaSetUpdated",
            },
        ],
    }


def replica_set(deployment: Object, revision: int) -> dict[str, Any]:
    """The ReplicaSet of the Deployment's template."""
    metadata = deployment["metadata"]
    digest = podset.short_hash([deployment["spec"]["template"], metadata["uid"]])
    template = deployment["spec"]["template"]
    labels = {**(template["metadata"].get("labels") or {}), HASH: digest}
    selector = deployment["spec"]["selector"]
    return {
        "apiVersion": API_VERSION,
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [controller_reference(deployment, API_VERSION, "Deployment")],
        },
        "spec": {
            "replicas": 0,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: digest}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }


def _owner_keys(kind: str) -> Any:
    def keys(item: Object) -> Sequence[Key]:
        reference = controller_of(item)
        if reference is None or reference["kind"] != kind:
            return ()
        return [(item["metadata"]["namespace"], reference["name"])]

    return keys


async def _patch_status(world: World, resource: Resource, item: Object, status: Mapping[str, Any]) -> None:
    if podset.changed(item.get("status"), status):
        metadata = item["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await world.client.merge_patch(
            resource, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
        )


def deployments_controller(world: World) -> Controller:
    """Deployments: their ReplicaSets."""

    async def reconcile(key: Key) -> None:
        deployment = world.caches.get(DEPLOYMENTS, *key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        every = podset.owned(world.caches.of(REPLICA_SETS, key[0]), deployment)
        wanted = replica_set(deployment, len(every) + 1)
        new = next((item for item in every if item["metadata"]["name"] == wanted["metadata"]["name"]), None)
        if new is None:
            with contextlib.suppress(AlreadyExists):
                await world.caches.seen(REPLICA_SETS, await world.client.create(REPLICA_SETS, wanted))
            return  # its appearance brings the next pass
        old = [item for item in every if item is not new]
        for name, replicas in scales(deployment, new, old).items():
            await world.client.merge_patch(REPLICA_SETS, name, {"spec": {"replicas": replicas}}, namespace=key[0])
        await _patch_status(world, DEPLOYMENTS, deployment, deployment_status(deployment, new, every))

    triggers = {DEPLOYMENTS: lambda item: [key_of(item)], REPLICA_SETS: _owner_keys("Deployment")}
    return Controller(world, triggers, reconcile)


def replica_sets_controller(world: World) -> Controller:
    """ReplicaSets: their pods."""

    async def reconcile(key: Key) -> None:
        owner = world.caches.get(REPLICA_SETS, *key)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            return
        pods = [pod for pod in podset.owned(world.caches.of(PODS, key[0]), owner) if is_active(pod)]
        status = {
            "observedGeneration": owner["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": podset.ready_count(pods),
            "availableReplicas": podset.ready_count(pods),
        }
        await _patch_status(world, REPLICA_SETS, owner, status)
        for _ in range(_replicas(owner) - len(pods)):
            name = f"{key[1]}-{secrets.token_hex(3)}"
            body = podset.template_pod(owner, API_VERSION, "ReplicaSet", name, world.node)
            await world.caches.seen(PODS, await world.client.create(PODS, body))
        surplus = sorted(pods, key=lambda pod: (is_ready(pod), pod["metadata"]["creationTimestamp"]))
        for pod in surplus[: max(0, len(pods) - _replicas(owner))]:
            with contextlib.suppress(NotFound, Conflict):
                await world.client.delete(PODS, pod["metadata"]["name"], namespace=key[0], uid=pod["metadata"]["uid"])

    triggers = {REPLICA_SETS: lambda item: [key_of(item)], PODS: _owner_keys("ReplicaSet")}
    return Controller(world, triggers, reconcile)
