"""The resolved request: one cluster with every name, number and default decided. Builders and planners only read it.

`core.resolve` makes it; nothing here has a default, and nothing here is derived from the world. Parts that Kubernetes
defines (environment, probes, affinity) are plain JSON in their final form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from howdah.model.errors import Problem
from howdah.model.names import Dcs, Key, Labels, Names, Pause, Role
from howdah.model.postgres.desired import (
    DatabaseOptions,
    Elsewhere,
    PasswordLookup,
    PasswordOrigin,
    PasswordSource,
    UserOptions,
)
from howdah.model.postgres.rotation import RotationRules
from howdah.model.units import MaintenanceWindow, PgVersion, Quantity

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is written on objects, by kind. `inherited` is all that Secrets, budgets and claims get."""

    inherited: Mapping[str, str]
    pod: Mapping[str, str]
    job: Mapping[str, str]
    stateful_set: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Container:
    """A container in its final form, mounts included."""

    body: Json

    @property
    def name(self) -> str:
        return str(self.body["name"])


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod template: containers in order (postgres first), volumes, and where it may run."""

    service_account: str
    termination_grace_s: int
    init_containers: tuple[Json, ...]
    containers: tuple[Container, ...]
    volumes: tuple[Json, ...]
    security_context: Json
    affinity: Json
    tolerations: tuple[Json, ...]
    topology_spread: tuple[Json, ...]
    priority_class: str
    scheduler: str


@dataclass(frozen=True, slots=True)
class DataVolume:
    """The claim of each member. `iops`, `throughput` and `type` are for EC2 only.

    `size` is what the manifest asks; in `claim_template` a live one that is larger stays.
    """

    size: Quantity
    claim_template: Json
    iops: int | None
    throughput: int | None
    type: str


RetentionPolicy = Literal["Retain", "Delete"]
PodManagement = Literal["OrderedReady", "Parallel"]


@dataclass(frozen=True, slots=True)
class StatefulSetPolicy:
    """How the StatefulSet treats pods and claims."""

    pod_management: PodManagement
    claims_when_deleted: RetentionPolicy
    claims_when_scaled: RetentionPolicy


ServiceType = Literal["ClusterIP", "LoadBalancer", "NodePort"]


@dataclass(frozen=True, slots=True)
class Service:
    """The service of a role. `selects` is false where Patroni's Endpoints say who is behind it."""

    role: Role
    name: str
    type: ServiceType
    annotations: Mapping[str, str]
    selects: bool
    source_ranges: tuple[str, ...]
    traffic_policy: str
    node_port: int | None


@dataclass(frozen=True, slots=True)
class UserList:
    """The Secret of a pooler with the passwords that PgBouncer itself has to know: of its own role, and of some others.

    Who writes it takes the passwords from the Secrets of `users`, in this order.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_references: tuple[Json, ...]
    users: tuple[PasswordSource, ...]


@dataclass(frozen=True, slots=True)
class Pooler:
    """PgBouncer before one role's service: a Deployment, a service, a user list. `selector` finds its pods."""

    role: Role
    name: str
    replicas: int
    labels: Mapping[str, str]
    selector: Mapping[str, str]
    annotations: Mapping[str, str]
    pod_annotations: Mapping[str, str]
    pod: Pod
    service: Service
    user_list: UserList


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """Exactly one of the two bounds is set."""

    name: str
    selector: Mapping[str, str]
    min_available: int | None
    max_unavailable: int | str | None


