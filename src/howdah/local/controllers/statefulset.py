"""StatefulSets: pods with a number, each with its claims, made and replaced in the order that the spec asks for.

The decisions are functions of what is seen (`decide`); at most one of their answers is a wait for something that an
informer will tell. Semantics: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from howdah.kube.errors import AlreadyExists, Conflict, NotFound
from howdah.kube.events import Reference
from howdah.kube.resources import (
    CONTROLLER_REVISIONS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
)
from howdah.local.controllers import podset, revisions
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import controller_of, is_ready
from howdah.local.controllers.revisions import History

API_VERSION, KIND = "apps/v1", "StatefulSet"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
CLAIM_RETRY_S = 0.2


@dataclass(frozen=True, slots=True)
class Create:
    """Make the pod of an ordinal from a revision."""

    ordinal: int
    revision: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Ask for the deletion of this very pod."""

    pod: Object
    reason: str


Action = Create | Delete


def ordinal_of(name: str, pod: str) -> int | None:
    """The number of a pod of the StatefulSet `name`; `None` for a foreign name."""
    parent, _, number = pod.rpartition("-")
    return int(number) if parent == name and number.isdigit() and str(int(number)) == number else None


def _is_failed(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def _is_leaving(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(revisions.LABEL, ""))


def _revision_for(ordinal: int, owner: Object, history: History) -> str:
    """A rolling update leaves the lower ordinals on the current revision until their turn comes."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return history.update
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    if partition:
        return history.current if ordinal < start_of(owner) + partition else history.update
    current = (owner.get("status") or {}).get("currentReplicas") or 0
    return history.current if ordinal < start_of(owner) + current else history.update


def start_of(owner: Object) -> int:
    """The first ordinal."""
    return int((owner["spec"].get("ordinals") or {}).get("start") or 0)


def wanted_ordinals(owner: Object) -> range:
    """The ordinals that should have a pod."""
    replicas = owner["spec"].get("replicas")
    return range(start_of(owner), start_of(owner) + (1 if replicas is None else replicas))


def decide(owner: Object, pods: Mapping[int, Object], history: History) -> list[Action]:
    """What to do now; what has to wait is left out, and comes up again when the pods change."""
    in_turn = owner["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
    wanted = wanted_ordinals(owner)
    actions: list[Action] = []
    for ordinal in wanted:
        pod = pods.get(ordinal)
        if pod is None:
            actions.append(Create(ordinal, _revision_for(ordinal, owner, history)))
        elif _is_failed(pod) and not _is_leaving(pod):
            actions.append(Delete(pod, "recreating failed Pod"))
        if in_turn and (actions or pod is None or not is_ready(pod)):
            return actions
    actions += _scale_in(pods, wanted, in_turn)
    return actions or _update(owner, pods, wanted, history)


def _scale_in(pods: Mapping[int, Object], wanted: range, in_turn: bool) -> list[Action]:
    condemned = [pods[ordinal] for ordinal in sorted(set(pods) - set(wanted), reverse=True)]
    if in_turn and any(_is_leaving(pod) for pod in condemned):
        return []
    found: list[Action] = [Delete(pod, "scale in") for pod in condemned if not _is_leaving(pod)]
    return found[:1] if in_turn else found


def _update(owner: Object, pods: Mapping[int, Object], wanted: range, history: History) -> list[Action]:
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return []
    first = wanted.start + ((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    for ordinal in reversed(range(first, wanted.stop)):
        pod = pods.get(ordinal)
        if pod is None or _is_leaving(pod):
            return []
        if _revision_of(pod) != history.update:
            return [Delete(pod, f"update to revision {history.update}")]
        if not is_ready(pod):
            return []
    return []


def status_of(owner: Object, pods: Mapping[int, Object], history: History) -> dict[str, Any]:
    """The status; a finished rolling update makes the new revision the current one."""
    wanted = [pods[ordinal] for ordinal in sorted(pods)]
    made = [pod for pod in wanted if not _is_leaving(pod)]
    ready = podset.ready_count(made)
    updated = sum(1 for pod in made if _revision_of(pod) == history.update)
    rolling = (owner["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    current = history.current
    if rolling and updated == len(wanted) == ready:
        current = history.update
    return {
        "observedGeneration": owner["metadata"].get("generation", 1),
        "replicas": len(wanted),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "currentReplicas": sum(1 for pod in made if _revision_of(pod) == current),
        "updatedReplicas": updated,
        "currentRevision": current,
        "updateRevision": history.update,
        "collisionCount": 0,
    }


def pod_of(owner: Object, ordinal: int, revision: Object, node: str) -> dict[str, Any]:
    """The pod of an ordinal as a revision has it."""
    name = f"{owner['metadata']['name']}-{ordinal}"
    template = revision["data"]["spec"]["template"]
    spec = {**owner["spec"], "template": {key: value for key, value in template.items() if key != "$patch"}}
    pod = podset.template_pod({**owner, "spec": spec}, API_VERSION, KIND, name, node)
    pod["metadata"]["labels"] |= {
        POD_NAME: name,
        POD_INDEX: str(ordinal),
        revisions.LABEL: revision["metadata"]["name"],
    }
    claimed = {claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates") or ()}
    others = [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in claimed]
    claims = [
        {"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}} for volume in sorted(claimed)
    ]
    pod["spec"] |= {"hostname": name, "volumes": [*claims, *others]}
    if owner["spec"].get("serviceName"):
        pod["spec"]["subdomain"] = owner["spec"]["serviceName"]
    return pod


def claims_of(owner: Object, ordinal: int) -> list[dict[str, Any]]:
    """The claims of an ordinal's pod."""
    found = []
    for template in owner["spec"].get("volumeClaimTemplates") or ():
        described = template["metadata"]
        labels = {
            **(described.get("labels") or {}),
            **((owner["spec"].get("selector") or {}).get("matchLabels") or {}),
        }
        metadata = {
            "name": f"{described['name']}-{owner['metadata']['name']}-{ordinal}",
            "namespace": owner["metadata"]["namespace"],
            "labels": labels,
        }
        if described.get("annotations"):
            metadata["annotations"] = described["annotations"]
        spec = template["spec"]
        found.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    return found


def claim_owners(owner: Object, claim: Object, condemned: Object | None) -> list[dict[str, Any]] | None:
    """The claim's owner references by the retention policy; `None` when they are right.

    The default, Retain, has none: the claim outlives everything.
    """
    policy = owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    before = claim["metadata"].get("ownerReferences") or []
    name = owner["metadata"]["name"]
    # By name: a reference to an earlier StatefulSet of this name is as much ours, and must not outlive it.
    others = [
        reference
        for reference in before
        if not (
            (reference["kind"] == KIND and reference["name"] == name)
            or (reference["kind"] == "Pod" and ordinal_of(name, reference["name"]) is not None)
        )
    ]
    wanted = list(others)
    if policy.get("whenScaled") == "Delete" and condemned is not None:
        wanted.append(_reference("v1", "Pod", condemned))
    elif policy.get("whenDeleted") == "Delete":
        wanted.append(_reference(API_VERSION, KIND, owner))
    return None if wanted == before else wanted


def _reference(api_version: str, kind: str, item: Object) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": item["metadata"]["name"],
        "uid": item["metadata"]["uid"],
    }


