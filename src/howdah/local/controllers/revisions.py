"""ControllerRevisions: what a StatefulSet's template was, under a name that the pods made from it carry as a label."""

import contextlib
from dataclasses import dataclass
from typing import Any

from howdah.kube.errors import AlreadyExists, NotFound
from howdah.kube.resources import CONTROLLER_REVISIONS, PODS
from howdah.local.controllers import podset
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import World
from howdah.local.controllers.owners import controller_reference

LABEL = "controller-revision-hash"
DEFAULT_LIMIT = 10


@dataclass(frozen=True, slots=True)
class History:
    """Names of the revision that pods have and of the one that they should have; the same when all is done."""

    current: str
    update: str


def data_of(owner: Object) -> dict[str, Any]:
    """The part of the spec that makes a revision."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def next_number(revisions: list[Object]) -> int:
    """The number of a new revision."""
    return max((revision["revision"] for revision in revisions), default=0) + 1


async def reconcile(world: World, owner: Object) -> History:
    """Make sure that the template of now is the newest revision, and forget the oldest unused ones."""
    known = sorted(_owned(world, owner), key=lambda revision: int(revision["revision"]))
    data = data_of(owner)
    same = next((revision for revision in reversed(known) if revision.get("data") == data), None)
    if same is None:
        update = await _create(world, owner, data, next_number(known))
    else:
        update = same["metadata"]["name"]
        if same is not known[-1]:
            await _renumber(world, same, next_number(known))
    current = (owner.get("status") or {}).get("currentRevision") or update
    if all(revision["metadata"]["name"] != current for revision in known):
        current = update
    await _forget(world, owner, known, {current, update})
    return History(current, update)


def _owned(world: World, owner: Object) -> list[Object]:
    return podset.owned(world.caches.of(CONTROLLER_REVISIONS, owner["metadata"]["namespace"]), owner)


async def _create(world: World, owner: Object, data: dict[str, Any], number: int) -> str:
    metadata = owner["metadata"]
    # The owner's uid takes part: a set of the same name that came before may have left revisions behind.
    digest = podset.short_hash([data, metadata["uid"]])
    name = f"{metadata['name']}-{digest}"
    body = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {
                **(owner["spec"]["template"]["metadata"].get("labels") or {}),
                "controller.kubernetes.io/hash": digest,
            },
            "ownerReferences": [controller_reference(owner, "apps/v1", "StatefulSet")],
        },
        "data": data,
        "revision": number,
    }
    with contextlib.suppress(AlreadyExists):
        await world.caches.seen(CONTROLLER_REVISIONS, await world.client.create(CONTROLLER_REVISIONS, body))
    return name


async def _renumber(world: World, revision: Object, number: int) -> None:
    metadata = revision["metadata"]
    patch = {"metadata": {"uid": metadata["uid"]}, "revision": number}
    await world.client.merge_patch(CONTROLLER_REVISIONS, metadata["name"], patch, namespace=metadata["namespace"])


async def _forget(world: World, owner: Object, known: list[Object], used: set[str]) -> None:
    pods = podset.owned(world.caches.of(PODS, owner["metadata"]["namespace"]), owner)
    used = used | {str((pod["metadata"].get("labels") or {}).get(LABEL)) for pod in pods}
    unused = [revision for revision in known if revision["metadata"]["name"] not in used]
    limit = owner["spec"].get("revisionHistoryLimit")
    surplus = len(unused) - (DEFAULT_LIMIT if limit is None else limit)
    for revision in unused[: max(0, surplus)]:
        metadata = revision["metadata"]
        with contextlib.suppress(NotFound):
            await world.client.delete(
                CONTROLLER_REVISIONS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"]
            )
