"""What was seen of the world: trimmed structs, decoded straight from the API server's JSON.

Only fields that a decision uses are here; a struct is never written back. Patroni's annotations are kept raw: they are
parsed by `core.patroni.member`. Nothing here judges what it holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from howdah.model.errors import ExternalError

_NO_JSON = msgspec.Raw(b"")


class _Wire(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """camelCase JSON of the Kubernetes API; unknown fields are skipped."""


class Owner(_Wire, frozen=True, omit_defaults=True):
    """An owner reference, whole: a list of them is written back with others' in it."""

    kind: str
    name: str
    uid: str
    api_version: str = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class Meta(_Wire, frozen=True):
    """Of `metadata`; `resource_version` is opaque."""

    name: str
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: dt.datetime | None = None
    deletion_timestamp: dt.datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[Owner] | None = None
    finalizers: list[str] | None = None

    def label(self, key: str) -> str | None:
        return (self.labels or {}).get(key)

    def annotation(self, key: str) -> str | None:
        return (self.annotations or {}).get(key)


class Terminated(_Wire, frozen=True):
    exit_code: int = 0
    reason: str | None = None
    message: str | None = None
    finished_at: dt.datetime | None = None


class Waiting(_Wire, frozen=True):
    reason: str | None = None
    message: str | None = None


class ContainerState(_Wire, frozen=True):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Wire, frozen=True):
    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(_Wire, frozen=True):
    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: dt.datetime | None = None


class PodStatus(_Wire, frozen=True):
    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class PodContainer(_Wire, frozen=True):
    name: str
    image: str | None = None


class PodSpec(_Wire, frozen=True):
    node_name: str | None = None
    containers: list[PodContainer] = []


PREPARATIONS = (None, "ContainerCreating", "PodInitializing")
"""Reasons for which every container waits before it starts."""


class Pod(_Wire, frozen=True):
    """A database pod. Its `controller-revision-hash` label names the template it was made from."""

    metadata: Meta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def ordinal(self) -> int:
        """-1 for a name without one."""
        tail = self.metadata.name.rpartition("-")[2]
        return int(tail) if tail.isdigit() else -1

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None

    @property
    def is_ready(self) -> bool:
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())

    @property
    def not_ready_since(self) -> dt.datetime | None:
        """When the pod ceased to be Ready, or was first seen not to be; None while it is, and where nobody said."""
        found = (c for c in self.status.conditions or () if c.type == "Ready" and c.status != "True")
        return next((c.last_transition_time for c in found), None)

    @property
    def has_started(self) -> bool:
        """Whether the kubelet has started a container of it."""
        statuses = self.status.container_statuses or ()
        return any(s.state.waiting is None for s in statuses)

    @property
    def has_no_node(self) -> str | None:
        """Why no node takes it, as the scheduler says; None once one has, and before it was tried."""
        found = (c for c in self.status.conditions or () if c.type == "PodScheduled" and c.status == "False")
        return next((c.message or c.reason or "" for c in found), None)

    @property
    def cannot_start(self) -> bool:
        """Whether something other than the usual preparations stands between it and its first container."""
        statuses = self.status.container_statuses or ()
        reasons = [s.state.waiting.reason for s in statuses if s.state.waiting is not None]
        return (
            self.has_no_node is not None or self.keeps_failing or any(reason not in PREPARATIONS for reason in reasons)
        )

    @property
    def keeps_failing(self) -> bool:
        """Whether a container has ended with an error, and not for the first time.

        The kubelet says so for most of the time that it waits with the next start; CrashLoopBackOff it says at times only.
        """
        statuses = self.status.container_statuses or ()
        return any(
            s.restart_count > 0 and s.state.terminated is not None and s.state.terminated.exit_code for s in statuses
        )

    @property
    def is_proved_dead(self) -> bool:
        """The kubelet says of every container that its processes have ended. A force-deleted pod never says so."""
        statuses = self.status.container_statuses or ()
        # A crashed container that is about to be started again has ended, too, for a moment.
        is_over = self.is_deleting or self.status.phase in ("Failed", "Succeeded")
        return is_over and bool(statuses) and all(s.state.terminated is not None for s in statuses)


class NodeMeta(_Wire, frozen=True):
    """Of a node only what decisions use: its annotations change all the time."""

    name: str
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: dt.datetime | None = None
    labels: dict[str, str] | None = None

    def label(self, key: str) -> str | None:
        return (self.labels or {}).get(key)


class NodeSpec(_Wire, frozen=True):
    unschedulable: bool = False


class NodeCondition(_Wire, frozen=True):
    type: str
    status: str


class NodeStatus(_Wire, frozen=True):
    conditions: list[NodeCondition] | None = None


