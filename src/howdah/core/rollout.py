"""Every reason that may replace a pod, and what may happen next: replicas first, one at a time, the leader last.

The rules, in the order in which they are asked (`NEXT`): see each function. All decide from one look at the world; the
caller looks again, live, before it carries a disruptive step out. Restarts of PostgreSQL inside a pod are decided by
`core.patroni.restart`, with the same notion of health.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from howdah.core.objects.diff import Effect, template_differences
from howdah.core.patroni.member import Member
from howdah.core.patroni.restart import BUSY_STATES
from howdah.core.patroni.switchover import Eligibility, choose_candidate
from howdah.core.plan import NOTHING, Decision, FleetBudget, Held, ReplacePod, Step, Switchover, Wait
from howdah.model import names
from howdah.model.observed import Claim, ContainerStatus, Pod

START_DEADLINE = dt.timedelta(minutes=10)  # a pod that is not healthy by then has failed, whatever it says
HOPELESS = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)
LOOK_AGAIN_S = 2.0  # events wake the pass earlier; this is for what makes none
STREAMING = frozenset({"streaming"})
RUNNING = frozenset({"running"})
COPYING = frozenset(
    {
        "creating replica",
        "initializing new cluster",
        "running custom bootstrap script",  # a clone: a base backup is restored, and then its WAL
        "starting after custom bootstrap",
    }
)


@dataclass(frozen=True, slots=True)
class MemberView:
    """One pod with what Patroni says of it, judged."""

    pod: Pod
    member: Member | None
    is_leader: bool
    unhealthy: str | None  # why, as a sentence without subject
    replace: str | None  # why it has to be replaced, as a sentence
    awaits_word: str | None = None  # why not before a person says so
    has_failed: bool = False  # waiting will not make it healthy
    copies_for_long: bool = False  # it may never get further, and only a person can tell
    cause: str = ""  # the same for every cluster that rolls for the same reason
    restart_cause: str = ""  # of a pending restart of PostgreSQL, likewise

    @property
    def name(self) -> str:
        return self.pod.name

    @property
    def is_due(self) -> bool:
        """Whether it has to be replaced and no person is asked first."""
        return self.replace is not None and self.awaits_word is None

    @property
    def is_marked(self) -> bool:
        """A person, or a password that was altered already, asks for its replacement."""
        return is_marked(self.pod)

    @property
    def cannot_come_up(self) -> bool:
        """Whether nothing is lost with it: waiting will not make it healthy, or it runs nowhere, for no node takes it."""
        return self.has_failed or self.pod.has_no_node is not None

    @property
    def is_coming_up(self) -> bool:
        """It is about to do its part, such as when it copies the database: that is not begun anew for nothing."""
        is_busy = self.member is not None and self.member.postgres_state in BUSY_STATES
        return self.unhealthy is not None and is_busy and not self.has_failed and not self.is_marked


def unhealthy_reason(
    pod: Pod, member: Member | None, leader: Member | None, *, is_leader: bool, claim: Claim | None = None
) -> str | None:
    """Why this member does not do its part now; None when it does. `claim`: the one of its data.

    A leader is healthy when its PostgreSQL runs, a replica when it streams on the leader's timeline.
    """
    if pod.is_deleting:
        return "is being deleted"
    if (why := pod.has_no_node) is not None:
        return f"has no node{_said(why)}{_pending(claim)}"
    for status in pod.status.container_statuses or ():
        if (waiting := status.state.waiting) is not None:
            # The message of a back-off counts seconds; what the container said last is the reason.
            said = "" if waiting.reason == "CrashLoopBackOff" else _said(waiting.message)
            return f"waits: {waiting.reason}{said}{_last_words(status)}"
        if (ended := status.state.terminated) is not None:
            return f"ended with code {ended.exit_code}{_said(ended.message)}"
    if not pod.is_ready:
        return f"is not ready (phase {pod.status.phase or 'unknown'})"
    if member is None:
        return "has not reported to Patroni yet"
    if is_leader:
        return None if member.state in RUNNING else f"leads, but PostgreSQL is {member.state}"
    if member.state not in STREAMING:
        return f"does not stream (state {member.state})"
    if leader is not None and None not in (leader.timeline, member.timeline) and leader.timeline != member.timeline:
        return f"is on timeline {member.timeline}, the leader on {leader.timeline}"
    return None


def _pending(claim: Claim | None) -> str:
    """The scheduler does not name the claim that it waits for."""
    if claim is None or claim.status.phase != "Pending":
        return ""
    of = f" of storage class {claim.spec.storage_class_name}" if claim.spec.storage_class_name else ""
    return f"; its claim {claim.metadata.name}{of} is pending"


def _said(message: str | None) -> str:
    return f": {message.strip()}" if message and message.strip() else ""


def _last_words(status: ContainerStatus) -> str:
    """What the container said when it ended the last time: the reason why it waits now."""
    ended = status.last_state.terminated
    return f"; it ended with code {ended.exit_code}{_said(ended.message)}" if ended is not None else ""


def replacement(
    pod: Pod,
    intended: Mapping[str, Any],
    made_from: Mapping[str, Any] | None,
    standing: Mapping[str, Any] | None = None,
    *,
    is_image_lazy: bool = False,
) -> tuple[str, str]:
    """(reason, cause) for replacing the pod; both empty when it may stay.

    `made_from`: the template of the pod's ControllerRevision. Where it is unknown, nothing is known against the pod.
    `standing`: the template of the live StatefulSet, with what others wrote into it.
    `is_image_lazy`: a new image alone waits for the next replacement.
    """
    if is_marked(pod):
        because = pod.metadata.annotation(names.REPLACE_REASON) or "it is marked for replacement"
        # A mark concerns this cluster alone: what it shows is no lesson for others.
        return because, f"mark of {pod.metadata.namespace}/{pod.name.rpartition('-')[0]}"
    if made_from is None or made_from == standing:
        return "", ""
    found = template_differences(intended, made_from, standing=standing)
    rolls = [d for d in found if d.effect in (Effect.ROLL, Effect.REPLACE)]
    if is_image_lazy:
        rolls = [d for d in rolls if not d.path.endswith("].image")]
    if not rolls:
        return "", ""
    # The same paths with other values are another cause: a typo in one manifest must not stop the rolls of others.
    cause = ", ".join(f"{d.path} ({crc32(repr(d.intended).encode()):08x})" for d in rolls)
    return f"its template differs: {'; '.join(d.reason for d in rolls)}", cause


def is_marked(pod: Pod) -> bool:
    """Whether the pod is marked for replacement."""
    return (pod.metadata.annotation(names.ROLLING_UPDATE_REQUIRED) or "").lower() == "true"


def restart_cause(pod: Pod, member: Member | None) -> str:
    """The same for every cluster in which the same parameters wait for a restart; empty where none is pending."""
    if member is None or not member.pending_restart:
        return ""
    if not member.pending_changes:  # Patroni before 4.0 does not tell them
        return f"restart of {pod.metadata.namespace}/{pod.name.rpartition('-')[0]}"
    return f"restart for {', '.join(sorted(f'{change.name}={change.new}' for change in member.pending_changes))}"


def has_failed(pod: Pod, unhealthy: str | None, now: dt.datetime, member: Member | None = None) -> bool:
    """Whether the pod is not healthy, and will not become so by waiting. A copy of a database takes as long as it takes."""
    if unhealthy is None or pod.is_ready:
        return False  # one that is Ready and does not stream may do so the next moment
    return _is_hopeless(pod) or (not _copies(member) and _is_late(pod, now))


def copies_for_long(pod: Pod, unhealthy: str | None, now: dt.datetime, member: Member | None) -> bool:
    """Whether it copies the database for longer than others take to start: perhaps that is large, perhaps it is no use."""
    return (
        unhealthy is not None and not pod.is_ready and not _is_hopeless(pod) and _copies(member) and _is_late(pod, now)
    )


def _is_hopeless(pod: Pod) -> bool:
    waiting = (status.state.waiting for status in pod.status.container_statuses or ())
    return any(state is not None and state.reason in HOPELESS for state in waiting)


def _copies(member: Member | None) -> bool:
    return member is not None and member.postgres_state in COPYING


def _is_late(pod: Pod, now: dt.datetime) -> bool:
    since = pod.not_ready_since or pod.metadata.creation_timestamp
    return since is not None and now - since > START_DEADLINE


def next_replacement(
    views: tuple[MemberView, ...],
    *,
    replicas: int,
    budget: FleetBudget,
    eligibility: Eligibility,
    leader_is_reachable: bool = False,
    leaving: Set[str] = frozenset(),
) -> Decision:
    """What may happen next in a roll. `views` by ordinal; `leaving`: members on nodes that are to be emptied."""
    due = tuple(view for view in views if view.is_due)
    if not due:
        return NOTHING
    for rule in NEXT:
        decision = rule(views, due, replicas=replicas, budget=budget)
        if decision is not None:
            return decision
    due = _allowed(due, budget)
    followers = [view for view in due if not view.is_leader]
    if followers:
        # The synchronous standby last: it is the one that a failover would need.
        chosen = min(followers, key=lambda v: (v.name in eligibility.synchronous, -v.pod.ordinal))
        return Decision(steps=(_replace(chosen),))
    return _hand_over(views, due[0], eligibility, leader_is_reachable=leader_is_reachable, leaving=leaving)


def awaiting_word(views: Iterable[MemberView]) -> tuple[Held, ...]:
    """The replacements that wait for a person's word."""
    return tuple(Held(_replace(view), view.awaits_word) for view in views if view.awaits_word is not None)


