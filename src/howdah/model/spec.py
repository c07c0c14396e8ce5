"""The fields of the `postgresql` resource: type, schema and one line of help each; None is absent, no default is here.

`manifest.parse_manifest` is the way in. Objects of Kubernetes' own types stay plain dicts.
"""

# ruff: noqa: E501  # a field is a line

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from howdah.model.fields import (
    Bool,
    Bucket,
    ConnectionLimit,
    Container,
    Count,
    Cpu,
    Cron,
    Encryption,
    Endpoint,
    EnvVar,
    Id,
    Instant,
    NodePort,
    ObjectPrefix,
    Opaque,
    Part,
    PoolMode,
    Port,
    Region,
    SecretName,
    Size,
    SnakePart,
    SourceRange,
    SpreadConstraint,
    StorageAccount,
    StoreProvider,
    Text,
    TextMap,
    Texts,
    Timestamp,
    Toleration,
    Uint32,
    UserFlag,
    UserRemoval,
    Uuid,
    Version,
    Window,
)

NULLABLE: JsonDict = {"nullable": True}
"""Marks fields whose null the server keeps; others it drops."""

_NULL_IS_EMPTY = BeforeValidator(lambda value: {} if value is None else value)
_NULL_IS_NO_FLAGS = BeforeValidator(lambda value: () if value is None else value)


class Metadata(Part):
    """The standard metadata, as far as it is used."""

    name: Text
    namespace: Text = ""
    uid: Text = ""
    generation: int = 0
    resource_version: Text = ""
    labels: Annotated[TextMap, _NULL_IS_EMPTY] = Field(default_factory=dict)
    annotations: Annotated[TextMap, _NULL_IS_EMPTY] = Field(default_factory=dict)
    finalizers: Texts = ()
    creation_timestamp: Text | None = None
    deletion_timestamp: Text | None = None


# fmt: off
class Amounts(Part):
    """Amounts of the resources of a container."""

    cpu: Cpu | None = Field(None, description="CPUs, such as 500m or 1")
    memory: Size | None = Field(None, description="memory, such as 500Mi")
    hugepages_2mi: Size | None = Field(None, alias="hugepages-2Mi", description="huge pages of 2Mi")
    hugepages_1gi: Size | None = Field(None, alias="hugepages-1Gi", description="huge pages of 1Gi")


class Resources(Part):
    """Requests and limits of a container."""

    requests: Amounts | None = Field(None, description="what the scheduler reserves")
    limits: Amounts | None = Field(None, description="what the container may use at most")


class BasicAmounts(Part):
    """Amounts of CPU and memory."""

    cpu: Cpu | None = Field(None, description="CPUs, such as 500m or 1")
    memory: Size | None = Field(None, description="memory, such as 500Mi")


class BasicResources(Part):
    """Requests and limits of CPU and memory."""

    requests: BasicAmounts | None = Field(None, description="what the scheduler reserves")
    limits: BasicAmounts | None = Field(None, description="what the container may use at most")


class Volume(Part):
    """The data volume of each member."""

    size: Size = Field(description="size, such as 10Gi; it can grow, never shrink")
    storage_class: Text | None = Field(None, description="storage class; the cluster's default if absent")
    sub_path: Text | None = Field(None, description="folder in the volume that is mounted")
    is_sub_path_expr: Bool | None = Field(None, description="subPath may hold $(VARIABLE)")
    selector: Opaque | None = Field(None, description="label selector of persistent volumes")
    iops: int | None = Field(None, strict=True, ge=0, le=80000, description="AWS EBS only")
    throughput: int | None = Field(None, strict=True, ge=0, le=2000, description="AWS EBS only, MiB/s")
    type: Text | None = Field(None, description="AWS EBS only, such as gp3")


class Postgresql(Part):
    """The database server."""

    version: Version = Field(description='major version in quotes, such as "18"')
    parameters: TextMap | None = Field(None, description="server parameters; values are strings")