class Node(_Wire, frozen=True):
    """A machine that pods run on."""

    metadata: NodeMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        """What its kubelet says, or what is said for a kubelet that is silent."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions or ())

    def significant(self) -> tuple[object, ...]:
        """Everything but heartbeats and what other conditions say."""
        m = self.metadata
        return m.uid, m.deletion_timestamp, m.labels, self.spec.unschedulable, self.is_ready


class ClaimSpecResources(_Wire, frozen=True):
    requests: dict[str, str | int] | None = None


class ClaimSpec(_Wire, frozen=True):
    resources: ClaimSpecResources = ClaimSpecResources()
    storage_class_name: str | None = None
    volume_name: str | None = None


class ClaimStatus(_Wire, frozen=True):
    phase: str | None = None
    capacity: dict[str, str | int] | None = None


class Claim(_Wire, frozen=True):
    """A persistent volume claim of a member."""

    metadata: Meta
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class CsiVolume(_Wire, frozen=True):
    driver: str = ""
    volume_handle: str = ""


class InTreeEbsVolume(_Wire, frozen=True):
    volume_id: str = msgspec.field(default="", name="volumeID")


class PersistentVolumeSpec(_Wire, frozen=True):
    csi: CsiVolume | None = None
    aws_elastic_block_store: InTreeEbsVolume | None = None


class PersistentVolume(_Wire, frozen=True):
    """A volume that a claim is bound to: only where it is. That never changes."""

    spec: PersistentVolumeSpec = PersistentVolumeSpec()


class PatroniObject(_Wire, frozen=True):
    """A ConfigMap or Endpoints object in which Patroni keeps state, in its annotations."""

    metadata: Meta


class Revision(_Wire, frozen=True):
    """A ControllerRevision; `data` holds `{"spec": {"template": …}}` as raw JSON, decoded only when compared."""

    metadata: Meta
    data: msgspec.Raw = _NO_JSON

    def __post_init__(self) -> None:
        _own(self, "data")

    def template(self) -> dict[str, Any]:
        """The pod template as the StatefulSet had it, without the word that says how a controller patches it in."""
        spec = msgspec.json.decode(bytes(self.data) or b"{}").get("spec") or {}
        return {name: part for name, part in (spec.get("template") or {}).items() if name != "$patch"}


class Managed(_Wire, frozen=True):
    """One entry of managedFields; the paths stay raw until a comparison needs them."""

    manager: str | None = None
    operation: str | None = None
    subresource: str | None = None
    api_version: str | None = None
    time: str | None = None
    fields_type: str | None = None
    fields_v1: msgspec.Raw = msgspec.field(default=_NO_JSON, name="fieldsV1")

    def __post_init__(self) -> None:
        _own(self, "fields_v1")

    def as_dict(self) -> dict[str, Any]:
        """The entry in the API's own form."""
        said = {
            "manager": self.manager,
            "operation": self.operation,
            "subresource": self.subresource,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": self.fields_type,
        }
        fields = {"fieldsV1": msgspec.json.decode(bytes(self.fields_v1) or b"{}")}
        return {**{key: value for key, value in said.items() if value is not None}, **fields}


class OwnedMeta(Meta, frozen=True):
    managed_fields: list[Managed] | None = None


class SecretMeta(_Wire, frozen=True):
    """A Secret, as metadata only: its data are read when its version changes, and never kept here."""

    metadata: OwnedMeta

    @property
    def changed_at(self) -> dt.datetime | None:
        """When its data were written last, to the second; None where nobody said."""
        entries = self.metadata.managed_fields or ()
        times = [entry.time for entry in entries if entry.time and b'"f:data"' in bytes(entry.fields_v1)]
        return max((dt.datetime.fromisoformat(time) for time in times), default=None)


class Live(_Wire, frozen=True):
    """An object of ours as the server has it. Its parts stay JSON, for most passes only ask for its version."""

    metadata: OwnedMeta
    spec: msgspec.Raw = _NO_JSON
    status: msgspec.Raw = _NO_JSON
    role_ref: msgspec.Raw = _NO_JSON
    subjects: msgspec.Raw = _NO_JSON

    def __post_init__(self) -> None:
        for part in _PARTS:
            _own(self, part)

    @property
    def meta(self) -> OwnedMeta:
        return self.metadata

    @property
    def version(self) -> tuple[str, str]:
        """(uid, resourceVersion): equal means that nothing about the object changed."""
        return self.metadata.uid, self.metadata.resource_version

    def significant(self) -> tuple[object, ...]:
        """What a pass depends on: everything but status, version and managedFields."""
        m = self.metadata
        return (
            m.uid,
            m.deletion_timestamp,
            m.labels,
            m.annotations,
            m.owner_references,
            m.finalizers,
            bytes(self.spec),
            bytes(self.role_ref),
            bytes(self.subjects),
        )

    def hash_but_status(self) -> int:
        """Of all that can make a difference to what is intended, which the status and the version cannot."""
        managed = [entry for entry in self.metadata.managed_fields or () if entry.subresource != "status"]
        return hash(msgspec.json.encode((*self.significant(), managed)))

    def body(self, api_version: str, kind: str) -> dict[str, Any]:
        """The object as a dict, of the parts held. Decoding costs: ask only where a comparison is due."""
        whole: dict[str, Any] = {"apiVersion": api_version, "kind": kind, "metadata": self._metadata()}
        for part, key in _PARTS.items():
            if raw := bytes(getattr(self, part)):
                whole[key] = msgspec.json.decode(raw)
        return whole

    def _metadata(self) -> dict[str, Any]:
        m = self.metadata
        said = {"name": m.name, "namespace": m.namespace, "uid": m.uid, "resourceVersion": m.resource_version}
        lists = {
            "labels": m.labels,
            "annotations": m.annotations,
            "ownerReferences": msgspec.to_builtins(m.owner_references) if m.owner_references else None,
            "finalizers": m.finalizers,
        }
        return {**said, **{key: value for key, value in lists.items() if value}}

    def managed_fields(self) -> list[dict[str, Any]]:
        """The managedFields as the server sent them."""
        return [entry.as_dict() for entry in self.metadata.managed_fields or ()]

    def decoded_status(self) -> dict[str, Any]:
        """The status; empty where there is none. Of our resource see `status_of`."""
        return status_of(msgspec.json.decode(bytes(self.status) or b"{}"))


