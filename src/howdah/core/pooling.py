"""What poolers need beside the objects that `alignment` keeps: their user lists, and their end. Rolls: `pooler_rolls`.

A pooler's pods never see a user list change (it is mounted as one file), nor a password among their variables. So a
list in which a password changed is dated, and the date is part of the pods' template: Kubernetes rolls them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from howdah.core.objects.secrets import secret
from howdah.core.plan import Decision, Delete, Step, WriteUserList
from howdah.core.situation import Situation
from howdah.core.status import PoolerView
from howdah.model import names
from howdah.model.cluster import UserList
from howdah.model.observed import Meta, SecretMeta


def user_lists(situation: Situation) -> Decision:
    """A list is made anew whenever a Secret that it was made from is another one, or another version of it."""
    steps: list[Step] = []
    for pooler in situation.cluster.poolers:
        asked = pooler.user_list
        live = situation.observed.secrets.get((asked.namespace, asked.name))
        reason = _why_written(asked, live, situation)
        if reason is not None:
            uid = live.metadata.uid if live is not None else None
            steps.append(WriteUserList(reason=reason, body=secret(asked), uid=uid, users=asked.users))
    return Decision(steps=tuple(steps))


def _why_written(asked: UserList, live: SecretMeta | None, situation: Situation) -> str | None:
    if live is None:
        return f"Secret {asked.name} does not exist"
    if live.metadata.deletion_timestamp is not None:
        return None
    if not _has_marks(live.metadata, secret(asked)["metadata"]):
        return f"labels, annotations or owners of Secret {asked.name} differ"
    seen = _versions(asked, situation)
    if seen is None or live.metadata.annotation(names.USERS_SEEN) == seen:
        return None
    return f"Secret {asked.name} was not made from the Secrets of its roles as they are now"


def _has_marks(live: Meta, intended: Mapping[str, Mapping[str, str]]) -> bool:
    owners = {owner.uid for owner in live.owner_references or ()}
    return (
        all(live.label(key) == value for key, value in intended.get("labels", {}).items())
        and all(live.annotation(key) == value for key, value in intended.get("annotations", {}).items())
        and all(owner["uid"] in owners for owner in intended.get("ownerReferences", ()))  # type: ignore[index]
    )


def _versions(asked: UserList, situation: Situation) -> str | None:
    """What the list's annotation says when it is up to date; None while a Secret is not there."""
    found = []
    for source in asked.users:
        place = (source.namespace, situation.cluster.names.secret(source.user))
        live = situation.observed.secrets.get(place)
        if live is None:
            return None
        found.append((live.metadata.uid, live.metadata.resource_version))
    return names.versions_text(found)


def remove_poolers(situation: Situation) -> Decision:
    """Poolers that are not asked for any more: what carries their names and their labels, and the Secret of their role.

    The Secret goes first: it is told from other roles' Secrets only by a pooler that is there.
    """
    found = tuple(_left(situation))
    is_pooler_there = any(meta.label(names.POOLER_LABEL) is not None for _, meta in found)
    if not is_pooler_there:
        return Decision()
    reason = "the manifest asks for no such pooler any more"
    steps = (
        Delete(reason=reason, kind=kind, name=meta.name, uid=meta.uid)
        for kind, meta in found
        if meta.deletion_timestamp is None
    )
    return Decision(steps=tuple(steps))


def _left(situation: Situation) -> Iterator[tuple[str, Meta]]:
    cluster, observed = situation.cluster, situation.observed
    for kind, name in cluster.unwanted_poolers:
        if kind == "Secret":
            secret_ = observed.secrets.get((cluster.key.namespace, name))
            if secret_ is not None:
                yield kind, secret_.metadata
        elif (live := observed.objects.get((kind, name))) is not None and live.meta.label(names.POOLER_LABEL) == name:
            yield kind, live.meta


def pooler_views(situation: Situation) -> tuple[PoolerView, ...]:
    """What the poolers' Deployments say of their pods."""
    found = []
    for pooler in situation.cluster.poolers:
        live = situation.observed.objects.get(("Deployment", pooler.name))
        available = live.decoded_status().get("availableReplicas") or 0 if live is not None else 0
        found.append(PoolerView(pooler.name, pooler.replicas, available))
    return tuple(found)
