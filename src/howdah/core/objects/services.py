"""The services of leader and replicas."""

from typing import Any

from howdah.core.objects.metadata import Body, metadata
from howdah.model import names
from howdah.model.cluster import Cluster, Service


def services(cluster: Cluster) -> tuple[Body, ...]:
    """The leader's service, then the replicas'."""
    return tuple(_service(service, cluster) for service in cluster.services)


def _service(service: Service, cluster: Cluster) -> Body:
    port: dict[str, Any] = {
        "name": names.POSTGRES_PORT_NAME,
        "port": names.POSTGRES_PORT,
        "targetPort": names.POSTGRES_PORT,
        # The default of the API; said, because server-side apply tells ports apart by it.
        "protocol": "TCP",
    }
    if service.node_port is not None:
        port["nodePort"] = service.node_port
    spec: dict[str, Any] = {"type": service.type, "ports": [port]}
    optional = {
        "selector": dict(cluster.labels.selector_of(service.role)) if service.selects else None,
        "loadBalancerSourceRanges": list(service.source_ranges),
        "externalTrafficPolicy": service.traffic_policy,
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            service.name,
            cluster.key.namespace,
            labels=cluster.labels.full_of(service.role),
            annotations=service.annotations,
            owner_references=cluster.owner_references,
        ),
        "spec": spec | {key: value for key, value in optional.items() if value},
    }
