"""The only place that forms a name, a label, an annotation key or a path of a cluster's objects.

What is named here is contract: clusters made by the reference operator, people's scripts and Patroni rely on it.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

GROUP = "acid.zalan.do"
API_VERSION = f"{GROUP}/v1"
KIND = "postgresql"

FIELD_MANAGER = "howdah"
FINALIZER = f"postgres-operator.{GROUP}"

PAUSE = "howdah.dev/pause"
"""On the resource: what the operator must not do; see `Pause`."""
REPLACE_REASON = "howdah.dev/replace-reason"
"""On a pod that is to be replaced: why."""
DISRUPTION = "howdah.dev/disruption"
"""On the resource: which member is being disturbed now, and why; written before it is done."""
LOCK_EXPIRED = "howdah.dev/lock-expired"
"""On Patroni's leader object: RENEWAL/N, the renewal after which the lock expired, and how often members were told so."""
SLOTS = "howdah.dev/replication-slots"
"""On the resource: the replication slots that its manifest asked for, so that one that it no longer names can go."""
USE_KEPT_VOLUMES = "howdah.dev/use-kept-volumes"
"""On the resource, "true": a new cluster may start from volumes that an earlier one of the same name left."""
USERS_SEEN = "howdah.dev/users-seen"
"""On a pooler's user list: the versions of the Secrets that it was made from."""
USERS_CHANGED = "howdah.dev/users-changed"
"""On a pooler's user list, and so on its pods: when a password in it was changed last; not there before that."""
ADOPTED = "howdah.dev/adopt"
"""On the resource, "true": a person said that pods may be rolled for differences between the reference and howdah.

Also for those between pods and a StatefulSet that the reference wrote; and that credentials may move into a Secret."""
CLEAR_TEXT_PASSWORD = "howdah.dev/clear-text-password"  # noqa: S105  # an annotation
"""On the resource, "true": where `pg_hba` asks the superuser for the password in clear text (`password`, `ldap`, `pam`,
`radius`), the operator sends it, over TLS, to whoever answers at a pod's address."""

CLUSTER = "howdah.dev/cluster"
"""On a Secret in another namespace than its cluster's: the cluster, as `namespace/name`. Its labels do not tell."""

LONGEST_ID = 63
"""Of a controller that its Lease is named after."""

CONTROLLER = f"{GROUP}/controller"
"""On the resource: the id of the operator that it belongs to."""
ROLLING_UPDATE_REQUIRED = "zalando-postgres-operator-rolling-update-required"
"""On a pod: it has to be replaced."""

EXTERNAL_DNS = "external-dns.alpha.kubernetes.io/hostname"
KUBE2IAM_ROLE = "iam.amazonaws.com/role"
IRSA_ROLE = "eks.amazonaws.com/role-arn"

STREAM_API_VERSION = "zalando.org/v1"
STREAM_KIND = "FabricEventStream"
STREAM_DEFINITION = "fabriceventstreams.zalando.org"
STREAM_CPU = "fes.zalando.org/FES_CPU"
STREAM_MEMORY = "fes.zalando.org/FES_MEMORY"
STREAM_USER = "fes_user"
"""The role that reads streams."""
STREAM_PLUGIN = "pgoutput"

REVISION_LABEL = "controller-revision-hash"
"""On a pod: the ControllerRevision that it was made from."""
TEAM_LABEL = "team"
APPLICATION_LABEL = "application"
BACKUP_APPLICATION = "spilo-logical-backup"
"""The application of what dumps a cluster, in the place of the cluster's own."""
HOSTNAME_TOPOLOGY = "kubernetes.io/hostname"
CRITICAL_LABEL = "critical-operation"
"""On a pod, set "true" while it must not be evicted."""

Role = Literal["master", "replica"]
LONGEST_LABEL = 63
"""Characters of a label's value."""
LEADER_ROLE: Role = "master"
REPLICA_ROLE: Role = "replica"

POOLER_APPLICATION = "db-connection-pooler"
POOLER_LABEL = "connection-pooler"
"""On everything of a pooler: its name."""
POOLER_USER = "pooler"
"""A role of this name has its Secret among the pooler's objects; one of another name has not."""

