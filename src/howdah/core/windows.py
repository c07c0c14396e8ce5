"""Maintenance windows: what disturbs a healthy member, or those connected through a pooler, waits for one.

Held are replacing pods, restarting PostgreSQL, handing over before either, and replacing the pods of poolers. Never held:
a failover, which is Patroni's; the repair of a replica that does not do its part, or of a leader that has failed; a pod
that is marked for replacement, which is a person's word, or a password that was altered already and that its Patroni does
not know; and fewer instances, which is the manifest's word. Growing a volume disturbs nobody, and mostly is urgent.
"""

from __future__ import annotations

from dataclasses import replace

from howdah.core.plan import Decision, Held, ReplacePod, RestartMember, Step, Switchover, Wait
from howdah.core.situation import Situation
from howdah.model.units import next_opening


def outside_windows(decision: Decision, situation: Situation) -> Decision:
    """The same decision, with what has to wait held, why and until when."""
    waiting = tuple(step for step in decision.steps if not _is_urgent(step, situation))
    return until_opening(decision, waiting, situation)


def until_opening(decision: Decision, waiting: tuple[Step, ...], situation: Situation) -> Decision:
    """The same decision, with its steps that are `waiting` held until a window opens."""
    now = situation.observed.now
    opens = next_opening(situation.cluster.rollout.maintenance_windows, now)
    waiting = tuple(step for step in waiting if step in decision.steps)
    if opens is None or not waiting:
        return decision
    why = f"the maintenance window opens at {opens:%a %Y-%m-%d %H:%M} UTC"
    return replace(
        decision,
        steps=tuple(step for step in decision.steps if step not in waiting),
        waits=(*decision.waits, Wait((opens - now).total_seconds(), why)),
        held=(*decision.held, *(Held(step, why, opens) for step in waiting)),
    )


def _is_urgent(step: Step, situation: Situation) -> bool:
    member = _member(step)
    view = next((view for view in situation.views if view.name == member), None)
    if view is None:
        return False
    if view.is_marked:
        return True
    # A leader that starts, or missed one probe, is not broken; and who is alone is a leader even without the lock.
    is_first = view.is_leader or len(situation.views) == 1
    return view.cannot_come_up if is_first else view.unhealthy is not None and not view.is_coming_up


def _member(step: Step) -> str | None:
    if isinstance(step, Switchover):
        return step.leader
    return step.name if isinstance(step, ReplacePod | RestartMember) else None
