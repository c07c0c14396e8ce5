"""Endpoints and EndpointSlices of services with a selector: the addresses of ready pods.

A service without a selector is never touched: its endpoints are somebody else's, Patroni's for one.
"""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from howdah.kube.errors import AlreadyExists, NotFound
from howdah.kube.resources import ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES, Resource
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import controller_reference, is_ready

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
WRITTEN_BY = "endpoints.kubernetes.io/managed-by"
OURS = "endpointslice-controller.k8s.io"


def selects(service: Object, pod: Object) -> bool:
    """Whether the service's selector fits the pod; a service without one selects nothing."""
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def target_port(port: Object, pod: Object) -> int | None:
    """The number of the port that a service's port leads to on a pod."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    found = (entry for container in pod["spec"]["containers"] for entry in container.get("ports") or ())
    named = next((entry["containerPort"] for entry in found if entry.get("name") == target), None)
    return int(target) if named is None and target.isdigit() else named


def _ports(service: Object, pod: Object) -> tuple[tuple[str, int, str], ...]:
    """(name, number, protocol) of each port that the pod has."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            found.append((port.get("name") or "", number, port.get("protocol") or "TCP"))
    return tuple(found)


def _port_object(port: tuple[str, int, str]) -> dict[str, Any]:
    name, number, protocol = port
    return {**({"name": name} if name else {}), "port": number, "protocol": protocol}


def _address(pod: Object) -> dict[str, Any]:
    metadata = pod["metadata"]
    target = {"kind": "Pod", "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]}
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"].get("nodeName"), "targetRef": target}


def _reachable(service: Object, pods: Iterable[Object]) -> list[tuple[Object, bool]]:
    """(pod, counts as ready) of the pods that have an address, by address; a pod on its way out has none."""
    everyone = bool(service["spec"].get("publishNotReadyAddresses"))
    found = []
    for pod in pods:
        status = pod.get("status") or {}
        if not selects(service, pod) or not status.get("podIP") or pod["metadata"].get("deletionTimestamp"):
            continue
        if status.get("phase") not in ("Succeeded", "Failed"):
            found.append((pod, everyone or is_ready(pod)))
    return sorted(found, key=lambda entry: str(entry[0]["status"]["podIP"]))


def subsets(service: Object, pods: Iterable[Object]) -> list[dict[str, Any]]:
    """Pods with the same port numbers are one subset."""
    groups: dict[tuple[tuple[str, int, str], ...], dict[str, list[dict[str, Any]]]] = {}
    for pod, ready in _reachable(service, pods):
        group = groups.setdefault(_ports(service, pod), {})
        group.setdefault("addresses" if ready else "notReadyAddresses", []).append(_address(pod))
    return [
        {**group, **({"ports": [_port_object(port) for port in ports]} if ports else {})}
        for ports, group in sorted(groups.items())
    ]


def slice_of(service: Object, pods: Iterable[Object]) -> dict[str, Any]:
    """All endpoints as one slice; the pods of a service have the same ports here, those of the first one count."""
    found = _reachable(service, pods)
    ports = _ports(service, found[0][0]) if found else ()
    metadata = service["metadata"]
    return {
        "metadata": {
            "name": f"{metadata['name']}-local",
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                "kubernetes.io/service-name": metadata["name"],
                MANAGED_BY: OURS,
            },
            "ownerReferences": [controller_reference(service, "v1", "Service")],
        },
        "addressType": "IPv4",
        "ports": [{**_port_object(port), "name": port[0]} for port in ports],
        "endpoints": [
            {
                "addresses": [pod["status"]["podIP"]],
                "conditions": {"ready": ready, "serving": ready, "terminating": False},
                "nodeName": pod["spec"].get("nodeName"),
                "targetRef": _address(pod)["targetRef"],
            }
            for pod, ready in found
        ],
    }


def endpoints_of(service: Object, pods: Iterable[Object]) -> dict[str, Any]:
    """The Endpoints object of a service with a selector."""
    metadata = service["metadata"]
    return {
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {**(metadata.get("labels") or {}), WRITTEN_BY: "endpoint-controller"},
        },
        "subsets": subsets(service, pods),
    }


def endpoints_controller(world: World) -> Controller:
    """The effects."""

    async def reconcile(key: Key) -> None:
        service = world.caches.get(SERVICES, *key)
        if service is None:
            await _forget(world, key)
            return
        if not service["spec"].get("selector") or service["metadata"].get("deletionTimestamp"):
            return
        pods = world.caches.of(PODS, key[0])
        await _write(world, ENDPOINTS, endpoints_of(service, pods), ("subsets",))
        await _write(world, ENDPOINT_SLICES, slice_of(service, pods), ("endpoints", "ports"))

    def keys_of_pod(pod: Object) -> Sequence[Key]:
        found = world.caches.of(SERVICES, pod["metadata"]["namespace"])
        return [key_of(service) for service in found if selects(service, pod)]

    triggers = {
        SERVICES: lambda service: [key_of(service)],
        PODS: keys_of_pod,
        ENDPOINTS: lambda endpoints: [key_of(endpoints)],
    }
    return Controller(world, triggers, reconcile)


async def _write(world: World, resource: Resource, wanted: dict[str, Any], fields: Sequence[str]) -> None:
    name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
    live = world.caches.get(resource, namespace, name)
    if live is None:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **wanted}
        with contextlib.suppress(AlreadyExists):
            await world.caches.seen(resource, await world.client.create(resource, body))
            return
    if live is not None and all((live.get(field) or []) == wanted[field] for field in fields):
        return
    patch = {field: wanted[field] for field in fields}
    await world.client.merge_patch(resource, name, patch, namespace=namespace)


async def _forget(world: World, key: Key) -> None:
    """A service that has gone takes along the Endpoints that we wrote; Patroni's own need no service.

    Slices are owned by their service and go by that.
    """
    live = world.caches.get(ENDPOINTS, *key)
    if live is not None and (live["metadata"].get("labels") or {}).get(WRITTEN_BY) == "endpoint-controller":
        with contextlib.suppress(NotFound):
            await world.client.delete(ENDPOINTS, key[1], namespace=key[0], uid=live["metadata"]["uid"])
