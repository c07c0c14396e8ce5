"""Where the pods may run: node affinity, anti-affinity of the members, tolerations."""

from collections.abc import Mapping
from typing import Any

from howdah.core.request.asked import Asked, Json

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def affinity(asked: Asked, apart: Mapping[str, str]) -> Json:
    """The pods' affinity; empty where nothing is asked. `apart`: the labels of the pods that keep apart."""
    parts = {"nodeAffinity": _node_affinity(asked), "podAntiAffinity": _anti_affinity(asked, apart)}
    return {name: part for name, part in parts.items() if part}


def tolerations(asked: Asked) -> tuple[Json, ...]:
    """The manifest's list, else the operator's one."""
    if asked.spec.tolerations:
        return tuple(asked.spec.tolerations)
    return (dict(asked.settings.toleration),) if asked.settings.toleration else ()


def readiness_affinity(asked: Asked) -> Json:
    """The node affinity that the operator's readiness label alone asks for; empty without one."""
    ready = _readiness(asked)
    return {_REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": ready}]}} if ready else {}


def _readiness(asked: Asked) -> list[Json]:
    return [
        {"key": key, "operator": "In", "values": [value]}
        for key, value in sorted(asked.settings.node_readiness_label.items())
    ]


def _node_affinity(asked: Asked) -> Json:
    written: Mapping[str, Any] = asked.spec.node_affinity or {}
    ready = _readiness(asked)
    if not ready:
        return written
    terms: list[Json] = list((written.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())
    merged = _with_readiness(terms, ready, asked.settings.node_readiness_label_merge)
    return {**written, _REQUIRED: {"nodeSelectorTerms": merged}}


def _with_readiness(terms: list[Json], ready: list[Json], how: str) -> list[Json]:
    """Terms are alternatives: OR adds one, AND narrows each. Without a word for it the manifest's stand alone."""
    if not terms:
        return [{"matchExpressions": ready}]
    if how == "OR":
        return [*terms, {"matchExpressions": ready}]
    if how == "AND":
        return [{**term, "matchExpressions": [*(term.get("matchExpressions") or ()), *ready]} for term in terms]
    return terms


def _anti_affinity(asked: Asked, apart: Mapping[str, str]) -> Json:
    settings = asked.settings
    if not settings.enable_pod_antiaffinity:
        return {}
    term = {
        "labelSelector": {"matchLabels": dict(apart)},
        "topologyKey": settings.pod_antiaffinity_topology_key,
    }
    if settings.pod_antiaffinity_preferred_during_scheduling:
        return {_PREFERRED: [{"weight": 1, "podAffinityTerm": term}]}
    return {_REQUIRED: [term]}
