"""What a cluster is already, found in what was observed: facts that win over defaults when its request is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from howdah.core.request.asked import LiveFacts
from howdah.model import names
from howdah.model.observed import Live, Observed

_DCS_OF_KIND: Mapping[str, names.Dcs] = {"ConfigMap": "configmaps", "Endpoints": "endpoints"}


def live_facts(observed: Observed) -> LiveFacts:
    """The facts of this cluster; none for one that does not exist yet."""
    stateful_set = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    dcs = _state_store(observed)
    if stateful_set is None:
        return LiveFacts(exists=dcs is not None, dcs=dcs, users_changed=_users_changed(observed))
    spec = stateful_set.body("apps/v1", "StatefulSet").get("spec") or {}
    claims = spec.get("volumeClaimTemplates") or ()
    return LiveFacts(
        exists=True,
        dcs=dcs,
        claim_template=next((c for c in claims if c["metadata"]["name"] == names.DATA_VOLUME), None),
        spilo_bootstrap=_bootstrap(spec),
        users_changed=_users_changed(observed),
    )


def facts_version(observed: Observed) -> tuple[object, ...]:
    """What the facts depend on: the same version means the same facts."""
    stateful_set: Live | None = observed.objects.get(("StatefulSet", observed.resource.meta.name))
    # The generation, for the status changes with every pod that comes or goes.
    seen = (stateful_set.meta.uid, stateful_set.meta.generation) if stateful_set is not None else None
    return (_state_store(observed), seen, tuple(sorted(_users_changed(observed).items())))


def _users_changed(observed: Observed) -> dict[str, str]:
    found = {
        meta.name: meta.annotation(names.USERS_CHANGED) for meta in (s.metadata for s in observed.secrets.values())
    }
    return {name: changed for name, changed in found.items() if changed is not None}


def _state_store(observed: Observed) -> names.Dcs | None:
    """Where Patroni keeps its configuration: only it writes these annotations."""
    for (kind, _), found in sorted(observed.patroni.items()):
        if found.metadata.annotation("config") is not None or found.metadata.annotation("initialize") is not None:
            return _DCS_OF_KIND.get(kind)
    return None


def _bootstrap(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    containers = spec.get("template", {}).get("spec", {}).get("containers") or ()
    for container in containers:
        for entry in container.get("env") or ():
            if entry.get("name") == "SPILO_CONFIGURATION" and entry.get("value"):
                return _section(entry["value"])
    return None


def _section(text: str) -> Mapping[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:  # written by somebody else: it says nothing that could win
        return None
    return found.get("bootstrap") if isinstance(found, dict) else None
