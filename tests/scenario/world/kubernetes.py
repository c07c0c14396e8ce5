"""The StatefulSet controller and the kubelet, on the fake API server's store: pods, claims, revisions, container states.

The controller's decisions are those of the local platform's own; the kubelet starts a container after a moment, never with
a bad image or without its Secrets, and removes a pod when its processes have ended.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from howdah.kube.resources import (
    CONTROLLER_REVISIONS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    STATEFUL_SETS,
)
from howdah.kube.testing import Store
from howdah.kube.testing.store import Writer
from howdah.local.controllers import podset, revisions
from howdah.local.controllers.owners import controller_reference
from howdah.local.controllers.revisions import History
from howdah.local.controllers.statefulset import Create, Delete, claims_of, decide, ordinal_of, pod_of
from scenario.world.members import START_S, Machine
from scenario.world.patroni import Dcs
from scenario.world.quick import quick_patch
from scenario.world.sql import Contents

PULL_S, STOP_S, RESTART_DELAY_S = 1.0, 1.5, 3.0
CONTROLLER = Writer("kube-controller-manager")
Object = dict[str, Any]


@dataclass(slots=True, eq=False)
class Volume:
    """What is on a claim's disk."""

    contents: Contents | None = None
    timeline: int = 1


@dataclass(slots=True, eq=False)
class Container:
    """What the kubelet knows of a pod."""

    seen_s: float
    ends_s: float | None = None
    restarts_s: float | None = None
    restarts: int = 0
    said: object = None


