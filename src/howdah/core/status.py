"""What is said of a cluster: the reference's phase string, conditions, members, and one event per transition.

Classes, not gauges: a lag is `ok`, `behind` or `broken`, so that the status of a quiet cluster does not change. Times
change only with what they date. The previous status is an input, for hysteresis and for transition times.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from howdah.core.plan import Plan, RestartMember, Step
from howdah.core.rollout import MemberView
from howdah.model.errors import Problem
from howdah.model.observed import STANDBY
from howdah.model.units import PgVersion

BEHIND_ABOVE_BYTES = 32 * 1024 * 1024
OK_BELOW_BYTES = 16 * 1024 * 1024
NEW_PHASES = frozenset({"", "Creating", "CreateFailed"})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a plan: the steps done, and the first that failed (`error` is fit for users: no credentials).

    `failures`: every step that failed, with its error; those before the last one held up nothing.
    """

    done: tuple[Step, ...] = ()
    failed: Step | None = None
    error: str | None = None
    is_conflict: bool = False  # somebody else wrote first: look again, nothing is wrong
    failures: tuple[tuple[Step, str], ...] = ()
    at_work: tuple[Step, ...] = ()  # begun, and going on beside the pass

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong; a lost race is not, but does not undo what failed before it."""
        return bool(self.failures) or (self.error is not None and not self.is_conflict)

    @property
    def permits_disruption(self) -> bool:
        """Whether nothing that came before stands against interrupting somebody now."""
        return not self.is_conflict and not self.hindrances

    @property
    def hindrances(self) -> tuple[Step, ...]:
        """The steps that failed, lost a race or are at work, and beside which nobody is to be interrupted."""
        ended = self.failed is not None and (self.is_conflict or self.failed.holds_up)
        undone = (*(step for step, _ in self.failures), *self.at_work)
        return (*((self.failed,) if ended else ()), *(step for step in undone if step.holds_up_disruption))


@dataclass(frozen=True, slots=True)
class PoolerView:
    """How many of a pooler's pods take connections; what its Deployment says may be older than the Deployment."""

    name: str
    wanted: int
    available: int


@dataclass(frozen=True, slots=True)
class LeaderMove:
    """That the leader has to leave its node; or, where nodes are not visible, that nobody can know whether it has."""

    message: str
    candidate: str | None = None
    is_only_member: bool = False
    is_overdue: bool = False
    are_nodes_visible: bool = True


@dataclass(frozen=True, slots=True)
class Findings:
    """The judged look at a cluster that decisions and status share."""

    generation: int
    instances: int
    is_standby: bool = False
    is_initialized: bool = False  # Patroni has bootstrapped the cluster once
    is_new: bool = False  # it has not been complete yet
    views: tuple[MemberView, ...] = ()
    leader: str | None = None
    accepts_writes: bool = False
    leads: bool = False  # the holder of the lock does its part, in a standby cluster without accepting writes
    is_deleting: bool = False
    version: str | None = None  # of the leader's PostgreSQL, such as "18.4"
    credentials_in_sync: bool | None = None  # None: not known yet
    without_password: frozenset[str] = frozenset()  # roles whose Secret holds none
    database_error: str | None = None
    failed_statements: tuple[tuple[str, str], ...] = ()  # (database, error) of the last try, while it is read anew
    database_problem: str | None = None  # which databases cannot be looked into, and why
    asks_standby: bool = False  # the manifest does
    stands_alone: bool = False  # Patroni's configuration makes it follow nobody
    follows_unasked: bool = False  # Patroni's configuration alone makes it a standby cluster
    is_standby_refused: bool = False  # the manifest says standby, and Patroni's configuration and the leader do not
    stream_problem: str | None = None  # why streams that are asked for do not run
    volume_problem: str | None = None  # why volumes are not as asked
    secret_problem: str | None = None  # which roles have no Secret where they are to have it, and why
    awaits_databases: bool = False  # nobody knows yet whether they are as the manifest says
    poolers: tuple[PoolerView, ...] = ()
    leader_move: LeaderMove | None = None
    problems: tuple[Problem, ...] = ()  # of the manifest: it is not acted on
    asked_version: PgVersion | None = None  # the major that is wanted
    version_held: str = ""  # why the pods are told another one
    may_upgrade: bool = True  # whether the operator's settings allow a major upgrade