def _in_flight(views: tuple[MemberView, ...], due: tuple[MemberView, ...], **_: object) -> Decision | None:
    """One at a time: a pod that is going is waited for."""
    del due
    for view in views:
        if view.pod.is_deleting:
            return Decision(waits=(Wait(LOOK_AGAIN_S, f"Pod {view.name} is being deleted"),))
    return None


def _broken_ones_first(views: tuple[MemberView, ...], due: tuple[MemberView, ...], **_: object) -> Decision | None:
    """A pod that is not Ready and on an old template loses nothing by being replaced: it heals a reverted manifest.

    Ready, not healthy: a replica that does not stream at this moment may be the one that a failover is promoting.
    """
    down = [view for view in due if not view.pod.is_ready and not view.is_coming_up]
    # The holder of the lock, and who is alone, only when it has failed for good or runs nowhere: else it may be about to
    # start with all commits. Or when a person says that its copy is of no use: until that ends it has none.
    has_all = {view.name for view in views if view.is_leader or len(views) == 1}
    hopeless = [v for v in down if v.cannot_come_up or (v.copies_for_long and v.is_marked)]
    broken = [v for v in down if v.name not in has_all] + [v for v in hopeless if v.name in has_all]
    return Decision(steps=(_repair(broken[0]),)) if broken else None


