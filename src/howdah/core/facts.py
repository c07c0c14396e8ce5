"""What a cluster is already, found in what was observed: facts that win over defaults when its request is resolved."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from howdah.core.patroni.member import parse_leader
from howdah.core.request.asked import LiveFacts, LiveStream
from howdah.model import names
from howdah.model.errors import UNREADABLE
from howdah.model.observed import STANDBY, Live, Observed
from howdah.model.units import PgVersion

_DCS_OF_KIND: Mapping[str, names.Dcs] = {"ConfigMap": "configmaps", "Endpoints": "endpoints"}


def live_facts(observed: Observed) -> LiveFacts:
    """The facts of this cluster; none for one that does not exist yet."""
    stateful_set = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    dcs = _state_store(observed)
    facts = LiveFacts(
        exists=dcs is not None or stateful_set is not None,
        dcs=dcs,
        etcd_host=_etcd_host(observed, dcs),
        was_standby=_was_standby(observed),
        at=observed.now,
        users_changed=_users_changed(observed),
        event_streams=tuple(_streams(observed)),
        serves_event_streams=observed.serves_event_streams,
    )
    if stateful_set is None:
        return facts
    spec = stateful_set.body("apps/v1", "StatefulSet").get("spec") or {}
    claims, pod = spec.get("volumeClaimTemplates") or (), spec.get("template", {}).get("spec") or {}
    return replace(
        facts,
        claim_template=next((c for c in claims if c["metadata"]["name"] == names.DATA_VOLUME), None),
        spilo_bootstrap=_document(pod).get("bootstrap"),
        version=_version(pod),
    )


def facts_version(observed: Observed) -> tuple[object, ...]:
    """What the facts depend on: the same version means the same facts, but for the moment of the look."""
    stateful_set: Live | None = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    # The generation, for the status changes with every pod that comes or goes.
    seen = (stateful_set.meta.uid, stateful_set.meta.generation) if stateful_set is not None else None
    streams = tuple((live.meta.uid, bytes(live.spec)) for _, live in _stream_objects(observed))
    users = tuple(sorted(_users_changed(observed).items()))
    dcs = _state_store(observed)
    store = (dcs, _etcd_host(observed, dcs))
    return (store, seen, users, streams, observed.serves_event_streams, _was_standby(observed))


def _was_standby(observed: Observed) -> bool:
    return observed.resource.decoded_status().get(STANDBY) == "true"


def _users_changed(observed: Observed) -> dict[str, str]:
    """Of the cluster's own user lists: Secrets that were seen in other namespaces may be those of a namesake."""
    home = observed.resource.meta.namespace
    found = {
        name: secret.metadata.annotation(names.USERS_CHANGED)
        for (namespace, name), secret in observed.secrets.items()
        if namespace == home
    }
    return {name: changed for name, changed in found.items() if changed is not None}


def _streams(observed: Observed) -> Iterator[LiveStream]:
    for name, live in sorted(_stream_objects(observed), key=lambda item: item[0]):
        yield live_stream(name, live.body(names.STREAM_API_VERSION, names.STREAM_KIND).get("spec") or {})


def _stream_objects(observed: Observed) -> Iterator[tuple[str, Live]]:
    """No object where one of them cannot be read: from what it said before it does not follow what it needs no more."""
    if names.STREAM_KIND not in observed.left_alone:
        yield from ((name, live) for (kind, name), live in observed.objects.items() if kind == names.STREAM_KIND)


def live_stream(name: str, spec: Mapping[str, Any]) -> LiveStream:
    """What an object says of itself; of one whose spec the installed CRD does not keep, only the name is known."""
    sources = (flow.get("source") or {} for flow in spec.get("eventStreams") or () if isinstance(flow, Mapping))
    links = {_link(source.get("jdbcConnection") or {}) for source in sources}
    return LiveStream(name, spec.get("applicationId") or "", tuple(sorted(link for link in links if link)))