@dataclass(frozen=True, slots=True)
class Condition:
    type: str
    status: str  # True, False, Unknown
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event to record on the resource. `type` is Normal or Warning."""

    type: str
    reason: str
    message: str


def build_status(
    previous: Mapping[str, Any], findings: Findings, plan: Plan, outcome: Outcome, now: dt.datetime
) -> dict[str, Any]:
    """The whole `status` of the resource; equal to `previous` when nothing worth saying changed."""
    if previous.get("PostgresClusterStatus", "") in NEW_PHASES:
        findings = replace(findings, is_new=True)
    findings = replace(findings, version=findings.version or previous.get("postgresqlVersion"))
    said = (rule(findings, plan, outcome) for rule in CONDITIONS)
    conditions = tuple(_remembered(one, previous, findings) for one in said if one is not None)
    status: dict[str, Any] = {
        "PostgresClusterStatus": phase(previous.get("PostgresClusterStatus", ""), findings, plan, outcome),
        "observedGeneration": findings.generation,
        "conditions": [_dated(c, previous, findings.generation, now) for c in conditions],
        "members": [_member(view, previous, findings) for view in findings.views],
    }
    if findings.leader is not None:
        status["leader"] = findings.leader
    if findings.version is not None:
        status["postgresqlVersion"] = findings.version
    if findings.asks_standby or (previous.get(STANDBY) == "true" and not findings.stands_alone):
        status[STANDBY] = "true"
    return status


def is_commentary(previous: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether two statuses differ only in how far members have come: what nobody acts on, and changes many times a minute.

    Who leads belongs to it while a new cluster is being made: when the leader accepts writes, that is a condition.
    """
    return _verdict(previous) == _verdict(status)


def _verdict(status: Mapping[str, Any]) -> dict[str, Any]:
    conditions = status.get("conditions") or ()
    told = {c["type"]: c["status"] if c["type"] == "Progressing" else c for c in conditions}
    untold: dict[str, Any] = {"members": None}
    if status.get("PostgresClusterStatus") == "Creating":
        untold["leader"] = None
    return {**status, "conditions": told, **untold}


def phase(previous: str, findings: Findings, plan: Plan, outcome: Outcome) -> str:
    """The reference's status string. `Running` only while the member that should accept writes does."""
    is_new = findings.instances > 0 and (
        not findings.is_initialized or (findings.is_new and _incomplete(findings, plan))
    )
    if findings.problems:
        return "CreateFailed" if previous in NEW_PHASES else "UpdateFailed"
    if outcome.has_failed or findings.failed_statements:
        return "CreateFailed" if is_new else "SyncFailed"
    if plan.stopped is not None:
        return "CreateFailed" if is_new else "UpdateFailed"
    if is_new:
        return (
            "CreateFailed" if any(view.has_failed or view.pod.keeps_failing for view in findings.views) else "Creating"
        )
    if findings.instances > 0 and not findings.accepts_writes and not findings.is_standby:
        return "Updating" if any(step.disruptive for step in outcome.done) else "SyncFailed"
    if findings.database_error is not None:
        return "SyncFailed"
    is_changing = bool(plan.steps) or findings.awaits_databases or any(view.is_due for view in findings.views)
    return "Updating" if is_changing else "Running"


def _incomplete(findings: Findings, plan: Plan) -> bool:
    """Whether members are missing or do not do their part, or roles and databases are not there yet."""
    if plan.steps or findings.awaits_databases:
        return True
    return len(findings.views) < findings.instances or any(view.unhealthy is not None for view in findings.views)


def _ready(findings: Findings, plan: Plan, outcome: Outcome) -> Condition:
    del plan, outcome
    if findings.is_deleting:
        return Condition("Ready", "False", "Deleting", "the cluster is being deleted")
    if findings.instances == 0 and not findings.problems:
        return Condition(
            "Ready", "False", "NoInstances", "numberOfInstances is 0: no server runs, as the manifest says"
        )
    if findings.accepts_writes:
        return Condition("Ready", "True", "LeaderAcceptsWrites", f"{findings.leader} accepts writes")
    if findings.is_standby and findings.leads:
        return Condition(
            "Ready",
            "True",
            "StandbyLeaderRuns",
            f"{findings.leader} leads a standby cluster; it accepts no writes",
        )
    if not findings.is_initialized:
        return Condition("Ready", "False", "Creating", "the first member has not initialised the database yet")
    return Condition("Ready", "False", "NoLeader", "no member accepts writes")


