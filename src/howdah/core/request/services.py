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
class _Wish:
    """What manifest and operator say of one role's service; None: the manifest is silent."""

    load_balancer: bool | None
    load_balancer_default: bool
    node_port_type: bool | None
    node_port_type_default: bool
    node_port: int | None
    annotations: Mapping[str, str]
    dns_format: str
    legacy_dns_format: str


def services(asked: Asked, inherited: Mapping[str, str]) -> tuple[Service, ...]:
    """The leader's service, then the replicas'."""
    return tuple(_service(role, wish, asked, inherited) for role, wish in _wishes(asked).items())


def _wishes(asked: Asked) -> Mapping[Role, _Wish]:
    spec, settings = asked.spec, asked.settings
    return {
        names.LEADER_ROLE: _Wish(
            spec.enable_master_load_balancer,
            settings.enable_master_load_balancer,
            spec.enable_master_node_port,
            settings.enable_master_node_port,
            spec.master_node_port,
            spec.master_service_annotations or {},
            settings.master_dns_name_format,
            settings.master_legacy_dns_name_format,
        ),
        names.REPLICA_ROLE: _Wish(
            spec.enable_replica_load_balancer,
            settings.enable_replica_load_balancer,
            spec.enable_replica_node_port,
            settings.enable_replica_node_port,
            spec.replica_node_port,
            spec.replica_service_annotations or {},
            settings.replica_dns_name_format,
            settings.replica_legacy_dns_name_format,
        ),
    }


def _service(role: Role, wish: _Wish, asked: Asked, inherited: Mapping[str, str]) -> Service:
    kind = _type(wish)
    is_open = kind == "LoadBalancer"
    dns = {names.EXTERNAL_DNS: dns_names(wish.dns_format, wish.legacy_dns_format, asked)} if is_open else {}
    return Service(
        role=role,
        name=asked.names.service(role),
        type=kind,
        annotations={
            **asked.settings.custom_service_annotations,
            **(asked.spec.service_annotations or {}),
            **wish.annotations,
            **{key: value for key, value in dns.items() if value},
            **inherited,
        },
        # Where Patroni does not use ConfigMaps it writes the leader's Endpoints, and no selector may stand in its way.
        selects=role == names.REPLICA_ROLE or asked.dcs == "configmaps",
        source_ranges=(tuple(asked.spec.allowed_source_ranges or ()) or _NOBODY) if is_open else (),
        traffic_policy="" if kind == "ClusterIP" else asked.settings.external_traffic_policy,
        # The number counts only where the manifest itself asks for the type.
        node_port=(wish.node_port or None) if wish.node_port_type else None,
    )


def _type(wish: _Wish) -> ServiceType:
    if wish.node_port_type_default if wish.node_port_type is None else wish.node_port_type:
        return "NodePort"
    if wish.load_balancer_default if wish.load_balancer is None else wish.load_balancer:
        return "LoadBalancer"
    return "ClusterIP"


def dns_names(template: str, legacy_template: str, asked: Asked) -> str:
    """The DNS names of a load balancer; the old form follows where the cluster's name begins with its team's."""
    cluster, team = asked.names.cluster, asked.spec.team_id
    values = {
        "cluster": cluster,
        "namespace": asked.names.namespace,
        "team": team,
        "hostedzone": asked.settings.db_hosted_zone,
    }
    found = [names.dns_name(template, values)]
    rest = cluster[len(team) + 1 :]
    if has_team_prefix(cluster, team):
        found.append(names.dns_name(legacy_template, values | {"cluster": rest}))
    return ",".join(filter(None, found))


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
