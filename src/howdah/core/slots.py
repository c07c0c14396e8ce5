"""Replication slots in Patroni's configuration: what the manifest and streams ask for, and which go with a later manifest.

Patroni's configuration may hold slots of others. So the names of the manifest's are kept on the resource before they are
asked for: one that is written there and not in the manifest any more was ours, and its removal from the manifest is the
word to drop it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from howdah.core.plan import AnnotateResource
from howdah.core.situation import Situation
from howdah.core.streams import live_slots, stream_slots
from howdah.model import names


def asked_slots(situation: Situation) -> dict[str, Any]:
    """Every slot that something is asked of; None for one that goes."""
    manifest, live = _of_manifest(situation), live_slots(situation)
    going = {name: None for name in sorted(_remembered(situation)) if name in live}
    return {**going, **stream_slots(situation), **manifest}


def remember_slots(situation: Situation) -> tuple[AnnotateResource, ...]:
    """The step that keeps the names on the resource, where they are others; it comes before Patroni is asked."""
    remembered = _remembered(situation)
    wanted = sorted({*_of_manifest(situation), *(remembered & live_slots(situation).keys())})
    if set(wanted) == remembered:
        return ()
    reason = f"the manifest's replication slots are {', '.join(wanted) or 'none'} now"
    return (AnnotateResource(reason=reason, annotations={names.SLOTS: ",".join(wanted) or None}),)


def _of_manifest(situation: Situation) -> Mapping[str, Any]:
    return situation.cluster.dynamic.get("slots") or {}


def _remembered(situation: Situation) -> frozenset[str]:
    text = situation.observed.resource.meta.annotation(names.SLOTS) or ""
    return frozenset(name for name in text.split(",") if name)
