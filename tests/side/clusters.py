"""The clusters that are taken over, and what of them must not change: pods, templates, passwords, volumes."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from bench.side.operators import Howdah, Running
from bench.side.plane import Plane, until

NAMESPACE = "team"
FLAG = "zalando-postgres-operator-rolling-update-required"
QUIET_S = 4.0

Json = dict[str, Any]


def manifest(name: str, **spec: Any) -> Json:
    """What every manifest needs."""
    return {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "postgresql",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "teamId": "acid",
            "numberOfInstances": 2,
            "volume": {"size": "1Gi"},
            "postgresql": {"version": "17"},
            **spec,
        },
    }


MINIMAL = manifest(
    "acid-minimal",
    users={"zalando": ["superuser", "createdb"], "foo_user": []},
    databases={"foo": "zalando"},
    preparedDatabases={"bar": {}},
)
OF_THE_EXAMPLE: Json = {
    "users": {"zalando": ["superuser", "createdb"], "foo_user": []},
    "databases": {"foo": "zalando"},
    "preparedDatabases": {
        "bar": {
            "defaultUsers": True,
            "extensions": {"pgcrypto": "public"},
            "schemas": {"data": {}, "history": {"defaultRoles": True, "defaultUsers": False}},
        }
    },
    "allowedSourceRanges": ["127.0.0.1/32"],
    "enableLogicalBackup": True,
    "additionalVolumes": [
        {"name": "empty", "mountPath": "/opt/empty", "targetContainers": ["all"], "volumeSource": {"emptyDir": {}}}
    ],
    "enableShmVolume": True,
    "env": [{"name": "MY_ENV", "value": "one"}],
    "podAnnotations": {"note": "annotated"},
    "serviceAnnotations": {"note": "service"},
    "podPriorityClassName": "system-cluster-critical",
    "tolerations": [{"key": "postgres", "operator": "Exists", "effect": "NoSchedule"}],
}
"""What of the reference's complete example asks for nothing that only some places have, such as images."""
COMPLETE = manifest(
    "acid-complete",
    **OF_THE_EXAMPLE,
    numberOfInstances=3,
    dockerImage="ghcr.io/zalando/spilo-17:4.0-p3",
    enableMasterLoadBalancer=False,
    enableReplicaLoadBalancer=False,
    logicalBackupSchedule="30 00 * * *",
    postgresql={
        "version": "17",
        "parameters": {"shared_buffers": "32MB", "max_connections": "10", "log_statement": "all"},
    },
    resources={"requests": {"cpu": "10m", "memory": "100Mi"}, "limits": {"cpu": "500m", "memory": "500Mi"}},
    patroni={
        "failsafe_mode": False,
        "initdb": {"encoding": "UTF8", "locale": "en_US.UTF-8", "data-checksums": "true"},
        "ttl": 30,
        "loop_wait": 10,
        "retry_timeout": 10,
        "synchronous_mode": False,
        "maximum_lag_on_failover": 33554432,
        "slots": {"permanent": {"type": "physical"}},
        "pg_hba": ["local all all trust", "hostssl all all all md5"],
    },
    initContainers=[{"name": "date", "image": "busybox", "command": ["/bin/date"]}],
    sidecars=[{"name": "telegraf", "image": "telegraf:latest", "env": [{"name": "USEFUL", "value": "perhaps"}]}],
)
CLUSTERS = (MINIMAL, COMPLETE)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What nobody may touch. Keys are `kind/name`."""

    pods: dict[str, tuple[str, int]]  # uid and restarts
    marked: tuple[str, ...]  # pods that the reference would roll
    templates: dict[str, Json]
    revisions: frozenset[str]
    stateful_sets: dict[str, str]  # uids
    claims: dict[str, str]
    passwords: dict[str, Json]

    @classmethod
    def of(cls, plane: Plane) -> Snapshot:
        found: dict[str, list[Json]] = {}
        for item in plane.items("pods,statefulsets,controllerrevisions,persistentvolumeclaims,secrets", NAMESPACE):
            found.setdefault(item["kind"], []).append(item)
        pods, sets = found.get("Pod", []), found.get("StatefulSet", [])
        return cls(
            pods={_name(pod): (pod["metadata"]["uid"], _restarts(pod)) for pod in pods},
            marked=tuple(_name(p) for p in pods if (p["metadata"].get("annotations") or {}).get(FLAG) == "true"),
            templates={_name(s): s["spec"]["template"] for s in sets},
            revisions=frozenset(map(_name, found.get("ControllerRevision", []))),
            stateful_sets={_name(s): s["metadata"]["uid"] for s in sets},
            claims={_name(c): c["metadata"]["uid"] for c in found.get("PersistentVolumeClaim", [])},
            passwords={_name(s): s["data"] for s in found.get("Secret", [])},
        )

    def changes(self, later: Snapshot) -> list[str]:
        """What is another in `later`, each as a line to read; a Secret's contents are not shown."""
        said = [
            f"pod {name}: {was} → {later.pods.get(name, 'gone')}"
            for name, was in self.pods.items()
            if later.pods.get(name) != was
        ]
        said += [f"pod {name} is marked for a rolling update" for name in later.marked]
        said += [f"revision {name} is new" for name in sorted(later.revisions - self.revisions)]
        for what in ("stateful_sets", "claims", "templates", "passwords"):
            before, after = getattr(self, what), getattr(later, what)
            for name, was in before.items():
                if after.get(name) != was:
                    shown = "" if what == "passwords" else f": {json.dumps(was)} → {json.dumps(after.get(name))}"
                    said.append(f"{what}: {name} is another{shown}")
        return said