@dataclass(frozen=True, slots=True)
class SecretRequest:
    """A Secret to make once. Who creates it adds `username` and a new `password`; one that exists wins.

    One with an `origin` repeats the password that is there, whatever it held before.
    """

    name: str
    namespace: str
    role: Literal["superuser", "replication", "user"]
    username: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_references: tuple[Json, ...]
    origin: PasswordOrigin | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentSecret:
    """A Secret with credentials that the manifest or the configuration spells out: pods refer to it instead.

    Who writes it keeps its values equal to `values`; None is in its place where there are none.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner_references: tuple[Json, ...]
    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, order=True)
class StreamLink:
    """What streams read from one database: a publication of `tables` ((schema, table)) and a slot, both called `name`."""

    database: str
    name: str
    tables: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Access:
    """What the manifest and the operator say of roles and databases; `core.postgres` makes it a desired state.

    `stream_user` is empty without streams; a publication without tables shall not be there.
    Sections are as in the manifest. `prepared_databases` is None where the manifest does not speak of it, `lookup`
    where there is no pooler.
    """

    super_username: str
    replication_username: str
    admin_role: str
    protected: tuple[str, ...]
    additional_owner_roles: tuple[str, ...]
    cross_namespace_secrets: bool
    users: Mapping[str, tuple[str, ...]]
    databases: Mapping[str, str]
    prepared_databases: Mapping[str, Json] | None
    user_options: Mapping[str, UserOptions]
    database_options: Mapping[str, DatabaseOptions]
    rotation: RotationRules
    password_encryption: Literal["scram-sha-256", "md5"]
    stream_user: str
    publications: tuple[StreamLink, ...]
    is_enabled: bool
    sends_clear_text: bool
    elsewhere: Elsewhere
    lookup: PasswordLookup | None


@dataclass(frozen=True, slots=True)
class LogicalBackup:
    """The CronJob that dumps all databases. Where and as whom its pod runs is as for the database's pods."""

    name: str
    schedule: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    container: Container
    volumes: tuple[Json, ...]
    affinity: Json
    successful_jobs_kept: int
    failed_jobs_kept: int
    finished_job_kept_s: int


@dataclass(frozen=True, slots=True)
class EventStream:
    """The streams of one application: the object, and what has to be there before it."""

    name: str
    application: str
    amounts: Mapping[str, str]
    spec: Json
    links: tuple[StreamLink, ...]


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a cluster. `leaving`: what live objects read from and nobody asks for any more, without tables.

    Where Kubernetes does not serve such objects, nothing is made for them: a slot without a reader fills the disk.
    """

    is_wanted: bool
    are_served: bool
    of_applications: tuple[EventStream, ...]
    leaving: tuple[StreamLink, ...]


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """The account of the pods and what lets it act, made once per namespace."""

    account: Json
    role_binding: Json


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the manifest and the operator say about replacing pods and growing volumes.

    `version_held`: why the pods keep another major version than the one asked for; the request is to be resolved again
    at `version_held_until`. `gp3_below_gib`: volumes of type gp2 that are smaller become gp3; None: none does.
    `ready_node_labels`: a cordoned node that has them all still counts as ready.
    `move_timeout_s`: what a leader may take to leave a cordoned node before that is a fault.
    """

    is_image_lazy: bool
    maintenance_windows: tuple[MaintenanceWindow, ...]
    may_upgrade: bool
    version_held: str
    version_held_until: datetime | None
    resize_mode: Literal["pvc", "ebs", "mixed", "off"]
    gp3_below_gib: int | None
    ready_node_labels: Mapping[str, str]
    move_timeout_s: float
    ignored_annotations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """One cluster, decided.

    `spilo` is the document of SPILO_CONFIGURATION; `dynamic` is what the manifest asks of the live Patroni
    configuration: only keys that it speaks of. `asked_instances` is the manifest's number, `instances` the clamped one;
    `version` is the major that pods are told, `asked_version` the one that is wanted. `is_promoted`: its manifest asked for
    a standby cluster, and does so no more. `follows_by_variable`: variables of its pods make it a standby cluster, whatever
    the manifest says.
    `unwanted_poolers`: (kind, name) of what a pooler that is not asked for may have left, in the order in which it goes.
    """

    key: Key
    uid: str
    generation: int
    team: str
    names: Names
    labels: Labels
    annotations: Annotations
    owner_references: tuple[Json, ...]
    pause: Pause
    dcs: Dcs
    version: PgVersion
    asked_version: PgVersion
    image: str
    instances: int
    asked_instances: int
    is_standby: bool
    is_promoted: bool
    follows_by_variable: bool
    spilo: Json
    dynamic: Json
    pod: Pod
    volume: DataVolume
    stateful_set: StatefulSetPolicy
    services: tuple[Service, ...]
    poolers: tuple[Pooler, ...]
    unwanted_poolers: tuple[tuple[str, str], ...]
    budgets: tuple[DisruptionBudget, ...]
    secrets: tuple[SecretRequest, ...]
    environment_secret: EnvironmentSecret | None
    logical_backup: LogicalBackup | None
    streams: Streams
    access: Access
    service_account: ServiceAccount
    rollout: Rollout
    warnings: tuple[Problem, ...]

    @property
    def postgres(self) -> Container:
        """The database container."""
        return self.pod.containers[0]
