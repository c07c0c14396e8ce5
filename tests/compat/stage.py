"""A recorded cluster on an API server, as the reference left it, and our operator let loose on it.

The clock is virtual and the server is in memory (`scenario.world`); the operator is the real one, whole. Members either
stand still (`seat`: for taking over, where nothing may move) or live (`grow`: for updates, where they are replaced).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import structlog

from compat.compare import Case, Id, cluster_of, documents
from howdah.adapters.kubernetes import POSTGRESQLS, RESOURCES
from howdah.adapters.patroni import Endpoint, Patroni
from howdah.controller.main import Edges, Operator, Options
from howdah.controller.metrics import Metrics
from howdah.core.permissions import Installation, roles
from howdah.kube.resources import (
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    STATEFUL_SETS,
    Resource,
)
from howdah.kube.testing import FakeKubernetes, Permissions, Request
from howdah.kube.testing.patches import merge_patched
from howdah.kube.testing.store import Writer
from howdah.local.apiserver.defaulting import apply_defaults
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.settings import Settings
from scenario.world.clock import OWNER, VirtualLoop, now
from scenario.world.hand import Hand
from scenario.world.kubernetes import Machinery
from scenario.world.patroni import SimulatedPatroni
from scenario.world.sql import SimulatedServers
from scenario.world.wire import SimulatedClient
from scenario.world.world import AlwaysLeading

FABRIC_EVENT_STREAMS = Resource("zalando.org", "v1", "fabriceventstreams", "FabricEventStream")
KINDS = {**RESOURCES, "Deployment": DEPLOYMENTS, "CronJob": CRON_JOBS, "FabricEventStream": FABRIC_EVENT_STREAMS}
REFERENCE, PATRONI, PERSON = Writer("postgres-operator"), Writer("Patroni"), Writer("kubectl-client-side-apply")
OF_SPILO = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10, "maximum_lag_on_failover": 33554432}
STEP_S = 0.5
Body = dict[str, Any]
Story = Callable[["Stage"], Awaitable[None]]


def play(case: Case, story: Story) -> None:
    """Run a story from the case's beginning."""
    loop, state = VirtualLoop(), random.getstate()
    random.seed(0)
    asyncio.set_event_loop(loop)
    try:
        with structlog.testing.capture_logs() as said:
            loop.run_until_complete(_played(Stage(case), story))
        assert not [line for line in said if "by a bug" in line["event"]], said
    finally:
        random.setstate(state)
        asyncio.set_event_loop(None)
        loop.close()


