"""Volume claims: each is a folder, made when the claim is bound, removed only when the claim's deletion was seen.

A finalizer of ours keeps a claim that somebody deletes in sight until no pod uses it and its folder is gone. A folder
without a claim is never touched: nobody knows whose it is.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from howdah.kube.errors import NotFound
from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, PODS
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.node import volumes
from howdah.local.node.fencing import User

FINALIZER = "kubernetes.io/pvc-protection"

_log = structlog.get_logger("claims")


def claims_of(pod: Object) -> Sequence[Key]:
    """Keys of the claims that a pod uses."""
    return [(pod["metadata"]["namespace"], claim) for claim in volumes.claims_of(pod).values()]


def claims_controller(
    world: World, directory: Path, user: User | None, is_in_use: Callable[[str, str], bool]
) -> Controller:
    """`is_in_use(namespace, claim)`: whether processes that use the claim may be alive on the node."""

    async def reconcile(key: Key) -> float | None:
        claim = world.caches.get(PERSISTENT_VOLUME_CLAIMS, *key)
        if claim is None:
            return None
        if claim["metadata"].get("deletionTimestamp"):
            used = is_in_use(*key) or any(key in claims_of(pod) for pod in world.caches.of(PODS, key[0]))
            # The pods' last change comes before the node's proof: look again soon.
            if used:
                return 0.1
            await _remove(world, claim, _folder(directory, claim))
        else:
            await _bind(world, claim, _folder(directory, claim), user)
        return None

    triggers = {PERSISTENT_VOLUME_CLAIMS: lambda claim: [key_of(claim)], PODS: claims_of}
    return Controller(world, triggers, reconcile)


def _folder(directory: Path, claim: Object) -> Path:
    metadata = claim["metadata"]
    return volumes.claim_folder(directory, metadata["namespace"], metadata["name"], metadata["uid"])


async def _bind(world: World, claim: Object, folder: Path, user: User | None) -> None:
    metadata, spec, status = claim["metadata"], claim["spec"], claim.get("status") or {}
    name, namespace = metadata["name"], metadata["namespace"]
    patch: dict[str, object] = {}
    if FINALIZER not in (metadata.get("finalizers") or ()):
        finalizers = [*(metadata.get("finalizers") or ()), FINALIZER]
        patch["metadata"] = {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": finalizers,
        }
    if not spec.get("volumeName"):
        patch["spec"] = {"volumeName": f"pvc-{metadata['uid']}"}
    if patch:
        await world.client.merge_patch(PERSISTENT_VOLUME_CLAIMS, name, patch, namespace=namespace)
    if status.get("phase") != "Bound":
        # Only now: a bound claim whose folder is missing is a loss that must be seen, and not be made good by an empty one.
        make_shared_parents(folder, user)
        volumes.make_folder(folder, user)
    wanted = {
        "phase": "Bound",
        "accessModes": spec.get("accessModes") or [],
        "capacity": {"storage": ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")},
    }
    if any(status.get(field) != value for field, value in wanted.items()):
        await world.client.merge_patch(
            PERSISTENT_VOLUME_CLAIMS,
            name,
            {"metadata": {"uid": metadata["uid"]}, "status": wanted},
            namespace=namespace,
            subresource="status",
        )


def make_shared_parents(folder: Path, user: User | None) -> None:
    """The folders above, which other users may pass but not read."""
    for parent in (folder.parent.parent, folder.parent):
        parent.mkdir(mode=0o700, exist_ok=True, parents=True)
        parent.chmod(0o711 if user is not None else 0o700)


def _remove_folder(folder: Path) -> None:
    if folder.exists():
        # Renamed first: half a data folder must never be taken for a whole one.
        doomed = folder.with_name(f".removed-{os.getpid()}-{folder.name}")
        folder.rename(doomed)
        volumes.remove_folder(doomed)


async def _remove(world: World, claim: Object, folder: Path) -> None:
    metadata = claim["metadata"]
    if FINALIZER not in (metadata.get("finalizers") or ()):
        return
    try:
        live = await world.client.get(PERSISTENT_VOLUME_CLAIMS, metadata["name"], namespace=metadata["namespace"])
    except NotFound:
        return
    if live["metadata"]["uid"] != metadata["uid"] or not live["metadata"].get("deletionTimestamp"):
        return
    _log.info("removing the folder of a deleted claim", claim=metadata["name"], folder=str(folder))
    await asyncio.to_thread(_remove_folder, folder)
    finalizers = [name for name in live["metadata"]["finalizers"] if name != FINALIZER]
    patch = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": live["metadata"]["resourceVersion"],
            "finalizers": finalizers or None,
        }
    }
    await world.client.merge_patch(PERSISTENT_VOLUME_CLAIMS, metadata["name"], patch, namespace=metadata["namespace"])