def _missing(
    views: tuple[MemberView, ...], due: tuple[MemberView, ...], *, replicas: int, **_: object
) -> Decision | None:
    """A pod that does not exist yet is waited for; after the broken ones, for it may wait for one of them to be Ready."""
    del due
    missing = replicas - len(views)
    if missing > 0:
        return Decision(waits=(Wait(LOOK_AGAIN_S, f"{missing} of {replicas} pods are not created yet"),))
    return None


def _stopped_by_unhealthy(views: tuple[MemberView, ...], due: tuple[MemberView, ...], **_: object) -> Decision | None:
    """With a member unhealthy that was replaced already, nothing else is touched; one that failed stops the roll."""
    for view in views:
        if view.unhealthy is None or view.is_due:
            continue
        why = f"Pod {view.name} {view.unhealthy}"
        if view.has_failed:
            left = ", ".join(v.name for v in due)
            return Decision(stopped=f"{why}; not replaced because of it: {left}", waits=(Wait(10.0, why),))
        return _waits_for(view)
    return None


def _waits_for(view: MemberView) -> Decision:
    """A member that is not well may become so; of one that copies and copies a person has to say whether it is of use."""
    why = f"Pod {view.name} {view.unhealthy}"
    if not view.copies_for_long:
        return Decision(waits=(Wait(LOOK_AGAIN_S, why),))
    mark = f"mark it for replacement ({names.ROLLING_UPDATE_REQUIRED}=true) if it never gets further"
    return Decision(stopped=f"Pod {view.name} still copies the database; {mark}", waits=(Wait(10.0, why),))


def _unhealthy_that_are_due(
    views: tuple[MemberView, ...], due: tuple[MemberView, ...], *, budget: FleetBudget, **_: object
) -> Decision | None:
    """A follower that does not do its part goes first, under a leader that does: the new pod may be what it needs.

    Such as after a change of the replication password, which an old leader has not got when it becomes a replica. Who
    recovers or copies at the moment is waited for, and so is a leader: it may be the only one that has all commits. And
    who may not go now, for the fleet.
    """
    sick = tuple(view for view in due if view.unhealthy is not None)
    if not sick:
        return None
    allowed = _allowed(due, budget)
    chosen = next((view for view in sick if view in allowed), sick[0])
    leader = next((view for view in views if view.is_leader), None)
    leads = leader is not None and leader.unhealthy is None
    may_go = chosen in allowed and not chosen.is_coming_up
    if len(views) == 1 and chosen.pod.is_ready and may_go:
        return None  # nobody will be well before it: replaced as in any roll
    if leads and chosen is not leader and may_go:
        return Decision(steps=(_replace(chosen),))
    return _waits_for(chosen)


