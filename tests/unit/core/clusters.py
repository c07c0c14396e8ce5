"""Clusters as the operator might see them, made in one call: every part is as it should be unless a test says otherwise."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

import msgspec

from howdah.core.alignment import differences
from howdah.core.objects.build import build
from howdah.core.patroni.dynamic import UNSAID
from howdah.core.plan import FleetBudget
from howdah.core.resolve import resolve
from howdah.core.situation import DatabaseLook, Situation, look
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.observed import Claim, Departed, Live, Node, Observed, PatroniObject, Pod, SecretMeta
from howdah.model.settings import settings_from_configmap

Json = dict[str, Any]
_Kind = TypeVar("_Kind")

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
NAMESPACE, NAME, UID = "ns", "acid-a", "uid-of-resource"
CURRENT, OUTDATED = "revision-current", "revision-outdated"
OLD_IMAGE = "registry.example/spilo:old"
QUIET = DatabaseLook(is_known=True, server_version=180004)
SETTLED = FleetBudget()
"""Every cluster was looked at, and none rolls."""


def manifest(annotations: Mapping[str, str] | None = None, **spec: Any) -> Json:
    """A valid manifest of three members; keywords are fields of its spec."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "uid": UID,
            "generation": 1,
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "teamId": "acid",
            "numberOfInstances": 3,
            "postgresql": {"version": "18"},
            "volume": {"size": "1Gi"},
            **spec,
        },
    }


def cluster(
    annotations: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None, **spec: Any
) -> Cluster:
    return _cluster(json.dumps(manifest(annotations, **spec)), json.dumps(dict(settings or {})))


@cache
def _cluster(body: str, settings: str) -> Cluster:
    options = {"kubernetes_use_configmaps": "true", "enable_master_load_balancer": "false", **json.loads(settings)}
    return resolve(json.loads(body), settings_from_configmap(options)[0])


def live(body: Mapping[str, Any], **metadata: Any) -> Live:
    """A body as the server would return it."""
    name = body["metadata"]["name"]
    found = {"uid": f"uid-of-{body['kind']}-{name}", "resourceVersion": "100", **body["metadata"], **metadata}
    return decoded(Live, {**body, "metadata": found})


def decoded(kind: type[_Kind], body: Mapping[str, Any]) -> _Kind:
    return msgspec.json.decode(msgspec.json.encode(body), type=kind)


def resource(
    annotations: Mapping[str, str] | None = None,
    *,
    finalizers: Sequence[str] = (names.FINALIZER,),
    deleted: bool = False,
    status: Json | None = None,
    **spec: Any,
) -> Live:
    body = manifest(annotations, **spec)
    body["metadata"] |= {"resourceVersion": "50", "finalizers": list(finalizers)}
    if deleted:
        body["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:00Z"
    return decoded(Live, {**body, "status": status or {}})


def pod(
    ordinal: int,
    *,
    state: str = "streaming",
    role: str | None = None,
    timeline: int | None = 1,
    lsn: int = 1000,
    ready: bool = True,
    deleting: bool = False,
    silent: bool = False,
    waiting: str | None = None,
    terminated: int | None = None,
    no_node: str | None = None,
    revision: str = CURRENT,
    annotations: Mapping[str, str] | None = None,
    pending_restart: Mapping[str, tuple[str, str]] | None = None,
    age: dt.timedelta = dt.timedelta(minutes=1),
    node: str = "",
) -> Pod:
    """A member's pod. The first is made leader by `situation`; `state` is what `patronictl list` would show."""
    is_leader = (role or ("primary" if state == "running" else "replica")) == "primary"
    heartbeat: Json = {
        "role": "primary" if is_leader else role or "replica",
        "state": state if state != "streaming" else "running",
        "xlog_location": lsn,
        "api_url": f"http://10.0.0.{ordinal + 1}:8008/patroni",
        "timeline": timeline,
    }
    if state == "streaming" and not is_leader:
        heartbeat["replication_state"] = "streaming"
    if pending_restart is not None:
        changes = {name: {"old_value": old, "new_value": new} for name, (old, new) in pending_restart.items()}
        heartbeat |= {"pending_restart": True, "pending_restart_reason": changes}
    name = f"{NAME}-{ordinal}"
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-of-pod-{ordinal}",
        "resourceVersion": f"{200 + ordinal}",
        "creationTimestamp": (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "labels": {names.REVISION_LABEL: revision},
        "annotations": {**({} if silent else {"status": json.dumps(heartbeat)}), **(annotations or {})},
        **({"deletionTimestamp": "2026-01-02T03:04:00Z"} if deleting else {}),
    }
    container: Json = {"running": {}}
    if waiting is not None:
        container = {"waiting": {"reason": waiting, "message": "because"}}
    if terminated is not None:
        container = {"terminated": {"exitCode": terminated}}
    status: Json = {
        "phase": "Running",
        "podIP": f"10.0.0.{ordinal + 1}",
        "conditions": [{"type": "Ready", "status": "True" if ready and waiting is None else "False"}],
        "containerStatuses": [{"name": "postgres", "ready": ready, "state": container}],
    }
    if no_node is not None:
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": no_node}
        status = {"phase": "Pending", "conditions": [unscheduled]}
    return decoded(Pod, {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status})


def leader(ordinal: int = 0, **changes: Any) -> Pod:
    return pod(ordinal, **{"state": "running", **changes})


def labelled(found: Pod, role: str) -> Pod:
    """The pod with Patroni's role label, in both spellings that Patroni has had."""
    labels = {**(found.metadata.labels or {}), "spilo-role": role}
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, labels=labels))