POSTGRES_CONTAINER = "postgres"
POOLER_CONTAINER = "connection-pooler"
POOLER_IMAGE_USER, POOLER_IMAGE_GROUP = 100, 101
USER_LIST_KEY = "userlist.txt"
USER_LIST_MOUNT = f"/etc/pgbouncer/{USER_LIST_KEY}"
SCALYR_CONTAINER = "scalyr-sidecar"
BACKUP_CONTAINER = "logical-backup"
POSTGRES_PORT = 5432
POSTGRES_PORT_NAME = "postgresql"
PATRONI_PORT = 8008
POD_PORTS = (PATRONI_PORT, POSTGRES_PORT, 8080)

DATA_VOLUME = "pgdata"
DATA_MOUNT = "/home/postgres/pgdata"
PGROOT = f"{DATA_MOUNT}/pgroot"
SHM_VOLUME = "dshm"
SHM_MOUNT = "/dev/shm"  # noqa: S108  # a mount path of the container
SOCKET_VOLUME = "postgresql-run"
SOCKET_MOUNT = "/var/run/postgresql"
TLS_MOUNT = "/tls"
TLS_CA_MOUNT = "/tlsca"
ARCHIVE_CREDENTIALS, ARCHIVE_CREDENTIALS_MOUNT = "archive-credentials", "/archive-credentials"
BACKUP_CREDENTIALS, BACKUP_CREDENTIALS_MOUNT = "backup-credentials", "/backup-credentials"
CREDENTIALS_FILE = "credentials.json"
"""Key of a Secret, and the file that is made of it."""
IRSA_TOKEN_FILE = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"  # noqa: S105  # a path

Dcs = Literal["configmaps", "endpoints", "etcd"]
"""Where Patroni keeps its state."""


class Pause(StrEnum):
    """What annotation `howdah.dev/pause` forbids: everything, or what interrupts connections."""

    NONE = ""
    DISRUPTIVE = "disruptive"
    ALL = "all"


def pause_of(annotations: Mapping[str, str]) -> Pause:
    """What the annotations of a resource ask to hold; a word that is not known holds everything."""
    asked = annotations.get(PAUSE, "").strip().lower()
    if asked in ("", "none", "false"):
        return Pause.NONE
    return Pause.DISRUPTIVE if asked == Pause.DISRUPTIVE else Pause.ALL


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The identity of a namespaced object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Templates:
    """The naming options of the operator."""

    secret: str
    primary_budget: str
    service_account: str
    backup_job_prefix: str


@dataclass(frozen=True, slots=True)
class Names:
    """Every object of one cluster by its name. A pair is (kind, name)."""

    namespace: str
    cluster: str
    dcs: Dcs
    templates: Templates

    @property
    def stateful_set(self) -> str:
        return self.cluster

    @property
    def leader_service(self) -> str:
        return self.cluster

    @property
    def replica_service(self) -> str:
        return f"{self.cluster}-repl"

    @property
    def config_service(self) -> str:
        """Made by Patroni in Endpoints mode."""
        return f"{self.cluster}-config"

    def service(self, role: Role) -> str:
        return self.leader_service if role == LEADER_ROLE else self.replica_service

    def pooler(self, role: Role) -> str:
        """A role's pooler: its Deployment, its service, and the value of its label."""
        return f"{self.cluster}-pooler" if role == LEADER_ROLE else f"{self.cluster}-pooler-repl"

    def user_list(self, role: Role) -> str:
        """The Secret with the passwords that PgBouncer itself has to know."""
        return f"{self.pooler(role)}-u"

    def service_host(self, role: Role, cluster_domain: str) -> str:
        """The DNS name of a role's service."""
        return f"{self.service(role)}.{self.namespace}.svc.{cluster_domain}"

    @property
    def primary_budget(self) -> str:
        return self.templates.primary_budget.replace("{cluster}", self.cluster)

    @property
    def critical_budget(self) -> str:
        return f"postgres-{self.cluster}-critical-op-pdb"

    @property
    def service_account(self) -> str:
        return self.templates.service_account

    def secret(self, username: str) -> str:
        """The Secret of a role. Underscores become dashes, so `a_b` and `a-b` share one: see `resolve`."""
        return credentials_secret(self.templates.secret, username, self.cluster)

    @property
    def environment_secret(self) -> str:
        """Holds the variables whose values are credentials that the manifest or the configuration spells out."""
        return f"{self.cluster}-environment"

    @property
    def backup_job(self) -> str:
        """The CronJob of the logical backup."""
        return backup_job(self.templates.backup_job_prefix, self.cluster)

    def pod(self, ordinal: int) -> str:
        return f"{self.cluster}-{ordinal}"

    def claim(self, ordinal: int) -> str:
        return f"{DATA_VOLUME}-{self.pod(ordinal)}"

    @property
    def leader_object(self) -> tuple[str, str]:
        """Where Patroni keeps the leader lock: in Endpoints mode the leader's own Endpoints."""
        return (self._patroni_kind, self.cluster if self._patroni_kind == "Endpoints" else f"{self.cluster}-leader")

    @property
    def config_object(self) -> tuple[str, str]:
        return (self._patroni_kind, f"{self.cluster}-config")

    @property
    def sync_object(self) -> tuple[str, str]:
        return (self._patroni_kind, f"{self.cluster}-sync")

    @property
    def failover_object(self) -> tuple[str, str]:
        return (self._patroni_kind, f"{self.cluster}-failover")

    @property
    def patroni_objects(self) -> tuple[tuple[str, str], ...]:
        """Everything that Patroni makes for itself."""
        objects = (self.config_object, self.leader_object, self.failover_object, self.sync_object)
        return (*objects, ("Service", self.config_service)) if self._patroni_kind == "Endpoints" else objects

    @property
    def _patroni_kind(self) -> str:
        return "ConfigMap" if self.dcs == "configmaps" else "Endpoints"


