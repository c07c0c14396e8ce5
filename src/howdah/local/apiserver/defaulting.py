"""The values that the real server's code fills in, beyond what the schemas say; one function per kind of thing.

Each function changes the decoded object in place and is idempotent: it runs at every write.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .objects import Obj, dig

_POD_SPEC: Mapping[str, Any] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
}
_PROBE: Mapping[str, int] = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_VOLUME_MODE_420 = ("secret", "configMap", "projected", "downwardAPI")


def fill(target: Obj, values: Mapping[str, Any]) -> None:
    """Sets what is missing."""
    for key, value in values.items():
        target.setdefault(key, value)


def pod_spec_defaults(spec: Obj) -> None:
    """What every pod template gets."""
    fill(spec, _POD_SPEC)
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccountName") or spec.get("serviceAccount"):
        account = spec.get("serviceAccountName") or spec["serviceAccount"]
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers_of(spec):
        _container_defaults(container)
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port["containerPort"])
    for volume in spec.get("volumes", ()):
        _volume_defaults(volume)


def containers_of(spec: Obj) -> Iterator[Obj]:
    """Init, ordinary and ephemeral containers."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def _container_defaults(container: Obj) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    for entry in container.get("env", ()):
        _value_source_defaults(entry.get("valueFrom") or {})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in container:
            fill(container[name], _PROBE)
            _handler_defaults(container[name])
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _handler_defaults(hook)


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    _, _, tag = image.rpartition("/")[2].partition(":")
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _handler_defaults(handler: Obj) -> None:
    if "httpGet" in handler:
        fill(handler["httpGet"], {"path": "/", "scheme": "HTTP"})


def _value_source_defaults(source: Obj) -> None:
    if "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")
    if "resourceFieldRef" in source:
        source["resourceFieldRef"].setdefault("divisor", "0")


def _volume_defaults(volume: Obj) -> None:
    if len(volume) == 1:
        volume["emptyDir"] = {}
    for name in _VOLUME_MODE_420:
        if name in volume:
            volume[name].setdefault("defaultMode", 420)
    if "hostPath" in volume:
        volume["hostPath"].setdefault("type", "")
    sources = [volume.get("downwardAPI") or {}]
    for source in dig(volume, "projected", "sources") or ():
        sources.append(source.get("downwardAPI") or {})
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for source in sources:
        for item in source.get("items", ()):
            _value_source_defaults(item)
    claim = dig(volume, "ephemeral", "volumeClaimTemplate", "spec")
    if claim is not None:
        claim.setdefault("volumeMode", "Filesystem")


def _pod(obj: Obj) -> None:
    spec = obj["spec"]
    spec.setdefault("enableServiceLinks", True)
    for container in containers_of(spec):
        resources = container.get("resources") or {}
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    pod_spec_defaults(spec)


def _template(obj: Obj) -> None:
    pod_spec_defaults(obj["spec"]["template"].setdefault("spec", {}))


def _deployment(obj: Obj) -> None:
    spec = obj["spec"]
    fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(strategy.setdefault("rollingUpdate", {}), {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(obj)


def _statefulset(obj: Obj) -> None:
    spec = obj["spec"]
    fill(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10})
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    fill(retention, {"whenDeleted": "Retain", "whenScaled": "Retain"})
    for claim in spec.get("volumeClaimTemplates", ()):
        fill(claim, {"apiVersion": "v1", "kind": "PersistentVolumeClaim"})
        _claim(claim)
    _template(obj)


def _replicaset(obj: Obj) -> None:
    labels = dig(obj, "spec", "template", "metadata", "labels")
    if labels:
        obj["metadata"].setdefault("labels", dict(labels))
    obj["spec"].setdefault("replicas", 1)
    _template(obj)


def _job(obj: Obj) -> None:
    spec = obj["spec"]
    if "completions" not in spec and "parallelism" not in spec:
        fill(spec, {"completions": 1, "parallelism": 1})
    spec.setdefault("parallelism", 1)
    fill(spec, {"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False, "manualSelector": False})
    replacement = "Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed"
    spec.setdefault("podReplacementPolicy", replacement)
    labels = dig(spec, "template", "metadata", "labels")
    if labels:
        obj["metadata"].setdefault("labels", dict(labels))
    _template(obj)


def _cronjob(obj: Obj) -> None:
    spec = obj["spec"]
    fill(spec, {"concurrencyPolicy": "Allow", "suspend": False})
    fill(spec, {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1})
    template = dig(spec, "jobTemplate", "spec", "template")
    if template is not None:
        pod_spec_defaults(template.setdefault("spec", {}))


def _claim(obj: Obj) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _volume(obj: Obj) -> None:
    fill(obj["spec"], {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
    if "hostPath" in obj["spec"]:
        obj["spec"]["hostPath"].setdefault("type", "")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _service(obj: Obj) -> None:
    spec = obj["spec"]
    fill(spec, {"sessionAffinity": "None", "type": "ClusterIP"})
    if spec["sessionAffinity"] == "ClientIP":
        fill(spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}), {"timeoutSeconds": 10800})
    for entry in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        if entry.get("ip"):
            entry.setdefault("ipMode", "VIP")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _endpoints(obj: Obj) -> None:
    for subset in obj.get("subsets", ()):
        for port in subset.get("ports", ()):
            port.setdefault("protocol", "TCP")


def _endpoint_slice(obj: Obj) -> None:
    for port in obj.get("ports") or ():
        fill(port, {"name": "", "protocol": "TCP"})


def _secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _namespace(obj: Obj) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    obj.setdefault("status", {}).setdefault("phase", "Active")


def _node(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podCIDR"):
        spec.setdefault("podCIDRs", [spec["podCIDR"]])


def _storage_class(obj: Obj) -> None:
    fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


_RBAC = "rbac.authorization.k8s.io"


def _binding(obj: Obj) -> None:
    if not dig(obj, "roleRef", "apiGroup"):
        obj.setdefault("roleRef", {})["apiGroup"] = _RBAC
    for subject in obj.get("subjects", ()):
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", _RBAC)


def _rules(obj: Obj) -> None:
    obj.setdefault("rules", None)


def _priority_class(obj: Obj) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _network_policy(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            port.setdefault("protocol", "TCP")


def _crd(obj: Obj) -> None:
    spec = obj["spec"]
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    fill(names, {"singular": kind.lower(), "listKind": f"{kind}List"})
    spec.setdefault("conversion", {"strategy": "None"})


DEFAULTS: Mapping[str, Callable[[Obj], None]] = {
    "pods": _pod,
    "deployments.apps": _deployment,
    "statefulsets.apps": _statefulset,
    "replicasets.apps": _replicaset,
    "jobs.batch": _job,
    "cronjobs.batch": _cronjob,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "services": _service,
    "endpoints": _endpoints,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "secrets": _secret,
    "namespaces": _namespace,
    "nodes": _node,
    "storageclasses.storage.k8s.io": _storage_class,
    "rolebindings.rbac.authorization.k8s.io": _binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _binding,
    "roles.rbac.authorization.k8s.io": _rules,
    "clusterroles.rbac.authorization.k8s.io": _rules,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "networkpolicies.networking.k8s.io": _network_policy,
    "customresourcedefinitions.apiextensions.k8s.io": _crd,
}
"""By storage name of the kind."""


def apply_defaults(storage: str, obj: Obj) -> None:
    """Fills (in place) what a built-in kind lacks."""
    defaults = DEFAULTS.get(storage)
    if defaults is not None:
        defaults(obj)
