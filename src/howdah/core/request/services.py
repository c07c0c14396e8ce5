"""The services of leader and replicas, and the disruption budgets."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from howdah.core.request.asked import Asked
from howdah.model import names
from howdah.model.cluster import DisruptionBudget, Service, ServiceType
from howdah.model.names import Role

_NOBODY = ("127.0.0.1/32",)
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME = 58


@dataclass(frozen=True, slots=True)
class Wish:
    """What manifest and operator say of one role's service; None: the manifest is silent."""

    load_balancer: bool | None
    load_balancer_default: bool
    node_port_type: bool | None
    node_port_type_default: bool
    node_port: int | None
    annotations: Mapping[str, str]


def services(asked: Asked, inherited: Mapping[str, str]) -> tuple[Service, ...]:
    """The leader's service, then the replicas'."""
    return tuple(
        service(
            role,
            wish,
            asked,
            inherited,
            name=asked.names.service(role),
            dns=dns_names(role, asked),
            # Where Patroni does not use ConfigMaps it writes the leader's Endpoints; no selector may stand in its way.
            selects=role == names.REPLICA_ROLE or asked.dcs == "configmaps",
        )
        for role, wish in _wishes(asked).items()
    )


def _wishes(asked: Asked) -> Mapping[Role, Wish]:
    spec, settings = asked.spec, asked.settings
    return {
        names.LEADER_ROLE: Wish(
            spec.enable_master_load_balancer,
            settings.enable_master_load_balancer,
            spec.enable_master_node_port,
            settings.enable_master_node_port,
            spec.master_node_port,
            spec.master_service_annotations or {},
        ),
        names.REPLICA_ROLE: Wish(
            spec.enable_replica_load_balancer,
            settings.enable_replica_load_balancer,
            spec.enable_replica_node_port,
            settings.enable_replica_node_port,
            spec.replica_node_port,
            spec.replica_service_annotations or {},
        ),
    }


def service(
    role: Role, wish: Wish, asked: Asked, inherited: Mapping[str, str], *, name: str, dns: str, selects: bool
) -> Service:
    """A service as manifest and operator wish it; `dns`: its names where it is a load balancer."""
    kind = _type(wish)
    is_open = kind == "LoadBalancer"
    return Service(
        role=role,
        name=name,
        type=kind,
        annotations={
            **asked.settings.custom_service_annotations,
            **(asked.spec.service_annotations or {}),
            **wish.annotations,
            **({names.EXTERNAL_DNS: dns} if is_open and dns else {}),
            **inherited,
        },
        selects=selects,
        source_ranges=(tuple(asked.spec.allowed_source_ranges or ()) or _NOBODY) if is_open else (),
        traffic_policy="" if kind == "ClusterIP" else asked.settings.external_traffic_policy,
        # The number counts only where the manifest itself asks for the type.
        node_port=(wish.node_port or None) if wish.node_port_type else None,
    )


def _type(wish: Wish) -> ServiceType:
    if wish.node_port_type_default if wish.node_port_type is None else wish.node_port_type:
        return "NodePort"
    if wish.load_balancer_default if wish.load_balancer is None else wish.load_balancer:
        return "LoadBalancer"
    return "ClusterIP"


def dns_names(role: Role, asked: Asked) -> str:
    """The DNS names of a load balancer; the old form follows where the cluster's name begins with its team's."""
    cluster, team, settings = asked.names.cluster, asked.spec.team_id, asked.settings
    found = [dns_name(role, asked, cluster)]
    if has_team_prefix(cluster, team):
        is_leader = role == names.LEADER_ROLE
        legacy = settings.master_legacy_dns_name_format if is_leader else settings.replica_legacy_dns_name_format
        found.append(_formatted(legacy, asked, cluster[len(team) + 1 :]))
    return ",".join(filter(None, found))


def dns_name(role: Role, asked: Asked, cluster: str) -> str:
    """The DNS name that a role's load balancer of a cluster of this name has."""
    settings = asked.settings
    is_leader = role == names.LEADER_ROLE
    return _formatted(
        settings.master_dns_name_format if is_leader else settings.replica_dns_name_format, asked, cluster
    )


def _formatted(template: str, asked: Asked, cluster: str) -> str:
    values = {
        "cluster": cluster,
        "namespace": asked.names.namespace,
        "team": asked.spec.team_id,
        "hostedzone": asked.settings.db_hosted_zone,
    }
    return names.dns_name(template, values)


def has_team_prefix(cluster: str, team: str) -> bool:
    """Whether a cluster is named `<team>-<rest>`, in a form that DNS takes."""
    fits = _DNS_1035.fullmatch(cluster) is not None and len(cluster) <= _LONGEST_NAME
    return fits and bool(team) and cluster.lower().startswith(f"{team.lower()}-") and len(cluster) > len(team) + 1


def budgets(asked: Asked) -> tuple[DisruptionBudget, ...]:
    """The primary's budget and that of critical operations; relaxed where nothing is to be protected."""
    is_strict = asked.settings.enable_pod_disruption_budget and asked.spec.number_of_instances > 0
    critical = {**asked.labels.selector, names.CRITICAL_LABEL: "true"}
    return (
        DisruptionBudget(asked.names.critical_budget, critical, None, 0 if is_strict else "100%"),
        DisruptionBudget(asked.names.primary_budget, _primary_selector(asked), _kept(asked) if is_strict else 0, None),
    )


def _primary_selector(asked: Asked) -> Mapping[str, str]:
    if asked.settings.pdb_master_label_selector:
        return asked.labels.selector_of(names.LEADER_ROLE)
    return asked.labels.selector


def _kept(asked: Asked) -> int:
    patroni = asked.spec.patroni
    if asked.settings.pdb_master_label_selector or patroni is None or not patroni.synchronous_mode_strict:
        return 1
    return (patroni.synchronous_node_count or 0) + 1