def lease(controller_id: str) -> str:
    """The Lease of the operators with this id, one of which leads. An id that no name can hold is told by its digest."""
    if not controller_id:
        return "howdah"
    if re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", controller_id) and len(controller_id) <= LONGEST_ID:
        return f"howdah-{controller_id}"
    return f"howdah-{hashlib.sha256(controller_id.encode()).hexdigest()[:16]}"


def user_lists(cluster: str) -> frozenset[str]:
    """The Secrets of the poolers' user lists."""
    return frozenset({f"{cluster}-pooler-u", f"{cluster}-pooler-repl-u"})


def selector_text(labels: Mapping[str, str]) -> str:
    """As a query has it: `application=spilo,cluster-name=acid-minimal`."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def selector_with_poolers(labels: Mapping[str, str]) -> str:
    """Finds what `labels` do, and the objects of poolers, which carry another application."""
    return _selector_with(labels, POOLER_APPLICATION)


def selector_with_backups(labels: Mapping[str, str]) -> str:
    """Likewise with those of logical backups: in the reference's v1 a CronJob carries the cluster's own application."""
    return _selector_with(labels, BACKUP_APPLICATION)


def _selector_with(labels: Mapping[str, str], application: str) -> str:
    own = labels.get(APPLICATION_LABEL)
    if own is None:
        return selector_text(labels)  # the others' objects carry one more
    others = {key: value for key, value in labels.items() if key != APPLICATION_LABEL}
    return ",".join(filter(None, (f"{APPLICATION_LABEL} in ({own},{application})", selector_text(others))))


def belongs(kind: str, name: str, cluster: str, templates: Templates) -> bool:
    """Whether an object of this name is one that the operator or Patroni makes for `cluster`; labels alone do not tell."""
    parts = ("-config", "-leader", "-failover", "-sync")
    poolers = frozenset({f"{cluster}-pooler", f"{cluster}-pooler-repl"})
    known: Mapping[str, frozenset[str]] = {
        "StatefulSet": frozenset({cluster}),
        "CronJob": frozenset({backup_job(templates.backup_job_prefix, cluster)}),
        "Deployment": poolers,
        "Service": frozenset({cluster, f"{cluster}-repl", f"{cluster}-config"}) | poolers,
        "ConfigMap": frozenset(f"{cluster}{part}" for part in parts),
        "Endpoints": frozenset({cluster, f"{cluster}-repl", *(f"{cluster}{part}" for part in parts)}),
        "PodDisruptionBudget": frozenset(
            {templates.primary_budget.replace("{cluster}", cluster), f"postgres-{cluster}-critical-op-pdb"}
        ),
    }
    if kind == "Secret":
        before, _, after = credentials_secret(templates.secret, "*", cluster).partition("*")
        is_role = name.startswith(before) and name.endswith(after)
        return is_role or name == f"{cluster}-environment" or name in user_lists(cluster)
    if kind == "PersistentVolumeClaim":
        return is_members_claim(name, cluster)
    if kind in ("ControllerRevision", STREAM_KIND):
        return name.rpartition("-")[0] == cluster
    return name in known.get(kind, frozenset())


def is_member(pod: str, cluster: str) -> bool:
    """Whether a pod of this name is one of the cluster's StatefulSet; its labels may be those of other pods, too."""
    before, _, ordinal = pod.rpartition("-")
    return before == cluster and ordinal.isascii() and ordinal.isdigit()


