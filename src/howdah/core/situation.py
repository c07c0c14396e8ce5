"""One cluster, judged: what is asked, what was seen, and what Patroni says, side by side. Every planner reads this."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from howdah.core.adoption import why_not_adopted
from howdah.core.objects.diff import Difference
from howdah.core.patroni.member import (
    LEADING,
    ConfigObject,
    Leader,
    Member,
    Sync,
    parse_config,
    parse_leader,
    parse_member,
    parse_sync,
)
from howdah.core.patroni.switchover import Eligibility
from howdah.core.plan import FleetBudget
from howdah.core.postgres.removal import Kept
from howdah.core.rollout import MemberView, copies_for_long, has_failed, replacement, restart_cause, unhealthy_reason
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.observed import Live, Observed, Pod
from howdah.model.postgres.rotation import Rotation
from howdah.model.postgres.statements import MAINTENANCE_DATABASE, Statement
from howdah.model.volumes import CloudVolume

Differences = Mapping[tuple[str, str], tuple[Difference, ...]]
"""Of our objects that exist, by (kind, name); made by `core.alignment.differences` and remembered by version."""


@dataclass(frozen=True, slots=True)
class DatabaseLook:
    """What the leader's databases lack, decided by `core.postgres` from a catalogue that was read or remembered.

    `edited`: system roles whose stored password is not the Secret's. `error`: why nothing could be read.
    `is_due`: what is known is older than what is asked for, and is being read anew. `failures`: the groups of statements
    that failed when they were run last, with what was said; they may lack them still. `at_work`: those that are being run.
    """

    statements: tuple[tuple[str, tuple[Statement, ...]], ...] = ()
    edited: frozenset[str] = frozenset()
    error: str | None = None
    is_known: bool = False
    without_password: frozenset[str] = frozenset()  # roles whose Secret holds none: nothing is done about them
    is_due: bool = False
    server_version: int = 0  # server_version_num, such as 180004
    rotations: tuple[Rotation, ...] = ()
    kept: tuple[Kept, ...] = ()  # roles that shall go, and may not
    publications: frozenset[tuple[str, str]] = frozenset()  # (database, name) of those that are as they shall be
    stream_problems: tuple[str, ...] = ()  # why others cannot be made
    problems: tuple[str, ...] = ()  # databases that cannot be looked into, and why: nothing is concluded about them
    unmet: tuple[str, ...] = ()  # what is left as it is, though the manifest asks for it: sentences for people
    failures: tuple[tuple[str, str], ...] = ()  # (group, error)
    at_work: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VolumeLook:
    """The volumes of running members by their claims' names, as EC2 described them; None for one that is not EC2's.

    `unseen`: why it cannot be known which they are. `error`: why EC2 could not be asked.
    """

    volumes: Mapping[str, CloudVolume | None] = field(default_factory=dict)
    is_known: bool = False
    unseen: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that a decision may depend on."""

    cluster: Cluster
    intended: tuple[Mapping[str, Any], ...]
    observed: Observed
    leader: Leader
    config: ConfigObject
    sync: Sync
    members: Mapping[str, Member]
    views: tuple[MemberView, ...]  # by ordinal
    database: DatabaseLook = DatabaseLook()
    storage: VolumeLook = field(default_factory=VolumeLook)
    budget: FleetBudget = field(default_factory=FleetBudget)
    differences: Differences = field(default_factory=dict)
    successor: str | None = None  # a member that has just said that it may take over from a silent leader

    @property
    def leader_view(self) -> MemberView | None:
        return next((view for view in self.views if view.is_leader), None)

    @property
    def leader_is_reachable(self) -> bool:
        """Whether the leader has said where its Patroni takes commands."""
        view = self.leader_view
        return view is not None and view.member is not None and view.member.api_url is not None

    @property
    def eligibility(self) -> Eligibility:
        """Who may take over from the leader in a switchover, for all that was seen."""
        head = self.members.get(self.leader.name or "")
        return Eligibility(
            synchronous=self.sync.standbys,
            only_synchronous=self.config.is_synchronous or (self.config.is_quorum and self.sync.leader is not None),
            timeline=head.timeline if head is not None else None,
            failsafe=self.leader.failsafe,
            optime=self.leader.optime,
            maximum_lag=self.config.maximum_lag,
            down={v.name: v.unhealthy for v in self.views if v.unhealthy and (v.pod.is_deleting or not v.pod.is_ready)},
        )

    @property
    def accepts_writes(self) -> bool:
        """Whether the holder of the leader lock is a running primary. A lock that nobody renews any more is none."""
        return self._leads_as == "primary"

    @property
    def leads(self) -> bool:
        """The same, or that it is at the head of a running standby cluster."""
        return self._leads_as in LEADING

    @property
    def _leads_as(self) -> str | None:
        """The role of the lock's holder while it does its part and its lock is one; else None."""
        view = self.leader_view
        if view is None or view.member is None or view.pod.is_deleting or view.unhealthy is not None:
            return None
        return None if self.leader_is_silent else view.member.role

    @property
    def is_standby(self) -> bool:
        """Whether it follows another cluster: by its manifest, or by what Patroni was told, unless it is being promoted."""
        return self.cluster.is_standby or (self.config.is_standby and not self.cluster.is_promoted)

    @property
    def unrenewed_s(self) -> float | None:
        """For how long the leader lock has not been renewed; None where no renewal was seen."""
        place, observed = self.cluster.names.leader_object, self.observed
        return observed.unrenewed_s.get(place) if place in observed.renewals_seen else None

    @property
    def leader_is_silent(self) -> bool:
        """Whether the leader lock is nobody's any more, though it names a holder."""
        return self.leader.is_silent(self.observed.now, self.unrenewed_s)

    @property
    def manages_databases(self) -> bool:
        """Whether roles and databases are looked after now: where the leader accepts writes, and the manifest does not
        call the cluster a standby, whose contents are another cluster's."""
        return self.cluster.access.is_enabled and not self.cluster.is_standby and self.accepts_writes

    @property
    def awaits_passwords(self) -> bool:
        """Whether nobody knows yet which passwords the server knows; where it cannot be read, for as long as that lasts."""
        look = self.database
        is_unread = look.error is not None or look.is_due or not look.is_known
        return self.manages_databases and (is_unread or MAINTENANCE_DATABASE in look.at_work)

    @property
    def awaits_databases(self) -> bool:
        """Whether nobody knows yet that the databases are as this generation of the manifest asks for.

        Not after a restart of the operator, which knows as little: what the status says of a settled cluster stays true.
        """
        if self.database.at_work:
            return True
        if not self.database.is_due or self.database.error is not None:
            return False
        resource = self.observed.resource
        said = resource.decoded_status()
        is_same = said.get("observedGeneration") == resource.meta.generation
        return not (is_same and said.get("PostgresClusterStatus") == "Running")


