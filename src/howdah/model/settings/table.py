"""The operator's options: one row each, and everything else about them is made from the row.

A row is `name: type = group(kind, default, help)`: `default` is the value that a ConfigMap without the key means. `schema` is
the default in the OperatorConfiguration's schema and `fallback` the value of an absent or empty one there; both are as
`default` unless said. The differences are the reference's, and kept: configurations in use rely on them.
Values are as the manifest writes them (`"5m"`, `{"application": "spilo"}`); None means no default.
"""

# ruff: noqa: E501, RUF009  # a row is a line, and the call in it only makes a dataclass field

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from howdah.model.settings import kinds as k
from howdah.model.settings.kinds import InfrastructureRoleSecret, Kind, NamespacedName
from howdah.model.units import Duration, MaintenanceWindow, Quantity

MajorVersionUpgradeMode = Literal["off", "manual", "full"]
StorageResizeMode = Literal["pvc", "ebs", "mixed", "off"]
PodManagementPolicy = Literal["ordered_ready", "parallel"]
TrafficPolicy = Literal["Cluster", "Local"]
BackupProvider = Literal["s3", "gcs", "az"]
PoolerMode = Literal["session", "transaction"]
ReadinessLabelMerge = Literal["", "AND", "OR"]

_AS_DEFAULT: Any = object()


@dataclass(frozen=True, slots=True)
class Option:
    """One operator option. Defaults are JSON values; None is none, which means the kind's zero value."""

    name: str
    group: str
    """The object under `configuration` that holds it; empty for `configuration` itself."""
    kind: Kind
    default: Any
    schema: Any
    fallback: Any
    help: str
    is_secret: bool
    """Never shown: it holds a credential."""

    @property
    def path(self) -> str:
        """Where an OperatorConfiguration has it: `configuration.kubernetes.pod_role_label`."""
        return ".".join(filter(None, ("configuration", self.group, self.name)))

    @property
    def is_ours(self) -> bool:
        """The reference does not know it."""
        return self.group == "howdah"


def _in(group: str) -> Callable[..., Any]:
    def row(
        kind: Kind,
        default: Any,
        text: str,
        /,
        *,
        schema: Any = _AS_DEFAULT,
        fallback: Any = _AS_DEFAULT,
        is_secret: bool = False,
    ) -> Any:
        # A default that equals the zero value is no default of the schema: the absent value means the same.
        in_schema = (default or None) if schema is _AS_DEFAULT else schema
        absent = default if fallback is _AS_DEFAULT else fallback
        option = Option("", group, kind, default, in_schema, absent, text, is_secret)
        return field(repr=not is_secret, metadata={"option": option})

    return row


_general = _in("")
_users = _in("users")
_upgrade = _in("major_version_upgrade")
_kubernetes = _in("kubernetes")
_resources = _in("postgres_pod_resources")
_timeouts = _in("timeouts")
_balancer = _in("load_balancer")
_cloud = _in("aws_or_gcp")
_backup = _in("logical_backup")
_debug = _in("debug")
_teams = _in("teams_api")
_rest = _in("logging_rest_api")
_scalyr = _in("scalyr")
_pooler = _in("connection_pooler")
_patroni = _in("patroni")
_howdah = _in("howdah")

_RETENTION = {"when_deleted": ("retain", "delete"), "when_scaled": ("retain", "delete")}
_TOLERATION: dict[str, tuple[str, ...]] = {"key": (), "operator": (), "value": (), "effect": ()}
_PAM = "https://info.example.com/oauth2/tokeninfo?access_token= uid realm=/employees"
_CREDENTIALS_NAME = "{username}.{cluster}.credentials.{tprkind}.{tprgroup}"