class Patroni(SnakePart):
    """Patroni's configuration."""

    initdb: TextMap | None = Field(None, description="options of initdb; used once")
    pg_hba: Texts | None = Field(None, description="pg_hba.conf, replaces the default list as a whole")
    ttl: Uint32 | None = Field(None, description="seconds until a silent leader loses its lock")
    loop_wait: Uint32 | None = Field(None, description="seconds between Patroni's rounds")
    retry_timeout: Uint32 | None = Field(None, description="seconds that operations are retried")
    maximum_lag_on_failover: Id | None = Field(None, description="bytes a candidate may lag behind")
    slots: dict[str, TextMap] | None = Field(None, description="permanent replication slots")
    synchronous_mode: Bool | None = Field(None, description="commits wait for a standby")
    synchronous_mode_strict: Bool | None = Field(None, description="... even if there is none")
    synchronous_node_count: Uint32 | None = Field(None, description="standbys that commits wait for")
    failsafe_mode: Bool | None = Field(None, description="the leader stays while all members agree")


class ObjectStore(Part):
    """A place in an object store. It stands in for the configured one as a whole."""

    provider: StoreProvider = Field(description="s3 (and what speaks its protocol), gcs or az")
    bucket: Bucket = Field(description="bucket; with az the container")
    prefix: ObjectPrefix | None = Field(None, description="folder in it, below which everything is")
    region: Region | None = Field(None, description="region of the bucket, s3 only")
    endpoint: Endpoint | None = Field(None, description="address of an S3 that is not Amazon's")
    storage_account: StorageAccount | None = Field(None, description="account, az only")
    credentials_secret: SecretName | None = Field(None, description="Secret in the cluster's namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (s3), credentials.json (gcs) or AZURE_STORAGE_ACCESS_KEY (az); pods have what it holds when they start. Without it and without endpoint the configured access to the same provider counts")


class Archive(ObjectStore):
    """Where base backups and WAL go. An archive begins with its first base backup: take one after a change."""

    force_path_style: Bool | None = Field(None, description="bucket in the path, not in the host name; s3 only")


class BackupTarget(ObjectStore):
    """Where dumps go."""

    sse: Encryption | None = Field(None, description="server-side encryption, such as AES256; s3 only")


class LogicalBackupOptions(Part):
    """The job that dumps all databases, where it differs from what the operator's options say."""

    docker_image: Text | None = Field(None, description="image of the job")
    resources: BasicResources | None = Field(None, description="requests and limits of the job")
    target: BackupTarget | None = Field(None, description="where its dumps go")


class Clone(SnakePart):
    """Start as a copy of another cluster."""

    cluster: Text = Field(description="name of the source cluster")
    uid: Uuid | None = Field(None, description="uid of the source, part of its archive's path")
    timestamp: Timestamp | None = Field(None, description="point in time, with numeric offset; absent: copy the running source")
    s3_wal_path: Text | None = Field(None, description="path of the archive")
    s3_endpoint: Text | None = Field(None, description="address of an S3 that is not Amazon's")
    s3_access_key_id: Text | None = Field(None, description="access key")
    s3_secret_access_key: Text | None = Field(None, description="secret key")
    s3_force_path_style: Bool | None = Field(None, description="bucket in the path, not in the host name")


class Standby(SnakePart):
    """Follow another cluster, from its archive or its server."""

    s3_wal_path: Text | None = Field(None, description="archive in S3")
    gs_wal_path: Text | None = Field(None, description="archive in Google's storage")
    standby_host: Text | None = Field(None, description="host to stream from")
    standby_port: Text | None = Field(None, description="its port")
    standby_primary_slot_name: Text | None = Field(None, description="replication slot there")


class ConnectionPooler(Part):
    """PgBouncer in front of the cluster."""

    number_of_instances: int | None = Field(None, strict=True, ge=1, le=2**31 - 1, description="pods of a pooler")
    lookup_schema: Text | None = Field(None, alias="schema", description="schema of the lookup function")
    user: Text | None = Field(None, description="role of the pooler")
    mode: PoolMode | None = Field(None, description="pool mode")
    docker_image: Text | None = Field(None, description="image")
    max_db_connections: Count | None = Field(None, alias="maxDBConnections", description="connections to a database, all pods together")
    resources: Resources | None = Field(None, description="requests and limits")


