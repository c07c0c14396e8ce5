"""Streams in a running cluster: a slot follows its publication, an object follows its slots, and all go the other way.

A logical slot keeps WAL for its reader. So it is asked for only where somebody can read it, and it goes before the
object that says that it was ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from howdah.core.alignment import align
from howdah.core.plan import NOTHING, Decision, Delete, Wait
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.cluster import EventStream, StreamLink
from howdah.model.observed import Live

LOOK_AGAIN_S = 5.0


def stream_slots(situation: Situation) -> dict[str, Any]:
    """What is asked of Patroni's slots because of streams; None for one that goes."""
    if _are_left_alone(situation):
        return {}
    streams, live = situation.cluster.streams, live_slots(situation)
    manifest = situation.cluster.dynamic.get("slots") or {}
    found: dict[str, Any] = {
        link.name: None for link in streams.leaving if link.name in live and link.name not in manifest
    }
    if not streams.are_served or situation.cluster.is_standby or not _writes_logical(situation):
        return found
    for stream in streams.of_applications:
        for link in stream.links:
            if link.name in live or _is_published(link, situation):
                found[link.name] = {"database": link.database, "plugin": names.STREAM_PLUGIN, "type": "logical"}
    return found


def event_streams(situation: Situation) -> Decision:
    """The objects: made when what they read from is there; changed and removed when what they read no more is gone.

    Until then an object is what says that a slot and a publication were ours.
    """
    if _are_left_alone(situation):
        return NOTHING
    streams = situation.cluster.streams
    has_let_go = _has_let_go(situation)
    bodies = {body["metadata"]["name"]: body for body in situation.intended if body["kind"] == names.STREAM_KIND}
    decisions = [
        align(bodies[stream.name], situation)
        for stream in streams.of_applications
        if stream.name in bodies and _is_due(stream, situation, has_let_go=has_let_go)
    ]
    leaving = _leaving(situation)
    gone = tuple(_going(live) for live in leaving if has_let_go and live.meta.deletion_timestamp is None)
    waits = [wait for decision in decisions for wait in decision.waits]
    if not has_let_go:
        waits.append(Wait(LOOK_AGAIN_S, "slots and publications that no stream reads any more go before their object"))
    return Decision(
        steps=(*(step for decision in decisions for step in decision.steps), *gone),
        held=tuple(held for decision in decisions for held in decision.held),
        waits=tuple(waits),
    )


def stream_problem(situation: Situation) -> str | None:
    """Why streams that the manifest asks for do not run, as far as it is known; None where they do or none is asked."""
    streams = situation.cluster.streams
    if not streams.is_wanted:
        return None
    if not streams.are_served:
        return "streams: Kubernetes does not serve FabricEventStream (zalando.org/v1)"
    objects = (_live(stream.name, situation) for stream in streams.of_applications)
    if any(live is not None and _is_pruned(live) for live in objects):
        return "streams: the installed CRD of FabricEventStream does not keep its spec, so nobody can read it"
    return "; ".join(situation.database.stream_problems) or None


def _are_left_alone(situation: Situation) -> bool:
    return names.STREAM_KIND in situation.observed.left_alone


def _leaving(situation: Situation) -> tuple[Live, ...]:
    wanted = {stream.name for stream in situation.cluster.streams.of_applications}
    objects = situation.observed.objects.items()
    return tuple(live for (kind, name), live in objects if kind == names.STREAM_KIND and name not in wanted)


def _going(live: Live) -> Delete:
    reason = "the manifest asks for no such stream any more"
    return Delete(reason=reason, kind=names.STREAM_KIND, name=live.meta.name, uid=live.meta.uid)


def _live(name: str, situation: Situation) -> Live | None:
    return situation.observed.objects.get((names.STREAM_KIND, name))


def _is_due(stream: EventStream, situation: Situation, *, has_let_go: bool) -> bool:
    live = _live(stream.name, situation)
    if live is None:
        return _is_ready(stream, situation)
    return has_let_go and not _is_pruned(live)


def _is_pruned(live: Live) -> bool:
    """Whether the installed CRD keeps nothing of what was written: it would be written for ever."""
    return "applicationId" not in (live.body(names.STREAM_API_VERSION, names.STREAM_KIND).get("spec") or {})


def _is_ready(stream: EventStream, situation: Situation) -> bool:
    slots = live_slots(situation)
    return all(link.name in slots and _is_published(link, situation) for link in stream.links)


def _has_let_go(situation: Situation) -> bool:
    """Whether nothing is left of what no stream reads any more. A publication counts only where we may look for it."""
    cluster, slots = situation.cluster, live_slots(situation)
    may_look = cluster.access.is_enabled and not cluster.is_standby
    return all(
        link.name not in slots and (_is_published(link, situation) or not may_look) for link in cluster.streams.leaving
    )


def _is_published(link: StreamLink, situation: Situation) -> bool:
    """Whether the publication is as it shall be, which for one that goes is to be away."""
    return (link.database, link.name) in situation.database.publications


def live_slots(situation: Situation) -> Mapping[str, Any]:
    """The slots in Patroni's configuration."""
    found = (situation.config.dynamic or {}).get("slots")
    return found if isinstance(found, Mapping) else {}


def _writes_logical(situation: Situation) -> bool:
    """Whether the leader's WAL is known to have what logical slots need: the change of `wal_level` has been restarted for."""
    parameters = ((situation.config.dynamic or {}).get("postgresql") or {}).get("parameters") or {}
    view = situation.leader_view
    is_pending = view is None or view.member is None or view.member.pending_restart
    return parameters.get("wal_level") == "logical" and not is_pending