def _progressing(findings: Findings, plan: Plan, outcome: Outcome) -> Condition:
    del outcome
    if findings.problems:
        return Condition(
            "Progressing", "False", "InvalidSpec", "the manifest is not acted on; the cluster stays as it was"
        )
    if plan.steps:
        return Condition("Progressing", "True", "Stepping", plan.steps[0].reason)
    if plan.waits and not plan.unsettled and plan.stopped is None:
        return Condition("Progressing", "True", "Waiting", plan.waits[0].why)
    return Condition("Progressing", "False", "Settled" if not plan.unsettled else "Held", "")


def _degraded(findings: Findings, plan: Plan, outcome: Outcome) -> Condition:
    if findings.problems:
        return Condition("Degraded", "True", "InvalidSpec", "; ".join(str(p) for p in findings.problems))
    if outcome.has_failed or findings.failed_statements:
        return Condition("Degraded", "True", "StepFailed", _failures(findings, outcome))
    if plan.stopped is not None:
        return Condition("Degraded", "True", "Stopped", plan.stopped)
    if plan.lacks is not None:
        return Condition("Degraded", "True", "NotPermitted", plan.lacks)
    if plan.unread is not None:
        return Condition("Degraded", "True", "Unreadable", plan.unread)
    if findings.database_error is not None:
        return Condition("Degraded", "True", "DatabaseUnreachable", findings.database_error)
    # Members of a new cluster start one after the other: that is progress, unless one has failed.
    sick = [v for v in findings.views if v.unhealthy is not None and (not findings.is_new or v.has_failed)]
    if sick:
        said = "; ".join(f"{v.name} {v.unhealthy}" for v in sick)
        return Condition("Degraded", "True", "MembersUnhealthy", said)
    if not findings.is_new and len(findings.views) < findings.instances:
        said = f"{len(findings.views)} of {findings.instances} members exist"
        return Condition("Degraded", "True", "MembersMissing", said)
    return next(_shortcomings(findings), Condition("Degraded", "False", "AsDesired", ""))


def _shortcomings(findings: Findings) -> Iterator[Condition]:
    """What is not as it should be while the members are well, the worst first."""
    if findings.leader_move is not None and findings.leader_move.is_overdue:
        yield Condition("Degraded", "True", "LeaderNotMoved", findings.leader_move.message)
    if findings.is_standby_refused:
        yield Condition("Degraded", "True", "NotAStandby", _not_a_standby(findings))
    if findings.follows_unasked:
        yield Condition("Degraded", "True", "StandbyUnasked", _standby_unasked(findings))
    if findings.database_problem is not None:
        yield Condition("Degraded", "True", "DatabasesUnread", findings.database_problem)
    if findings.stream_problem is not None:
        yield Condition("Degraded", "True", "StreamsIncomplete", findings.stream_problem)
    if findings.volume_problem is not None:
        yield Condition("Degraded", "True", "VolumesNotAsAsked", findings.volume_problem)
    if findings.secret_problem is not None:
        yield Condition("Degraded", "True", "SecretsOutOfReach", findings.secret_problem)


def _not_a_standby(findings: Findings) -> str:
    return (
        f"spec.standby asks for a standby cluster, and {findings.leader} accepts writes: Patroni's configuration has no "
        "standby_cluster. Roles and databases are left alone; remove spec.standby to keep the primary"
    )


def _standby_unasked(findings: Findings) -> str:
    return (
        f"{findings.leader or 'the cluster'} follows another cluster by Patroni's configuration alone (standby_cluster): the "
        "manifest does not ask for it, and was never seen to. It stays so; to promote it, take standby_cluster out by "
        "patronictl edit-config, or add spec.standby and remove it again"
    )


