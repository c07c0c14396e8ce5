"""The announcement of a disruptive step on the resource: what makes one at a time true in the world (docs/adr/0003)."""

from __future__ import annotations

import datetime as dt

import msgspec

from howdah.core.plan import Step
from howdah.model import names
from howdah.model.observed import Observed

IN_FLIGHT = dt.timedelta(seconds=60)
"""How long an announced step may still take effect; calls to the API and to Patroni end before that."""


class Intent(msgspec.Struct, frozen=True):
    """What annotation `howdah.dev/disruption` holds. `uid`: of the pod that is acted on; empty for a switchover."""

    step: str
    target: str
    reason: str
    uid: str
    at: dt.datetime


def intent_of(step: Step, now: dt.datetime) -> Intent:
    return Intent(type(step).__name__, step.target, step.reason, getattr(step, "uid", ""), now)


def in_the_way(observed: Observed, step: Step) -> str | None:
    """Why the step has to wait for one that was announced before, perhaps by another operator; None when it need not."""
    announced = _announced(observed)
    if announced is None or (announced.step, announced.target) == (type(step).__name__, step.target):
        return None
    if observed.now - announced.at > IN_FLIGHT:
        return None
    if announced.uid and all(pod.metadata.uid != announced.uid for pod in observed.pods):
        return None
    return f"{announced.step} of {announced.target} was announced at {announced.at:%H:%M:%S} and may still take effect"


def _announced(observed: Observed) -> Intent | None:
    text = observed.resource.meta.annotation(names.DISRUPTION)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Intent)
    except msgspec.DecodeError:  # written by a person: it announces nothing
        return None
