"""The StatefulSet: pods are replaced by the operator (OnDelete), members find each other through Patroni's objects."""

from howdah.core.objects.metadata import Body, metadata
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
            "template": pod_template(cluster),
            "volumeClaimTemplates": [dict(cluster.volume.claim_template)],
        },
    }


def pod_template(cluster: Cluster) -> Body:
    """What members are made from. Patroni adds the role's label to the running pod."""
    pod = cluster.pod
    marks = {"labels": dict(cluster.labels.full), "annotations": dict(cluster.annotations.pod)}
    spec = {
        "serviceAccountName": pod.service_account,
        "terminationGracePeriodSeconds": pod.termination_grace_s,
        "containers": [dict(container.body) for container in pod.containers],
    }
    optional = {
        "initContainers": list(pod.init_containers),
        "volumes": list(pod.volumes),
        "securityContext": dict(pod.security_context),
        "affinity": dict(pod.affinity),
        "tolerations": list(pod.tolerations),
        "topologySpreadConstraints": list(pod.topology_spread),
        "priorityClassName": pod.priority_class,
        "schedulerName": pod.scheduler,
    }
    return {
        "metadata": {"namespace": cluster.key.namespace, **{key: value for key, value in marks.items() if value}},
        "spec": spec | {key: value for key, value in optional.items() if value},
    }