def statefulset_controller(world: World) -> Controller:
    """The effects."""

    async def reconcile(key: Key) -> float | None:
        owner = world.caches.get(STATEFUL_SETS, *key)
        if owner is None or owner["metadata"].get("deletionTimestamp"):
            return None
        pods = await _pods(world, owner)
        history = await revisions.reconcile(world, owner)
        await _keep_claims(world, owner, pods)
        # The status is that of the pods before the actions; their effect comes back as an event.
        status = status_of(owner, pods, history)
        await _write_status(world, owner, status)
        again_s: float | None = None
        for action in decide({**owner, "status": status}, pods, history):
            if isinstance(action, Delete):
                await _delete(world, owner, action)
            elif not await _create(world, owner, action):
                again_s = CLAIM_RETRY_S
        return again_s

    triggers = {
        STATEFUL_SETS: lambda item: [key_of(item)],
        PODS: _keys_of_pod(world),
        CONTROLLER_REVISIONS: _key_of_controller,
    }
    return Controller(world, triggers, reconcile)


def _key_of_controller(item: Object) -> Sequence[Key]:
    reference = controller_of(item)
    if reference is None or reference["kind"] != KIND:
        return ()
    return [(item["metadata"]["namespace"], reference["name"])]


def _keys_of_pod(world: World) -> Any:
    def keys(pod: Object) -> Sequence[Key]:
        if controller_of(pod) is not None:
            return _key_of_controller(pod)
        found = world.caches.of(STATEFUL_SETS, pod["metadata"]["namespace"])
        return [key_of(owner) for owner in found if podset.is_orphan_of(pod, owner)]

    return keys


