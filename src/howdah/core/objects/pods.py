"""The pod template of members and of poolers: what a pod is made from."""

from collections.abc import Mapping

from howdah.core.objects.metadata import Body
from howdah.model.cluster import Pod


def pod_template(pod: Pod, namespace: str, *, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Body:
    """The template; parts that say nothing are left out."""
    marks = {"labels": dict(labels), "annotations": dict(annotations)}
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
        "metadata": {"namespace": namespace, **{key: value for key, value in marks.items() if value}},
        "spec": spec | {key: value for key, value in optional.items() if value},
    }