@dataclass(slots=True)
class Machinery:
    """All nodes and controllers. `step` is called twice a second."""

    store: Store
    machines: dict[str, Machine] = field(default_factory=dict)  # by pod uid
    volumes: dict[str, Volume] = field(default_factory=dict)  # by claim uid
    containers: dict[str, Container] = field(default_factory=dict)  # by pod uid
    revisions: dict[tuple[str, str], Object] = field(default_factory=dict)  # by uid and version of the StatefulSet
    databases: int = 0
    addresses: int = 0
    looked_at: int = -1  # version of the store in which no StatefulSet had anything to do

    def step(self, now_s: float) -> None:
        if self.looked_at != self.store.version:
            self.looked_at = self.store.version
            for owner in self.store.select(STATEFUL_SETS, None, _all):
                if not owner["metadata"].get("deletionTimestamp"):
                    self._stateful_set(owner)
        for pod in self.store.select(PODS, None, _all):
            self._pod(pod, now_s)
        live = {pod["metadata"]["uid"] for pod in self.store.select(PODS, None, _all)}
        for uid in [uid for uid in self.containers if uid not in live]:
            self.containers.pop(uid)
            self.machines.pop(uid, None)  # force-deleted: its processes end, and nobody says so
        for machine in sorted(self.machines.values(), key=lambda m: (m.namespace, m.pod)):
            machine.step(self.dcs(machine), now_s)

    def dcs(self, machine: Machine) -> Dcs:
        return self.dcs_of(machine.namespace, machine.cluster)

    def dcs_of(self, namespace: str, cluster: str) -> Dcs:
        def members() -> tuple[Machine, ...]:
            found = (m for m in self.machines.values() if (m.namespace, m.cluster) == (namespace, cluster))
            return tuple(sorted(found, key=lambda m: m.pod))

        return Dcs(self.store, namespace, cluster, members, self._next_database)

    def machine_at(self, ip: str) -> Machine | None:
        return next((m for m in self.machines.values() if m.ip == ip), None)

    def _next_database(self) -> int:
        self.databases += 1
        return 7_000_000_000_000_000_000 + self.databases

    # StatefulSets

    def _stateful_set(self, owner: Object) -> None:
        version = (owner["metadata"]["uid"], owner["metadata"]["resourceVersion"])
        if version not in self.revisions:
            self.revisions[version] = self._revision(owner)
        revision = self.revisions[version]
        name = owner["metadata"]["name"]
        pods: dict[int, Object] = {}
        for pod in self.store.select(PODS, owner["metadata"]["namespace"], _all):
            ordinal = ordinal_of(name, pod["metadata"]["name"])
            if ordinal is None:
                continue
            if podset.is_orphan_of(pod, owner):
                patch = podset.adoption(pod, owner, "apps/v1", "StatefulSet")
                pod = self._patch(PODS, pod, patch)
            if podset.owned([pod], owner):
                pods[ordinal] = pod
        update = revision["metadata"]["name"]
        for action in decide(owner, pods, History(update, update)):
            if isinstance(action, Delete):
                metadata = action.pod["metadata"]
                self.store.delete(PODS, (metadata["namespace"], metadata["name"]), uid=metadata["uid"])
            elif isinstance(action, Create):
                self._create(owner, action.ordinal, revision)

    def _create(self, owner: Object, ordinal: int, revision: Object) -> None:
        for claim in claims_of(owner, ordinal):
            key = (claim["metadata"]["namespace"], claim["metadata"]["name"])
            if self.store.find(PERSISTENT_VOLUME_CLAIMS, *key) is None:
                self.store.create(PERSISTENT_VOLUME_CLAIMS, claim, CONTROLLER)
        pod = pod_of(owner, ordinal, revision, self._node_for(owner))
        if self.store.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"]) is None:
            self.store.create(PODS, pod, CONTROLLER)

    def join(self, nodes: int) -> None:
        """Nodes that take pods: node-1 and so on."""
        for number in range(1, nodes + 1):
            conditions = [{"type": "Ready", "status": "True"}]
            body = {"metadata": {"name": f"node-{number}"}, "spec": {}, "status": {"conditions": conditions}}
            self.store.create(NODES, body, CONTROLLER)

    def _node_for(self, owner: Object) -> str:
        """The node that takes pods and has the fewest; nothing where none does."""
        nodes = [node["metadata"]["name"] for node in self.store.select(NODES, None, _takes_pods)]
        pods = [pod["spec"].get("nodeName") for pod in self.store.select(PODS, owner["metadata"]["namespace"], _all)]
        return min(sorted(nodes), key=pods.count, default="")

    def _revision(self, owner: Object) -> Object:
        data, metadata = revisions.data_of(owner), owner["metadata"]
        name = f"{metadata['name']}-{podset.short_hash([data, metadata['uid']])}"
        found = self.store.find(CONTROLLER_REVISIONS, metadata["namespace"], name)
        if found is not None:
            return found
        body = {
            "metadata": {
                "name": name,
                "namespace": metadata["namespace"],
                "labels": owner["spec"]["template"]["metadata"].get("labels") or {},
                "ownerReferences": [controller_reference(owner, "apps/v1", "StatefulSet")],
            },
            "data": data,
            "revision": 1,
        }
        return self.store.create(CONTROLLER_REVISIONS, body, CONTROLLER)

    # pods

    def _pod(self, pod: Object, now_s: float) -> None:
        uid = pod["metadata"]["uid"]
        container = self.containers.setdefault(uid, Container(now_s))
        machine = self.machines.get(uid)
        if pod["metadata"].get("deletionTimestamp"):
            self._end(pod, container, machine, now_s)
        elif not pod["spec"].get("nodeName"):
            self._place(pod, container, now_s)
        elif machine is None and now_s >= container.seen_s + PULL_S:
            self._begin(pod, container, now_s)
        elif machine is not None and container.restarts_s is not None and now_s >= container.restarts_s:
            container.restarts_s = None
            machine.state, machine.until_s, machine.role = "starting", now_s + START_S, "replica"
            self._say(pod, container, {"running": {}}, machine.ip)

    def _place(self, pod: Object, container: Container, now_s: float) -> None:
        """The scheduler: a pod that fitted nowhere goes to the first node that takes pods again."""
        node = self._node_for(pod)
        if node:
            container.seen_s = now_s
            self._patch(PODS, pod, {"spec": {"nodeName": node}})

    def _begin(self, pod: Object, container: Container, now_s: float) -> None:
        spec = pod["spec"]["containers"][0]
        if "bad" in spec["image"]:
            waits = {"reason": "ErrImagePull", "message": f"no image {spec['image']}"}
            self._say(pod, container, {"waiting": waits}, None)
            return
        values = {entry["name"]: self._value(pod, entry) for entry in spec["env"]}
        missing = sorted(name for name, value in values.items() if value is None)
        if missing:
            waits = {"reason": "CreateContainerConfigError", "message": f"no Secret for {missing[0]}"}
            self._say(pod, container, {"waiting": waits}, None)
            return
        self.addresses += 1
        ip = f"10.0.{self.addresses // 250}.{self.addresses % 250 + 1}"
        metadata = pod["metadata"]
        self.machines[metadata["uid"]] = Machine(
            namespace=metadata["namespace"],
            cluster=metadata["labels"]["cluster-name"],
            pod=metadata["name"],
            uid=metadata["uid"],
            ip=ip,
            volume=self._volume(pod),
            superuser_password=values["PGPASSWORD_SUPERUSER"] or "",
            standby_password=values["PGPASSWORD_STANDBY"] or "",
            bootstrap=json.loads(values["SPILO_CONFIGURATION"] or "{}").get("bootstrap") or {},
            starts_as_standby=any(name == "STANDBY_HOST" or name.startswith("STANDBY_WALE_") for name in values),
            until_s=now_s + START_S,
        )
        self._say(pod, container, {"running": {}}, ip)

    def _value(self, pod: Object, entry: Object) -> str | None:
        reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
        if reference is None:
            return str(entry.get("value", ""))
        secret = self.store.find(SECRETS, pod["metadata"]["namespace"], reference["name"])
        return secret_value(secret, reference["key"]) if secret is not None else None

    def _volume(self, pod: Object) -> Volume:
        claim = next(v["persistentVolumeClaim"]["claimName"] for v in pod["spec"]["volumes"] if v["name"] == "pgdata")
        live = self.store.read(PERSISTENT_VOLUME_CLAIMS, pod["metadata"]["namespace"], claim)
        return self.volumes.setdefault(live["metadata"]["uid"], Volume())

    def _end(self, pod: Object, container: Container, machine: Machine | None, now_s: float) -> None:
        if container.ends_s is None:
            container.ends_s = now_s + STOP_S
            return
        if now_s < container.ends_s:
            return
        if machine is not None:
            if machine.state != "down":
                self.dcs(machine).release(machine)
            machine.state = "down"
            self._say(pod, container, {"terminated": {"exitCode": 0}}, machine.ip)
            self.machines.pop(machine.uid)
        self.store.delete(PODS, (pod["metadata"]["namespace"], pod["metadata"]["name"]), grace_s=0)

    def crash(self, machine: Machine, now_s: float) -> None:
        """All processes of the container die; the kubelet starts them again after a moment."""
        container = self.containers[machine.uid]
        machine.state, machine.is_streaming, machine.streams_from_s = "down", False, None
        container.restarts_s = now_s + RESTART_DELAY_S
        container.restarts += 1
        pod = self.store.find(PODS, machine.namespace, machine.pod)
        if pod is not None:
            self._say(pod, container, {"terminated": {"exitCode": 137}}, machine.ip)

    def _say(self, pod: Object, container: Container, state: Object, ip: str | None) -> None:
        if container.said == (state, container.restarts):
            return
        container.said = (state, container.restarts)
        ready = "running" in state
        status = {
            "phase": "Running" if ready or container.restarts else "Pending",
            **({"podIP": ip} if ip else {}),
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [
                {"name": "postgres", "ready": ready, "restartCount": container.restarts, "state": state}
            ],
        }
        self._patch(PODS, pod, {"status": status})

    def _patch(self, resource: Any, obj: Mapping[str, Any], patch: Object) -> Object:
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        metadata = {k: v for k, v in (patch.get("metadata") or {}).items() if k != "resourceVersion"}
        return quick_patch(self.store, resource, key, {**patch, "metadata": metadata})


def secret_value(secret: Mapping[str, Any], key: str) -> str | None:
    """One decoded entry of a Secret."""
    encoded = (secret.get("data") or {}).get(key)
    return base64.b64decode(encoded).decode() if encoded is not None else None


def _takes_pods(node: Mapping[str, Any]) -> bool:
    return not node["spec"].get("unschedulable")


def _all(_: object) -> bool:
    return True
