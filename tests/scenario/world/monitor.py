"""What must hold at every moment, judged on the world and not on what the operator thinks. A breach is noted, not raised.

Raising would only be one more failed request to the operator; the scenario fails at its end with every breach.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from howdah.adapters.kubernetes import POSTGRESQLS, RESOURCES
from howdah.kube.resources import CONTROLLER_REVISIONS, NODES, PODS, STATEFUL_SETS, Resource
from howdah.kube.testing import Request, Store
from howdah.local.controllers.owners import is_ready
from howdah.model import names
from scenario.world.hand import Hand
from scenario.world.kubernetes import Machinery
from scenario.world.members import TTL_S, Machine

BLIND_S = 2 * TTL_S + 10.0
"""So long may a silent leader be taken for one: the ttl, as much slack for unlike clocks, and a pass."""
NOTICE_S = 1.0
"""A pause counts from when every cache must have heard of it."""

BY_PLURAL: dict[str, Resource] = {resource.plural: resource for resource in RESOURCES.values()}
DATA = ("persistentvolumeclaims", "secrets")
Object = dict[str, Any]


@dataclass(slots=True)
class Monitor:
    """Judges every write of every operator before it has its effect, and the world at every step."""

    store: Store
    machinery: Machinery
    breaches: list[str] = field(default_factory=list)
    paused_since: dict[tuple[str, str], float] = field(default_factory=dict)
    silent_since: dict[tuple[str, str], float] = field(default_factory=dict)
    operators_since: float = float("inf")
    copies: set[str] = field(default_factory=set)
    """Secrets that repeat another one: only these are changed."""

    def breach(self, text: str) -> None:
        self.breaches.append(f"{asyncio.get_running_loop().time():.3f} {text}")

    # writes to the Kubernetes API

    def judge(self, hand: Hand, request: Request, sent_s: float) -> None:
        """`sent_s`: when the operator sent it, which may be long before it arrives."""
        what = f"{hand.name}: {request.verb} {request.resource} {request.name}"
        if hand.observe_only and request.resource != "leases":
            self.breach(f"{what}: an observer writes")
        if request.resource in ("events", "leases"):
            return
        live = self._live(request)
        cluster = self._cluster(request, live)
        self._pause(hand, request, cluster, what, sent_s)
        if request.verb == "delete":
            if live is not None:
                self._deletion(request, live, cluster, what)
        elif (
            request.resource == "secrets"
            and request.verb != "create"
            and request.name not in self.copies
            and set(request.body) != {"metadata"}
        ):
            self.breach(f"{what}: a Secret is changed")
        elif request.resource == "statefulsets" and request.verb == "create" and cluster is not None:
            self._size(request, cluster, what)
        elif request.resource == "pods" and live is not None:
            self._labels(request, live, what)
        if request.resource == "postgresqls/status":
            self._phase(request, what)

    def _size(self, request: Request, cluster: Object, what: str) -> None:
        """Kubernetes takes away at once whoever is beyond the replicas of a new StatefulSet."""
        leading = self.machinery.dcs_of(*_key(cluster)).leading()
        if leading is not None and _ordinal(leading.pod) >= request.body["spec"]["replicas"]:
            self.breach(f"{what}: without room for {leading.pod}, which leads")

    def _labels(self, request: Request, pod: Object, what: str) -> None:
        """Services lead to a leader by a label of its pod."""
        labels = (request.body.get("metadata") or {}).get("labels") or {}
        machine = self.machinery.machines.get(pod["metadata"]["uid"])
        if labels.get("spilo-role", "") is not None or machine is None or not machine.accepts_writes:
            return
        dcs = self.machinery.dcs_of(machine.namespace, machine.cluster)
        if dcs.lock_holder(asyncio.get_running_loop().time()) == machine.pod:
            self.breach(f"{what}: services leave a leader that holds its lock")

    def _live(self, request: Request) -> Object | None:
        resource = BY_PLURAL.get(request.resource.partition("/")[0])
        return self.store.find(resource, request.namespace, request.name) if resource and request.name else None

    def _cluster(self, request: Request, live: Object | None) -> Object | None:
        """The resource that the write is for, by the label of what is written."""
        if request.resource.startswith("postgresqls"):
            return live
        body = request.body if isinstance(request.body, dict) else {}
        metadata = (live or body).get("metadata") or {}
        name = (metadata.get("labels") or {}).get("cluster-name", "")
        return self.store.find(POSTGRESQLS, request.namespace, name)

    def _pause(self, hand: Hand, request: Request, cluster: Object | None, what: str, sent_s: float) -> None:
        if cluster is None or request.resource == "postgresqls/status":
            return
        pause = names.pause_of(cluster["metadata"].get("annotations") or {})
        since = self.paused_since.get(_key(cluster))
        if pause is names.Pause.NONE or since is None:
            return
        age_s = sent_s - since
        if age_s > NOTICE_S + 2 * hand.lag_s and pause is names.Pause.ALL:
            self.breach(f"{what}: written although everything is paused")
        if age_s > NOTICE_S and request.verb == "delete" and request.resource == "pods":
            self.breach(f"{what}: a pod is deleted although the cluster is paused")

    def _deletion(self, request: Request, live: Object, cluster: Object | None, what: str) -> None:
        preconditions = (request.body or {}).get("preconditions") or {}
        if not preconditions.get("uid"):
            self.breach(f"{what}: without a uid")
        if preconditions.get("uid", live["metadata"]["uid"]) != live["metadata"]["uid"]:
            return  # the server refuses it
        consented = cluster is not None and _is_ending(cluster)
        if request.resource == "pods":
            version = preconditions.get("resourceVersion", live["metadata"]["resourceVersion"])
            if not consented and version == live["metadata"]["resourceVersion"]:
                self._replacement(live, cluster, what)
            if not consented and not preconditions.get("resourceVersion"):
                self.breach(f"{what}: without the version that the decision was made from")
        elif request.resource == "statefulsets":
            if (request.body or {}).get("propagationPolicy") != "Orphan":
                self.breach(f"{what}: takes its pods with it")
        elif not consented:
            kind = "data" if request.resource in DATA else "an object"
            self.breach(f"{what}: {kind} deleted without consent")
        if request.resource in DATA and self._pods_of(live):
            self.breach(f"{what}: while pods may use it")

    def _pods_of(self, live: Object) -> list[Object]:
        name = (live["metadata"].get("labels") or {}).get("cluster-name")
        return self._pods(live["metadata"]["namespace"], name or "")

    # disruptions

    def _replacement(self, pod: Object, cluster: Object | None, what: str) -> None:
        namespace = pod["metadata"]["namespace"]
        name = pod["metadata"]["labels"]["cluster-name"]
        others = [p for p in self._pods(namespace, name) if p["metadata"]["uid"] != pod["metadata"]["uid"]]
        sick = [why for p in others if (why := self.unhealthy(p)) is not None]
        leading = self.machinery.dcs_of(namespace, name).leading()
        is_leader = leading is not None and leading.uid == pod["metadata"]["uid"]
        if is_leader and others:
            self.breach(f"{what}: the leader goes while there are others")
        if not is_ready(pod) and self._is_due(pod):
            return
        own = self.unhealthy(pod)
        leader = next((p for p in others if p["metadata"]["name"] == self._leader(namespace, name)), None)
        if own is not None and self._is_due(pod) and leader is not None and self.unhealthy(leader) is None:
            return
        if sick:
            self.breach(f"{what}: while {'; '.join(sick)}")
        wanted = (cluster or {"spec": {}})["spec"].get("numberOfInstances", 0)
        stateful_set = self.store.find(STATEFUL_SETS, namespace, name)
        if stateful_set is not None and len(others) + 1 < min(wanted, stateful_set["spec"]["replicas"]):
            self.breach(f"{what}: while a pod is missing")

    def command(self, hand: Hand, verb: str, machine: Machine) -> None:
        """A command to Patroni, before it has its effect."""
        what = f"{hand.name}: {verb} {machine.pod}"
        cluster = self.store.find(POSTGRESQLS, machine.namespace, machine.cluster)
        if hand.observe_only:
            self.breach(f"{what}: an observer commands")
        pause = names.pause_of((cluster or {"metadata": {}})["metadata"].get("annotations") or {})
        age_s = asyncio.get_running_loop().time() - self.paused_since.get((machine.namespace, machine.cluster), 1e18)
        if age_s > NOTICE_S and (
            pause is names.Pause.ALL or (pause is not names.Pause.NONE and verb != "patch_config")
        ):
            self.breach(f"{what}: although the cluster is paused")
        if verb == "patch_config":
            return
        pods = self._pods(machine.namespace, machine.cluster)
        sick = [why for p in pods if p["metadata"]["name"] != machine.pod and (why := self.unhealthy(p)) is not None]
        scale_in = cluster is not None and _ordinal(machine.pod) >= cluster["spec"]["numberOfInstances"]
        leaves = self._node_is_cordoned(machine)
        if sick and not (verb == "switchover" and (scale_in or leaves)):
            self.breach(f"{what}: while {'; '.join(sick)}")
        if verb == "switchover" and not (scale_in or leaves):
            older = [p["metadata"]["name"] for p in pods if p["metadata"]["name"] != machine.pod and self._is_due(p)]
            if older:
                self.breach(f"{what}: the leader goes before {', '.join(older)}")

    def _node_is_cordoned(self, machine: Machine) -> bool:
        """A drain waits for the leader, whatever else is under way."""
        pod = self.store.find(PODS, machine.namespace, machine.pod)
        node = self.store.find(NODES, "", pod["spec"].get("nodeName", "")) if pod is not None else None
        return node is not None and bool(node["spec"].get("unschedulable"))

    def unhealthy(self, pod: Object) -> str | None:
        """Why this pod does not do its part, by what its processes do."""
        name = pod["metadata"]["name"]
        machine = self.machinery.machines.get(pod["metadata"]["uid"])
        if pod["metadata"].get("deletionTimestamp"):
            return f"{name} is going"
        if machine is None:
            return f"{name} has not started"
        if machine.state != "running":
            return f"{name} is {machine.state}"
        if machine.role != "primary" and not machine.is_streaming:
            return f"{name} does not stream"
        return None

    def _is_due(self, pod: Object) -> bool:
        """Whether the pod is of another template than the StatefulSet's, or marked."""
        metadata = pod["metadata"]
        if (metadata.get("annotations") or {}).get(names.ROLLING_UPDATE_REQUIRED) == "true":
            return True
        owner = self.store.find(STATEFUL_SETS, metadata["namespace"], metadata["labels"]["cluster-name"])
        revision = self.store.find(
            CONTROLLER_REVISIONS, metadata["namespace"], metadata["labels"][names.REVISION_LABEL]
        )
        if owner is None or revision is None:
            return False
        return _rolling_part(revision["data"]["spec"]["template"]) != _rolling_part(owner["spec"]["template"])

    def _leader(self, namespace: str, cluster: str) -> str | None:
        return self.machinery.dcs_of(namespace, cluster).lock().name

    def _pods(self, namespace: str, cluster: str) -> list[Object]:
        fits = lambda pod: (pod["metadata"].get("labels") or {}).get("cluster-name") == cluster  # noqa: E731
        return self.store.select(PODS, namespace, fits)

    # status

    def _phase(self, request: Request, what: str) -> None:
        status = (request.body or {}).get("status") or {}
        if status.get("PostgresClusterStatus") != "Running":
            return
        cluster = self.store.find(POSTGRESQLS, request.namespace, request.name)
        since = self.silent_since.get((request.namespace, request.name))
        if cluster is not None and since is not None and cluster["spec"]["numberOfInstances"] > 0:
            age_s = asyncio.get_running_loop().time() - since
            if age_s > BLIND_S:
                self.breach(f"{what}: says Running, and nobody has accepted writes for {age_s:.0f} s")

    def step(self, now_s: float) -> None:
        """At every step of the world."""
        for cluster in self._clusters():
            key = _key(cluster)
            is_paused = names.pause_of(cluster["metadata"].get("annotations") or {}) is not names.Pause.NONE
            if is_paused:
                self.paused_since.setdefault(key, now_s)
            else:
                self.paused_since.pop(key, None)
            members = self.machinery.dcs_of(*key).machines()
            if any(m.accepts_writes for m in members) or cluster["spec"]["numberOfInstances"] == 0:
                self.silent_since.pop(key, None)
            else:
                since = self.silent_since.setdefault(key, now_s)
                says = ((cluster.get("status") or {}).get("PostgresClusterStatus")) == "Running"
                if says and now_s - max(since, self.operators_since) > BLIND_S and not is_paused:
                    self.breach(f"{key[1]} is said to be Running, and nobody accepts writes since {since:.0f}")
                    self.silent_since[key] = now_s
            writers = [m.pod for m in members if m.accepts_writes]
            if len(writers) > 1:
                self.breach(f"the simulation itself: two primaries {writers}")

    def _clusters(self) -> Iterator[Object]:
        yield from self.store.select(POSTGRESQLS, None, lambda _: True)


def _rolling_part(template: Object) -> object:
    """What of a template makes pods anew: not its annotations, nor what only counts when a cluster begins."""
    container, *others = template["spec"]["containers"]
    environment = [_without_bootstrap(entry) for entry in container["env"]]
    return template["metadata"].get("labels"), {
        **template["spec"],
        "containers": [environment, container["image"], others],
    }


def _without_bootstrap(entry: Object) -> Object:
    if entry["name"] != "SPILO_CONFIGURATION":
        return entry
    return {key: value for key, value in json.loads(entry["value"]).items() if key != "bootstrap"}


def _is_ending(cluster: Object) -> bool:
    metadata = cluster["metadata"]
    return "deletionTimestamp" in metadata and names.FINALIZER in (metadata.get("finalizers") or ())


def _key(cluster: Object) -> tuple[str, str]:
    return cluster["metadata"]["namespace"], cluster["metadata"]["name"]


def _ordinal(pod: str) -> int:
    return int(pod.rpartition("-")[2])
