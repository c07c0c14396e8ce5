"""The announcement of a disruptive step on the resource: what makes one at a time true in the world (docs/adr/0003)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import msgspec

from howdah.core.plan import RestartMember, ScaleIn, Step, Switchover
from howdah.core.scaling import replicas_too_many
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.errors import UNREADABLE
from howdah.model.observed import Observed

IN_FLIGHT = dt.timedelta(seconds=60)
"""How long an announced step may still take effect; calls to the API and to Patroni end before that."""


class Intent(msgspec.Struct, frozen=True):
    """What annotation `howdah.dev/disruption` holds: which kind of step, on which member (and the uid of its pod), why.

    Of a ScaleIn the first member that goes, and the uid of its StatefulSet. `cause`: of the roll that it is a step of.
    """

    step: str
    member: str
    uid: str
    reason: str
    at: dt.datetime
    cause: str = ""


def intent_of(step: Step, now: dt.datetime) -> Intent:
    """The announcement of a disruptive step."""
    uid, cause = getattr(step, "uid", ""), getattr(step, "cause", "")
    return Intent(type(step).__name__, _member(step), uid, step.reason, now, cause)


def _member(step: Step) -> str:
    if isinstance(step, ScaleIn):
        return f"{step.body['metadata']['name']}-{step.body['spec']['replicas']}"
    return step.leader if isinstance(step, Switchover) else getattr(step, "name", "")


def without_intent(annotations: Mapping[str, str] | None) -> dict[str, str]:
    """What people say by a resource's annotations."""
    return {key: value for key, value in (annotations or {}).items() if key != names.DISRUPTION}


def in_the_way(situation: Situation, step: Step) -> str | None:
    """Why the step has to wait for one that was announced before, perhaps by another operator; None when it need not."""
    announced, mine = _announced(situation.observed), intent_of(step, situation.observed.now)
    if announced is None or (announced.step, announced.member) == (mine.step, mine.member):
        return None
    if situation.observed.now - announced.at > IN_FLIGHT or _has_happened(announced, situation):
        return None
    return f"{announced.step} of {announced.member} was announced at {announced.at:%H:%M:%S} and may still take effect"


def announced_causes(situation: Situation) -> frozenset[str]:
    """For which causes that are due a step was announced, by whichever operator, and the roll has not ended since."""
    announced = _announced(situation.observed)
    due = frozenset(view.cause for view in situation.views if view.replace is not None)
    return due & {announced.cause} if announced is not None else frozenset()


def _has_happened(announced: Intent, situation: Situation) -> bool:
    member = situation.members.get(announced.member)
    if announced.step == Switchover.__name__:
        return situation.leader.name is not None and situation.leader.name != announced.member
    if announced.step == ScaleIn.__name__:
        return not _may_go(announced.member, situation)
    if all(pod.metadata.uid != announced.uid for pod in situation.observed.pods):
        return True  # the pod is gone, and what it waited for with it
    return announced.step == RestartMember.__name__ and member is not None and not member.pending_restart


def _may_go(first: str, situation: Situation) -> bool:
    """Whether the StatefulSet is to be made smaller and still has this member, the first that was to go."""
    replicas, ordinal = replicas_too_many(situation), first.rpartition("-")[2]
    return replicas is not None and (not ordinal.isdecimal() or int(replicas.live) > int(ordinal))


def _announced(observed: Observed) -> Intent | None:
    text = observed.resource.meta.annotation(names.DISRUPTION)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Intent)
    except UNREADABLE:  # written by a person: it announces nothing
        return None
