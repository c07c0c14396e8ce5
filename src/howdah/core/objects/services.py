"""The services of leader and replicas."""

from collections.abc import Mapping
from typing import Any

from howdah.core.objects.metadata import Body, metadata
from howdah.model import names
from howdah.model.cluster import Cluster, Service


def services(cluster: Cluster) -> tuple[Body, ...]:
    """The leader's service, then the replicas'."""
    return tuple(
        service_of(
            service,
            cluster,
            labels=cluster.labels.full_of(service.role),
            selector=cluster.labels.selector_of(service.role),
            port_name=names.POSTGRES_PORT_NAME,
        )
        for service in cluster.services
    )


def service_of(
    service: Service, cluster: Cluster, *, labels: Mapping[str, str], selector: Mapping[str, str], port_name: str
) -> Body:
    """A service of a cluster to PostgreSQL's port; `selector` counts where it `selects`."""
    port: dict[str, Any] = {
        "name": port_name,
        "port": names.POSTGRES_PORT,
        "targetPort": names.POSTGRES_PORT,
        # The default of the API; said, because server-side apply tells ports apart by it.
        "protocol": "TCP",
    }
    if service.node_port is not None:
        port["nodePort"] = service.node_port
    spec: dict[str, Any] = {"type": service.type, "ports": [port]}
    optional = {
        "selector": dict(selector) if service.selects else None,
        "loadBalancerSourceRanges": list(service.source_ranges),
        "externalTrafficPolicy": service.traffic_policy,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            service.name,
            cluster.key.namespace,
            labels=labels,
            annotations=service.annotations,
            owner_references=cluster.owner_references,
        ),
        "spec": spec | {key: value for key, value in optional.items() if value},
    }
