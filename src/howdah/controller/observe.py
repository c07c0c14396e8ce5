"""All reads: a cluster as the caches have it, or as it is at this moment (before a disruptive step)."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from howdah.adapters import kubernetes
from howdah.controller.locks import Place
from howdah.controller.unseen import Unseen
from howdah.controller.watch import Watch, every
from howdah.core.plan import LEFT_WHERE_UNREAD, STANDS_ALONE
from howdah.kube.client import Client
from howdah.kube.informer import Key
from howdah.model import names
from howdah.model.cluster import SecretRequest
from howdah.model.errors import ExternalError
from howdah.model.observed import Departed, Live, Observed, PatroniObject, Pod, Revision

Clock = Callable[[], dt.datetime]


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def from_caches(watch: Watch, key: Key, now: dt.datetime) -> Observed | None:
    """The cluster as the caches have it; None without a resource."""
    if (resource := watch.resource(key)) is None:
        return None
    patroni, unknown, unread = _patroni(watch, key), watch.unknown_in(key[0]), watch.unread_of(key)
    pods, revisions = every(watch.pods, key), every(watch.revisions, key)
    seen = Observed(
        now=now,
        resource=resource,
        pods=pods,
        claims=every(watch.claims, key),
        objects=_objects(watch, key),
        secrets={(s.metadata.namespace, s.metadata.name): s for s in every(watch.secrets, key)},
        patroni=patroni,
        unrenewed_s=_unrenewed_s(watch, patroni),
        renewals_seen=frozenset(p for p, lock in patroni.items() if watch.locks.was_renewed(_place(p, lock))),
        templates=templates(pods, revisions, watch.template),
        revisions=revisions,
        problems=_problems(unknown, STANDS_ALONE) + _problems(unread, LEFT_WHERE_UNREAD),
        unseen=_by_kind(unknown, STANDS_ALONE),
        unread=_by_kind(unread, LEFT_WHERE_UNREAD),
        serves_event_streams=watch.event_streams.is_served(key[0]),
        nodes=watch.nodes.of(pods),
        nodes_unseen=watch.nodes.unseen,
        departed=_departed(watch, key),
    )
    return own(seen)


def own(observed: Observed) -> Observed:
    """The same with the cluster's own pods, by ordinal, and claims alone.

    Others have its labels, too: where `cluster_labels` says little, or where people put them on what they made.
    """
    cluster = observed.resource.meta.name
    members = (pod for pod in observed.pods if names.is_member(pod.name, cluster))
    claims = tuple(claim for claim in observed.claims if names.is_members_claim(claim.metadata.name, cluster))
    return dataclasses.replace(observed, pods=tuple(sorted(members, key=lambda pod: pod.ordinal)), claims=claims)


def templates(
    pods: Iterable[Pod], revisions: Iterable[Revision], template: Callable[[Revision], Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The templates of the revisions that pods are made from. A StatefulSet controller keeps old ones as long as that."""
    in_use = {pod.metadata.label(names.REVISION_LABEL) for pod in pods}
    return {r.metadata.name: template(r) for r in revisions if r.metadata.name in in_use}


def with_secrets(watch: Watch, observed: Observed, wanted: Iterable[SecretRequest]) -> Observed:
    """The same with the wanted Secrets of other namespaces, which the cluster's own label does not lead to.

    And with what is not known of them: the cluster's own namespace is among its `problems`.
    """
    asked = [(request.namespace, request.name) for request in wanted]
    unread = {
        place[0]: part.malformed[place].why for part in watch.secrets for place in asked if place in part.malformed
    }
    unseen = unread | _unseen(watch, observed, (namespace for namespace, _ in asked))
    name = observed.resource.meta.name
    namesakes = {n for n, _ in asked if n != observed.resource.meta.namespace and watch.is_there((n, name))}
    found = dict(observed.secrets)
    for place in asked:
        secret = next((s for part in watch.secrets if (s := part.get(*place)) is not None), None)
        if secret is not None and place[0] not in unseen:
            found[place] = secret
    if len(found) == len(observed.secrets) and not unseen:
        return observed
    return dataclasses.replace(observed, secrets=found, secrets_unseen=unseen, namesakes=frozenset(namesakes))


