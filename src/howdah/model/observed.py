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


class _Wire(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """camelCase JSON of the Kubernetes API; unknown fields are skipped."""


class Owner(_Wire):
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Meta(_Wire):
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


class Terminated(_Wire):
    exit_code: int = 0
    reason: str | None = None
    message: str | None = None
    finished_at: dt.datetime | None = None


class Waiting(_Wire):
    reason: str | None = None
    message: str | None = None


class ContainerState(_Wire):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Wire):
    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(_Wire):
    type: str
    status: str
    reason: str | None = None
    message: str | None = None


class PodStatus(_Wire):
    phase: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    conditions: list[PodCondition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class PodContainer(_Wire):
    name: str
    image: str | None = None


class PodSpec(_Wire):
    node_name: str | None = None
    containers: list[PodContainer] = []


class Pod(_Wire):
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
    def is_proved_dead(self) -> bool:
        """The kubelet says of every container that its processes have ended. A force-deleted pod never says so."""
        statuses = self.status.container_statuses or ()
        return bool(statuses) and all(s.state.terminated is not None for s in statuses)


class ClaimSpecResources(_Wire):
    requests: dict[str, str | int] | None = None


class ClaimSpec(_Wire):
    resources: ClaimSpecResources = ClaimSpecResources()
    volume_name: str | None = None


class ClaimStatus(_Wire):
    phase: str | None = None
    capacity: dict[str, str | int] | None = None


class Claim(_Wire):
    """A persistent volume claim of a member."""

    metadata: Meta
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class PatroniObject(_Wire):
    """A ConfigMap or Endpoints object in which Patroni keeps state, in its annotations."""

    metadata: Meta


class SecretMeta(_Wire):
    """A Secret, as metadata only: its data are read when its version changes, and never kept here."""

    metadata: Meta


class Revision(_Wire):
    """A ControllerRevision; `data` holds `{"spec": {"template": …}}` as raw JSON, decoded only when compared."""

    metadata: Meta
    data: msgspec.Raw = msgspec.Raw(b"{}")


class Managed(_Wire):
    """One entry of managedFields; `fields_v1` stays raw until a comparison needs it."""

    manager: str | None = None
    operation: str | None = None
    subresource: str | None = None
    fields_v1: msgspec.Raw = msgspec.field(default=msgspec.Raw(b"{}"), name="fieldsV1")


class OwnedMeta(Meta):
    managed_fields: list[Managed] | None = None


class Owned(_Wire):
    """The part of an object that we write which every pass needs."""

    metadata: OwnedMeta


@dataclass(frozen=True, slots=True)
class Live:
    """An object of ours as the server has it; its JSON stays bytes, for most passes only need to know its version."""

    kind: str
    meta: OwnedMeta
    raw: bytes = b"{}"

    @property
    def version(self) -> tuple[str, str]:
        """(uid, resourceVersion): equal means that nothing about the object changed."""
        return self.meta.uid, self.meta.resource_version

    def body(self) -> dict[str, Any]:
        """The decoded object; decoding costs, so ask only where a comparison is due."""
        return msgspec.json.decode(self.raw, type=dict[str, Any])


def live(kind: str, raw: bytes) -> Live:
    """The object in `raw` JSON."""
    return Live(kind, msgspec.json.decode(raw, type=Owned).metadata, raw)


@dataclass(frozen=True, slots=True)
class Departed:
    """A pod that is gone, as it was last seen: what its last status proved."""

    name: str
    uid: str
    was_proved_dead: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """One cluster as seen at `now`: from the caches, or read live before a disruptive step (`is_live`)."""

    now: dt.datetime
    resource: Live
    pods: tuple[Pod, ...] = ()  # by ordinal
    claims: tuple[Claim, ...] = ()
    objects: Mapping[tuple[str, str], Live] = field(default_factory=dict)  # (kind, name) of our own kinds
    secrets: Mapping[tuple[str, str], SecretMeta] = field(default_factory=dict)  # by (namespace, name)
    patroni: Mapping[tuple[str, str], PatroniObject] = field(default_factory=dict)  # by (kind, name)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # revision name → pod template
    departed: tuple[Departed, ...] = ()
    problems: tuple[ExternalError, ...] = ()  # reads that failed: what they would have said is unknown, not absent
    is_live: bool = False
