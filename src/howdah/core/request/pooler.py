"""The connection poolers: which are wanted, as which role they ask, and the pods, service and user list of each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from howdah.core.postgres.identifiers import plain_name_fault, role_name_fault
from howdah.core.request.asked import Asked, Json
from howdah.core.request.recovery import from_secret, variable
from howdah.core.request.resources import pooler_defaults, resources
from howdah.core.request.scheduling import affinity, tolerations
from howdah.core.request.services import Wish, dns_name, service
from howdah.core.request.volumes import (
    CertificateVariables,
    Volume,
    certificate_environment,
    certificate_volumes,
    volume_bodies,
)
from howdah.model import names
from howdah.model.cluster import Annotations, Container, Pod, Pooler, UserList
from howdah.model.errors import Problem
from howdah.model.names import Role
from howdah.model.postgres.desired import DesiredRole, PasswordLookup, PasswordSource
from howdah.model.spec import ConnectionPooler

MAX_CLIENT_CONNECTIONS = 10000
_OF_CLIENTS: CertificateVariables = (
    "CONNECTION_POOLER_CLIENT_TLS_CRT",
    "CONNECTION_POOLER_CLIENT_TLS_KEY",
    "CONNECTION_POOLER_CLIENT_CA_FILE",
)


def wanted(asked: Asked) -> tuple[Role, ...]:
    """The roles that have a pooler. A section alone asks for the leader's."""
    spec = asked.spec
    leader = (
        spec.connection_pooler is not None if spec.enable_connection_pooler is None else spec.enable_connection_pooler
    )
    found = {names.LEADER_ROLE: leader, names.REPLICA_ROLE: bool(spec.enable_replica_connection_pooler)}
    return tuple(role for role, is_wanted in found.items() if is_wanted)


def lookup(asked: Asked) -> PasswordLookup | None:
    """As which role the poolers ask for passwords, and where; None without a pooler.

    The schema is lower-cased: PgBouncer's query names it without quotes.
    """
    if not wanted(asked):
        return None
    return PasswordLookup(_schema(asked).lower(), _user(asked), asked.settings.super_username)


def poolers(
    asked: Asked, marks: Annotations, owners: tuple[Json, ...], infrastructure: Sequence[DesiredRole]
) -> tuple[Pooler, ...]:
    """The leader's pooler, then the replicas'. Infrastructure roles may see their statistics."""
    return tuple(_pooler(role, asked, marks, owners, infrastructure) for role in wanted(asked))


