"""Planners of passwords that are rotated, and of roles that shall go and may not: from what a look at the server found."""

from __future__ import annotations

from howdah.core.plan import NOTHING, ChangeSecret, Decision, Held, RunStatements, Wait
from howdah.core.postgres.rotation import Due, due, left
from howdah.core.situation import Situation


def rotations(situation: Situation) -> Decision:
    """What the Secrets of rotated roles get next. The next date is known: that is no reason to be progressing."""
    rules, now = situation.cluster.access.rotation, situation.observed.now
    asked = [due(rotation, rules, now) for rotation in situation.database.rotations]
    found = [one for one in asked if one is not None]
    steps = tuple(_step(one) for one in found if one.why_not is None)
    held = tuple(Held(_step(one), one.why_not, is_lasting=True) for one in found if one.why_not is not None)
    return Decision(steps=steps, held=held, later=_next(situation))


def _next(situation: Situation) -> tuple[Wait, ...]:
    times = [
        (left_s.total_seconds(), rotation.held.role)
        for rotation in situation.database.rotations
        if (left_s := left(rotation, situation.observed.now)) is not None
    ]
    ahead = [time for time in times if time[0] > 0]
    if not ahead:
        return ()
    seconds, role = min(ahead)
    return (Wait(seconds + 1.0, f"the password of {role} is due for rotation then"),)


def _step(one: Due) -> ChangeSecret:
    held = one.held
    return ChangeSecret(
        reason=one.reason,
        name=held.name,
        namespace=held.namespace,
        uid=held.uid,
        resource_version=held.resource_version,
        change=one.change,
    )


def kept_roles(situation: Situation) -> Decision:
    """Roles that shall be dropped and are not, with the reason."""
    kept = situation.database.kept
    if not kept:
        return NOTHING
    return Decision(
        held=tuple(
            Held(
                RunStatements(
                    reason=one.statement.reason, database=one.statement.database, statements=(one.statement,)
                ),
                one.why,
                is_lasting=True,
            )
            for one in kept
        )
    )
