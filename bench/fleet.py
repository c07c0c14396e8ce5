"""Simulated clusters, as the operator, the StatefulSet controller and Patroni would have left them: quiet.

What the operator makes comes from its own `resolve` and `build`, so that it finds nothing to change. The rest (pods,
claims, revisions, Patroni's annotations) is written down here as a real cluster has it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRESQLS, RESOURCES
from howdah.core.objects.build import build
from howdah.core.objects.secrets import secret
from howdah.core.resolve import resolve
from howdah.kube import resources as r
from howdah.kube.resources import Resource
from howdah.kube.testing.store import Store, Writer
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.settings import Settings, settings_from_configuration

NAMESPACE = "fleet"
OPERATOR_NAMESPACE = "howdah"
CONFIGURATION = "howdah"
INSTANCES = 3
QUIET_IP = "10.0.0.1"
START_LSN = 0x5000000

Object = dict[str, Any]

_DYNAMIC: Mapping[str, Any] = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "failsafe_mode": True}
_DEFAULTS_OF_CLAIM = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem", "storageClassName": "standard"}


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many clusters, and how many of them have members that accept connections and never answer."""

    clusters: int
    hanging: int = 0
    hanging_ip: str = ""

    def name(self, number: int) -> str:
        return f"acid-c{number:04d}"

    def is_hanging(self, number: int) -> bool:
        return number < self.hanging

    def names(self) -> tuple[str, ...]:
        return tuple(self.name(number) for number in range(self.clusters))


def configuration() -> Object:
    """The operator's: no SQL, for there are no servers."""
    return {
        "metadata": {"name": CONFIGURATION, "namespace": OPERATOR_NAMESPACE},
        "configuration": {
            "kubernetes": {"watched_namespace": "*"},
            "debug": {"enable_database_access": False},
            "load_balancer": {"enable_master_load_balancer": False},
        },
    }


def settings() -> Settings:
    """The same, read as the operator reads it."""
    return settings_from_configuration(configuration())[0]