def _name(item: Json) -> str:
    name: str = item["metadata"]["name"]
    return name


def _restarts(pod: Json) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses") or ())


def phases(plane: Plane) -> dict[str, str]:
    return {
        item["metadata"]["name"]: (item.get("status") or {}).get("PostgresClusterStatus", "")
        for item in plane.items("postgresql", NAMESPACE)
    }


def until_running(plane: Plane, running: Running, clusters: int, within_s: float = 180) -> None:
    """Until every cluster is said to run."""
    until(
        lambda: running.check() is None and list(phases(plane).values()).count("Running") == clusters,
        lambda: f"phases {phases(plane)}; {running.said()[-3000:]}",
        within_s=within_s,
        every_s=0.5,
    )


def until_quiet(plane: Plane, user: str, *, within_s: float = 60) -> list[str]:
    """Until an operator has written nothing for some seconds; what it wrote from now on, as `verb kind name`."""
    log, wrote, last, began = plane.audit, list[str](), time.monotonic(), time.monotonic()
    log.skip()
    while time.monotonic() - last < QUIET_S:
        for request in log.read():
            if request.user == user and request.is_write and request.kind not in ("leases", "events"):
                wrote.append(f"{request.verb} {request.resource} {request.name} {request.code}")
                last = time.monotonic()
        assert time.monotonic() - began < within_s, f"{user} does not come to rest: {wrote[-20:]}"
        time.sleep(0.5)
    return wrote


def until_taken(plane: Plane, operator: Howdah, running: Running) -> None:
    """Until howdah has looked at every cluster and rests."""
    until(lambda: operator.passes(running) >= len(CLUSTERS), running.said, within_s=60)
    until_quiet(plane, operator.user)


def annotate(plane: Plane, name: str, *annotations: str) -> None:
    plane.kubectl("annotate", "postgresql", name, "-n", NAMESPACE, "--overwrite", *annotations)


def patch(plane: Plane, name: str, spec: Json) -> None:
    plane.kubectl("patch", "postgresql", name, "-n", NAMESPACE, "--type=merge", "-p", json.dumps({"spec": spec}))
