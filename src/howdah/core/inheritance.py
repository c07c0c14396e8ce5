"""What existing objects of others inherit: annotations and owner references on Patroni's objects, claims and Secrets.

These are never applied whole: Patroni writes its own keys into the same annotations every few seconds, and a Secret's data
are people's. So only what is missing is merged in. A key that is not asked for any more stays, for nobody knows whose it
is; a reference to our resource goes when it is not asked for. Pods have a planner of their own in `alignment`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from howdah.core.plan import Decision, PatchMetadata
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Meta

Owners = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Heir:
    """An existing object and what it shall have. `owners` is None where owner references are not ours to decide."""

    kind: str
    meta: Meta
    annotations: Mapping[str, str]
    owners: Owners | None


def inherit(situation: Situation) -> Decision:
    """A step for each object that lacks something."""
    uid = situation.cluster.uid
    steps = (_step(heir, uid) for heir in heirs(situation) if heir.meta.deletion_timestamp is None)
    return Decision(steps=tuple(step for step in steps if step is not None))


def heirs(situation: Situation) -> Iterator[Heir]:
    """Patroni's objects, claims and Secrets, as far as they exist."""
    cluster, observed = situation.cluster, situation.observed
    inherited = cluster.annotations.inherited
    for kind, name in cluster.names.patroni_objects:
        live = observed.objects.get((kind, name)) if kind == "Service" else observed.patroni.get((kind, name))
        if live is not None:
            yield Heir(kind, live.metadata, inherited, cluster.owner_references)
    for claim in observed.claims:  # owned by nobody: they outlive the resource unless the operator deletes them
        yield Heir("PersistentVolumeClaim", claim.metadata, inherited, None)
    environment = (cluster.environment_secret,) if cluster.environment_secret is not None else ()
    for request in (*cluster.secrets, *environment):
        secret = observed.secrets.get((request.namespace, request.name))
        if secret is not None:
            is_claimed = secret.metadata.annotation(names.CLUSTER) is not None
            keeps = is_claimed or request.namespace in observed.namesakes
            annotations = _without_claim(request.annotations) if keeps else request.annotations
            yield Heir("Secret", secret.metadata, annotations, request.owner_references)


def _without_claim(annotations: Mapping[str, str]) -> Mapping[str, str]:
    """A cluster of the same name may share a Secret: one that says whose it is keeps saying so, and one that lies beside
    such a cluster is not claimed, for it may be that one's, and goes with it.
    """
    return {key: value for key, value in annotations.items() if key != names.CLUSTER}


def _step(heir: Heir, uid: str) -> PatchMetadata | None:
    missing = {key: value for key, value in sorted(heir.annotations.items()) if heir.meta.annotation(key) != value}
    owners = _owners(heir, uid)
    if not missing and owners is None:
        return None
    said = [f"annotation {key}" for key in missing] + (["owner references"] if owners is not None else [])
    return PatchMetadata(
        reason=f"{heir.kind} {heir.meta.name} inherits from the resource: {', '.join(said)}",
        kind=heir.kind,
        name=heir.meta.name,
        namespace=heir.meta.namespace,
        uid=heir.meta.uid,
        annotations=missing,
        owner_references=owners,
        resource_version=heir.meta.resource_version if owners is not None else "",
    )


def _owners(heir: Heir, uid: str) -> Owners | None:
    """The whole list as it is to be, others' first; None where it is so already."""
    if heir.owners is None:
        return None
    wanted = {owner["uid"]: owner for owner in heir.owners}
    there: dict[str, Mapping[str, Any]] = {o.uid: msgspec.to_builtins(o) for o in heir.meta.owner_references or ()}
    is_stale = uid in there and uid not in wanted
    if not is_stale and all(key in there and _holds(there[key], owner) for key, owner in wanted.items()):
        return None
    others = (owner for key, owner in there.items() if key != uid and key not in wanted)
    return (*others, *wanted.values())


def _holds(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(live.get(key) == value for key, value in wanted.items() if value)