def three(**changes: Any) -> tuple[Pod, ...]:
    """A leader and two replicas, all alike."""
    return leader(0, **changes), pod(1, **changes), pod(2, **changes)


def template_of(intended: Sequence[Mapping[str, Any]]) -> Json:
    found: Json = next(body for body in intended if body["kind"] == "StatefulSet")["spec"]["template"]
    return found


def outdated(template: Json) -> Json:
    """The same template with another image."""
    changed = deepcopy(template)
    changed["spec"]["containers"][0]["image"] = OLD_IMAGE
    return changed


def patroni_objects(asked: Cluster, **said: Mapping[str, str] | None) -> dict[tuple[str, str], PatroniObject]:
    """The objects in which Patroni keeps its state: keywords `leader`, `config` and `sync` are their annotations."""
    places = {"leader": asked.names.leader_object, "config": asked.names.config_object, "sync": asked.names.sync_object}
    return {
        places[part]: decoded(
            PatroniObject,
            {
                "metadata": {
                    "name": places[part][1],
                    "namespace": NAMESPACE,
                    "uid": f"uid-of-{part}",
                    "resourceVersion": "300",
                    "annotations": annotations,
                }
            },
        )
        for part, annotations in said.items()
        if annotations is not None
    }


def claim(ordinal: int, size: str = "1Gi", volume: str = "") -> Claim:
    name = f"pgdata-{NAME}-{ordinal}"
    metadata = {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-claim-{ordinal}"}
    spec = {"resources": {"requests": {"storage": size}}, **({"volumeName": volume} if volume else {})}
    return decoded(Claim, {"metadata": metadata, "spec": spec})


def node(name: str, *, cordoned: bool = False, ready: bool = True, **labels: str) -> Node:
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    body = {"metadata": {"name": name, "labels": labels}, "spec": {"unschedulable": cordoned}}
    return decoded(Node, {**body, "status": {"conditions": conditions}})


def secrets_of(asked: Cluster) -> dict[tuple[str, str], SecretMeta]:
    return {
        (request.namespace, request.name): decoded(
            SecretMeta,
            {"metadata": {"name": request.name, "namespace": request.namespace, "uid": f"uid-of-{request.name}"}},
        )
        for request in asked.secrets
    }


def lock(
    holder: str = f"{NAME}-0", *, age_s: float = 1.0, failsafe: Sequence[str] | None = None, optime: int | None = None
) -> dict[str, str]:
    """The annotations of the leader object."""
    said = {"leader": holder, "ttl": "30", "renewTime": (NOW - dt.timedelta(seconds=age_s)).isoformat()}
    said |= {} if optime is None else {"optime": str(optime)}
    return said if failsafe is None else {**said, "failsafe": json.dumps(dict.fromkeys(failsafe, "http://x"))}


def situation(
    *pods: Pod,
    annotations: Mapping[str, str] | None = None,
    spec: Mapping[str, Any] | None = None,
    settings: Mapping[str, str] | None = None,
    finalizers: Sequence[str] = (names.FINALIZER,),
    leader_lock: Mapping[str, str] | None = None,
    initialize: str | None = "7000",
    dynamic: Mapping[str, Any] | None = None,
    synchronous: Sequence[str] = (),
    without: Sequence[str] = (),
    objects: Mapping[tuple[str, str], Live] | None = None,
    secrets: bool = True,
    claims: Sequence[Claim] | None = None,
    departed: Sequence[Departed] = (),
    database: DatabaseLook = QUIET,
    budget: FleetBudget = SETTLED,
    status: Json | None = None,
    nodes: Sequence[Node] = (),
    nodes_unseen: str | None = None,
) -> Situation:
    """A cluster in which all is as the manifest says, but for what the arguments change.

    `without`: kinds of which no object exists. `objects` replaces live objects. Without pods there is no leader. What
    `dynamic` says of synchronous replication the manifest asks for, unless `spec` has a section `patroni`.
    """
    if (dynamic or {}).get("synchronous_mode") is True:
        spec = {"patroni": {key: value for key, value in (dynamic or {}).items() if key in UNSAID}, **(spec or {})}
    asked = cluster(annotations, settings, **(spec or {}))
    intended = build(asked)
    found = {
        (body["kind"], body["metadata"]["name"]): live(body) for body in intended if body["kind"] not in without
    } | dict(objects or {})
    template = template_of(intended)
    held = lock() if leader_lock is None and pods else leader_lock
    config = {"config": json.dumps({"ttl": 30, **asked.dynamic, **(dynamic or {})})}
    sync = {"leader": f"{NAME}-0", "sync_standby": ",".join(synchronous)} if synchronous else None
    seen = Observed(
        now=NOW,
        resource=resource(annotations, finalizers=finalizers, status=status, **(spec or {})),
        pods=pods,
        claims=tuple(claims if claims is not None else (claim(p.ordinal) for p in pods)),
        objects=found,
        secrets=secrets_of(asked) if secrets else {},
        patroni=patroni_objects(
            asked,
            leader=held,
            config=None if initialize is None else {**config, "initialize": initialize},
            sync=sync,
        ),
        templates={CURRENT: template, OUTDATED: outdated(template)},
        departed=tuple(departed),
        nodes={node.metadata.name: node for node in nodes},
        nodes_unseen=nodes_unseen,
    )
    compared = {
        place: differences(body, found[place])
        for body in intended
        if (place := (body["kind"], body["metadata"]["name"])) in found
    }
    return look(asked, intended, seen, database=database, budget=budget, differences=compared)
