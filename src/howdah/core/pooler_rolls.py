"""Rolls of poolers' pods: which are due, what they wait for, and how far one is.

Whoever is connected through a pooler has to connect again when its pods are replaced. So that waits for the maintenance
window and for the fleet, for one changed image of the configuration concerns every pooler; and of one cluster's poolers
only one rolls at a time. What waits for neither: a pooler in which no pod takes connections, and one whose pods know an
old password, for what they serve is broken already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from zlib import crc32

import msgspec

from howdah.core.adoption import held_adoption
from howdah.core.alignment import Body, applying, is_pooler_roll
from howdah.core.objects.diff import Difference, Effect
from howdah.core.plan import Decision, FleetBudget, Held, ReplacePooler, Step, TakeOver, Wait
from howdah.core.rollout import LOOK_AGAIN_S, beyond_budget
from howdah.core.situation import Situation
from howdah.core.windows import until_opening
from howdah.model import names
from howdah.model.observed import Live

UNKNOWN = "pooler: a roll that began before"
"""The cause of a roll that is seen under way, when nothing tells any more what it was for."""
DEADLINE = "ProgressDeadlineExceeded"


class _Condition(msgspec.Struct, frozen=True):
    type: str
    reason: str = ""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    conditions: list[_Condition] = []


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far Kubernetes is with one pooler's pods. `has_failed`: it has given up waiting for a new pod."""

    name: str
    available: int
    has_old_pods: bool
    is_complete: bool
    has_failed: bool


def rollouts(situation: Situation) -> tuple[Rollout, ...]:
    """Of each pooler whose Deployment is there."""
    found = []
    for pooler in situation.cluster.poolers:
        live = situation.observed.objects.get(("Deployment", pooler.name))
        if live is not None:
            found.append(rollout(live, pooler.replicas))
    return tuple(found)


def rollout(live: Live, wanted: int) -> Rollout:
    """As `kubectl rollout status` judges it."""
    status = msgspec.json.decode(bytes(live.status) or b"{}", type=_Status)
    is_seen = status.observed_generation >= live.meta.generation
    has_old = status.updated_replicas < min(wanted, status.replicas) or status.replicas > status.updated_replicas
    is_there = min(status.updated_replicas, status.available_replicas) >= wanted
    return Rollout(
        name=live.meta.name,
        available=status.available_replicas,
        has_old_pods=has_old,
        is_complete=is_seen and is_there and not has_old,
        has_failed=any(c.type == "Progressing" and c.reason == DEADLINE for c in status.conditions),
    )


@dataclass(frozen=True, slots=True)
class DueRoll:
    """A pooler's Deployment whose pods are to be replaced."""

    body: Body
    live: Live
    found: tuple[Difference, ...]

    @property
    def name(self) -> str:
        return self.live.meta.name

    @property
    def cause(self) -> str:
        """The same for every cluster in which the same fields get the same values."""
        pods = (d for d in self.found if d.path.startswith("spec.template.") or d.effect is Effect.REPLACE)
        return "pooler: " + ", ".join(f"{d.path} ({crc32(repr(d.intended).encode()):08x})" for d in pods)

    @property
    def is_for_a_password(self) -> bool:
        return any(names.USERS_CHANGED in d.path for d in self.found)

    def steps(self) -> tuple[Step, ...]:
        fixed = [d for d in self.found if d.effect is Effect.REPLACE]
        if not fixed:
            return applying(self.body, self.live, self.found)
        reason = f"Deployment {self.name} has to be made anew: {'; '.join(d.reason for d in fixed)}"
        meta = self.live.meta
        step = ReplacePooler(
            reason=reason, kind="Deployment", name=meta.name, uid=meta.uid, resource_version=meta.resource_version
        )
        return (step,)


def due_rolls(situation: Situation) -> Iterator[DueRoll]:
    """In the order in which they are built."""
    for body in situation.intended:
        place = (body["kind"], body["metadata"]["name"])
        found, live = situation.differences.get(place, ()), situation.observed.objects.get(place)
        if live is not None and live.meta.deletion_timestamp is None and is_pooler_roll(body, found):
            yield DueRoll(body, live, found)


def pooler_causes(situation: Situation) -> frozenset[str]:
    """For what this cluster's poolers have to roll, or do: for the fleet's budget."""
    due = {roll.name: roll.cause for roll in due_rolls(situation)}
    seen = {r.name for r in rollouts(situation) if r.has_old_pods and not r.has_failed and r.name not in due}
    return frozenset(due.values()) | ({UNKNOWN} if seen else frozenset())


def roll_poolers(situation: Situation) -> Decision:
    """Changed templates of poolers: their pods are replaced, and whoever is connected has to connect again."""
    states = {rollout.name: rollout for rollout in rollouts(situation)}
    decision = Decision()
    for roll in due_rolls(situation):
        others = (state for name, state in states.items() if name != roll.name)
        one = _one(roll, states.get(roll.name), tuple(others), situation)
        decision = replace(
            decision,
            steps=decision.steps + one.steps,
            held=decision.held + one.held,
            waits=decision.waits + one.waits,
        )
    return decision


def _one(roll: DueRoll, state: Rollout | None, others: tuple[Rollout, ...], situation: Situation) -> Decision:
    steps = roll.steps()
    serves_nobody = roll.is_for_a_password or (state is not None and state.available == 0)
    why = held_adoption(roll.live, situation.observed.resource, roll.found)
    if why is not None and not serves_nobody:
        return Decision(held=tuple(Held(step, why) for step in steps))
    if isinstance(steps[0], TakeOver):
        return Decision(steps=steps[:1])  # it makes another version, and the roll is of the one that is seen
    if roll.is_for_a_password and situation.awaits_passwords:
        why = f"whether the server knows the new password of {roll.name} is being read"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    if serves_nobody or state is None:
        return Decision(steps=steps)
    under_way = next((other.name for other in others if other.has_old_pods), None)
    if under_way is not None:
        why = f"the pods of {under_way} are being replaced; those of {roll.name} come after them"
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    over = beyond_budget(steps[-1], roll.cause, _with_unknown(situation.budget, roll.cause))
    return until_opening(over or Decision(steps=steps), steps, situation)


def _with_unknown(budget: FleetBudget, cause: str) -> FleetBudget:
    """Rolls whose cause nobody knows any more count, too."""
    rolling: Mapping[str, int] = budget.rolling
    first = budget.first.get(cause) or budget.first.get(UNKNOWN, "")
    return replace(
        budget,
        rolling={**rolling, cause: rolling.get(cause, 0) + rolling.get(UNKNOWN, 0)},
        first={**budget.first, cause: first},
    )
