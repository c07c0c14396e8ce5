"""What a pass may decide: steps as data, each with its reason, and `Wait` for what is not yet.

A step names its target exactly (uid, and for disruptive ones the version seen), so that carrying it out late, twice or
by two operators at once does no harm. How a step is carried out is `controller.apply`; nothing here does anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from howdah.core.postgres.rotation import SecretChange
from howdah.model import names
from howdah.model.postgres.desired import PasswordOrigin, PasswordSource
from howdah.model.postgres.statements import Statement

STANDS_ALONE = frozenset({"Service", "PodDisruptionBudget", "Deployment", "CronJob", "RoleBinding"})
"""Kinds that nothing else of a cluster needs to be made or changed: failing at one holds up no other step."""
SHARED_KINDS = frozenset({"ServiceAccount", "RoleBinding"})
"""Made once, for all clusters of a namespace; they do not go with one."""
NEEDED_BY_PODS = frozenset({"RoleBinding"})
"""Of what stands alone: where it is missing no pod is replaced, for Patroni could not start in the new one."""
LEFT_WHERE_UNREAD = STANDS_ALONE | SHARED_KINDS | {names.STREAM_KIND}
"""Kinds of which one object that cannot be read leaves only the kind as it is: of others it stops the whole cluster.

One ServiceAccount for all clusters of a namespace must not stop them all, nor their deletion.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """`reason` is a sentence that the user may read. A disruptive step interrupts somebody's connections."""

    disruptive: ClassVar[bool] = False
    reason: str

    @property
    def holds_up(self) -> bool:
        """Whether the steps after it are not tried when it fails."""
        return True

    @property
    def holds_up_disruption(self) -> bool:
        """Whether nobody is interrupted in a pass in which it fails."""
        return self.holds_up

    @property
    def target(self) -> str:
        """What is acted on, for people and logs: `statefulset acid-minimal-cluster`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfBody(Step):
    """About the object of this body; a Secret's is without data."""

    body: Mapping[str, Any]

    @property
    def holds_up(self) -> bool:
        return self.body["kind"] not in STANDS_ALONE

    @property
    def holds_up_disruption(self) -> bool:
        return self.holds_up or self.body["kind"] in NEEDED_BY_PODS

    @property
    def target(self) -> str:
        return f"{self.body['kind']} {self.body['metadata']['name']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnObject(Step):
    """About one object that is there."""

    kind: str
    name: str
    uid: str

    @property
    def holds_up(self) -> bool:
        return self.kind not in STANDS_ALONE

    @property
    def target(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Create(_OfBody):
    """POST an object; where it already exists, the next pass looks at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSecret(_OfBody):
    """POST a Secret of a role, with a new random password that is made while the step is carried out.

    One that is far lies in another namespace than its cluster: only its role needs it.
    """

    username: str
    is_far: bool = False

    @property
    def holds_up(self) -> bool:
        return not self.is_far


@dataclass(frozen=True, slots=True, kw_only=True)
class CopySecret(_OfBody):
    """Give a role's Secret the password that is at `origin`, which is read while the step is carried out.

    `uid` and `resource_version` of the Secret as it was seen; empty ones: it is to be made. A password that is missing
    there must not hold up the cluster.
    """

    holds_up: ClassVar[bool] = False
    username: str
    origin: PasswordOrigin
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEnvironmentSecret(_OfBody):
    """POST the Secret of credentials that the configuration spells out; the values are taken when it is carried out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateEnvironmentSecret(Step):
    """Set these keys of that Secret to what the configuration spells out now; the values are taken when it is done."""

    holds_up: ClassVar[bool] = False
    name: str
    namespace: str
    uid: str
    keys: tuple[str, ...]

    @property
    def target(self) -> str:
        return f"Secret {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSecret(Step):
    """Write to a role's Secret, if it is still the one seen. Passwords are made or moved while that is done."""

    holds_up: ClassVar[bool] = False
    name: str
    namespace: str
    uid: str
    resource_version: str
    change: SecretChange

    @property
    def target(self) -> str:
        return f"Secret {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteUserList(_OfBody):
    """Make a pooler's user list, or make it anew; the passwords are taken from `users`' Secrets when it is carried out.

    A Secret without a password must not hold up everything else.
    """

    holds_up: ClassVar[bool] = False
    uid: str | None  # of the one that is there
    users: tuple[PasswordSource, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply(_OfBody):
    """Server-side apply of an object that exists; `uid` keeps a late pass from bringing a deleted one back."""

    uid: str
    changes: tuple[str, ...] = ()  # paths that differ
    costs: tuple[str, ...] = ()  # of each: patch, roll or replace
    field_manager: str = names.FIELD_MANAGER


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleIn(Apply):
    """Apply of a StatefulSet with fewer replicas, if it is still as it was seen: the members with the highest ordinals go.

    `leader` must still hold the lock of `object_kind` `object_name`; None where every member goes.
    """

    disruptive: ClassVar[bool] = True
    resource_version: str
    leader: str | None
    object_kind: str  # ConfigMap or Endpoints
    object_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollPooler(Apply):
    """Apply of a pooler's Deployment with another pod template, if it is still as it was seen.

    Kubernetes replaces its pods, some at a time.
    """

    disruptive: ClassVar[bool] = True
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver(_OnObject):
    """Move the fields that another manager owns by `Update` to ours, so that a later apply can give them up."""

    resource_version: str
    managed_fields: tuple[Mapping[str, Any], ...]  # as they are to be


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete(_OnObject):
    """DELETE with uid as precondition. `propagation` is Kubernetes' (Orphan, Background, Foreground)."""

    propagation: str = "Background"
    namespace: str = ""  # empty: the cluster's


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacePooler(_OnObject):
    """Delete a pooler's Deployment, pods and all, that the API does not let change, if it is still as it was seen.

    The next pass makes it anew.
    """

    disruptive: ClassVar[bool] = True
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFinalizers(Step):
    """Set the resource's finalizers to this list, if its version is still the one seen."""

    finalizers: tuple[str, ...]
    resource_version: str

    @property
    def target(self) -> str:
        return "finalizers of the resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotateResource(Step):
    """Merge annotations (None removes one) into the resource."""

    annotations: Mapping[str, str | None]

    @property
    def target(self) -> str:
        return "annotations of the resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatePod(Step):
    """Merge annotations (None removes one) into a live pod."""

    name: str
    uid: str
    annotations: Mapping[str, str | None]

    @property
    def target(self) -> str:
        return f"Pod {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchMetadata(_OnObject):
    """Merge annotations into an object that others write, too; nothing else of it is touched.

    `owner_references` is the whole list as it is to be; None leaves it. `resource_version` is the version in which the
    list was seen: it holds those of others.
    """

    holds_up: ClassVar[bool] = False
    namespace: str
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner_references: tuple[Mapping[str, Any], ...] | None = None
    resource_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowClaim(Step):
    """Ask for a larger volume. A storage class that cannot grow one must not hold up everything else."""

    name: str
    uid: str
    storage: str

    @property
    def target(self) -> str:
        return f"PersistentVolumeClaim {self.name}"

    @property
    def holds_up(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyVolume(Step):
    """Ask EC2 to change a volume in use, all properties in one modification; None leaves one as it is.

    EC2 refuses a size below the present one, and everything while an earlier modification is under way.
    """

    holds_up: ClassVar[bool] = False
    claim: str
    volume_id: str
    size_gib: int | None = None
    type: str | None = None
    iops: int | None = None
    throughput: int | None = None  # MiB/s

    @property
    def target(self) -> str:
        return f"EC2 volume {self.volume_id} of {self.claim}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchDynamicConfiguration(Step):
    """Change Patroni's dynamic configuration; None in `patch` removes a key."""

    patch: Mapping[str, Any]

    @property
    def target(self) -> str:
        return "Patroni configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatements(Step):
    """Statements that concern one database, each in its own transaction, in order.

    What one database refuses keeps neither the others back nor anything else. But `sets_passwords_of_pods`: the pods
    that are made next have these passwords, so none is replaced before the server knows them.
    """

    holds_up: ClassVar[bool] = False
    database: str
    statements: tuple[Statement, ...]
    sets_passwords_of_pods: bool = False

    @property
    def holds_up_disruption(self) -> bool:
        return self.sets_passwords_of_pods

    @property
    def target(self) -> str:
        return f"database {self.database}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLeader(Step):
    """Clear the leader key of a leader that is proved dead, so that a replica need not wait for the ttl."""

    object_kind: str  # ConfigMap or Endpoints
    name: str
    uid: str
    resource_version: str
    leader: str

    @property
    def target(self) -> str:
        return f"{self.object_kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallElection(Step):
    """Wake the members of a cluster whose lock has expired: each looks whether that is so, and one takes it.

    Marks the leader object, in the version after which there was no renewal; the lock itself is not touched.
    """

    object_kind: str  # ConfigMap or Endpoints
    name: str
    uid: str
    resource_version: str
    mark: str  # see `patroni.member.call_value`

    @property
    def target(self) -> str:
        return f"{self.object_kind} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlabelLeader(Step):
    """Take the leader's label off a pod that lost the lock or let it expire, so that no service leads to it.

    `leader` must still hold the lock of `object_kind` `object_name`, and the pod must be the one seen. `renewed`: the
    last renewal of an expired lock, after which there must have been none.
    """

    name: str
    uid: str
    resource_version: str
    label: str
    object_kind: str  # ConfigMap or Endpoints
    object_name: str
    leader: str
    renewed: str | None = None

    @property
    def target(self) -> str:
        return f"Pod {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacePod(Step):
    """Delete a pod; its StatefulSet makes it anew from the current template.

    `cause`: of the roll that it is a step of; empty for the repair of a broken pod.
    """

    disruptive: ClassVar[bool] = True
    name: str
    uid: str
    resource_version: str
    cause: str = ""

    @property
    def target(self) -> str:
        return f"Pod {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchover(Step):
    """Ask Patroni to hand the leader's role to `candidate`; it refuses when `leader` no longer leads.

    `cause`: of the roll that it is a step of; empty where the leader only leaves its node, or the pods that go.
    """

    disruptive: ClassVar[bool] = True
    leader: str
    candidate: str
    cause: str = ""

    @property
    def target(self) -> str:
        return f"leader {self.leader}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartMember(Step):
    """Ask Patroni to restart one member's PostgreSQL, only where its restart is pending.

    `cause`: of this restart, the same in every cluster that has it.
    """

    disruptive: ClassVar[bool] = True
    name: str
    uid: str
    cause: str = ""

    @property
    def target(self) -> str:
        return f"PostgreSQL of {self.name}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again in `seconds`; `why` is a sentence that the user may read."""

    seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    """A step that is due but not allowed now, and what holds it (pause, fleet budget, protection, maintenance window).

    `until` is when it is let go by time alone, where that is known. `is_lasting`: it may stay so for months, and the
    cluster is settled all the same.
    """

    step: Step
    why: str
    until: dt.datetime | None = None
    is_lasting: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in order, what they wait for, and what is held back. Empty in a quiet cluster.

    `later`: what is due at a known time, although nothing is awaited now.
    """

    steps: tuple[Step, ...] = ()
    waits: tuple[Wait, ...] = ()
    held: tuple[Held, ...] = ()
    stopped: str | None = None  # a roll that stopped, and why
    later: tuple[Wait, ...] = ()
    lacks: str | None = None  # what may not be seen, while everything else goes on
    unread: str | None = None  # likewise what cannot be read

    @property
    def next_look_s(self) -> float | None:
        return min((wait.seconds for wait in (*self.waits, *self.later)), default=None)

    @property
    def unsettled(self) -> tuple[Held, ...]:
        """What is held and keeps the cluster from being as it should."""
        return tuple(held for held in self.held if not held.is_lasting)

    @property
    def is_quiet(self) -> bool:
        return not (self.steps or self.waits or self.held or self.stopped or self.lacks or self.unread)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one planner says; `ends` keeps later planners from being asked, for they need what is awaited."""

    steps: tuple[Step, ...] = ()
    waits: tuple[Wait, ...] = ()
    held: tuple[Held, ...] = ()
    stopped: str | None = None
    lacks: str | None = None
    unread: str | None = None
    ends: bool = False
    later: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetBudget:
    """How many other clusters roll for the same cause, and what the roll of the first one showed.

    A restart of PostgreSQL for the same parameters counts as a roll. `mine`: the causes for which this cluster has begun.
    `restarted`: reasons of restarts that were done in this cluster since its leader's, and when. `restarted_leading`: the
    reason of that one of its leader.
    """

    rolling: Mapping[str, int] = field(default_factory=dict)  # cause → clusters in a roll
    first: Mapping[str, str] = field(default_factory=dict)  # cause → the one of them that has rolled for longest
    failed: Mapping[str, str] = field(default_factory=dict)  # cause → a cluster whose roll stopped
    finished: frozenset[str] = frozenset()  # causes for which at least one cluster has finished its roll
    limit: int = 5
    mine: frozenset[str] = frozenset()
    restarted: Mapping[str, dt.datetime] = field(default_factory=dict)
    restarted_leading: str | None = None
    moving: int = 0  # other clusters whose leader is just leaving a node
    is_complete: bool = True  # False until every cluster has been looked at once


NOTHING = Decision()