class UserOptions(Part):
    """What a role gets beside its flags; what is left out is not touched."""

    member_of: Texts | None = Field(None, description="roles that it is a member of; a membership is given, never taken")
    connection_limit: ConnectionLimit | None = Field(None, description="connections that it may have at a time; -1 is no limit")
    valid_until: Instant | None = Field(None, description="when its password ends, such as 2027-01-31T12:00:00Z; infinity is never")
    parameters: TextMap | None = Field(None, description="ALTER ROLE ... SET; a parameter that is removed here keeps its value")
    database_parameters: dict[str, TextMap] | None = Field(None, description="... in one database, by its name")
    removal: UserRemoval | None = Field(None, description="what becomes of the role once it is not in users any more: stay (retain, the default); be dropped where it owns nothing; or give what it owns to reassignTo and be dropped. Only for roles that the operator made, and nobody is connected with")
    reassign_to: Text | None = Field(None, description="role that gets what a reassigned one owns")


class DatabaseOptions(Part):
    """How a database is made. One that exists keeps encoding, locale and template; none is ever dropped."""

    encoding: Text | None = Field(None, description="encoding, such as UTF8")
    locale: Text | None = Field(None, description="locale, such as de_DE.UTF-8")
    template: Text | None = Field(None, description="database that is copied; template0 where encoding or locale is given")
    connection_limit: ConnectionLimit | None = Field(None, description="connections that it takes at a time; -1 is no limit; followed at any time")


class PreparedSchema(Part):
    """A schema of a prepared database."""

    default_roles: Bool | None = Field(None, description="make owner, reader and writer roles (true)")
    default_users: Bool | None = Field(None, description="make a login role of each")


class PreparedDatabase(Part):
    """A database with owner, reader and writer roles, schemas and extensions."""

    default_users: Bool | None = Field(None, description="make a login role of each role")
    secret_namespace: Text | None = Field(None, description="namespace of their Secrets")
    extensions: TextMap | None = Field(None, description="extension: schema")
    schemas: dict[str, Annotated[PreparedSchema, _NULL_IS_EMPTY, Field(json_schema_extra=NULLABLE)]] | None = Field(None, description="schemas; data if empty")


class AdditionalVolume(Part):
    """A further volume of the pods."""

    name: Text
    mount_path: Text = Field(description="where it is mounted")
    volume_source: Opaque = Field(description="what it is: a volume without its name")
    sub_path: Text | None = Field(None, description="folder in the volume")
    is_sub_path_expr: Bool | None = Field(None, description="subPath may hold $(VARIABLE)")
    target_containers: Texts | None = Field(None, description="containers that mount it; all; postgres if absent", json_schema_extra=NULLABLE)


class Tls(Part):
    """The server's certificate."""

    secret_name: Text = Field(description="Secret with the certificate and its key")
    certificate_file: Text | None = Field(None, description="file of the certificate (tls.crt)")
    private_key_file: Text | None = Field(None, description="file of the key (tls.key)")
    ca_file: Text | None = Field(None, description="file of the authority")
    ca_secret_name: Text | None = Field(None, description="Secret that holds caFile")


class Sidecar(Part):
    """A further container of the pods."""

    name: Text | None = Field(None, description="sidecar-<index> if absent")
    image: Text | None = Field(None, alias="image", description="image")
    ports: tuple[Port, ...] | None = Field(None, description="container ports")
    env: tuple[EnvVar, ...] | None = Field(None, description="variables")
    command: Texts | None = Field(None, description="command")
    resources: Resources | None = Field(None, description="requests and limits; those of postgres if absent")


