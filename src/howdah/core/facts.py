"""What a cluster is already, found in what was observed: facts that win over defaults when its request is resolved."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from howdah.core.request.asked import LiveFacts, LiveStream
from howdah.core.request.recovery import makes_standby
from howdah.model import names
from howdah.model.observed import Live, Observed
from howdah.model.units import PgVersion

_DCS_OF_KIND: Mapping[str, names.Dcs] = {"ConfigMap": "configmaps", "Endpoints": "endpoints"}


def live_facts(observed: Observed) -> LiveFacts:
    """The facts of this cluster; none for one that does not exist yet."""
    stateful_set = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    dcs = _state_store(observed)
    streams = tuple(_streams(observed))
    if stateful_set is None:
        return LiveFacts(
            exists=dcs is not None,
            dcs=dcs,
            at=observed.now,
            users_changed=_users_changed(observed),
            event_streams=streams,
            serves_event_streams=observed.serves_event_streams,
        )
    spec = stateful_set.body("apps/v1", "StatefulSet").get("spec") or {}
    claims = spec.get("volumeClaimTemplates") or ()
    return LiveFacts(
        exists=True,
        dcs=dcs,
        claim_template=next((c for c in claims if c["metadata"]["name"] == names.DATA_VOLUME), None),
        spilo_bootstrap=_document(spec).get("bootstrap"),
        version=_version(spec),
        follows=makes_standby(_variables(spec)),
        at=observed.now,
        users_changed=_users_changed(observed),
        event_streams=streams,
        serves_event_streams=observed.serves_event_streams,
    )


def facts_version(observed: Observed) -> tuple[object, ...]:
    """What the facts depend on: the same version means the same facts, but for the moment of the look."""
    stateful_set: Live | None = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    # The generation, for the status changes with every pod that comes or goes.
    seen = (stateful_set.meta.uid, stateful_set.meta.generation) if stateful_set is not None else None
    streams = tuple(
        (live.meta.uid, bytes(live.spec)) for (kind, _), live in observed.objects.items() if kind == names.STREAM_KIND
    )
    users = tuple(sorted(_users_changed(observed).items()))
    return (_state_store(observed), seen, users, streams, observed.serves_event_streams)


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
    for (kind, name), live in sorted(observed.objects.items(), key=lambda item: item[0]):
        if kind == names.STREAM_KIND:
            yield live_stream(name, live.body(names.STREAM_API_VERSION, kind).get("spec") or {})


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
    """Where Patroni keeps its configuration: only it writes these annotations."""
    for (kind, _), found in sorted(observed.patroni.items()):
        if found.metadata.annotation("config") is not None or found.metadata.annotation("initialize") is not None:
            return _DCS_OF_KIND.get(kind)
    return None


def _version(spec: Mapping[str, Any]) -> PgVersion | None:
    """As the reference and we tell it: a variable, or a folder of binaries."""
    told = _variables(spec).get("PGVERSION")
    if told is None:
        local = _document(spec).get("postgresql")
        folder = str(local.get("bin_dir") or "") if isinstance(local, Mapping) else ""
        told = folder.removeprefix("/usr/lib/postgresql/").partition("/")[0]
    try:
        return PgVersion.parse(told)
    except ValueError:
        return None


def _variables(spec: Mapping[str, Any]) -> Mapping[str, str]:
    """The literal variables of the database container."""
    containers = spec.get("template", {}).get("spec", {}).get("containers") or ()
    named = next((c for c in containers if c.get("name") == names.POSTGRES_CONTAINER), None)
    return {entry["name"]: entry["value"] for entry in (named or {}).get("env") or () if entry.get("value")}


def _document(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """What SPILO_CONFIGURATION holds; nothing where somebody else wrote it, for that says nothing that could win."""
    try:
        found = msgspec.json.decode(_variables(spec).get("SPILO_CONFIGURATION") or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}
