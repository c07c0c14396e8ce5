"""The simulated world: an API server, its controllers, a kubelet, Patroni, PostgreSQL, people, and operators that die.

    def test_it():
        simulate(scenario, seed=1)      # async def scenario(world: World) -> None

Everything runs in one loop with a clock of its own. A scenario fails with every breach that the monitor saw, and with what
the operators logged.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import structlog

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.main import Edges, Operator, Options
from howdah.controller.metrics import Metrics
from howdah.core.permissions import GRANTS, Grant, Installation, roles
from howdah.kube.errors import KubeError
from howdah.kube.resources import NODES, PODS, SECRETS, STATEFUL_SETS, Resource
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.patches import merge_patched
from howdah.kube.testing.store import Writer
from howdah.model import names
from howdah.model.settings import Settings, settings_from_configmap
from scenario.world.clock import OWNER, VirtualLoop, now
from scenario.world.hand import Hand
from scenario.world.kubernetes import Machinery, secret_value
from scenario.world.members import Machine
from scenario.world.monitor import Monitor
from scenario.world.patroni import SimulatedPatroni
from scenario.world.sql import SimulatedServers
from scenario.world.wire import SimulatedClient

STEP_S = 0.5
NODES_THERE = 4
NAMESPACE, OPERATORS = "team", "operators"
PERSON = Writer("kubectl")
CONVERGE_S = 900.0
QUIET_S = 45.0
"""So long nothing is written before a cluster counts as converged: longer than any wait of a plan but the back-off."""

Scenario = Callable[["World"], Awaitable[None]]
Object = dict[str, Any]


def simulate(scenario: Scenario, *, seed: int = 0) -> None:
    """Run a scenario to its end; the same seed makes the same run."""
    state = random.getstate()
    random.seed(seed)
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    said: list[str] = []
    try:
        with structlog.testing.capture_logs(processors=[_Teller(said, loop)]):
            loop.run_until_complete(_run(scenario, said))
    finally:
        random.setstate(state)
        asyncio.set_event_loop(None)
        loop.close()


class _Teller:
    """Keeps what is logged as lines, with the world's time."""

    def __init__(self, said: list[str], loop: VirtualLoop) -> None:
        self._said, self._loop = said, loop

    def __call__(self, _: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        fields = {key: value for key, value in event.items() if key not in ("event", "exc_info", "namespace") and value}
        line = f"{self._loop.time():10.3f} {getattr(OWNER.get(), 'name', '')} {method} {event['event']} {fields}"
        if event.get("exc_info"):
            line += f" {event['exc_info']!r}"
        self._said.append(line)
        return event


async def _run(scenario: Scenario, said: list[str]) -> None:
    world = World()
    world.said = said
    task = asyncio.ensure_future(world.turn())
    try:
        await scenario(world)
    except Exception as error:
        raise AssertionError(_report(world, said, error)) from error
    finally:
        for hand in world.hands:
            hand.die()
        task.cancel()
        await asyncio.gather(
            *(t for t in asyncio.all_tasks() if t is not asyncio.current_task()), return_exceptions=True
        )
    bugs = [line for line in said if "by a bug" in line]
    if world.monitor.breaches or bugs:
        raise AssertionError(_report(world, said, None))


def _report(world: World, said: list[str], error: Exception | None) -> str:
    parts = [str(error)] if error is not None else []
    parts += ["breaches:", *world.monitor.breaches] if world.monitor.breaches else []
    parts += ["bugs:", *(line for line in said if "by a bug" in line)]
    for hand in world.hands:
        parts += [f"last writes of {hand.name}:", *hand.writes[-15:]]
    return "\n".join([*parts, "done by people:", *world.done, "log:", *said[-60:]])


class World:
    """Everything but the operators' own code. Methods named as verbs are what people, kubelets or chance do."""

    def __init__(self) -> None:
        self.server = FakeKubernetes(POSTGRESQLS, clock=now)
        self.server.permissions = rights()
        self.store = self.server.store
        self.machinery = Machinery(self.store)
        self.machinery.join(NODES_THERE)
        self.monitor = Monitor(self.store, self.machinery)
        self.hands: list[Hand] = []
        self.operators: list[Operator] = []
        self.done: list[str] = []
        self.said: list[str] = []
        """What the operators logged, as lines."""

    async def turn(self) -> None:
        """The world goes on, whoever watches."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(STEP_S)
            self.machinery.step(loop.time())
            self.monitor.step(loop.time())

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _note(self, text: str) -> None:
        self.done.append(f"{self.now_s:10.3f} {text}")

    # operators

    def start_operator(
        self,
        *,
        lag_s: float = 0.0,
        observe_only: bool = False,
        kill_after: int | None = None,
        options: Mapping[str, str] | None = None,
        on_death: Callable[[Hand], None] = lambda hand: None,
        edges: Callable[[Edges], Edges] = lambda edges: edges,
    ) -> Hand:
        """One more operator process, which believes that it leads, unless `edges` says otherwise."""
        hand = Hand(f"operator-{len(self.hands)}", lag_s, kill_after, observe_only, on_death, started_s=self.now_s)
        self.hands.append(hand)
        self.monitor.operators_since = self.now_s
        self._note(f"{hand.name} starts (lag {lag_s:g} s, kill after {kill_after})")
        own = {"watched_namespace": NAMESPACE, "enable_teams_api": "false"}
        settings = settings_from_configmap({**own, **(options or {})})[0]
        token = OWNER.set(hand)
        try:
            asyncio.get_running_loop().create_task(self._operate(hand, settings, edges))
        finally:
            OWNER.reset(token)
        return hand

    async def _operate(self, hand: Hand, settings: Settings, edges_of: Callable[[Edges], Edges]) -> None:
        client = SimulatedClient(self.server, hand, self.monitor.judge, self._psql)
        edges = Edges(
            postgres=SimulatedServers(hand, self.machinery.machine_at),
            election=lambda gained, lost: AlwaysLeading(gained, lost),
            clock=now,
            when_full=lambda: None,
            now_and_then=lambda: None,
        )
        options = Options(client.access, {"OPERATOR_NAMESPACE": OPERATORS}, observe_only=hand.observe_only)
        operator = Operator(client, options, settings, Metrics(), edges_of(edges))
        self.operators.append(operator)
        patroni = SimulatedPatroni(hand, self.machinery.machine_at, self.machinery.dcs, self.monitor.command)
        await operator.work(patroni, asyncio.create_task(hand.told_to_end.wait()))

    def restart_operator(self, hand: Hand) -> Hand:
        """kill -9, and a new process."""
        hand.die()
        return self.start_operator(lag_s=hand.lag_s)

    def _psql(self, namespace: str, pod: str, script: bytes) -> int:
        machine = next((m for m in self.machinery.machines.values() if (m.namespace, m.pod) == (namespace, pod)), None)
        if machine is None or machine.contents is None or not machine.accepts_writes:
            return 1
        head, _, verifier = script.decode().rpartition(" PASSWORD ")
        machine.contents.set_verifier(head.rpartition("ALTER ROLE ")[2].strip().strip('"'), verifier.strip(" ;\n'"))
        return 0

    # people

    def create(self, name: str = "acid-a", **spec: Any) -> str:
        """A new resource; `spec` as in `change`."""
        self._note(f"create {name} {spec}")
        body = {
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": merge_patched(copy.deepcopy(SPEC), {"teamId": name.partition("-")[0], **spec}),
        }
        self.store.create(POSTGRESQLS, body, PERSON)
        return name

    def change(self, name: str, **spec: Any) -> None:
        """A merge patch of the spec."""
        self._note(f"change {name} {spec}")
        self._patch(POSTGRESQLS, name, {"spec": spec})

    def annotate(self, name: str, key: str, value: str | None) -> None:
        self._note(f"annotate {name} {key}={value}")
        self._patch(POSTGRESQLS, name, {"metadata": {"annotations": {key: value}}})

    def delete(self, name: str) -> None:
        self._note(f"delete {name}")
        if self.store.find(POSTGRESQLS, NAMESPACE, name) is not None:
            self.store.delete(POSTGRESQLS, (NAMESPACE, name))

    def remove(self, resource: Resource, name: str, *, propagation: str = "", grace_s: int | None = None) -> None:
        """Somebody deletes an object of the cluster."""
        self._note(f"remove {resource.kind} {name} {propagation}")
        if self.store.find(resource, NAMESPACE, name) is not None:
            self.store.delete(resource, (NAMESPACE, name), propagation=propagation, grace_s=grace_s)

    def edit(self, resource: Resource, name: str, patch: Object) -> None:
        self._note(f"edit {resource.kind} {name} {patch}")
        if self.store.find(resource, NAMESPACE, name) is not None:
            self._patch(resource, name, patch)

    def edit_password(self, name: str, user: str, password: str) -> None:
        secret = secret_name(name, user)
        self.edit(SECRETS, secret, {"data": {"password": base64.b64encode(password.encode()).decode()}})

    def _patch(self, resource: Resource, name: str, patch: Object) -> None:
        self.store.patch(resource, (NAMESPACE, name), lambda live: dict(merge_patched(live, patch)), PERSON)

    # chance

    def crash(self, pod: str) -> None:
        """Its processes die; the kubelet starts them again."""
        self._note(f"crash {pod}")
        machine = next((m for m in self.machinery.machines.values() if m.pod == pod and m.state != "down"), None)
        if machine is not None:
            self.machinery.crash(machine, self.now_s)

    def cordon(self, node: str, *, is_cordoned: bool = True) -> None:
        self._note(f"{'cordon' if is_cordoned else 'uncordon'} {node}")
        patch = {"spec": {"unschedulable": is_cordoned}}
        self.store.patch(NODES, ("", node), lambda live: dict(merge_patched(live, patch)), PERSON)

    def uncordon_all(self) -> None:
        for number in range(1, NODES_THERE + 1):
            self.cordon(f"node-{number}", is_cordoned=False)

    def drain(self, node: str) -> None:
        """As `kubectl drain`: cordon, and evict every pod that its budget lets go."""
        self.cordon(node)
        for pod in self._all_pods():
            is_leader = pod["metadata"]["labels"].get("spilo-role") == "master"
            if pod["spec"].get("nodeName") == node and not is_leader:
                self.remove(PODS, pod["metadata"]["name"])

    def node_of(self, pod: str) -> str:
        found = self.store.find(PODS, NAMESPACE, pod)
        return found["spec"].get("nodeName", "") if found is not None else ""

    def hand_over(self, name: str, candidate: str) -> None:
        """Somebody asks Patroni for a switchover."""
        self._note(f"hand over {name} to {candidate}")
        dcs = self.machinery.dcs_of(NAMESPACE, name)
        leader, target = dcs.leading(), next((m for m in dcs.machines() if m.pod == candidate and m.is_streaming), None)
        if leader is not None and target is not None and leader is not target:
            leader.demote(self.now_s)
            dcs.take_lock(target, self.now_s)

    def machine(self, pod: str) -> Machine:
        """What runs in a pod; change of it what a fault would."""
        return next(m for m in self.machinery.machines.values() if m.pod == pod and m.state != "down")

    # looking

    def pods(self, name: str) -> list[Object]:
        fits = lambda pod: pod["metadata"]["labels"].get("cluster-name") == name  # noqa: E731
        return self.store.select(PODS, NAMESPACE, fits)

    def leader(self, name: str) -> str | None:
        found = self.machinery.dcs_of(NAMESPACE, name).leading()
        return found.pod if found is not None else None

    def resource(self, name: str) -> Object | None:
        return self.store.find(POSTGRESQLS, NAMESPACE, name)

    def status(self, name: str) -> Object:
        return dict((self.resource(name) or {}).get("status") or {})

    def phase(self, name: str) -> str:
        return str(self.status(name).get("PostgresClusterStatus", ""))

    def writes(self) -> int:
        return sum(len(hand.writes) for hand in self.hands)

    def not_ready(self) -> list[str]:
        """What `/readyz` says of each operator that is not ready."""
        return [why for operator in self.operators if (why := operator.why_not_ready()) is not None]

    def events_written(self) -> int:
        return sum(1 for request in self.server.requests if request.resource == "events" and request.is_write)

    # waiting

    async def until(self, holds: Callable[[], bool], why: str, *, within_s: float = 300.0) -> None:
        """Until it holds, or the scenario fails."""
        ends_s = self.now_s + within_s
        while not holds():
            assert self.now_s < ends_s, f"not within {within_s:g} s: {why}"
            await asyncio.sleep(0.25)

    async def converge(self, *clusters: str, within_s: float = CONVERGE_S, expected: bool = True) -> None:
        """Until nothing has been written for a while, and then every cluster is what its resource says."""
        ends_s, seen, since_s = self.now_s + within_s, self.writes(), self.now_s
        while self.now_s - since_s < QUIET_S:
            assert self.now_s < ends_s, f"still written to after {within_s:g} s"
            await asyncio.sleep(1.0)
            if self.writes() != seen or any(p["metadata"].get("deletionTimestamp") for p in self._all_pods()):
                seen, since_s = self.writes(), self.now_s
        for name in clusters if expected else ():
            wrong = tuple(differing(self, name))
            assert not wrong, f"{name} has come to rest in another state: {'; '.join(wrong)}"

    async def stays_quiet(self, seconds: float = 240.0) -> None:
        """In steady state nothing is written: no object, no status, no event, no command."""
        before = (self.writes(), self.events_written())
        await asyncio.sleep(seconds)
        assert (self.writes(), self.events_written()) == before, "written in steady state"

    async def is_steady(self, *clusters: str) -> None:
        """Converges; then nothing is written, not by a fresh operator either."""
        await self.converge(*clusters)
        await self.stays_quiet(120.0)
        for hand in [hand for hand in self.hands if hand.alive]:
            hand.die()
        self.start_operator()
        await self.stays_quiet(180.0)

    def _all_pods(self) -> list[Object]:
        return self.store.select(PODS, NAMESPACE, lambda _: True)


def rights(grants: Iterable[Grant] = GRANTS, *, sees_nodes: bool = True) -> Permissions:
    """What an operator may do that watches this one namespace: exactly what `howdah rbac` gives it."""
    installation = Installation(namespace=OPERATORS, watched=(NAMESPACE,), sees_nodes=sees_nodes)
    return Permissions(roles(installation, grants), account=installation.name, namespace=OPERATORS)


class AlwaysLeading:
    """An election that is won at once and never lost: a Lease is no fence, and two leaders at once must be harmless."""

    def __init__(self, gained: Callable[[], None], lost: Callable[[], None]) -> None:
        del lost
        self._gained = gained
        self._is_leading = False
        self.last_error: KubeError | None = None

    @property
    def alive(self) -> bool:
        return self._is_leading

    def is_leading(self) -> bool:
        return self._is_leading

    def start(self) -> None:
        self._is_leading = True
        self._gained()

    async def stop(self) -> None:
        self._is_leading = False


SPEC: Object = {
    "numberOfInstances": 2,
    "volume": {"size": "1Gi"},
    "postgresql": {"version": "18"},
    "users": {"zalando": ["superuser", "createdb"], "foo_user": []},
    "databases": {"foo": "zalando"},
}


def secret_name(cluster: str, user: str) -> str:
    template = "{username}.{cluster}.credentials.{tprkind}.{tprgroup}"
    return names.credentials_secret(template, user, cluster)


def differing(world: World, name: str) -> list[str]:
    """What of the world is not as the resource asks; empty when all is well."""
    resource = world.resource(name)
    if resource is None or "deletionTimestamp" in resource["metadata"]:
        return [f"resource {name} is gone or going"]
    wanted: int = resource["spec"]["numberOfInstances"]
    found: list[str] = []
    pods = world.pods(name)
    if len(pods) != wanted:
        found.append(f"{len(pods)} pods, {wanted} are wanted")
    found += [why for pod in pods if (why := world.monitor.unhealthy(pod)) is not None]
    found += [f"{p['metadata']['name']} is not replaced yet" for p in pods if world.monitor._is_due(p)]
    if wanted and world.leader(name) is None:
        found.append("nobody leads")
    if (world.phase(name) or "") != "Running":
        found.append(f"status says {world.phase(name)}: {world.status(name).get('conditions')}")
    if names.DISRUPTION in (resource["metadata"].get("annotations") or {}):
        found.append("the intent of a disruption is still announced")
    if world.store.find(STATEFUL_SETS, NAMESPACE, name) is None:
        found.append("no StatefulSet")
    return found + (_databases_differ(world, name, resource) if wanted else [])


def _databases_differ(world: World, name: str, resource: Object) -> list[str]:
    leader = world.machinery.dcs_of(NAMESPACE, name).leading()
    if leader is None or leader.contents is None:
        return []
    found: list[str] = []
    for user in ("postgres", "standby", *resource["spec"]["users"]):
        secret = world.store.find(SECRETS, NAMESPACE, secret_name(name, user))
        password = secret_value(secret, "password") if secret is not None else None
        if password is None:
            found.append(f"no Secret of {user}")
        elif not leader.contents.accepts(user, password):
            found.append(f"{user} has another password than its Secret")
    missing = set(resource["spec"]["databases"]) - set(leader.contents.databases)
    found += [f"no database {database}" for database in sorted(missing)]
    dynamic = world.machinery.dcs_of(NAMESPACE, name).dynamic()
    live = (dynamic.get("postgresql") or {}).get("parameters") or {}
    asked = resource["spec"]["postgresql"].get("parameters") or {}
    found += [f"parameter {key} is {live.get(key)}" for key, value in asked.items() if str(live.get(key)) != str(value)]
    found += [f"{m.pod} waits for a restart" for m in world.machinery.dcs_of(NAMESPACE, name).machines() if m.pending]
    return found