async def _pods(world: World, owner: Object) -> dict[int, Object]:
    """Ordinal → pod, orphans that fit adopted."""
    name, namespace = owner["metadata"]["name"], owner["metadata"]["namespace"]
    found: dict[int, Object] = {}
    for pod in world.caches.of(PODS, namespace):
        ordinal = ordinal_of(name, pod["metadata"]["name"])
        if ordinal is None:
            continue
        if podset.is_orphan_of(pod, owner):
            await _adopt(world, owner, pod)
        elif not podset.owned([pod], owner):
            continue
        found[ordinal] = pod
    return found


async def _adopt(world: World, owner: Object, pod: Object) -> None:
    # Asked anew: an owner that was just replaced by another of its name must not take pods with its old uid.
    live = await world.client.get(STATEFUL_SETS, owner["metadata"]["name"], namespace=owner["metadata"]["namespace"])
    if live["metadata"]["uid"] != owner["metadata"]["uid"] or live["metadata"].get("deletionTimestamp"):
        raise Conflict("adopt", status=409, message="the StatefulSet has been replaced")
    patch = podset.adoption(pod, owner, API_VERSION, KIND)
    await world.client.merge_patch(PODS, pod["metadata"]["name"], patch, namespace=pod["metadata"]["namespace"])


async def _write_status(world: World, owner: Object, status: Mapping[str, Any]) -> None:
    if not podset.changed(owner.get("status"), status):
        return
    patch = {"metadata": {"uid": owner["metadata"]["uid"]}, "status": status}
    await world.client.merge_patch(
        STATEFUL_SETS,
        owner["metadata"]["name"],
        patch,
        namespace=owner["metadata"]["namespace"],
        subresource="status",
    )


async def _keep_claims(world: World, owner: Object, pods: Mapping[int, Object]) -> None:
    wanted = wanted_ordinals(owner)
    for ordinal, pod in pods.items():
        for claim in claims_of(owner, ordinal):
            live = world.caches.get(PERSISTENT_VOLUME_CLAIMS, *key_of(claim))
            if live is not None and not live["metadata"].get("deletionTimestamp"):
                condemned = None if ordinal in wanted else pod
                await _own_claim(world, live, claim_owners(owner, live, condemned))


async def _own_claim(world: World, claim: Object, owners: list[dict[str, Any]] | None) -> None:
    if owners is None:
        return
    metadata = claim["metadata"]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "ownerReferences": owners,
        }
    }
    await world.client.merge_patch(PERSISTENT_VOLUME_CLAIMS, metadata["name"], patch, namespace=metadata["namespace"])


async def _create(world: World, owner: Object, action: Create) -> bool:
    """False when it has to be tried again because a claim of that name is on its way out."""
    for claim in claims_of(owner, action.ordinal):
        live = world.caches.get(PERSISTENT_VOLUME_CLAIMS, *key_of(claim))
        if live is None:
            with contextlib.suppress(AlreadyExists):
                await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim)
        elif live["metadata"].get("deletionTimestamp"):
            return False
    revision = await world.client.get(CONTROLLER_REVISIONS, action.revision, namespace=owner["metadata"]["namespace"])
    pod = pod_of(owner, action.ordinal, revision, world.node)
    try:
        made = await world.client.create(PODS, pod)
    except AlreadyExists:
        return True  # a pod of that name is there, perhaps a foreign one; its end will be told
    _tell(world, owner, "SuccessfulCreate", f"create Pod {pod['metadata']['name']} in StatefulSet successful")
    await world.caches.seen(PODS, made)
    return True


async def _delete(world: World, owner: Object, action: Delete) -> None:
    metadata = action.pod["metadata"]
    with contextlib.suppress(NotFound, Conflict):
        await world.client.delete(PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"])
        _tell(world, owner, "SuccessfulDelete", f"delete Pod {metadata['name']}: {action.reason}")


def _tell(world: World, owner: Object, reason: str, message: str) -> None:
    metadata = owner["metadata"]
    about = Reference(STATEFUL_SETS, metadata["name"], metadata["namespace"], metadata["uid"])
    world.events.record(about, reason, message)