# fmt: off
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The operator configuration, whichever form it came from; an unset string is empty, other unset values None."""

    enable_crd_registration: bool = _general(k.BOOL, True, "create and update the postgresqls CRD at start")
    crd_categories: tuple[str, ...] = _general(k.TEXTS, ["all"], "categories of the postgresqls CRD", schema=None)
    enable_lazy_spilo_upgrade: bool = _general(k.BOOL, False, "a new image waits for the next restart of each pod")
    enable_pgversion_env_var: bool = _general(k.BOOL, True, "tell pods the major by PGVERSION, not by bin_dir", fallback=None)
    enable_spilo_wal_path_compat: bool = _general(k.BOOL, False, "read WAL archives in the paths of old Spilo images")
    enable_team_id_clustername_prefix: bool = _general(k.BOOL, False, "cluster names must begin with their team")
    etcd_host: str = _general(k.TEXT, "", "etcd for Patroni's state instead of Kubernetes objects")
    kubernetes_use_configmaps: bool = _general(k.BOOL, True, "Patroni's state in ConfigMaps; false: in Endpoints")
    docker_image: str = _general(k.TEXT, "ghcr.io/zalando/spilo-18:4.1-p2", "Spilo image of the database pods")
    workers: int = _general(k.integer(1, 2**32 - 1), 8, "clusters worked on at the same time")
    min_instances: int = _general(k.integer(-1), -1, "least instances of a cluster; -1: no limit", fallback=None)
    max_instances: int = _general(k.integer(-1), -1, "most instances of a cluster; -1: no limit, 0: no pods at all", fallback=None)
    ignore_instance_limits_annotation_key: str = _general(k.TEXT, None, "annotation that lifts the instance limits")
    ignore_resources_limits_annotation_key: str = _general(k.TEXT, None, "annotation that lifts the resource limits")
    resync_period: Duration = _general(k.DURATION, "30m", "time between full passes over every cluster, at least 1s")
    repair_period: Duration = _general(k.DURATION, "5m", "time between passes over clusters that failed")
    enable_maintenance_windows: bool = _general(k.BOOL, True, "heed maintenance windows")
    maintenance_windows: tuple[MaintenanceWindow, ...] = _general(k.WINDOWS, None, "windows of clusters that name none, in UTC")
    set_memory_request_to_limit: bool = _general(k.BOOL, False, "raise memory requests to the limits")
    enable_shm_volume: bool = _general(k.BOOL, True, "mount a memory volume at /dev/shm")
    sidecar_docker_images: Mapping[str, str] = _general(k.MAP, None, "sidecars as name:image (deprecated: sidecars)")
    sidecars: tuple[Mapping[str, Any], ...] = _general(k.CONTAINERS, None, "containers added to every database pod")

    super_username: str = _users(k.TEXT, "postgres", "name of the superuser")
    replication_username: str = _users(k.TEXT, "standby", "name of the replication role")
    additional_owner_roles: tuple[str, ...] = _users(k.TEXTS, None, "roles that every database owner joins")
    enable_password_rotation: bool = _users(k.BOOL, False, "rotate the passwords of all login roles but owners")
    password_rotation_interval: int = _users(k.UINT32, 90, "days between rotations")
    password_rotation_user_retention: int = _users(k.UINT32, 180, "days until a rotated user is dropped", schema=120)

    major_version_upgrade_mode: MajorVersionUpgradeMode = _upgrade(k.choice(MajorVersionUpgradeMode), "manual", "off: listed teams only; manual: when the manifest says; full: also below the minimum")
    major_version_upgrade_team_allow_list: tuple[str, ...] = _upgrade(k.TEXTS, None, "teams that may upgrade in mode off")
    minimal_major_version: str = _upgrade(k.TEXT, "14", "oldest major that mode full leaves alone")
    target_major_version: str = _upgrade(k.TEXT, "18", "major that mode full upgrades to")

    enable_owner_references: bool = _kubernetes(k.BOOL, False, "objects are owned by the postgresql resource")
    enable_finalizers: bool = _kubernetes(k.BOOL, False, "a finalizer on the resource orders its deletion")
    delete_annotation_date_key: str = _kubernetes(k.TEXT, None, "annotation with today's date that permits deletion")
    delete_annotation_name_key: str = _kubernetes(k.TEXT, None, "annotation with the cluster's name that permits deletion")
    pod_service_account_name: str = _kubernetes(k.TEXT, "postgres-pod", "service account of the pods")
    pod_service_account_definition: str = _kubernetes(k.TEXT, None, "manifest of that service account, JSON or YAML")
    pod_service_account_role_binding_definition: str = _kubernetes(k.TEXT, None, "manifest of its role binding, JSON or YAML")
    pod_terminate_grace_period: Duration = _kubernetes(k.DURATION, "5m", "time that pods get to stop, at least 1s")
    liveness_probe: Mapping[str, Any] | None = _kubernetes(k.PROBE, None, "liveness probe of the postgres container")
    spilo_privileged: bool = _kubernetes(k.BOOL, False, "run the postgres container privileged")
    spilo_allow_privilege_escalation: bool = _kubernetes(k.BOOL, True, "allow privilege escalation in it")
    spilo_runasuser: int | None = _kubernetes(k.RUN_AS_ID, None, "user id of the pods")
    spilo_runasgroup: int | None = _kubernetes(k.RUN_AS_ID, None, "group id of the pods")
    spilo_fsgroup: int | None = _kubernetes(k.RUN_AS_ID, None, "group id of the pods' volumes")
    additional_pod_capabilities: tuple[str, ...] = _kubernetes(k.TEXTS, None, "capabilities added to the postgres container")
    watched_namespace: str = _kubernetes(k.TEXT, None, "namespace to watch; *: all; empty: the operator's own")
    pdb_name_format: str = _kubernetes(k.TEXT, "postgres-{cluster}-pdb", "name of the primary's disruption budget", fallback=None)
    pdb_master_label_selector: bool = _kubernetes(k.BOOL, True, "that budget selects the primary only")
    enable_pod_disruption_budget: bool = _kubernetes(k.BOOL, True, "disruption budgets protect the pods")
    storage_resize_mode: StorageResizeMode = _kubernetes(k.choice(StorageResizeMode), "pvc", "who resizes volumes: claims, EC2, both or nobody")
    enable_init_containers: bool = _kubernetes(k.BOOL, True, "manifests may have init containers")
    enable_sidecars: bool = _kubernetes(k.BOOL, True, "manifests may have sidecars")
    share_pgsocket_with_sidecars: bool = _kubernetes(k.BOOL, False, "every container sees PostgreSQL's socket")
    secret_name_template: str = _kubernetes(k.TEXT, _CREDENTIALS_NAME, "name of a role's Secret", fallback=None)
    cluster_domain: str = _kubernetes(k.TEXT, "cluster.local", "DNS domain of the Kubernetes cluster")
    oauth_token_secret_name: NamespacedName | None = _kubernetes(k.NAMESPACED, "postgresql-operator", "Secret with the teams API's token", schema="postgres-operator", fallback=None)
    infrastructure_roles_secret_name: NamespacedName | None = _kubernetes(k.NAMESPACED, None, "Secret with numbered infrastructure roles: user1, password1, inrole1, …; a ConfigMap of its name has their options")
    infrastructure_roles_secrets: tuple[InfrastructureRoleSecret, ...] = _kubernetes(k.ROLE_SECRETS, None, "Secrets with infrastructure roles, under the keys that each entry names; see docs/roles.md")
    pod_role_label: str = _kubernetes(k.TEXT, "spilo-role", "label with a pod's role")
    cluster_labels: Mapping[str, str] = _kubernetes(k.MAP, {"application": "spilo"}, "labels of every object")
    cluster_name_label: str = _kubernetes(k.TEXT, "cluster-name", "label with the cluster's name")
    inherited_labels: tuple[str, ...] = _kubernetes(k.TEXTS, None, "labels that objects take from the resource")
    inherited_annotations: tuple[str, ...] = _kubernetes(k.TEXTS, None, "annotations that objects take from the resource")
    downscaler_annotations: tuple[str, ...] = _kubernetes(k.TEXTS, None, "patterns of annotations that StatefulSets take too")
    ignored_annotations: tuple[str, ...] = _kubernetes(k.TEXTS, None, "annotations of others that never count as a difference")
    node_readiness_label: Mapping[str, str] = _kubernetes(k.MAP, None, "labels of nodes that are ready for databases")
    node_readiness_label_merge: ReadinessLabelMerge = _kubernetes(k.choice(ReadinessLabelMerge), "OR", "how they join the manifest's node affinity", schema=None, fallback=None)
    custom_pod_annotations: Mapping[str, str] = _kubernetes(k.MAP, None, "annotations of every pod")
    toleration: Mapping[str, str] = _kubernetes(k.map_of(_TOLERATION), None, "toleration of clusters that name none")
    pod_environment_configmap: NamespacedName | None = _kubernetes(k.NAMESPACED, None, "ConfigMap with variables for every database pod")
    pod_environment_secret: str = _kubernetes(k.TEXT, None, "Secret in the cluster's namespace with variables for its pods")
    pod_priority_class_name: str = _kubernetes(k.TEXT, None, "priority class of the pods")
    master_pod_move_timeout: Duration = _kubernetes(k.DURATION, "20m", "time that moving a primary off a node may take", fallback="10m")
    enable_pod_antiaffinity: bool = _kubernetes(k.BOOL, False, "members on different nodes")
    pod_antiaffinity_preferred_during_scheduling: bool = _kubernetes(k.BOOL, False, "… as a wish only")
    pod_antiaffinity_topology_key: str = _kubernetes(k.TEXT, "kubernetes.io/hostname", "node label that tells places apart")
    pod_management_policy: PodManagementPolicy = _kubernetes(k.choice(PodManagementPolicy), "ordered_ready", "how the StatefulSet starts its pods")
    persistent_volume_claim_retention_policy: Mapping[str, str] = _kubernetes(k.map_of(_RETENTION), {"when_deleted": "retain", "when_scaled": "retain"}, "what becomes of claims", schema=None, fallback=None)
    enable_secrets_deletion: bool = _kubernetes(k.BOOL, True, "delete Secrets with their cluster")
    enable_persistent_volume_claim_deletion: bool = _kubernetes(k.BOOL, True, "delete claims with their cluster")
    enable_readiness_probe: bool = _kubernetes(k.BOOL, False, "database pods have a readiness probe")
    enable_cross_namespace_secret: bool = _kubernetes(k.BOOL, False, "a user namespace.name has its Secret there")

    default_cpu_request: Quantity | None = _resources(k.CPU, None, "CPU request of clusters that name none")
    default_memory_request: Quantity | None = _resources(k.MEMORY, None, "memory request of clusters that name none")
    default_cpu_limit: Quantity | None = _resources(k.CPU, None, "CPU limit of clusters that name none")
    default_memory_limit: Quantity | None = _resources(k.MEMORY, None, "memory limit of clusters that name none")
    min_cpu_limit: Quantity | None = _resources(k.CPU, None, "least CPU limit of the postgres container")
    min_memory_limit: Quantity | None = _resources(k.MEMORY, None, "least memory limit of it")
    max_cpu_request: Quantity | None = _resources(k.CPU, None, "most CPU request of it")
    max_memory_request: Quantity | None = _resources(k.MEMORY, None, "most memory request of it")

    resource_check_interval: Duration = _timeouts(k.DURATION, "3s", "time between looks at an object waited for")
    resource_check_timeout: Duration = _timeouts(k.DURATION, "10m", "longest wait for an object")
    pod_label_wait_timeout: Duration = _timeouts(k.DURATION, "10m", "longest wait for a pod's role")
    pod_deletion_wait_timeout: Duration = _timeouts(k.DURATION, "10m", "longest wait for a pod to go")
    ready_wait_interval: Duration = _timeouts(k.DURATION, "4s", "time between looks at a CRD")
    ready_wait_timeout: Duration = _timeouts(k.DURATION, "30s", "longest wait for a CRD")
    patroni_api_check_interval: Duration = _timeouts(k.DURATION, "1s", "time between questions to Patroni")
    patroni_api_check_timeout: Duration = _timeouts(k.DURATION, "5s", "longest wait for Patroni")

    db_hosted_zone: str = _balancer(k.TEXT, "db.example.com", "DNS zone of load balancers", schema=None)
    enable_master_load_balancer: bool = _balancer(k.BOOL, True, "the leader's service is a load balancer", schema=None, fallback=None)
    enable_master_pooler_load_balancer: bool = _balancer(k.BOOL, False, "… of the leader's pooler")
    enable_replica_load_balancer: bool = _balancer(k.BOOL, False, "… of the replicas")
    enable_replica_pooler_load_balancer: bool = _balancer(k.BOOL, False, "… of the replicas' pooler")
    enable_master_node_port: bool = _balancer(k.BOOL, False, "the leader's service is a node port")
    enable_master_pooler_node_port: bool = _balancer(k.BOOL, False, "… of the leader's pooler")
    enable_replica_node_port: bool = _balancer(k.BOOL, False, "… of the replicas")
    enable_replica_pooler_node_port: bool = _balancer(k.BOOL, False, "… of the replicas' pooler")
    custom_service_annotations: Mapping[str, str] = _balancer(k.MAP, None, "annotations of every service")
    master_dns_name_format: str = _balancer(k.TEXT, "{cluster}.{namespace}.{hostedzone}", "DNS name of the leader", fallback=None)
    master_legacy_dns_name_format: str = _balancer(k.TEXT, "{cluster}.{team}.{hostedzone}", "old DNS name of the leader", fallback=None)
    replica_dns_name_format: str = _balancer(k.TEXT, "{cluster}-repl.{namespace}.{hostedzone}", "DNS name of the replicas", fallback=None)
    replica_legacy_dns_name_format: str = _balancer(k.TEXT, "{cluster}-repl.{team}.{hostedzone}", "old DNS name of the replicas", fallback=None)
    external_traffic_policy: TrafficPolicy = _balancer(k.choice(TrafficPolicy), "Cluster", "traffic policy of load balancers and node ports")

    aws_region: str = _cloud(k.TEXT, "eu-central-1", "AWS region of the volumes", fallback=None)
    enable_ebs_gp3_migration: bool = _cloud(k.BOOL, False, "EBS volumes of type gp2 become gp3")
    enable_ebs_gp3_migration_max_size: int = _cloud(k.integer(0), 1000, "… those smaller than so many GiB, which lose no IOPS")
    wal_s3_bucket: str = _cloud(k.TEXT, None, "S3 bucket of base backups and WAL")
    wal_gs_bucket: str = _cloud(k.TEXT, None, "Google bucket of base backups and WAL")
    wal_az_storage_account: str = _cloud(k.TEXT, None, "Azure account of base backups and WAL")
    log_s3_bucket: str = _cloud(k.TEXT, None, "S3 bucket of server logs")
    gcp_credentials: str = _cloud(k.TEXT, None, "path of Google credentials in the pods")
    kube_iam_role: str = _cloud(k.TEXT, None, "AWS role as a pod annotation")
    irsa_role_arn: str = _cloud(k.TEXT, None, "AWS role as an annotation of the service account")
    additional_secret_mount: str = _cloud(k.TEXT, None, "Secret mounted into every container")
    additional_secret_mount_path: str = _cloud(k.TEXT, None, "… and where")

    logical_backup_schedule: str = _backup(k.CRON, "30 00 * * *", "cron schedule of logical backups")
    logical_backup_docker_image: str = _backup(k.TEXT, "ghcr.io/zalando/postgres-operator/logical-backup:v2.0.1", "image of the job")
    logical_backup_provider: BackupProvider = _backup(k.choice(BackupProvider), "s3", "where backups go")
    logical_backup_azure_storage_account_name: str = _backup(k.TEXT, None, "Azure account")
    logical_backup_azure_storage_container: str = _backup(k.TEXT, None, "Azure container")
    logical_backup_azure_storage_account_key: str = _backup(k.TEXT, None, "Azure key", is_secret=True)
    logical_backup_s3_bucket: str = _backup(k.TEXT, None, "bucket, also of Google")
    logical_backup_s3_bucket_prefix: str = _backup(k.TEXT, "spilo", "folder in the bucket")
    logical_backup_s3_region: str = _backup(k.TEXT, None, "region of the bucket")
    logical_backup_s3_endpoint: str = _backup(k.TEXT, None, "address of an S3 that is not Amazon's")
    logical_backup_s3_access_key_id: str = _backup(k.TEXT, None, "access key", is_secret=True)
    logical_backup_s3_secret_access_key: str = _backup(k.TEXT, None, "secret key", is_secret=True)
    logical_backup_s3_sse: str = _backup(k.TEXT, None, "server-side encryption")
    logical_backup_s3_retention_time: str = _backup(k.TEXT, None, "how long backups are kept, such as 2 weeks")
    logical_backup_google_application_credentials: str = _backup(k.TEXT, None, "path of Google credentials in the job")
    logical_backup_job_prefix: str = _backup(k.TEXT, "logical-backup-", "start of the job's name")
    logical_backup_cronjob_environment_secret: str = _backup(k.TEXT, None, "Secret with variables for the job")
    logical_backup_cpu_request: Quantity | None = _backup(k.CPU, None, "CPU request of the job")
    logical_backup_memory_request: Quantity | None = _backup(k.MEMORY, None, "memory request of the job")
    logical_backup_cpu_limit: Quantity | None = _backup(k.CPU, None, "CPU limit of the job")
    logical_backup_memory_limit: Quantity | None = _backup(k.MEMORY, None, "memory limit of the job")
    logical_backup_successful_jobs_history_limit: int = _backup(k.integer(0), 3, "finished jobs kept")
    logical_backup_failed_jobs_history_limit: int = _backup(k.integer(0), 3, "failed jobs kept")
    logical_backup_ttl_seconds_after_finished: int = _backup(k.integer(0), 86400, "seconds until a finished job is deleted")

    debug_logging: bool = _debug(k.BOOL, True, "log at level debug")
    enable_database_access: bool = _debug(k.BOOL, True, "connect to databases to keep roles and databases")

    enable_teams_api: bool = _teams(k.BOOL, True, "ask the teams API for human users; an answer holds for 5 minutes", schema=None, fallback=None)
    teams_api_url: str = _teams(k.TEXT, "https://teams.example.com/api/", "address of the teams API")
    team_api_role_configuration: Mapping[str, str] = _teams(k.MAP, {"log_statement": "all"}, "parameters of human roles")
    enable_team_superuser: bool = _teams(k.BOOL, False, "the owning team's members are superusers")
    enable_admin_role_for_users: bool = _teams(k.BOOL, True, "the admin role administers manifest roles", fallback=None)
    team_admin_role: str = _teams(k.TEXT, "admin", "that role; team members are in it", fallback=None)
    pam_role_name: str = _teams(k.TEXT, "zalandos", "role of all humans, for PAM")
    pam_configuration: str = _teams(k.TEXT, _PAM, "parameters of the PAM module")
    protected_role_names: tuple[str, ...] = _teams(k.TEXTS, ["admin", "cron_admin"], "roles that are never touched")
    postgres_superuser_teams: tuple[str, ...] = _teams(k.TEXTS, None, "teams whose members are superusers everywhere")
    enable_postgres_team_crd: bool = _teams(k.BOOL, False, "heed PostgresTeam resources", schema=True, fallback=None)
    enable_postgres_team_crd_superusers: bool = _teams(k.BOOL, False, "… and their superuser teams")
    enable_team_member_deprecation: bool = _teams(k.BOOL, False, "roles of people who left lose their login and are renamed")
    role_deletion_suffix: str = _teams(k.TEXT, "_deleted", "… with this suffix")

    api_port: int = _rest(k.integer(1, 65535), 8080, "port of the HTTP API")
    ring_log_lines: int = _rest(k.integer(0), 100, "log lines kept per cluster")
    cluster_history_entries: int = _rest(k.integer(0), 1000, "changes kept per cluster")

    scalyr_api_key: str = _scalyr(k.TEXT, None, "key of the log service (deprecated)", is_secret=True)
    scalyr_image: str = _scalyr(k.TEXT, None, "image of its agent")
    scalyr_server_url: str = _scalyr(k.TEXT, "https://upload.eu.scalyr.com", "its address", fallback=None)
    scalyr_cpu_request: Quantity | None = _scalyr(k.CPU, "100m", "CPU request of its agent", fallback=None)
    scalyr_memory_request: Quantity | None = _scalyr(k.MEMORY, "50Mi", "memory request of its agent", fallback=None)
    scalyr_cpu_limit: Quantity | None = _scalyr(k.CPU, "1", "CPU limit of its agent", fallback=None)
    scalyr_memory_limit: Quantity | None = _scalyr(k.MEMORY, "500Mi", "memory limit of its agent", fallback=None)

    connection_pooler_number_of_instances: int = _pooler(k.integer(1), 2, "pods of a pooler")
    connection_pooler_schema: str = _pooler(k.TEXT, "pooler", "schema of the lookup function")
    connection_pooler_user: str = _pooler(k.TEXT, "pooler", "role of the pooler")
    connection_pooler_image: str = _pooler(k.TEXT, "ghcr.io/zalando/postgres-operator/pgbouncer:v2.0.1", "image of the pooler")
    connection_pooler_mode: PoolerMode = _pooler(k.choice(PoolerMode), "transaction", "pool mode")
    connection_pooler_max_db_connections: int = _pooler(k.integer(0), 60, "connections to a database, all pods together", schema=None)
    connection_pooler_default_cpu_request: Quantity | None = _pooler(k.CPU, None, "CPU request of the pooler")
    connection_pooler_default_memory_request: Quantity | None = _pooler(k.MEMORY, None, "memory request of the pooler")
    connection_pooler_default_cpu_limit: Quantity | None = _pooler(k.CPU, None, "CPU limit of the pooler")
    connection_pooler_default_memory_limit: Quantity | None = _pooler(k.MEMORY, None, "memory limit of the pooler")

    enable_patroni_failsafe_mode: bool = _patroni(k.BOOL, False, "Patroni's failsafe mode where the manifest is silent")

    max_rolling_clusters: int = _howdah(k.integer(0), 5, "clusters that roll at the same time for the same cause; 0 stops all, also what has begun; broken pods and those marked for replacement go all the same")
    leader_lease_duration: Duration = _howdah(k.DURATION, "15s", "age at which another replica takes the operator's Lease")
    leader_renew_deadline: Duration = _howdah(k.DURATION, "10s", "time without renewal after which the leader stops writing; it renews at half of it, or a third of the duration")
    leader_retry_period: Duration = _howdah(k.DURATION, "2s", "wait after a failed request for the Lease, and between the requests of a standby that may not watch it")
# fmt: on


OPTIONS: Mapping[str, Option] = {row.name: replace(row.metadata["option"], name=row.name) for row in fields(Settings)}
"""Every option by name, in the order of the groups."""

GROUPS: tuple[str, ...] = tuple(dict.fromkeys(option.group for option in OPTIONS.values() if option.group))
"""The objects under `configuration`, in order."""

REMOVED: Mapping[str, str] = {
    "enable_load_balancer": "use enable_master_load_balancer and enable_replica_load_balancer",
    "enable_crd_validation": "the schema is always there; remove it",
}
"""Options of older releases that are ignored, and what to do."""
