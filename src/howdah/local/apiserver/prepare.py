"""What each kind does to an object before it is stored: status kept apart, admission, generation, allocations.

The counterpart of the real server's "strategies". Nothing here refuses anything: rules are in `rules.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network

from .kinds import Kind
from .objects import Obj, dig, new_uid, timestamp
from .store import Store

DEFAULT_SERVICE_RANGE = IPv4Network("127.96.0.0/16")
NODE_PORTS = range(30000, 32768)
CRD_STORAGE = "customresourcedefinitions.apiextensions.k8s.io"
_OWN_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink")


def stamp_new(kind: Kind, obj: Obj) -> None:
    """System metadata of a new object."""
    metadata = obj["metadata"]
    given = metadata.get("generation")
    for key in (*_OWN_META, "resourceVersion"):
        metadata.pop(key, None)
    if given and not kind.has_generation:
        metadata["generation"] = given  # the real server does not count it, and does not drop it either
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = timestamp()
    if kind.has_generation:
        metadata["generation"] = 1


def prepare_create(store: Store, kind: Kind, obj: Obj) -> None:
    """Before defaulting and validation of a creation."""
    if kind.has_status:
        obj.pop("status", None)
    prepare = _CREATES.get(kind.storage)
    if prepare is not None:
        prepare(store, obj)


def keep_identity(kind: Kind, new: Obj, live: Obj) -> None:
    """A write changes no system metadata."""
    metadata, kept = new["metadata"], live["metadata"]
    for key in _OWN_META:
        metadata.pop(key, None)
        if key in kept:
            metadata[key] = kept[key]


def keep_other_half(kind: Kind, new: Obj, live: Obj, subresource: str) -> Obj:
    """The main resource does not write the status, the status subresource writes nothing else."""
    if not kind.has_status:
        return new
    if subresource != "status":
        return _with(new, live, ("status",))
    if kind.custom is not None:
        metadata = {**live["metadata"]}
        metadata.pop("managedFields", None)
        if "managedFields" in new["metadata"]:
            metadata["managedFields"] = new["metadata"]["managedFields"]
        result = {**live, "metadata": metadata}
        return _with(result, new, ("status",))
    kept = [key for key in live if key not in ("status", "metadata", "apiVersion", "kind")]
    owners = live["metadata"].get("ownerReferences")
    if owners is not None:
        new["metadata"]["ownerReferences"] = owners
    return _with(new, live, kept)


def _with(obj: Obj, source: Obj, keys: Iterable[str]) -> Obj:
    result = dict(obj)
    for key in keys:
        result.pop(key, None)
        if key in source:
            result[key] = source[key]
    return result


def bump_generation(kind: Kind, new: Obj, live: Obj) -> None:
    """A change of what is asked for counts; metadata and status do not."""
    if not kind.has_generation:
        return
    ignored = {"metadata", "apiVersion", "kind"}
    if kind.has_status:
        ignored.add("status")
    if kind.custom is None and "spec" in live:
        changed = new.get("spec") != live.get("spec")
    else:
        changed = {k: v for k, v in new.items() if k not in ignored} != {
            k: v for k, v in live.items() if k not in ignored
        }
    if changed:
        new["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1


def prepare_update(store: Store, kind: Kind, new: Obj, live: Obj, *, services: IPv4Network) -> None:
    """After defaulting of an update."""
    if kind.storage == "services":
        _keep_addresses(new, live)
        allocate_service(store, new, services)
    elif kind.storage in ("namespaces", "persistentvolumeclaims"):
        finalizers = dig(live, "spec", "finalizers")
        if kind.storage == "namespaces" and finalizers is not None:
            new.setdefault("spec", {})["finalizers"] = finalizers
    elif kind.storage == "persistentvolumes":
        if dig(new, "status", "phase") != dig(live, "status", "phase"):
            new["status"]["lastPhaseTransitionTime"] = timestamp()
    elif kind.storage == "nodes":
        new.setdefault("spec", {})


def _keep_addresses(new: Obj, live: Obj) -> None:
    """An update that says nothing of addresses and node ports keeps those given out."""
    spec, old = new["spec"], live["spec"]
    if "ExternalName" in (spec["type"], old["type"]):
        return
    for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(key) and key in old:
            spec[key] = old[key]
    if spec["type"] == "ClusterIP" and old["type"] != "ClusterIP":
        _drop_ports_of_nodes(spec, old)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        known = {(port.get("protocol"), port["port"]): port.get("nodePort") for port in old.get("ports", ())}
        for port in spec.get("ports", ()):
            node_port = known.get((port.get("protocol"), port["port"]))
            if node_port and not port.get("nodePort"):
                port["nodePort"] = node_port


def _drop_ports_of_nodes(spec: Obj, old: Obj) -> None:
    """What only other types of service have goes with the type, unless it was just set."""
    for key in ("allocateLoadBalancerNodePorts", "externalTrafficPolicy", "healthCheckNodePort", "loadBalancerClass"):
        if key in spec and spec[key] == old.get(key):
            del spec[key]
    before = [port.get("nodePort") for port in old.get("ports", ())]
    if [port.get("nodePort") for port in spec.get("ports", ())] == before:
        for port in spec.get("ports", ()):
            port.pop("nodePort", None)


def _create_pod(store: Store, obj: Obj) -> None:
    """Admission of pods as in a default cluster, without the token volume: the node provides credentials."""
    spec = obj["spec"]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    name = spec.get("priorityClassName")
    priority = store.get("priorityclasses.scheduling.k8s.io", "", name) if name else None
    spec.setdefault("priority", priority.get("value", 0) if priority else SYSTEM_PRIORITIES.get(name or "", 0))
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_tolerates(found, key) for found in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    obj["status"] = {"phase": "Pending", "qosClass": _quality(spec)}


SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def _tolerates(toleration: Obj, key: str) -> bool:
    return toleration.get("key") in (None, "", key) and toleration.get("effect") in (None, "", "NoExecute")


def _quality(spec: Obj) -> str:
    """The quality-of-service class that requests and limits give a pod."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    resources = [container.get("resources") or {} for container in containers]
    names = ("cpu", "memory")
    limits = [{k: v for k, v in (r.get("limits") or {}).items() if k in names} for r in resources]
    requests = [{k: v for k, v in (r.get("requests") or {}).items() if k in names} for r in resources]
    if not any((*limits, *requests)):
        return "BestEffort"
    guaranteed = all(
        len(limit) == 2 and {**limit, **request} == limit for limit, request in zip(limits, requests, strict=True)
    )
    return "Guaranteed" if guaranteed else "Burstable"


