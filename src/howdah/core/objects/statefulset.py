"""The StatefulSet: pods are replaced by the operator (OnDelete), members find each other through Patroni's objects."""

from howdah.core.objects.metadata import Body, metadata
from howdah.core.objects.pods import pod_template
from howdah.model.cluster import Cluster


def stateful_set(cluster: Cluster) -> Body:
    """The StatefulSet of a cluster."""
    policy = cluster.stateful_set
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(
            cluster.names.stateful_set,
            cluster.key.namespace,
            labels=cluster.labels.full,
            annotations=cluster.annotations.stateful_set,
            owner_references=cluster.owner_references,
        ),
        "spec": {
            "replicas": cluster.instances,
            "serviceName": cluster.names.leader_service,
            "selector": {"matchLabels": dict(cluster.labels.selector)},
            "podManagementPolicy": policy.pod_management,
            "updateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": policy.claims_when_deleted,
                "whenScaled": policy.claims_when_scaled,
            },
            "template": pod_template(
                cluster.pod,
                cluster.key.namespace,
                labels=cluster.labels.full,  # Patroni adds the role's to the running pod
                annotations=cluster.annotations.pod,
            ),
            "volumeClaimTemplates": [dict(cluster.volume.claim_template)],
        },
    }