def is_members_claim(claim: str, cluster: str) -> bool:
    """Whether a claim of this name is that of a member: the reference has one claim template, `pgdata`, and so have we."""
    before, _, pod = claim.partition("-")
    return before == DATA_VOLUME and is_member(pod, cluster)


def credentials_secret(template: str, username: str, cluster: str) -> str:
    """The name of the Secret of role `username` of `cluster`; placeholders that are not known stay."""
    values = {"username": username.replace("_", "-"), "cluster": cluster, "tprkind": KIND, "tprgroup": GROUP}
    for placeholder, value in values.items():
        template = template.replace(f"{{{placeholder}}}", value)
    return template


def versions_text(versions: Iterable[tuple[str, str]]) -> str:
    """What `USERS_SEEN` holds: uid and version of each Secret."""
    return ",".join(f"{uid}:{version}" for uid, version in versions)


def backup_job(prefix: str, cluster: str) -> str:
    """The name of the CronJob that dumps `cluster`: cut, for its Jobs and their pods add to it."""
    return f"{prefix}{cluster}"[:LONGEST_CRON_JOB].rstrip("-")


LONGEST_CRON_JOB = 52
"""The API server refuses longer ones."""


def event_stream(cluster: str, application: str) -> str:
    """The name of the object of an application's streams: five characters after the cluster's, always the same ones."""
    digest = int.from_bytes(hashlib.sha256(application.encode()).digest()[:8])
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    return f"{cluster}-" + "".join(letters[digest // 36**place % 36] for place in range(5))


def stream_slot(database: str, application: str) -> str:
    """The publication and the replication slot of an application in a database; a digest where PostgreSQL would cut it."""
    name = f"fes_{database}_{application.replace('-', '_')}"
    if len(name) <= LONGEST_SLOT:
        return name
    return f"fes_{hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()}"


LONGEST_SLOT = 63


def dns_name(template: str, values: Mapping[str, str]) -> str:
    """A load balancer's DNS name; placeholders that are not known stay."""
    for placeholder, value in values.items():
        template = template.replace(f"{{{placeholder}}}", value)
    return template.lower()


@dataclass(frozen=True, slots=True)
class Labels:
    """The label sets of one cluster: `selector` finds its objects, `full` is put on them."""

    selector: Mapping[str, str]
    full: Mapping[str, str]
    role_key: str

    def selector_of(self, role: Role) -> Mapping[str, str]:
        return {**self.selector, self.role_key: role}

    def full_of(self, role: Role) -> Mapping[str, str]:
        return {**self.full, self.role_key: role}

    def pooler_selector(self, pooler: str) -> Mapping[str, str]:
        """What finds one pooler's pods."""
        return {**self.selector, APPLICATION_LABEL: POOLER_APPLICATION, POOLER_LABEL: pooler}

    def pooler_full(self, pooler: str, role: Role) -> Mapping[str, str]:
        """What a pooler's Deployment, pods and user list carry."""
        return {**self.full_of(role), APPLICATION_LABEL: POOLER_APPLICATION, POOLER_LABEL: pooler}

    def full_of_application(self, application: str) -> Mapping[str, str]:
        """On what belongs to the cluster and is no member of it."""
        return {**self.full, APPLICATION_LABEL: application}

    @property
    def selector_text(self) -> str:
        """As a query has it."""
        return selector_text(self.selector)


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """The label options of the operator."""

    cluster_labels: Mapping[str, str]
    cluster_name: str
    role: str
    inherited: tuple[str, ...]

    def selector(self, cluster: str) -> Mapping[str, str]:
        """What finds the objects of `cluster`, also when its manifest is not valid."""
        return {**self.cluster_labels, self.cluster_name: cluster}

    def pooler_selector(self, cluster: str) -> Mapping[str, str]:
        """What finds the objects of the poolers of `cluster`."""
        return {**self.selector(cluster), APPLICATION_LABEL: POOLER_APPLICATION}

    def labels(self, cluster: str, team: str, of_resource: Mapping[str, str]) -> Labels:
        """An inherited label wins over those of the operator, as in the reference."""
        selector = self.selector(cluster)
        inherited = {key: of_resource[key] for key in self.inherited if key in of_resource}
        return Labels(selector, {**selector, TEAM_LABEL: team, **inherited}, self.role)