class StreamTable(Part):
    """A table whose changes are events."""

    event_type: Text = Field(description="event type")
    recovery_event_type: Text | None = Field(None, description="event type of what failed")
    ignore_recovery: Bool | None = Field(None, description="no recovery for this table")
    id_column: Text | None = Field(None, description="column of the event's id")
    payload_column: Text | None = Field(None, description="column of the event's payload")


class Stream(Part):
    """Changes of tables as a stream of events."""

    application_id: Text = Field(description="application that reads it")
    database: Text = Field(description="database")
    tables: dict[str, StreamTable] = Field(description="table or schema.table")
    filter: TextMap | None = Field(None, description="table: expression")
    batch_size: Uint32 | None = Field(None, description="events per batch")
    cpu: Cpu | None = Field(None, description="CPU of the stream")
    memory: Size | None = Field(None, description="memory of the stream")
    enable_recovery: Bool | None = Field(None, description="keep events that failed")


REMOVED_FIELDS = {
    "removed_init_containers": "init_containers",
    "removed_pod_priority_class_name": "pod_priority_class_name",
    "removed_use_load_balancer": "useLoadBalancer",
    "removed_replica_load_balancer": "replicaLoadBalancer",
}
"""Attributes of fields that only older releases had, and their names on the wire."""


class Spec(Part):
    """What the author asks for."""

    model_config = ConfigDict(alias_generator=lambda name: REMOVED_FIELDS.get(name) or to_camel(name))

    team_id: Text = Field(description="team that owns the cluster")
    number_of_instances: Count = Field(description="members, the leader included")
    postgresql: Postgresql = Field(description="the database server")
    volume: Volume = Field(description="the data volume of each member")

    docker_image: Text | None = Field(None, description="Spilo image")
    scheduler_name: Text | None = Field(None, description="scheduler of the pods")
    spilo_run_as_user: Id | None = Field(None, description="user id of the pods")
    spilo_run_as_group: Id | None = Field(None, description="group id of the pods")
    spilo_fs_group: Id | None = Field(None, alias="spiloFSGroup", description="group id of the volumes")
    pod_priority_class_name: Text | None = Field(None, description="priority class of the pods")
    pod_annotations: TextMap | None = Field(None, description="annotations of the pods")
    enable_shm_volume: Bool | None = Field(None, description="mount a memory volume at /dev/shm")
    liveness_probe: Opaque | None = Field(None, description="liveness probe of the postgres container")
    tolerations: tuple[Toleration, ...] | None = Field(None, description="tolerations of the pods")
    node_affinity: Opaque | None = Field(None, description="node affinity of the pods")
    topology_spread_constraints: tuple[SpreadConstraint, ...] | None = Field(None, description="spread of the pods")
    init_containers: tuple[Container, ...] | None = Field(None, description="containers that run before")
    sidecars: tuple[Sidecar, ...] | None = Field(None, description="containers that run beside")
    env: tuple[EnvVar, ...] | None = Field(None, description="variables of the postgres container")
    env_from: tuple[Opaque, ...] | None = Field(None, description="sources of variables")
    additional_volumes: tuple[AdditionalVolume, ...] | None = Field(None, description="further volumes")
    resources: Resources | None = Field(None, description="requests and limits of the postgres container")
    resource_defaults: BasicResources | None = Field(None, description="stand in for the operator's defaults, for every container that names none")
    minimum_limits: BasicAmounts | None = Field(None, description="least limits of the postgres container; of the operator's and these the higher counts")
    tls: Tls | None = Field(None, description="the server's certificate")
    maintenance_windows: tuple[Window, ...] | None = Field(None, description="when disruptions are welcome, in UTC: Mon:01:00-02:00 or 01:00-02:00; may end on the next day")

    enable_master_load_balancer: Bool | None = Field(None, description="leader's service is a load balancer")
    enable_replica_load_balancer: Bool | None = Field(None, description="replicas' service is one")
    enable_master_pooler_load_balancer: Bool | None = Field(None, description="leader pooler's service is one")
    enable_replica_pooler_load_balancer: Bool | None = Field(None, description="replica pooler's service is one")
    enable_master_node_port: Bool | None = Field(None, description="leader's service is a node port")
    enable_replica_node_port: Bool | None = Field(None, description="replicas' service is one")
    enable_master_pooler_node_port: Bool | None = Field(None, description="leader pooler's service is one")
    enable_replica_pooler_node_port: Bool | None = Field(None, description="replica pooler's service is one")
    master_node_port: NodePort | None = Field(None, description="port of enableMasterNodePort")
    replica_node_port: NodePort | None = Field(None, description="port of enableReplicaNodePort")
    master_pooler_node_port: NodePort | None = Field(None, description="port of enableMasterPoolerNodePort")
    replica_pooler_node_port: NodePort | None = Field(None, description="port of enableReplicaPoolerNodePort")
    allowed_source_ranges: tuple[SourceRange, ...] | None = Field(None, description="networks that load balancers let in", json_schema_extra=NULLABLE)
    service_annotations: TextMap | None = Field(None, description="annotations of the services")
    master_service_annotations: TextMap | None = Field(None, description="... of the leader's services only")
    replica_service_annotations: TextMap | None = Field(None, description="... of the replicas' services only")

    # A user without a value (`foo:`) has no flags; the reference's schema loses it.
    users: dict[str, Annotated[tuple[UserFlag, ...], _NULL_IS_NO_FLAGS, Field(json_schema_extra=NULLABLE)]] | None = Field(None, description="login roles and their flags")
    databases: TextMap | None = Field(None, description="database: owner")
    user_options: dict[str, UserOptions] | None = Field(None, description="what roles of users and preparedDatabases get beside their flags, by role")
    database_options: dict[str, DatabaseOptions] | None = Field(None, description="how databases and preparedDatabases are made, by database")
    prepared_databases: dict[str, Annotated[PreparedDatabase, _NULL_IS_EMPTY, Field(json_schema_extra=NULLABLE)]] | None = Field(None, description="databases with roles and schemas")
    users_with_secret_rotation: Texts | None = Field(None, description="users replaced at each rotation", json_schema_extra=NULLABLE)
    users_with_in_place_secret_rotation: Texts | None = Field(None, description="users whose password is rotated", json_schema_extra=NULLABLE)
    users_ignoring_secret_rotation: Texts | None = Field(None, description="users that are never rotated", json_schema_extra=NULLABLE)

    patroni: Patroni | None = Field(None, description="Patroni's configuration")
    clone: Clone | None = Field(None, description="start as a copy of another cluster")
    standby: Standby | None = Field(None, description="follow another cluster; removed: promote")
    enable_connection_pooler: Bool | None = Field(None, description="pooler before the leader")
    enable_replica_connection_pooler: Bool | None = Field(None, description="pooler before the replicas")
    connection_pooler: ConnectionPooler | None = Field(None, description="the poolers")
    enable_logical_backup: Bool | None = Field(None, description="dump all databases by schedule")
    logical_backup_schedule: Cron | None = Field(None, description="five cron fields")
    logical_backup_retention: Text | None = Field(None, description="how long dumps are kept, such as 2 weeks")
    logical_backup: LogicalBackupOptions | None = Field(None, description="the job of enableLogicalBackup")
    archive: Archive | None = Field(None, description="where base backups and WAL go, instead of where the operator's options say")
    streams: tuple[Stream, ...] | None = Field(None, description="changes of tables as streams of events")

    removed_init_containers: tuple[Container, ...] | None = Field(None, description="removed: initContainers")
    removed_pod_priority_class_name: Text | None = Field(None, description="removed: podPriorityClassName")
    removed_use_load_balancer: Bool | None = Field(None, description="removed: enableMasterLoadBalancer")
    removed_replica_load_balancer: Bool | None = Field(None, description="removed: enableReplicaLoadBalancer")


# fmt: on


class Manifest(Part):
    """A `postgresql` resource."""

    api_version: Literal["acid.zalan.do/v1"]
    kind: Literal["postgresql"]
    metadata: Metadata
    spec: Spec
    status: Any = None
    """As the server has it; very old resources hold a bare string."""
