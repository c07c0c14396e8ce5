"""Poolers: a Deployment and a service each. Their pods are rolled by Kubernetes, when their template changes."""

from howdah.core.objects.metadata import Body, metadata
from howdah.core.objects.pods import pod_template
from howdah.core.objects.services import service_of
from howdah.model import names
from howdah.model.cluster import Cluster, Pooler


def poolers(cluster: Cluster) -> tuple[Body, ...]:
    """The Deployment and the service of each pooler."""
    return tuple(
        body for pooler in cluster.poolers for body in (_deployment(pooler, cluster), _service(pooler, cluster))
    )


def _deployment(pooler: Pooler, cluster: Cluster) -> Body:
    namespace = cluster.key.namespace
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(
            pooler.name,
            namespace,
            labels=pooler.labels,
            annotations=pooler.annotations,
            owner_references=cluster.owner_references,
        ),
        "spec": {
            "replicas": pooler.replicas,
            "selector": {"matchLabels": dict(pooler.selector)},
            "template": pod_template(pooler.pod, namespace, labels=pooler.labels, annotations=pooler.pod_annotations),
        },
    }


def _service(pooler: Pooler, cluster: Cluster) -> Body:
    return service_of(
        pooler.service,
        cluster,
        labels=pooler.selector,
        selector={names.POOLER_LABEL: pooler.name},
        port_name=pooler.name,
    )