def unwanted(asked: Asked, secrets: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(kind, name) of what poolers that are not asked for may have left; the Secret of a role in `secrets` stays."""
    ours, roles = asked.names, wanted(asked)
    if not roles:
        users = {asked.settings.connection_pooler_user, _user(asked)}
        yield from (("Secret", name) for name in sorted({*map(ours.secret, users)} - {*secrets}))
    for role in (names.LEADER_ROLE, names.REPLICA_ROLE):
        if role not in roles:
            yield "Service", ours.pooler(role)
            yield "Deployment", ours.pooler(role)
            yield "Secret", ours.user_list(role)


def faults(asked: Asked) -> Iterator[Problem]:
    """Names that PostgreSQL would not take, or not find again."""
    if not wanted(asked):
        return
    section = _section(asked)
    for role in wanted(asked):
        name = asked.names.pooler(role)
        if len(name) > names.LONGEST_LABEL:
            message = (
                f'"{name}" is longer than the {names.LONGEST_LABEL} characters of a label, which poolers are found by'
            )
            yield Problem(_SWITCHES[role], message, "switch the pooler off, or give the cluster a shorter name")
    for path, fault in (
        (_path("schema", section.lookup_schema), _schema_fault(_schema(asked))),
        (_path("user", section.user), role_name_fault(_user(asked))),
    ):
        if fault is not None:
            yield Problem.of(path, ValueError(fault))


def doubts(asked: Asked) -> Iterator[Problem]:
    """A role that is not taken, and a share of connections that is too small to work with."""
    if not wanted(asked):
        return
    user = _section(asked).user
    if user and user != _user(asked):
        message = f'"{user}" is a role of the system or a protected one; the poolers use "{_user(asked)}"'
        yield Problem("spec.connectionPooler.user", message, "name another role")
    if _connections_per_pod(asked) < 2:
        message = f"leaves each of {_instances(asked)} pods fewer than 2 connections to a database"
        path = _path("maxDBConnections", _section(asked).max_db_connections)
        yield Problem(path, message, f"write at least {2 * _instances(asked)}, or fewer instances")


_SWITCHES: Mapping[Role, str] = {
    names.LEADER_ROLE: "spec.enableConnectionPooler",
    names.REPLICA_ROLE: "spec.enableReplicaConnectionPooler",
}


def _path(field: str, written: object) -> str:
    if written is not None:
        return f"spec.connectionPooler.{field}"
    option = {"maxDBConnections": "max_db_connections"}.get(field, field)
    return f"configuration.connection_pooler.connection_pooler_{option}"


def _schema_fault(schema: str) -> str | None:
    if schema.lower().startswith("pg_"):
        return f'"{schema}" is reserved by PostgreSQL; choose another name'
    return plain_name_fault(schema)


def _section(asked: Asked) -> ConnectionPooler:
    return asked.spec.connection_pooler or ConnectionPooler.model_construct()


def _schema(asked: Asked) -> str:
    return _section(asked).lookup_schema or asked.settings.connection_pooler_schema


def _user(asked: Asked) -> str:
    """The manifest's, unless it is a role with other duties: its password would be the pooler's."""
    settings, named = asked.settings, _section(asked).user
    taken = {settings.super_username, settings.replication_username, *settings.protected_role_names}
    return named if named and named not in taken else settings.connection_pooler_user


def _instances(asked: Asked) -> int:
    return _section(asked).number_of_instances or asked.settings.connection_pooler_number_of_instances


def _connections_per_pod(asked: Asked) -> int:
    written = _section(asked).max_db_connections
    most = asked.settings.connection_pooler_max_db_connections if written is None else written
    return most // _instances(asked)


def _pooler(
    role: Role, asked: Asked, marks: Annotations, owners: tuple[Json, ...], infrastructure: Sequence[DesiredRole]
) -> Pooler:
    name, labels = asked.names.pooler(role), asked.labels
    own = PasswordSource(_user(asked), asked.names.namespace)
    users = UserList(
        name=asked.names.user_list(role),
        namespace=asked.names.namespace,
        labels=labels.pooler_full(name, role),
        annotations=marks.inherited,
        owner_references=owners,
        users=(own, *(other.password for other in infrastructure if other.password is not None)),
    )
    changed = asked.live.users_changed.get(users.name)
    return Pooler(
        role=role,
        name=name,
        replicas=_instances(asked),
        labels=labels.pooler_full(name, role),
        selector=labels.pooler_selector(name),
        annotations=marks.stateful_set,
        pod_annotations={
            **asked.settings.custom_pod_annotations,
            **(asked.spec.pod_annotations or {}),
            **marks.inherited,
            **({names.USERS_CHANGED: changed} if changed is not None else {}),
        },
        pod=_pod(role, asked, [other.name for other in infrastructure]),
        service=service(
            role,
            _wish(role, asked),
            asked,
            marks.inherited,
            name=name,
            # In the form of the role's service, for a cluster named like the leader's pooler.
            dns=dns_name(role, asked, asked.names.pooler(names.LEADER_ROLE)),
            selects=True,
        ),
        user_list=users,
    )


def _pod(role: Role, asked: Asked, statistics: Sequence[str]) -> Pod:
    users, settings = asked.names.user_list(role), asked.settings
    mount = {"name": users, "mountPath": names.USER_LIST_MOUNT, "subPath": names.USER_LIST_KEY, "readOnly": True}
    volume = Volume({"name": users, "secret": {"secretName": users}}, mount, (names.POOLER_CONTAINER,))
    volumes = (volume, *certificate_volumes(asked.spec.tls))
    group = settings.spilo_fsgroup if asked.spec.spilo_fs_group is None else asked.spec.spilo_fs_group
    return Pod(
        service_account=asked.names.service_account,
        termination_grace_s=int(settings.pod_terminate_grace_period.seconds),
        init_containers=(),
        containers=(
            Container(_container(role, asked, statistics) | {"volumeMounts": [volume.mount for volume in volumes]}),
        ),
        volumes=volume_bodies(volumes),
        security_context={
            "runAsUser": names.POOLER_IMAGE_USER,
            "runAsGroup": names.POOLER_IMAGE_GROUP,
            **({"fsGroup": group} if group is not None else {}),
        },
        affinity=affinity(asked, apart=asked.labels.pooler_selector(asked.names.pooler(role))),
        tolerations=tolerations(asked),
        topology_spread=(),
        priority_class="",
        scheduler="",
    )


def _container(role: Role, asked: Asked, statistics: Sequence[str]) -> dict[str, Any]:
    section, settings = _section(asked), asked.settings
    is_limit = settings.set_memory_request_to_limit
    return {
        "name": names.POOLER_CONTAINER,
        "image": section.docker_image or settings.connection_pooler_image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"containerPort": names.POSTGRES_PORT, "protocol": "TCP"}],
        "env": list(_environment(role, asked, statistics)),
        "readinessProbe": {"tcpSocket": {"port": names.POSTGRES_PORT}},
        "resources": resources(section.resources, pooler_defaults(settings), memory_request_is_limit=is_limit),
        "securityContext": {"allowPrivilegeEscalation": False},
    }


def _environment(role: Role, asked: Asked, statistics: Sequence[str]) -> Iterator[Json]:
    """What the image is configured by, in the contract's order."""
    secret, port = asked.names.secret(_user(asked)), str(names.POSTGRES_PORT)
    most = _connections_per_pod(asked)
    yield variable("PGHOST", asked.names.service(role))
    yield variable("PGPORT", port)
    yield from_secret("PGUSER", secret, "username")
    yield variable("PGSCHEMA", _schema(asked))
    yield from_secret("PGPASSWORD", secret, "password")
    numbers: Mapping[str, object] = {
        "PORT": port,
        "MODE": _section(asked).mode or asked.settings.connection_pooler_mode,
        "DEFAULT_SIZE": most // 2,
        "MIN_SIZE": most // 2 // 2,
        "RESERVE_SIZE": most // 2 // 2,
        "MAX_CLIENT_CONN": MAX_CLIENT_CONNECTIONS,
        "MAX_DB_CONN": most,
    }
    for name, value in numbers.items():
        yield variable(f"CONNECTION_POOLER_{name}", str(value))
    if statistics:
        yield variable("INFRASTRUCTURE_ROLES", ",".join(sorted(statistics)))
    yield from certificate_environment(asked.spec.tls, _OF_CLIENTS)


def _wish(role: Role, asked: Asked) -> Wish:
    spec, settings = asked.spec, asked.settings
    if role == names.LEADER_ROLE:
        return Wish(
            spec.enable_master_pooler_load_balancer,
            settings.enable_master_pooler_load_balancer,
            spec.enable_master_pooler_node_port,
            settings.enable_master_pooler_node_port,
            spec.master_pooler_node_port,
            spec.master_service_annotations or {},
        )
    return Wish(
        spec.enable_replica_pooler_load_balancer,
        settings.enable_replica_pooler_load_balancer,
        spec.enable_replica_pooler_node_port,
        settings.enable_replica_pooler_node_port,
        spec.replica_pooler_node_port,
        spec.replica_service_annotations or {},
    )