def _create_namespace(_: Store, obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    finalizers = spec.setdefault("finalizers", [])
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")


def _create_claim(store: Store, obj: Obj) -> None:
    """The default storage class, where the claim names none."""
    obj["status"] = {"phase": "Pending"}
    if "storageClassName" in obj.setdefault("spec", {}):
        return
    mark = "storageclass.kubernetes.io/is-default-class"
    classes = store.objects("storageclasses.storage.k8s.io")
    defaults = [c["metadata"]["name"] for c in classes if dig(c, "metadata", "annotations", mark) == "true"]
    if defaults:
        obj["spec"]["storageClassName"] = min(defaults)


def _create_job(_: Store, obj: Obj) -> None:
    """The selector and labels that tie pods to their job."""
    spec = obj["spec"]
    if spec.get("manualSelector"):
        return
    uid = obj["metadata"]["uid"]
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    own = {"controller-uid": uid, "job-name": obj["metadata"].get("name", "")}
    labels |= {f"batch.kubernetes.io/{key}": value for key, value in own.items()} | own
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def _create_service(_: Store, obj: Obj) -> None:
    obj["status"] = {"loadBalancer": {}}


def allocate_service(store: Store, obj: Obj, addresses: IPv4Network) -> None:
    """Gives a Service its cluster address (of a range) and node ports, where it needs and lacks them."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return
    if not spec.get("clusterIP") and spec.get("clusterIPs"):
        spec["clusterIP"] = spec["clusterIPs"][0]
    if not spec.get("clusterIP"):
        spec["clusterIP"] = _free_address(store, obj["metadata"]["uid"], addresses)
    spec["clusterIPs"] = [spec["clusterIP"]]
    selectorless = spec["clusterIP"] == "None" and not spec.get("selector")
    spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if selectorless else ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if selectorless else "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        taken = _taken_node_ports(store)
        for port in spec.get("ports", ()):
            if not port.get("nodePort"):
                port["nodePort"] = next(number for number in NODE_PORTS if number not in taken)
            taken.add(port["nodePort"])


def _free_address(store: Store, uid: str, addresses: IPv4Network) -> str:
    taken = {dig(service, "spec", "clusterIP") for service in store.objects("services")}
    size = addresses.num_addresses - 2
    start = zlib.crc32(uid.encode()) % size
    for step in range(size):
        address = str(addresses[1 + (start + step) % size])
        if address not in taken:
            return address
    raise RuntimeError(f"no address is left in {addresses}")


def _taken_node_ports(store: Store) -> set[int]:
    ports = (port for service in store.objects("services") for port in dig(service, "spec", "ports") or ())
    return {port["nodePort"] for port in ports if port.get("nodePort")}


def _create_volume(_: Store, obj: Obj) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": timestamp()}


def _create_crd(_: Store, obj: Obj) -> None:
    stored = [version["name"] for version in obj["spec"].get("versions") or () if version.get("storage")]
    obj["status"] = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}


_CREATES: Mapping[str, Callable[[Store, Obj], None]] = {
    "pods": _create_pod,
    "namespaces": _create_namespace,
    "persistentvolumeclaims": _create_claim,
    "persistentvolumes": _create_volume,
    "jobs.batch": _create_job,
    "services": _create_service,
    CRD_STORAGE: _create_crd,
}