def _failures(findings: Findings, outcome: Outcome) -> str:
    """All of them, in the order of the plan. Statements that failed stay said until it is read that they are not lacking."""
    said = [f"{step.target}: {error}" for step, error in outcome.failures]
    if not outcome.failures and outcome.has_failed:
        said = [f"{outcome.failed.target if outcome.failed is not None else 'the pass'}: {outcome.error}"]
    said += (line for name, error in findings.failed_statements if (line := f"database {name}: {error}") not in said)
    return "; ".join(said)


def _restart_pending(findings: Findings, plan: Plan, outcome: Outcome) -> Condition:
    del outcome
    due = [v.name for v in findings.views if v.member is not None and v.member.pending_restart]
    rolls = [v.name for v in findings.views if v.replace is not None]
    if due or rolls:
        holding = plan.unsettled or tuple(held for held in plan.held if isinstance(held.step, RestartMember))
        held = f"; held: {holding[0].why}" if holding else ""
        names = ", ".join(sorted({*due, *rolls}))
        return Condition("RestartPending", "True", "Replacement" if rolls else "Parameters", f"{names}{held}")
    return Condition("RestartPending", "False", "None", "")


def _credentials(findings: Findings, plan: Plan, outcome: Outcome) -> Condition:
    del plan, outcome
    if findings.without_password:
        said = f"no password in the Secret of {', '.join(sorted(findings.without_password))}; nothing is changed"
        return Condition("CredentialsInSync", "False", "NoPassword", said)
    if findings.credentials_in_sync is None:
        return Condition("CredentialsInSync", "Unknown", "NotChecked", "")
    if findings.credentials_in_sync:
        return Condition("CredentialsInSync", "True", "Match", "")
    return Condition("CredentialsInSync", "False", "Differ", "a stored password differs from its Secret")


def _poolers(findings: Findings, plan: Plan, outcome: Outcome) -> Condition | None:
    """Only of a cluster that has poolers. The cluster itself is as well without them, so it is not degraded by them."""
    del plan, outcome
    if not findings.poolers:
        return None
    said = "; ".join(f"{p.name}: {p.available} of {p.wanted} pods take connections" for p in findings.poolers)
    if any(pooler.available == 0 for pooler in findings.poolers):
        return Condition("PoolersReady", "False", "NoPod", said)
    if any(pooler.available < pooler.wanted for pooler in findings.poolers):
        return Condition("PoolersReady", "True", "SomePods", said)
    return Condition("PoolersReady", "True", "AllPods", said)


def _leader_move(findings: Findings, plan: Plan, outcome: Outcome) -> Condition | None:
    """Only while the leader is on a node that is to be emptied, or where nodes may not be seen."""
    del plan, outcome
    move = findings.leader_move
    if move is None:
        return None
    if not move.are_nodes_visible:
        return Condition("LeaderMovePending", "Unknown", "NodesNotVisible", move.message)
    if move.candidate is not None:
        return Condition("LeaderMovePending", "True", "Moving", move.message)
    if move.is_only_member:
        return Condition("LeaderMovePending", "True", "OnlyMember", move.message)
    return Condition("LeaderMovePending", "True", "NoCandidate", move.message)


def _upgrade_pending(findings: Findings, plan: Plan, outcome: Outcome) -> Condition | None:
    """Only while a major upgrade is due: what holds it."""
    del plan, outcome
    asked, runs = findings.asked_version, _major(findings.version)
    if findings.version_held:
        return Condition("UpgradePending", "True", "VersionHeld", findings.version_held)
    if asked is None or runs is None or runs >= asked.major or findings.instances == 0:
        return None
    said = f"PostgreSQL {runs} runs and {asked} is asked for"
    if not findings.may_upgrade:
        said = f"{said}; major_version_upgrade_mode off does not allow it to this team"
        return Condition("UpgradePending", "True", "NotAllowed", said)
    said = f"{said}; replacing pods does not upgrade data, and this release does not: upgrade in the leader's pod"
    return Condition("UpgradePending", "True", "UpgradeDue", said)


def _major(version: str | None) -> int | None:
    """18.4 → 18."""
    major = (version or "").partition(".")[0]
    return int(major) if major.isdigit() else None


CONDITIONS: tuple[Callable[[Findings, Plan, Outcome], Condition | None], ...] = (
    _ready,
    _progressing,
    _degraded,
    _restart_pending,
    _credentials,
    _poolers,
    _leader_move,
    _upgrade_pending,
)
"""The last three are only said of clusters that they concern."""