def manifest(name: str) -> Object:
    """A manifest of the usual size."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": NAMESPACE, "finalizers": [names.FINALIZER]},
        "spec": {
            "teamId": "acid",
            "numberOfInstances": INSTANCES,
            "volume": {"size": "10Gi"},
            "postgresql": {"version": "18", "parameters": {"max_connections": "200", "work_mem": "16MB"}},
            "users": {"zalando": ["superuser", "createdb"], "foo_user": []},
            "databases": {"foo": "zalando"},
            "preparedDatabases": {"bar": {}},
            "resources": {
                "requests": {"cpu": "100m", "memory": "512Mi"},
                "limits": {"cpu": "2", "memory": "2Gi"},
            },
        },
    }


def fill(store: Store, fleet: Fleet) -> None:
    """Put everything into the store of a fake API server."""
    known = settings()
    store.create(OPERATOR_CONFIGURATIONS, configuration(), Writer("people"))
    for number in range(fleet.clusters):
        ip = fleet.hanging_ip if fleet.is_hanging(number) else QUIET_IP
        live = store.create(POSTGRESQLS, manifest(fleet.name(number)), Writer("kubectl"))
        cluster = resolve(live, known)
        for resource, body, writer in _objects(cluster, ip, differs=fleet.is_hanging(number)):
            name, namespace = body["metadata"]["name"], body["metadata"].get("namespace", "")
            if store.find(resource, namespace, name) is None:
                put(store, resource, body, writer)


def put(store: Store, resource: Resource, body: Object, writer: str) -> None:
    store.create(resource, {key: value for key, value in body.items() if key != "status"}, Writer(writer))
    if "status" in body:
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        store.patch(resource, key, lambda live: {**live, "status": body["status"]}, Writer("kubelet", "status"))


def _objects(cluster: Cluster, ip: str, *, differs: bool) -> Iterator[tuple[Resource, Object, str]]:
    for request in cluster.secrets:
        yield (
            r.SECRETS,
            {**secret(request), "data": {"password": "cGFzc3dvcmQ=", "username": "eA=="}},
            names.FIELD_MANAGER,
        )
    for body in build(cluster):
        yield RESOURCES[body["kind"]], dict(body), names.FIELD_MANAGER
        if body["kind"] == "StatefulSet":
            yield from _controlled(cluster, body, ip)
    yield from _patroni(cluster, differs=differs)


def _controlled(cluster: Cluster, stateful_set: Mapping[str, Any], ip: str) -> Iterator[tuple[Resource, Object, str]]:
    """What the StatefulSet controller makes."""
    template = stateful_set["spec"]["template"]
    text = json.dumps(template, sort_keys=True)
    revision = f"{cluster.key.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    labels = template["metadata"]["labels"]
    manager = "kube-controller-manager"
    yield (
        r.CONTROLLER_REVISIONS,
        {
            "metadata": {"name": revision, "namespace": cluster.key.namespace, "labels": dict(labels)},
            "data": {"spec": {"template": {**template, "$patch": "replace"}}},
            "revision": 1,
        },
        manager,
    )
    for ordinal in range(cluster.instances):
        name = f"{cluster.key.name}-{ordinal}"
        yield r.PERSISTENT_VOLUME_CLAIMS, _claim(cluster, f"{names.DATA_VOLUME}-{name}", labels), manager
        yield r.PODS, _pod(cluster, template, ordinal, revision, ip), manager


def _claim(cluster: Cluster, name: str, labels: Mapping[str, str]) -> Object:
    size = str(cluster.volume.size)
    return {
        "metadata": {"name": name, "namespace": cluster.key.namespace, "labels": dict(labels)},
        "spec": {**_DEFAULTS_OF_CLAIM, "resources": {"requests": {"storage": size}}, "volumeName": f"pvc-{name}"},
        "status": {"phase": "Bound", "capacity": {"storage": size}},
    }


def _pod(cluster: Cluster, template: Mapping[str, Any], ordinal: int, revision: str, ip: str) -> Object:
    name = f"{cluster.key.name}-{ordinal}"
    own = {
        names.REVISION_LABEL: revision,
        "statefulset.kubernetes.io/pod-name": name,
        "apps.kubernetes.io/pod-index": str(ordinal),
        "spilo-role": "master" if ordinal == 0 else "replica",
    }
    annotations = {**(template["metadata"].get("annotations") or {}), "status": heartbeat(name, ordinal, ip, START_LSN)}
    started = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    return {
        "metadata": {
            "name": name,
            "namespace": cluster.key.namespace,
            "labels": {**template["metadata"]["labels"], **own},
            "annotations": annotations,
        },
        "spec": {**template["spec"], "nodeName": f"node-{ordinal}", "hostname": name},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "hostIP": "10.1.0.1",
            "startTime": started,
            "qosClass": "Burstable",
            "conditions": [{"type": c, "status": "True", "lastTransitionTime": started} for c in conditions],
            "containerStatuses": [
                {
                    "name": names.POSTGRES_CONTAINER,
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "image": cluster.image,
                    "imageID": f"sha256:{'0' * 64}",
                    "containerID": f"containerd://{'0' * 64}",
                    "state": {"running": {"startedAt": started}},
                    "lastState": {},
                }
            ],
        },
    }


def heartbeat(pod: str, ordinal: int, ip: str, lsn: int) -> str:
    """What Patroni writes into a pod's `status` annotation in each loop."""
    said: Object = {
        "conn_url": f"postgres://{ip}:5432/postgres",
        "api_url": f"http://{ip}:8008/patroni",
        "state": "running",
        "role": "primary" if ordinal == 0 else "replica",
        "version": "4.1.5",
        "xlog_location": lsn,
        "timeline": 1,
    }
    if ordinal > 0:
        said |= {"replication_state": "streaming", "receive_lsn": lsn, "replay_lsn": lsn}
    return json.dumps(said, separators=(",", ":"))


def _patroni(cluster: Cluster, *, differs: bool) -> Iterator[tuple[Resource, Object, str]]:
    """The config and leader objects; one that differs makes the operator patch it, through a member that hangs."""
    now = dt.datetime.now(dt.UTC)
    dynamic = {**_DYNAMIC, **cluster.dynamic}
    if differs:
        dynamic = {**_DYNAMIC, "postgresql": {"parameters": {"max_connections": "100"}}}
    annotations = {
        "config": {
            "config": json.dumps(dynamic, separators=(",", ":")),
            "initialize": "7400000000000000000",
        },
        "leader": {
            "leader": f"{cluster.key.name}-0",
            "acquireTime": now.isoformat(),
            "renewTime": (now + dt.timedelta(days=7)).isoformat(),  # the benchmark does not end by itself being late
            "ttl": "30",
            "transitions": "0",
            "optime": str(START_LSN),
        },
    }
    objects = {"config": cluster.names.config_object, "leader": cluster.names.leader_object}
    for what, (kind, name) in objects.items():
        body = {
            "metadata": {
                "name": name,
                "namespace": cluster.key.namespace,
                "labels": {"application": "spilo", "cluster-name": cluster.key.name},
                "annotations": annotations[what],
            }
        }
        yield RESOURCES[kind], body, "Patroni"