def with_foreign_secrets(watch: Watch, observed: Observed) -> Observed:
    """The same with the Secrets of other namespaces that say that they are this cluster's, or said so when they were seen."""
    meta = observed.resource.meta
    mine = f"{meta.namespace}/{meta.name}"
    found = (s for part in watch.secrets for s in part if s.metadata.annotation(names.CLUSTER) == mine)
    foreign = {(s.metadata.namespace, s.metadata.name): s for s in found}
    unseen = _unseen(watch, observed, (namespace for namespace, _ in foreign))
    seen = {place: secret for place, secret in foreign.items() if place[0] not in unseen}
    return dataclasses.replace(observed, secrets={**observed.secrets, **seen}, secrets_unseen=unseen)


def _unseen(watch: Watch, observed: Observed, namespaces: Iterable[str]) -> dict[str, str]:
    """Other namespaces than the cluster's in which no Secret is seen, and why."""
    others = sorted(set(namespaces) - {observed.resource.meta.namespace})
    return {place: why for place in others if (why := watch.why_no_secrets(place)) is not None}


def _problems(found: Iterable[Unseen], left: Set[str]) -> tuple[ExternalError, ...]:
    return tuple(one.error for one in found if one.kind not in left)


def _by_kind(found: Iterable[Unseen], left: Set[str]) -> dict[str, str]:
    """Of the kinds in `left`, what is told of each."""
    whys: dict[str, list[str]] = {}
    for one in found:
        if one.kind in left:
            whys.setdefault(one.kind, []).append(one.error.message)
    return {kind: "; ".join(told) for kind, told in whys.items()}


def _objects(watch: Watch, key: Key) -> dict[tuple[str, str], Live]:
    owned = {(kind, o.metadata.name): o for kind, part in watch.owned.items() for o in every(part, key)}
    owned |= {(names.STREAM_KIND, o.metadata.name): o for o in every(watch.event_streams, key)}
    for kind, part in watch.shared.items():
        name = watch.shared_names[kind]
        found = next((o for informer in part if (o := informer.get(key[0], name)) is not None), None)
        if found is not None:
            owned[(kind, name)] = found
    return owned


def _departed(watch: Watch, key: Key) -> tuple[Departed, ...]:
    now_s = asyncio.get_running_loop().time()
    return tuple(
        Departed(gone.name, gone.uid, gone.was_proved_dead, now_s - gone.at_s)
        for gone in watch.departed
        if gone.key == key
    )


def _unrenewed_s(watch: Watch, patroni: Mapping[tuple[str, str], PatroniObject]) -> dict[tuple[str, str], float]:
    now_s = asyncio.get_running_loop().time()
    return {
        place: watch.locks.unchanged_s(_place(place, lock), renewed, now_s)
        for place, lock in patroni.items()
        if (renewed := lock.metadata.annotation("renewTime")) is not None
    }


def _place(place: tuple[str, str], lock: PatroniObject) -> Place:
    return place[0], lock.metadata.namespace, place[1]


def _patroni(watch: Watch, key: Key) -> dict[tuple[str, str], PatroniObject]:
    found = {("ConfigMap", o.metadata.name): o for o in every(watch.configmaps, key)}
    return found | {("Endpoints", o.metadata.name): o for o in every(watch.endpoints, key)}


async def live(
    client: Client, cached: Observed, *, selector: str, patroni_kind: str, now: dt.datetime
) -> Observed | None:
    """The same cluster, with resource, pods and Patroni's objects read at this moment; None when it is gone."""
    meta = cached.resource.meta
    resource, pods, patroni = await asyncio.gather(
        kubernetes.read_resource(client, meta.namespace, meta.name),
        kubernetes.read_pods(client, meta.namespace, selector),
        kubernetes.read_patroni(client, meta.namespace, selector, patroni_kind),
    )
    if resource is None or resource.meta.uid != meta.uid:
        return None
    renewed = frozenset(place for place, lock in patroni.items() if _was_renewed(lock, cached.patroni.get(place)))
    seen = dataclasses.replace(
        cached,
        now=now,
        resource=resource,
        pods=pods,
        patroni=patroni,
        unrenewed_s={place: 0.0 if place in renewed else since_s for place, since_s in cached.unrenewed_s.items()},
        renewals_seen=cached.renewals_seen | renewed,
    )
    return own(seen)


def _was_renewed(lock: PatroniObject, cached: PatroniObject | None) -> bool:
    """Since the caches were read."""
    said = "renewTime"
    return cached is not None and lock.metadata.annotation(said) != cached.metadata.annotation(said)