async def _played(stage: Stage, story: Story) -> None:
    try:
        await story(stage)
    finally:
        for hand in stage.hands:
            hand.die()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Stage:
    """The world of one case. `case` is as of the step that was played last."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.server = FakeKubernetes(POSTGRESQLS, FABRIC_EVENT_STREAMS, clock=now)
        self.store = self.server.store
        self.machinery = Machinery(self.store)
        self.hands: list[Hand] = []
        self.commands: list[str] = []
        """Asked of Patroni: verb and member."""
        self.cluster: Cluster = cluster_of(case)
        self.server.permissions = self._exact_rights()
        self.uid = ""
        self._hurry: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def _exact_rights(self) -> Permissions:
        """What `howdah rbac` gives an operator of every namespace with the case's settings, and no more."""
        named = Installation(
            namespace=self.key[0],
            pod_account=self.settings.pod_service_account_name,
            role_binding=self.settings.pod_service_account_role_binding_definition,
        )
        return Permissions(roles(named), account=named.name, namespace=named.namespace)

    # the reference's work

    def load(self) -> None:
        """A node, the resource, what people made, and all that the reference made from it."""
        self.machinery.join(nodes=1)
        manifest = self.case.manifest
        metadata = {key: value for key, value in manifest["metadata"].items() if key not in ("uid", "generation")}
        made = self.store.create(POSTGRESQLS, {**manifest, "metadata": metadata}, PERSON)
        self.uid = made["metadata"]["uid"]
        said = {"status": {"PostgresClusterStatus": "Running"}}
        self.patch(POSTGRESQLS, self.key, said, Writer("postgres-operator", subresource="status"))
        for body in documents(self.case.folder / "extra.yaml"):
            self.make(body, PERSON)
        for body in self.recorded("objects"):
            if not self._is_of_others(body):
                self.make(body, REFERENCE)

    def recorded(self, what: str, number: int = 1) -> list[Body]:
        """The documents of a step, with this resource's uid."""
        suffix = f"-{number}" if number > 1 else ""
        found = documents(self.case.folder / f"{what}{suffix}.yaml")
        if number > 1 and not found:
            return self.recorded(what, number - 1)
        text = json.dumps(found).replace('"UID"', f'"{self.uid}"').replace("/UID", f"/{self.uid}")
        bodies: list[Body] = json.loads(text)
        return bodies

    def _is_of_others(self, body: Body) -> bool:
        name, cluster = body["metadata"]["name"], self.cluster.names
        is_patronis = (body["kind"], name) in cluster.patroni_objects and name != cluster.leader_service
        return is_patronis or body["kind"] in ("Pod", "PersistentVolumeClaim")

    def make(self, body: Body, writer: Writer) -> None:
        resource = KINDS.get(body["kind"])
        if resource is None:  # such as a PostgresTeam: nobody reads it here
            return
        whole = _with_empty_values(body)
        whole["metadata"].setdefault("namespace", self.case.name)
        if body["kind"] != "FabricEventStream":
            apply_defaults(f"{resource.plural}.{resource.group}".removesuffix("."), whole)
        self.store.create(resource, whole, writer)

    # members that stand still

    def seat(self) -> None:
        """Pods, claims and Patroni's objects, all well, as recorded after the creation."""
        (status,) = self.recorded("status")
        changed = {(b["kind"], b["metadata"]["name"]): b["metadata"] for b in self.recorded("objects")}
        owner = self.store.find(STATEFUL_SETS, *self.key)
        if owner is None or not status.get("pods"):
            return
        template = owner["spec"]["template"]
        revision = f"{self.key[1]}-r1"
        labels = template["metadata"].get("labels") or {}
        data = {"spec": {"template": template}}
        self._seed(CONTROLLER_REVISIONS, revision, {"labels": labels}, {"data": data, "revision": 1})
        for ordinal, (name, said) in enumerate(status["pods"].items()):
            self._seat_member(ordinal, name, said, template, revision)
        for name, size in (status.get("claims") or {}).items():
            claim = self.cluster.volume.claim_template["metadata"]
            own = changed.get(("PersistentVolumeClaim", name), {})
            metadata = {"labels": claim["labels"], "annotations": {**(own.get("annotations") or {}), **FOREIGN}}
            self._seed(
                PERSISTENT_VOLUME_CLAIMS, name, metadata, {"spec": {"resources": {"requests": {"storage": size}}}}
            )
        self._seat_patroni(changed)

    def _seat_member(self, ordinal: int, name: str, said: Body, template: Body, revision: str) -> None:
        leads = said["role"] == "master"
        role = ("standby_leader" if self.cluster.is_standby else "primary") if leads else "replica"
        heartbeat = {
            "role": role,
            "state": "running",
            "api_url": f"http://10.0.0.{ordinal + 1}:8008/patroni",
            "timeline": 1,
            "xlog_location": 1000,
            **({} if leads else {"replication_state": "streaming"}),
        }
        labels = {**template["metadata"]["labels"], self.cluster.labels.role_key: said["role"]}
        metadata = {
            "labels": {**labels, names.REVISION_LABEL: revision},
            "annotations": {**(said.get("annotations") or {}), "status": json.dumps(heartbeat)},
        }
        status = {
            "phase": "Running",
            "podIP": f"10.0.0.{ordinal + 1}",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "postgres", "ready": True, "state": {"running": {}}}],
        }
        self._seed(PODS, name, metadata, {"spec": template["spec"], "status": status})

    def _seat_patroni(self, changed: Mapping[tuple[str, str], Body]) -> None:
        cluster = self.cluster
        if cluster.dcs == "etcd":
            return
        leader = next((p["metadata"]["name"] for p in self.pods() if self._leads(p)), "")
        says = {
            cluster.names.config_object: {"config": json.dumps(self._dynamic()), "initialize": "7000"},
            cluster.names.leader_object: {"leader": leader, "ttl": "30", "renewTime": now().isoformat()},
            ("Service", cluster.names.config_service): {},
        }
        for kind, name in cluster.names.patroni_objects:
            own = changed.get((kind, name), {})
            annotations = {**(own.get("annotations") or {}), **(says.get((kind, name)) or {})}
            if (kind, name) not in says:
                continue
            if self.store.find(RESOURCES[kind], self.key[0], name) is not None:  # the leader's Endpoints
                subsets = {"metadata": {"annotations": annotations}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}
                self.patch(RESOURCES[kind], (self.key[0], name), subsets, PATRONI)
                continue
            metadata = {"labels": dict(cluster.labels.selector), "annotations": annotations}
            owners = {"ownerReferences": own["ownerReferences"]} if "ownerReferences" in own else {}
            self._seed(RESOURCES[kind], name, metadata | owners, {})
        self._keeping = asyncio.ensure_future(self.keep_lock())

    async def keep_lock(self) -> None:
        """Members that stand still have a leader that renews its lock, as all do."""
        kind, name = self.cluster.names.leader_object
        while self.store.find(RESOURCES[kind], self.key[0], name) is not None:
            renewed = {"metadata": {"annotations": {"renewTime": now().isoformat()}}}
            self.patch(RESOURCES[kind], (self.key[0], name), renewed, PATRONI)
            await asyncio.sleep(10)

    def _leads(self, pod: Body) -> bool:
        return bool(pod["metadata"]["labels"].get(self.cluster.labels.role_key) == "master")

    def _dynamic(self) -> Body:
        """Spilo's defaults, the bootstrap section, and what the reference asked of Patroni later."""
        asked: Any = {**OF_SPILO, **(self.cluster.spilo["bootstrap"].get("dcs") or {})}
        later = "" if self.case.facts.get("steps") else "*"  # the pass after the creation belongs to it
        for file in sorted(self.case.folder.glob(f"patroni{later}.json")):
            for request in json.loads(file.read_text()):
                if request["request"] == "PATCH /config":
                    asked = merge_patched(asked, request["body"])
        found: Body = asked
        return found

    def _seed(self, resource: Resource, name: str, metadata: Body, rest: Body) -> None:
        body = {"metadata": {"name": name, "namespace": self.key[0], **metadata}, **rest}
        self.store.seed(resource, body)

    # members that live

    async def grow(self) -> None:
        """StatefulSet controller, kubelet and Patroni make the cluster from the reference's objects."""
        self._hurry = asyncio.ensure_future(self._turn())
        wanted = self.cluster.instances
        await self.until(lambda: sum(m.state == "running" for m in self.machinery.machines.values()) == wanted)
        await self.until(lambda: self.is_well(wanted))
        (status,) = self.recorded("status")
        leader = next((name for name, said in (status.get("pods") or {}).items() if said["role"] == "master"), None)
        assert leader == self.leader()

    def is_well(self, wanted: int) -> bool:
        machines = tuple(self.machinery.machines.values())
        return len(machines) == wanted and all(m.leads or m.is_streaming for m in machines)

    async def _turn(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            self.machinery.step(asyncio.get_running_loop().time())

    def leader(self) -> str | None:
        found = self.machinery.dcs_of(*self.key).leading()
        return found.pod if found is not None else None

    def hand_over(self, candidate: str) -> None:
        """Somebody asks Patroni for a switchover."""
        dcs, now_s = self.machinery.dcs_of(*self.key), asyncio.get_running_loop().time()
        leader, target = dcs.leading(), next(m for m in dcs.machines() if m.pod == candidate)
        assert leader is not None
        leader.demote(now_s)
        dcs.take_lock(target, now_s)

    # our operator

    def start_operator(self) -> Hand:
        """A process, which believes that it leads; an earlier one is killed."""
        for hand in self.hands:
            hand.die()
        hand = Hand(f"operator-{len(self.hands)}")
        self.hands.append(hand)
        token = OWNER.set(hand)
        try:
            asyncio.get_running_loop().create_task(self._operate(hand))
        finally:
            OWNER.reset(token)
        return hand

    async def _operate(self, hand: Hand) -> None:
        client = self.client(hand)
        edges = Edges(
            postgres=SimulatedServers(hand, self.machinery.machine_at),
            election=lambda gained, lost: AlwaysLeading(gained, lost),
            clock=now,
            when_full=lambda: None,
        )
        environment = {"OPERATOR_NAMESPACE": self.key[0], **(self.case.facts.get("env") or {})}
        operator = Operator(client, Options(client.access, environment), self.settings, Metrics(), edges)
        await operator.work(self._patroni(hand), asyncio.create_task(asyncio.sleep(1e9)))

    def client(self, hand: Hand) -> SimulatedClient:
        return SimulatedClient(self.server, hand, lambda *_: None, lambda *_: 1)

    @property
    def settings(self) -> Settings:
        """The case's, without SQL (which has tests of its own), and seeing other namespaces."""
        return replace(self.case.settings, enable_database_access=False, watched_namespace="*")

    def _patroni(self, hand: Hand) -> Patroni:
        if self._hurry is None:
            return StillPatroni(self)
        return SimulatedPatroni(
            hand,
            self.machinery.machine_at,
            self.machinery.dcs,
            lambda _, verb, machine: self.commands.append(f"{verb} {machine.pod}"),
        )

    # waiting and looking

    async def until(self, holds: Callable[[], bool], within_s: float = 600.0) -> None:
        ends_s = asyncio.get_running_loop().time() + within_s
        while not holds():
            assert asyncio.get_running_loop().time() < ends_s, "it does not happen"
            await asyncio.sleep(STEP_S)

    async def settled(self, quiet_s: float = 40.0, within_s: float = 900.0) -> None:
        """Until nothing has been written for a while."""
        loop = asyncio.get_running_loop()
        ends_s, since_s, seen = loop.time() + within_s, loop.time(), len(self.writes())
        while loop.time() - since_s < quiet_s:
            assert loop.time() < ends_s, f"still written to: {self.writes()[-3:]}"
            await asyncio.sleep(1.0)
            if len(self.writes()) != seen:
                seen, since_s = len(self.writes()), loop.time()

    @property
    def key(self) -> tuple[str, str]:
        return self.case.name, self.case.manifest["metadata"]["name"]

    def pods(self) -> list[Body]:
        found = self.store.select(PODS, self.key[0], lambda _: True)
        return [pod for pod in found if pod["metadata"]["name"].startswith(f"{self.key[1]}-")]

    def writes(self) -> list[Request]:
        """What our operator asked to change, without events."""
        return [request for request in self.server.writes() if request.resource not in ("events", "leases")]

    def refused(self) -> list[str]:
        """What our operator asked and may not do."""
        assert self.server.permissions is not None
        return [str(ask) for ask, why in self.server.permissions.asked.items() if why is not None]

    def objects(self) -> Iterator[tuple[Id, Body]]:
        """Everything but events that there is in the cluster's namespace and those of its Secrets."""
        for kind, resource in KINDS.items():
            for body in self.store.select(resource, None, lambda _: True):
                yield (kind, body["metadata"]["namespace"], body["metadata"]["name"]), body

    def patch(self, resource: Resource, key: tuple[str, str], patch: Body, writer: Writer) -> None:
        self.store.patch(resource, key, lambda live: dict(merge_patched(live, patch)), writer)


def _with_empty_values(value: Any) -> Any:
    """A copy in which a variable without a value has the empty one, as it was sent."""
    if isinstance(value, list):
        return [_with_empty_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    copied = {key: _with_empty_values(below) for key, below in value.items()}
    for entry in copied.get("env") or ():
        if "valueFrom" not in entry:
            entry.setdefault("value", "")
    return copied


FOREIGN = {"pv.kubernetes.io/bind-completed": "yes"}
"""What every real claim carries."""


class StillPatroni(Patroni):
    """Takes a patch of the configuration, and notes everything."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    async def patch_config(self, endpoint: Endpoint, patch: Mapping[str, Any]) -> Body:
        stage = self._stage
        stage.commands.append("patch_config")
        kind, name = stage.cluster.names.config_object
        live = stage.store.read(RESOURCES[kind], stage.key[0], name)
        merged: Any = merge_patched(json.loads(live["metadata"]["annotations"]["config"]), dict(patch))
        annotations = {"metadata": {"annotations": {"config": json.dumps(merged)}}}
        stage.patch(RESOURCES[kind], (stage.key[0], name), annotations, PATRONI)
        found: Body = merged
        return found

    async def switchover(self, endpoint: Endpoint, *, leader: str, candidate: str, scheduled_at: str = "") -> str:
        self._stage.commands.append(f"switchover {leader}")
        return ""

    async def restart(self, endpoint: Endpoint, *, only_pending: bool = True) -> str:
        self._stage.commands.append("restart")
        return ""