STANDBY = "standby"
"""Of our resource's status: "true" while its manifest asks for a standby cluster, and from then on until that is promoted.

It is remembered here because no copy of a manifest brings it along, and whoever replaces the resource cannot take it away. A
text, for the reference's definition keeps no other.
"""

_KEYS_OF_STATUS = {"conditions": "type", "members": "name"}


def status_of(found: Any) -> dict[str, Any]:
    """What a `postgresql` says. An old resource holds a bare string.

    A definition that does not know our fields leaves entries of lists empty: those without their key say nothing.
    """
    if not isinstance(found, dict):
        return {"PostgresClusterStatus": str(found or "")}
    keyed = {field: _with(key, found[field]) for field, key in _KEYS_OF_STATUS.items() if field in found}
    return {**found, **keyed}


def _with(key: str, entries: Any) -> list[dict[str, Any]]:
    found = entries if isinstance(entries, list) else ()
    return [entry for entry in found if isinstance(entry, dict) and entry.get(key)]


_PARTS = {"spec": "spec", "status": "status", "role_ref": "roleRef", "subjects": "subjects"}


def _own(struct: msgspec.Struct, part: str) -> None:
    """Copy a raw part: as decoded it would keep the whole answer of the server in memory."""
    raw: msgspec.Raw = getattr(struct, part)
    if raw is not _NO_JSON:
        msgspec.structs.force_setattr(struct, part, raw.copy())


@dataclass(frozen=True, slots=True)
class Departed:
    """A pod that is gone, as it was last seen: what its last status proved."""

    name: str
    uid: str
    was_proved_dead: bool
    gone_s: float  # since when, by our clock that only goes forward


@dataclass(frozen=True, slots=True)
class Observed:
    """One cluster as seen at `now`: from the caches, or read live before a disruptive step."""

    now: dt.datetime
    resource: Live
    pods: tuple[Pod, ...] = ()  # the members', by ordinal
    claims: tuple[Claim, ...] = ()  # the members', also of earlier ones
    objects: Mapping[tuple[str, str], Live] = field(default_factory=dict)  # (kind, name) of our own kinds
    secrets: Mapping[tuple[str, str], SecretMeta] = field(default_factory=dict)  # by (namespace, name)
    outdated_copies: frozenset[tuple[str, str]] = frozenset()  # Secrets whose password is not the one that they repeat
    patroni: Mapping[tuple[str, str], PatroniObject] = field(default_factory=dict)  # by (kind, name)
    unrenewed_s: Mapping[tuple[str, str], float] = field(
        default_factory=dict
    )  # of Patroni's leader object, by our clock
    renewals_seen: frozenset[tuple[str, str]] = frozenset()  # of these our clock alone tells whether they are silent
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # revision name → pod template
    revisions: tuple[Revision, ...] = ()
    departed: tuple[Departed, ...] = ()
    nodes: Mapping[str, Node] = field(default_factory=dict)  # by name, those that the pods are on
    nodes_unseen: str | None = None  # why nothing is known of nodes
    outdated_keys: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Of Secrets whose values we keep, by (namespace, name): the keys whose value is not the one asked for."""
    serves_event_streams: bool = True  # the kind FabricEventStream is installed, and we may see it
    problems: tuple[ExternalError, ...] = ()  # reads that failed: what they would have said is unknown, not absent
    unseen: Mapping[str, str] = field(default_factory=dict)  # the same of kinds that stand alone: kind → why
    unread: Mapping[str, str] = field(default_factory=dict)  # likewise of kinds of which an object cannot be read
    secrets_unseen: Mapping[str, str] = field(default_factory=dict)
    """Other namespaces in which the cluster has Secrets, or is to have some, and nobody sees them: namespace → why."""
    namesakes: frozenset[str] = (
        frozenset()
    )  # other namespaces with Secrets of ours that have a cluster of our name, too

    @property
    def left_alone(self) -> Mapping[str, str]:
        """Kinds whose objects are left as they are while everything else goes on: kind → why."""
        return {**self.unseen, **self.unread}