def _remembered(condition: Condition, previous: Mapping[str, Any], findings: Findings) -> Condition:
    """While a first look is under way (after a restart of the operator), what was found last still holds."""
    if (
        condition.status != "Unknown"
        or condition.reason != "NotChecked"
        or not findings.accepts_writes
        or findings.database_error is not None
    ):
        return condition
    before = next((c for c in previous.get("conditions") or () if c.get("type") == condition.type), None)
    return Condition(condition.type, before["status"], before["reason"], before["message"]) if before else condition


def _dated(condition: Condition, previous: Mapping[str, Any], generation: int, now: dt.datetime) -> dict[str, Any]:
    before = next((c for c in previous.get("conditions") or () if c.get("type") == condition.type), None)
    changed = before is None or before.get("status") != condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")
        if changed or before is None
        else before["lastTransitionTime"],
    }


def _member(view: MemberView, previous: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    member = view.member
    said: dict[str, Any] = {"name": view.name, "role": "leader" if view.is_leader else "replica"}
    said["state"] = member.state if member is not None and member.state else "unknown"
    if member is not None and member.timeline is not None:
        said["timeline"] = member.timeline
    if not view.is_leader:
        before = next((m.get("lag") for m in previous.get("members") or () if m.get("name") == view.name), None)
        said["lag"] = lag_class(before, view, _leader_view(findings))
    return said


def _leader_view(findings: Findings) -> MemberView | None:
    return next((view for view in findings.views if view.is_leader), None)


def lag_class(before: str | None, view: MemberView, leader: MemberView | None) -> str:
    """`ok`, `behind` or `broken`; between the two limits it stays what it was."""
    if view.unhealthy is not None or view.member is None or leader is None or leader.member is None:
        return "broken"
    here, there = view.member.lsn, leader.member.lsn
    return class_of_lag(before, None if here is None or there is None else max(0, int(there) - int(here)))


def class_of_lag(before: str | None, lag_bytes: int | None) -> str:
    """`ok` or `behind`; between the two limits, and where the lag is not known, it stays what it was."""
    if lag_bytes is None:
        return "ok" if before != "behind" else "behind"
    if lag_bytes > BEHIND_ABOVE_BYTES:
        return "behind"
    if lag_bytes < OK_BELOW_BYTES:
        return "ok"
    return before if before in ("ok", "behind") else "ok"


def transitions(previous: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[Event, ...]:
    """The events for what changed between two statuses: one per condition that turned, one for a new leader."""
    before = {c["type"]: c for c in previous.get("conditions") or ()}
    events: list[Event] = []
    for condition in status["conditions"]:
        was = before.get(condition["type"], {}).get("status", "False")
        if was != condition["status"]:
            events += _turned(condition)
    if status.get("leader") and previous.get("leader") and status["leader"] != previous["leader"]:
        events.append(Event("Normal", "LeaderChanged", f"{status['leader']} leads now, after {previous['leader']}"))
    return tuple(events)


# (condition, status) → (type, reason, message when the condition has none)
_EVENTS: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("Ready", "True"): ("Normal", "Ready", ""),
    ("Ready", "False"): ("Warning", "NotReady", ""),
    ("Degraded", "True"): ("Warning", "", ""),
    ("Degraded", "False"): ("Normal", "Recovered", "the cluster is as desired again"),
    ("RestartPending", "True"): ("Normal", "RestartPending", ""),
    ("LeaderMovePending", "True"): ("Normal", "LeaderMovePending", ""),
    ("UpgradePending", "True"): ("Normal", "UpgradePending", ""),
    ("CredentialsInSync", "False"): ("Normal", "CredentialsDiffer", ""),
    ("PoolersReady", "True"): ("Normal", "PoolersReady", ""),
    ("PoolersReady", "False"): ("Warning", "PoolersNotReady", ""),
}


def _turned(condition: Mapping[str, Any]) -> tuple[Event, ...]:
    found = _EVENTS.get((condition["type"], condition["status"]))
    if found is None:
        return ()
    kind, reason, message = found
    return (Event(kind, reason or condition["reason"], condition["message"] or message or condition["reason"]),)