_DATABASE = re.compile(r"jdbc:postgresql://[^/]+/([^?]+)")


def _link(connection: Mapping[str, Any]) -> tuple[str, str] | None:
    url, slot = _DATABASE.match(str(connection.get("jdbcUrl"))), connection.get("slotName")
    return (url[1], str(slot)) if url is not None and slot else None


def _state_store(observed: Observed) -> names.Dcs | None:
    """Where Patroni keeps its state: by what its pods were made with, then by the StatefulSet, then by what it wrote.

    What an earlier life left in the other store must not win: services would leave the leader, and pods that are made
    anew would found a second cluster there. Pods come before their StatefulSet, which somebody may have changed since.
    """
    told = {_store_of(template.get("spec") or {}) for template in observed.templates.values()} - {None}
    return next(iter(told)) if len(told) == 1 else _store_of(_standing_pod(observed)) or _written_store(observed)


def _etcd_host(observed: Observed, dcs: names.Dcs | None) -> str:
    """Where the etcd is that the pods use, or those that will be made; empty where it is none."""
    if dcs != "etcd":
        return ""
    hosts = (_variables(template.get("spec") or {}).get("ETCD_HOST") for template in observed.templates.values())
    return next(filter(None, hosts), None) or _variables(_standing_pod(observed)).get("ETCD_HOST", "")


def _standing_pod(observed: Observed) -> Mapping[str, Any]:
    """The pods' spec in the StatefulSet; empty where there is none."""
    stateful_set = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    spec = (stateful_set.body("apps/v1", "StatefulSet").get("spec") or {}) if stateful_set is not None else {}
    pod: Mapping[str, Any] = spec.get("template", {}).get("spec") or {}
    return pod


def _store_of(pod: Mapping[str, Any]) -> names.Dcs | None:
    """What a pod of this spec would use; None where it does not say."""
    said = _variables(pod)
    if "DCS_ENABLE_KUBERNETES_API" not in said:
        return "etcd" if "ETCD_HOST" in said else None
    return "configmaps" if "KUBERNETES_USE_CONFIGMAPS" in said else "endpoints"


_NEVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def _written_store(observed: Observed) -> names.Dcs | None:
    """Where there is a configuration, which only Patroni writes; of two, where the leader lock was renewed last."""
    stores = {
        _DCS_OF_KIND[kind]
        for (kind, _), found in observed.patroni.items()
        if found.metadata.annotation("config") is not None or found.metadata.annotation("initialize") is not None
    }
    return max(sorted(stores), key=lambda store: _renewed(store, observed), default=None)


def _renewed(store: names.Dcs, observed: Observed) -> dt.datetime:
    times = (
        parse_leader(found.metadata.annotations).renewed_at
        for (kind, _), found in observed.patroni.items()
        if _DCS_OF_KIND[kind] == store
    )
    return max((time for time in times if time is not None), default=_NEVER)


def _version(pod: Mapping[str, Any]) -> PgVersion | None:
    """As the reference and we tell it: a variable, or a folder of binaries."""
    told = _variables(pod).get("PGVERSION")
    if told is None:
        local = _document(pod).get("postgresql")
        folder = str(local.get("bin_dir") or "") if isinstance(local, Mapping) else ""
        told = folder.removeprefix("/usr/lib/postgresql/").partition("/")[0]
    try:
        return PgVersion.parse(told)
    except ValueError:
        return None


def _variables(pod: Mapping[str, Any]) -> Mapping[str, str]:
    """The literal variables of the database container of a pod's spec."""
    containers = pod.get("containers") or ()
    named = next((c for c in containers if c.get("name") == names.POSTGRES_CONTAINER), None)
    return {entry["name"]: entry["value"] for entry in (named or {}).get("env") or () if entry.get("value")}


def _document(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """What SPILO_CONFIGURATION holds; nothing where somebody else wrote it, for that says nothing that could win."""
    try:
        found = msgspec.json.decode(_variables(pod).get("SPILO_CONFIGURATION") or "{}")
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}