def _budget(
    views: tuple[MemberView, ...], due: tuple[MemberView, ...], *, budget: FleetBudget, **_: object
) -> Decision | None:
    """A roll that has begun goes on; a new one starts only as the fleet allows.

    That some pod is new already says nothing: it may have been drained from its node, or added by a larger number.
    """
    del views
    if _allowed(due, budget):
        return None
    held = next(view for view in reversed(due) if _beyond(view, budget) is not None)
    return _beyond(held, budget)


def _allowed(due: tuple[MemberView, ...], budget: FleetBudget) -> tuple[MemberView, ...]:
    """Those of them that the fleet lets go: the marked ones, and those whose cause it allows.

    A leader that is not marked waits for those that it holds, too: it goes last.
    """
    found = tuple(view for view in due if _beyond(view, budget) is None)
    is_early = len(found) < len(due) and all(view.is_leader and not view.is_marked for view in found)
    return () if is_early else found


def _beyond(view: MemberView, budget: FleetBudget) -> Decision | None:
    return None if view.is_marked else beyond_budget(_replace(view), view.cause, budget)


def beyond_budget(step: Step, cause: str, budget: FleetBudget) -> Decision | None:
    """What is decided where the fleet does not allow this cluster `step` for `cause`; None where it does.

    A limit of 0 holds also what has begun.
    """
    if budget.limit == 0:
        return Decision(held=(Held(step, "max_rolling_clusters is 0"),), waits=(_LATER,))
    if cause in budget.mine:
        return None
    if not budget.is_complete:
        return Decision(waits=(Wait(1.0, "not every cluster has been looked at yet; rolls start after that"),))
    if (failed := budget.failed.get(cause)) is not None:
        return Decision(held=(Held(step, f"the roll of {failed} for the same cause stopped"),), waits=(_LATER,))
    allowed = budget.limit if cause in budget.finished else 1
    if (rolling := budget.rolling.get(cause, 0)) >= allowed:
        who = f" ({first}{' and others' if rolling > 1 else ''})" if (first := budget.first.get(cause)) else ""
        why = f"{rolling} cluster(s) roll for the same cause already{who}, {allowed} may"
        return Decision(held=(Held(step, why),), waits=(_LATER,))
    return None


# The order in which the rules are asked; the first that has an answer counts.
NEXT = (
    _in_flight,  # one at a time
    _broken_ones_first,  # heals a reverted manifest, whatever else is wrong
    _missing,
    _stopped_by_unhealthy,
    _budget,
    _unhealthy_that_are_due,
)

_LATER = Wait(10.0, "the fleet's budget for rolls is used")


def _hand_over(
    views: tuple[MemberView, ...],
    leader: MemberView,
    eligibility: Eligibility,
    *,
    leader_is_reachable: bool,
    leaving: Set[str],
) -> Decision:
    """The old leader goes last, after a switchover; a single instance is replaced in place."""
    others = tuple(view.member for view in views if view.name != leader.name and view.member is not None)
    if len(views) == 1:
        return Decision(steps=(_replace(leader, " (there is no replica to switch to: a short outage)"),))
    choice = choose_candidate(others, eligibility, leaving=leaving)
    why_not = None if leader_is_reachable else "it has not said yet where its Patroni is"
    why_not = choice.reason if choice.name is None else why_not
    if why_not is not None or choice.name is None:
        return Decision(waits=(Wait(LOOK_AGAIN_S, f"no switchover from {leader.name}: {why_not}"),))
    reason = f"{leader.name} has to be replaced: {leader.replace}"
    return Decision(steps=(Switchover(reason=reason, leader=leader.name, candidate=choice.name, cause=leader.cause),))


def _replace(view: MemberView, addition: str = "") -> ReplacePod:
    meta = view.pod.metadata
    return ReplacePod(
        reason=f"{view.name}: {view.replace}{addition}",
        name=view.name,
        uid=meta.uid,
        resource_version=meta.resource_version,
        cause=view.cause,
    )


def _repair(view: MemberView) -> ReplacePod:
    """A step for one broken pod, and no beginning of a roll."""
    return replace(_replace(view), reason=f"{view.name} {view.unhealthy}; {view.replace}", cause="")


def causes(views: Iterable[MemberView]) -> frozenset[str]:
    """Why this cluster rolls or restarts, for the fleet's budget. Pods that are replaced need no restart."""
    found = tuple(views)
    rolls = frozenset(view.cause for view in found if view.replace is not None)
    return rolls or frozenset(view.restart_cause for view in found if view.restart_cause)
