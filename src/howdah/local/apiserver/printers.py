"""The cells of built-in kinds: one function per kind, object → what follows its name in the row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from .durations import human, since
from .objects import Obj, dig, parsed_time
from .selectors import selector_text

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"

Cells: TypeAlias = list[Any]
Printer: TypeAlias = Callable[[Obj, datetime], Cells]


def age(obj: Obj, now: datetime) -> str:
    return since(obj["metadata"].get("creationTimestamp"), now)


def _or_none(value: Any) -> Any:
    return NONE if value in (None, "", [], {}) else value


def _containers(spec: Obj | None) -> tuple[str, str]:
    found = (spec or {}).get("containers") or ()
    return ",".join(c["name"] for c in found), ",".join(c.get("image", "") for c in found)


def _name_only(obj: Obj, now: datetime) -> Cells:
    return [age(obj, now)]


def _created(obj: Obj, _: datetime) -> Cells:
    return [obj["metadata"].get("creationTimestamp")]


def _namespace(obj: Obj, now: datetime) -> Cells:
    return [dig(obj, "status", "phase"), age(obj, now)]


def pod_status(pod: Obj) -> str:
    """What kubectl shows as a pod's status: its phase, or the reason that says more."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase") or ""
    reason = _init_status(pod) or _container_status(status, reason)
    if pod["metadata"].get("deletionTimestamp"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _init_status(pod: Obj) -> str:
    found = dig(pod, "status", "initContainerStatuses") or ()
    total = len(dig(pod, "spec", "initContainers") or ())
    for index, container in enumerate(found):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if ended is not None:
            return "Init:" + _end_reason(ended)
        if waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{total}"
    return ""


def _container_status(status: Obj, reason: str) -> str:
    has_running = False
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        if (state.get("waiting") or {}).get("reason"):
            reason = state["waiting"]["reason"]
        elif state.get("terminated") is not None:
            reason = _end_reason(state["terminated"])
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
    if reason == "Completed" and has_running:
        conditions = status.get("conditions") or ()
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        return "Running" if ready else "NotReady"
    return reason


def _end_reason(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _pod(obj: Obj, now: datetime) -> Cells:
    status, spec = obj.get("status") or {}, obj["spec"]
    statuses = status.get("containerStatuses") or ()
    ready = sum(1 for c in statuses if c.get("ready") and (c.get("state") or {}).get("running") is not None)
    restarts = sum(c.get("restartCount", 0) for c in (*statuses, *(status.get("initContainerStatuses") or ())))
    ended = [dig(c, "lastState", "terminated", "finishedAt") for c in statuses]
    last = max(filter(None, ended), default=None)
    shown = f"{restarts} ({since(last, now)} ago)" if restarts and last else str(restarts)
    gates = spec.get("readinessGates") or ()
    met = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    gates_text = f"{sum(1 for g in gates if g['conditionType'] in met)}/{len(gates)}" if gates else NONE
    return [
        f"{ready}/{len(spec.get('containers') or ())}",
        pod_status(obj),
        shown,
        age(obj, now),
        _or_none(status.get("podIP")),
        _or_none(spec.get("nodeName")),
        _or_none(status.get("nominatedNodeName")),
        gates_text,
    ]


def _labels(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _service(obj: Obj, now: datetime) -> Cells:
    spec = obj["spec"]
    ports = [
        f"{p['port']}:{p['nodePort']}/{p['protocol']}" if p.get("nodePort") else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports") or ()
    ]
    cluster = _or_none(spec.get("clusterIP")) if spec["type"] != "ExternalName" else NONE
    return [
        spec["type"],
        cluster,
        _external(obj),
        _or_none(",".join(ports)),
        age(obj, now),
        _labels(spec.get("selector")),
    ]


def _external(obj: Obj) -> str:
    spec = obj["spec"]
    addresses = list(spec.get("externalIPs") or ())
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName"))
    if spec["type"] == "LoadBalancer":
        entries = dig(obj, "status", "loadBalancer", "ingress") or ()
        found = [entry.get("ip") or entry.get("hostname") for entry in entries] + addresses
        return ",".join(found) or "<pending>"
    return ",".join(addresses) or NONE


def _endpoints(obj: Obj, now: datetime) -> Cells:
    found = []
    for subset in obj.get("subsets") or ():
        for address in subset.get("addresses") or ():
            ports = subset.get("ports") or ()
            found += [f"{address['ip']}:{port['port']}" for port in ports] if ports else [address["ip"]]
    return [_more(found), age(obj, now)]


def _more(found: list[str]) -> str:
    shown = ",".join(found[:3])
    return (f"{shown} + {len(found) - 3} more..." if len(found) > 3 else shown) or NONE


def _configmap(obj: Obj, now: datetime) -> Cells:
    return [len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age(obj, now)]


def _secret(obj: Obj, now: datetime) -> Cells:
    return [obj.get("type"), len(obj.get("data") or {}), age(obj, now)]


def _event(obj: Obj, now: datetime) -> Cells:
    involved, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    first, last = obj.get("firstTimestamp"), obj.get("lastTimestamp")
    moment = obj.get("eventTime")
    count = obj.get("count")
    series = obj.get("series")
    if series:
        last, count = series.get("lastObservedTime") or last, series.get("count")
    kind, name = involved.get("kind", "").lower(), involved.get("name")
    component = source.get("component") or obj.get("reportingComponent", "")
    host = source.get("host") or obj.get("reportingInstance", "")
    return [
        since(last or moment or first, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (obj.get("message") or "").strip(),
        since(first or moment, now),
        count or 1,
        obj["metadata"]["name"],
    ]


_MODES = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def _modes(modes: Iterable[str] | None) -> str:
    return ",".join(_MODES.get(mode, mode) for mode in modes or ())


def _claim(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase")
    return [
        phase,
        spec.get("volumeName", ""),
        dig(status, "capacity", "storage") or "" if bound else "",
        _modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _volume(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    claim = spec.get("claimRef")
    phase = "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase")
    return [
        dig(spec, "capacity", "storage") or "",
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        spec.get("storageClassName", ""),
        spec.get("volumeAttributesClassName") or UNSET,
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _node(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    info = status.get("nodeInfo") or {}
    ready = next((c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"), None)
    text = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    if dig(obj, "spec", "unschedulable"):
        text += ",SchedulingDisabled"
    labels = obj["metadata"].get("labels") or {}
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in labels if key.startswith(prefix))
    addresses = {entry["type"]: entry["address"] for entry in status.get("addresses") or ()}
    return [
        text,
        ",".join(roles) or NONE,
        age(obj, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _statefulset(obj: Obj, now: datetime) -> Cells:
    ready = f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"
    return [ready, age(obj, now), *_containers(dig(obj, "spec", "template", "spec"))]


def _deployment(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    return [
        f"{status.get('readyReplicas', 0)}/{dig(obj, 'spec', 'replicas') or 0}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *_containers(dig(obj, "spec", "template", "spec")),
        selector_text(dig(obj, "spec", "selector")),
    ]


def _replicaset(obj: Obj, now: datetime) -> Cells:
    status = obj.get("status") or {}
    return [
        dig(obj, "spec", "replicas") or 0,
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj, now),
        *_containers(dig(obj, "spec", "template", "spec")),
        selector_text(dig(obj, "spec", "selector")),
    ]


def _revision(obj: Obj, now: datetime) -> Cells:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or () if o.get("controller")), None)
    group = owner["apiVersion"].rpartition("/")[0] if owner else ""
    kind = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else NONE
    return [kind, obj.get("revision"), age(obj, now)]


def _job_status(obj: Obj) -> str:
    met = {c["type"] for c in dig(obj, "status", "conditions") or () if c["status"] == "True"}
    if "Complete" in met:
        return "Complete"
    if "Failed" in met:
        return "Failed"
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return "Suspended" if "Suspended" in met else "FailureTarget" if "FailureTarget" in met else "Running"


def _job(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    elif (spec.get("parallelism") or 0) > 1:
        completions = f"{succeeded}/1 of {spec['parallelism']}"
    else:
        completions = f"{succeeded}/1"
    duration = ""
    if status.get("startTime"):
        end = parsed_time(status["completionTime"]) if status.get("completionTime") else now
        duration = human(int((end - parsed_time(status["startTime"])).total_seconds()))
    containers = _containers(dig(spec, "template", "spec"))
    return [_job_status(obj), completions, duration, age(obj, now), *containers, selector_text(spec.get("selector"))]


def _cronjob(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status") or {}
    last = status.get("lastScheduleTime")
    template = dig(spec, "jobTemplate", "spec") or {}
    return [
        spec.get("schedule"),
        spec.get("timeZone") or NONE,
        str(bool(spec.get("suspend"))),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *_containers(dig(template, "template", "spec")),
        selector_text(template.get("selector")),
    ]


def _budget(obj: Obj, now: datetime) -> Cells:
    spec = obj.get("spec") or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    return [
        "N/A" if low is None else str(low),
        "N/A" if high is None else str(high),
        dig(obj, "status", "disruptionsAllowed") or 0,
        age(obj, now),
    ]


def _binding(obj: Obj, now: datetime) -> Cells:
    reference = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()

    def named(kind: str) -> str:
        return ", ".join(s.get("name", "") for s in subjects if s.get("kind") == kind)

    accounts = [f"{s.get('namespace', '')}/{s.get('name')}" for s in subjects if s.get("kind") == "ServiceAccount"]
    role = f"{reference.get('kind')}/{reference.get('name')}"
    return [role, age(obj, now), named("User"), named("Group"), ", ".join(accounts)]


def _lease(obj: Obj, now: datetime) -> Cells:
    return [dig(obj, "spec", "holderIdentity") or "", age(obj, now)]


def _endpoint_slice(obj: Obj, now: datetime) -> Cells:
    ports = [str(port.get("port", "*")) for port in obj.get("ports") or ()]
    addresses = [address for entry in obj.get("endpoints") or () for address in entry.get("addresses") or ()]
    return [
        obj.get("addressType"),
        _more(ports) if ports else UNSET,
        _more(addresses) if addresses else UNSET,
        age(obj, now),
    ]


def _storage_class(obj: Obj, now: datetime) -> Cells:
    return [
        obj.get("provisioner"),
        obj.get("reclaimPolicy"),
        obj.get("volumeBindingMode"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _priority_class(obj: Obj, now: datetime) -> Cells:
    return [obj.get("value", 0), bool(obj.get("globalDefault")), age(obj, now), obj.get("preemptionPolicy")]


def _network_policy(obj: Obj, now: datetime) -> Cells:
    return [selector_text(dig(obj, "spec", "podSelector")), age(obj, now)]


def _ingress(obj: Obj, now: datetime) -> Cells:
    spec = obj.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    entries = dig(obj, "status", "loadBalancer", "ingress") or ()
    addresses = ",".join(entry.get("ip") or entry.get("hostname") or "" for entry in entries)
    ports = "80, 443" if spec.get("tls") else "80"
    return [spec.get("ingressClassName") or NONE, ",".join(hosts) or "*", addresses, ports, age(obj, now)]


_AGE = "Age"
_PODS = ("Containers*", "Images*")
COLUMNS: Mapping[str, tuple[tuple[str, ...], Printer]] = {
    "namespaces": (("Status", _AGE), _namespace),
    "pods": (("Ready", "Status", "Restarts", _AGE, "IP*", "Node*", "Nominated Node*", "Readiness Gates*"), _pod),
    "services": (("Type", "Cluster-IP", "External-IP", "Port(s)", _AGE, "Selector*"), _service),
    "endpoints": (("Endpoints", _AGE), _endpoints),
    "configmaps": (("Data", _AGE), _configmap),
    "secrets": (("Type", "Data", _AGE), _secret),
    "persistentvolumeclaims": (
        ("Status", "Volume", "Capacity", "Access Modes", "StorageClass", "VolumeAttributesClass", _AGE, "VolumeMode*"),
        _claim,
    ),
    "persistentvolumes": (
        (
            "Capacity",
            "Access Modes",
            "Reclaim Policy",
            "Status",
            "Claim",
            "StorageClass",
            "VolumeAttributesClass",
            "Reason",
            _AGE,
            "VolumeMode*",
        ),
        _volume,
    ),
    "serviceaccounts": ((_AGE,), _name_only),
    "nodes": (
        (
            "Status",
            "Roles",
            _AGE,
            "Version",
            "Internal-IP*",
            "External-IP*",
            "OS-Image*",
            "Kernel-Version*",
            "Container-Runtime*",
        ),
        _node,
    ),
    "statefulsets.apps": (("Ready", _AGE, *_PODS), _statefulset),
    "deployments.apps": (("Ready", "Up-to-date", "Available", _AGE, *_PODS, "Selector*"), _deployment),
    "replicasets.apps": (
        ("Desired:integer", "Current:integer", "Ready:integer", _AGE, *_PODS, "Selector*"),
        _replicaset,
    ),
    "controllerrevisions.apps": (("Controller", "Revision", _AGE), _revision),
    "jobs.batch": (("Status", "Completions", "Duration", _AGE, *_PODS, "Selector*"), _job),
    "cronjobs.batch": (
        ("Schedule", "Timezone", "Suspend:boolean", "Active:integer", "Last Schedule", _AGE, *_PODS, "Selector*"),
        _cronjob,
    ),
    "poddisruptionbudgets.policy": (
        ("Min Available", "Max Unavailable", "Allowed Disruptions:integer", _AGE),
        _budget,
    ),
    "roles.rbac.authorization.k8s.io": (("Created At:date",), _created),
    "clusterroles.rbac.authorization.k8s.io": (("Created At:date",), _created),
    "rolebindings.rbac.authorization.k8s.io": (
        ("Role", _AGE, "Users*", "Groups*", "ServiceAccounts*"),
        _binding,
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": (
        ("Role", _AGE, "Users*", "Groups*", "ServiceAccounts*"),
        _binding,
    ),
    "leases.coordination.k8s.io": (("Holder", _AGE), _lease),
    "endpointslices.discovery.k8s.io": (("AddressType", "Ports", "Endpoints", _AGE), _endpoint_slice),
    "storageclasses.storage.k8s.io": (
        ("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", _AGE),
        _storage_class,
    ),
    "customresourcedefinitions.apiextensions.k8s.io": (("Created At:date",), _created),
    "priorityclasses.scheduling.k8s.io": (
        ("Value:integer", "Global-Default:boolean", _AGE, "PreemptionPolicy"),
        _priority_class,
    ),
    "networkpolicies.networking.k8s.io": (("Pod-Selector", _AGE), _network_policy),
    "ingresses.networking.k8s.io": (("Class", "Hosts", "Address", "Ports", _AGE), _ingress),
}
"""Columns after the name: `*` for those of -o wide, `:type` where not string."""

EVENT_COLUMNS = ("Last Seen", "Type", "Reason", "Object", "Subobject*", "Source*", "Message", "First Seen*", "Count*")
event_cells = _event