def look(
    cluster: Cluster,
    intended: tuple[Mapping[str, Any], ...],
    observed: Observed,
    *,
    heard: Mapping[str, Member] | None = None,
    database: DatabaseLook = DatabaseLook(),
    budget: FleetBudget | None = None,
    differences: Differences | None = None,
) -> Situation:
    """Judge what was observed. `heard`: members that were asked directly just now; they win over their annotations."""
    said = {pod.name: parse_member(pod.name, pod.metadata.annotations) for pod in observed.pods}
    members = {name: member for name, member in {**said, **(heard or {})}.items() if member is not None}
    leader = parse_leader(_patroni_annotations(observed, cluster.names.leader_object))
    template = _template(intended)
    return Situation(
        cluster=cluster,
        intended=intended,
        observed=observed,
        leader=leader,
        config=parse_config(_patroni_annotations(observed, cluster.names.config_object)),
        sync=parse_sync(_patroni_annotations(observed, cluster.names.sync_object)),
        members=members,
        views=tuple(_views(cluster, observed, members, leader, template)),
        database=database,
        budget=budget or FleetBudget(),
        differences=differences or {},
    )


def _views(
    cluster: Cluster, observed: Observed, members: Mapping[str, Member], leader: Leader, template: Mapping[str, Any]
) -> Iterable[MemberView]:
    head, moment = members.get(leader.name or ""), _moment(cluster, observed, leader)
    why_not = why_not_adopted(_stateful_set(observed), observed.resource)
    standing = _standing(observed)
    claims = {claim.metadata.name: claim for claim in observed.claims}
    for pod in observed.pods:
        because, cause = replacement(
            pod, template, _made_from(pod, observed), standing, is_image_lazy=cluster.rollout.is_image_lazy
        )
        is_leader = pod.name == leader.name
        claim = claims.get(f"{names.DATA_VOLUME}-{pod.name}")
        unhealthy = unhealthy_reason(pod, members.get(pod.name), head, is_leader=is_leader, claim=claim)
        view = MemberView(
            pod=pod,
            member=members.get(pod.name),
            is_leader=is_leader,
            unhealthy=unhealthy,
            has_failed=has_failed(pod, unhealthy, moment, members.get(pod.name)),
            copies_for_long=copies_for_long(pod, unhealthy, moment, members.get(pod.name)),
            replace=because or None,
            cause=cause,
            restart_cause=restart_cause(pod, members.get(pod.name)),
        )
        may_go = view.replace is None or view.is_marked or view.cannot_come_up
        yield view if may_go else replace(view, awaits_word=why_not)


def _moment(cluster: Cluster, observed: Observed, leader: Leader) -> dt.datetime:
    """Now, and not later than by the clock of the leader's node: pods fail by their age, and ours may be ahead."""
    place = cluster.names.leader_object
    if leader.renewed_at is None or place not in observed.renewals_seen or place not in observed.unrenewed_s:
        return observed.now
    since = dt.timedelta(seconds=observed.unrenewed_s[place])
    return min(observed.now, leader.renewed_at + since) if leader.renewed_at < observed.now else observed.now


def _made_from(pod: Pod, observed: Observed) -> Mapping[str, Any] | None:
    return observed.templates.get(pod.metadata.label(names.REVISION_LABEL) or "")


def _standing(observed: Observed) -> Mapping[str, Any] | None:
    """The template that the live StatefulSet has; not decoded where it cannot be compared with that of any pod."""
    if len(observed.templates) == 0:
        return None
    live = _stateful_set(observed)
    return live.body("apps/v1", "StatefulSet")["spec"]["template"] if live is not None else None


def _stateful_set(observed: Observed) -> Live | None:
    return observed.objects.get(("StatefulSet", observed.resource.meta.name))


def _template(intended: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(body for body in intended if body["kind"] == "StatefulSet")["spec"]["template"]
    return found


def _patroni_annotations(observed: Observed, name: tuple[str, str]) -> Mapping[str, str] | None:
    found = observed.patroni.get(name)
    return found.metadata.annotations if found is not None else None
