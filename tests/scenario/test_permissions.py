"""The operator with exactly the rights that `howdah rbac` prints, and with one of them taken away.

Every scenario runs with these rights (`world.rights`): a call without a row is refused, and its story fails with the API
server's sentence. Here: each right is used, and without it the operator says so, harms nothing and recovers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import structlog

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRESQLS
from howdah.controller import configuration
from howdah.controller.registration import Times, register
from howdah.core.permissions import GRANTS, Grant, Installation, Place, roles
from howdah.kube.election import LeaderElection
from howdah.kube.errors import Forbidden
from howdah.kube.lease import LeaseTimes
from howdah.kube.resources import (
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.permissions import Ask
from howdah.model import names
from scenario.test_lifecycle import BAD_IMAGE, ENV, asyncio_sleep
from scenario.world.world import NAMESPACE, PERSON, World, rights, secret_name, simulate

Story = Callable[[World], Awaitable[None]]
AT_ONCE = Times(first_pause_s=0.01)
ROLE_ARN = "arn:aws:iam::1:role/pods"


@dataclass(frozen=True, slots=True)
class Lack:
    """One verb of one right, taken away."""

    grant: Grant
    verb: str

    def __str__(self) -> str:
        named = "-of-its-name" if self.grant.names else ""
        return f"{self.grant.place}-{self.verb}-{self.grant.resource.replace('/', '-')}{named}"

    @property
    def left(self) -> tuple[Grant, ...]:
        """All other rights."""
        lesser = replace(self.grant, verbs=tuple(verb for verb in self.grant.verbs if verb != self.verb))
        return tuple(lesser if grant is self.grant else grant for grant in GRANTS)


LACKS = tuple(Lack(grant, verb) for grant in GRANTS for verb in grant.verbs if not grant.unproved)
OF_A_CLUSTER = (Place.WATCHED, Place.NODES)
OF_CLUSTERS = tuple(lack for lack in LACKS if lack.grant.place in OF_A_CLUSTER)
OF_THE_PROCESS = tuple(lack for lack in LACKS if lack.grant.place not in OF_A_CLUSTER)


# What makes the operator use every right. Nothing here waits for success, so that it goes on without a right.


async def changes_and_goes(world: World) -> None:
    world.change("acid-a", env=ENV, volume={"size": "2Gi"}, users={"late": []})
    world.create("acid-b", numberOfInstances=2)
    await asyncio_sleep(world, 90.0)
    for kind, name in ((SERVICES, "acid-a"), (POD_DISRUPTION_BUDGETS, "postgres-acid-a-pdb")):
        world.remove(kind, name)
    world.edit_password("acid-a", "postgres", "edited")
    await asyncio_sleep(world, 120.0)
    world.edit(SERVICES, "acid-a-repl", {"spec": {"selector": {"spilo-role": "other"}}})
    world.edit(POD_DISRUPTION_BUDGETS, "postgres-acid-a-pdb", {"spec": {"minAvailable": 7}})
    world.change("acid-a", numberOfInstances=2)
    world.delete("acid-b")
    await asyncio_sleep(world, 90.0)


async def repairs_the_pods_account(world: World) -> None:
    for kind in (SERVICE_ACCOUNTS, ROLE_BINDINGS):
        world.remove(kind, "postgres-pod")
        world.server.fail_next(409, "AlreadyExists", verb="create", resource=kind.plural)
    world.change("acid-a", users={"wakes": []})
    await asyncio_sleep(world, 120.0)
    world.edit(SERVICE_ACCOUNTS, "postgres-pod", {"metadata": {"annotations": {names.IRSA_ROLE: "other"}}})
    world.change("acid-a", users={"wakes": None})
    await asyncio_sleep(world, 60.0)


async def meets_what_others_made(world: World) -> None:
    kinds = {
        SERVICES: "acid-d",
        POD_DISRUPTION_BUDGETS: "postgres-acid-d-pdb",
        STATEFUL_SETS: "acid-d",
        ENDPOINTS: "acid-d",
    }
    for kind, name in kinds.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        world.store.create(
            kind,
            {
                "metadata": metadata,
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {"app": "other"}},
                    "template": {"metadata": {}, "spec": {}},
                },
            },
            PERSON,
        )
    metadata = {"name": secret_name("acid-d", "foo_user"), "namespace": NAMESPACE}
    world.store.create(SECRETS, {"metadata": metadata, "data": {"password": "Y2hvc2Vu"}}, PERSON)
    world.create("acid-d", numberOfInstances=1)
    await asyncio_sleep(world, 60.0)
    for kind, name in kinds.items():
        world.remove(kind, name)
    await asyncio_sleep(world, 60.0)


async def loses_its_leader_for_good(world: World) -> None:
    world.change("acid-a", dockerImage=BAD_IMAGE)
    await asyncio_sleep(world, 60.0)
    leader = world.leader("acid-a") or ""
    world.crash(leader)
    world.remove(PODS, leader)
    await asyncio_sleep(world, 60.0)
    world.change("acid-a", dockerImage=None)
    await asyncio_sleep(world, 60.0)


STORIES: tuple[Story, ...] = (
    changes_and_goes,
    repairs_the_pods_account,
    meets_what_others_made,
    loses_its_leader_for_good,
)


@pytest.mark.timeout(400)  # all stories, one after the other
def test_each_right_is_used() -> None:
    asked: set[Ask] = set()
    for story in STORIES:
        for dcs in ("true", "false"):
            simulate(_with_exact_rights(story, dcs, asked))
    asyncio.run(_process(asked))
    unused = [str(lack) for lack in LACKS if all(_permissions(lack).refusal(ask) is None for ask in asked)]
    assert not unused, f"no test makes these calls: take the rights away, or say why in `unproved`: {unused}"


def _with_exact_rights(story: Story, dcs: str, asked: set[Ask]) -> Story:
    async def scenario(world: World) -> None:
        _prepare(world)
        options = _options(dcs)
        world.start_operator(options=options, lag_s=0.3)
        world.create("acid-c", numberOfInstances=1)
        world.create("acid-a", numberOfInstances=3)
        await world.converge("acid-a", "acid-c")
        await story(world)
        await world.converge("acid-a", "acid-c")
        asked.update(_permissions_of(world).asked)

    return scenario


def _prepare(world: World) -> None:
    world.store.create(CONFIGMAPS, {"metadata": {"name": "variables", "namespace": NAMESPACE}, "data": {}}, PERSON)


def _options(dcs: str) -> dict[str, str]:
    variables = f"{NAMESPACE}/variables"
    return {"kubernetes_use_configmaps": dcs, "irsa_role_arn": ROLE_ARN, "pod_environment_configmap": variables}


def _permissions_of(world: World) -> Permissions:
    assert world.server.permissions is not None
    return world.server.permissions


def _permissions(lack: Lack) -> Permissions:
    """The rights without one, of an operator of another namespace; of the whole cluster, where that is needed."""
    watched = None if lack.grant.place is Place.CLUSTER else (NAMESPACE,)
    installation = Installation(namespace="operators", watched=watched, configuration="main", sees_nodes=True)
    return Permissions(roles(installation, lack.left), account=installation.name, namespace="operators")


# Without one right


@pytest.mark.parametrize("lack", OF_CLUSTERS, ids=str)
def test_without_a_right_the_operator_says_so_harms_nothing_and_recovers(lack: Lack) -> None:
    async def scenario(world: World) -> None:
        _prepare(world)
        options = _options("false" if lack.grant.resource == "endpoints" else "true")
        hand = world.start_operator(options=options)
        world.create("acid-a", numberOfInstances=3)
        await world.converge("acid-a")
        hand.die()
        world.server.permissions = rights(lack.left)
        hand = world.start_operator(options=options)
        if lack.grant.resource == "configmaps" and lack.verb == "get":  # what is read once is remembered
            world.create("acid-c", numberOfInstances=1)
        for story in _stories(lack):
            await story(world)
        await _is_felt_and_said(world, lack)
        await _is_patient(world)
        world.server.permissions = rights()
        await world.converge("acid-a", within_s=1800.0)
        assert world.leader("acid-a") is not None
        hand.die()
        world.start_operator(options=options)
        await world.converge("acid-a")
        await world.stays_quiet(120.0)

    simulate(scenario)


def _stories(lack: Lack) -> tuple[Story, ...]:
    """The ones that need the right."""
    asked: dict[Story, set[str]] = {
        repairs_the_pods_account: {"serviceaccounts", "rolebindings"},
        meets_what_others_made: {"statefulsets", "services", "endpoints", "poddisruptionbudgets", "secrets"},
        loses_its_leader_for_good: {"configmaps", "endpoints"},
    }
    return (*(story for story, resources in asked.items() if lack.grant.resource in resources), changes_and_goes)


async def _is_felt_and_said(world: World, lack: Lack) -> None:
    refused = {ask for ask, why in _permissions_of(world).asked.items() if why is not None}
    assert refused, "the story never needs the right"
    sentences = {str(ask) for ask in refused}
    where = {"postgresqls/status": _events(world), "events": world.said}.get(lack.grant.resource, _conditions(world))
    if lack.grant.resource == "postgresqls" and lack.verb in ("list", "watch"):
        where = world.not_ready()
    assert any(sentence in text for sentence in sentences for text in where), f"not said: {sentences}"


def _conditions(world: World) -> list[str]:
    """The message of every condition that any cluster ever had."""
    found = (c.new for c in world.store.history if c.resource == POSTGRESQLS and c.new is not None)
    return [str(c.get("message")) for new in found for c in (new.get("status") or {}).get("conditions") or ()]


def _events(world: World) -> list[str]:
    return [event["message"] for event in world.store.select(EVENTS, None, lambda _: True)]


async def _is_patient(world: World) -> None:
    """What is refused is not asked for again and again. Pauses only grow: what comes later is no more."""
    before = len(world.server.requests)
    await asyncio_sleep(world, 150.0)
    # One of single namespaces may see neither definitions nor nodes; it asks now and then to hear of a change.
    refused = [
        r
        for r in world.server.requests[before:]
        if r.status == 403 and r.resource not in ("customresourcedefinitions", "nodes")
    ]
    assert len(refused) <= 60, f"{len(refused)} refused requests in two and a half minutes"


OTHER_NAME = '{"kind": "RoleBinding", "metadata": {"name": "of-pods"}}'


def test_where_the_role_binding_of_pods_may_not_be_seen_clusters_are_worked_on_and_go_and_the_condition_says_so() -> (
    None
):
    async def scenario(world: World) -> None:
        options = {"pod_service_account_role_binding_definition": OTHER_NAME}
        world.start_operator(options=options)  # with the rights of an installation that does not know this
        world.create("acid-a", numberOfInstances=2)
        await world.until(lambda: world.leader("acid-a") is not None and len(world.pods("acid-a")) == 2, "no cluster")
        world.change("acid-a", numberOfInstances=3)
        await world.until(lambda: len(world.pods("acid-a")) == 3, "not scaled out")
        await world.until(lambda: world.phase("acid-a") == "Running", "not Running")
        said = next(c for c in world.status("acid-a")["conditions"] if c["type"] == "Degraded")
        assert said["reason"] == "NotPermitted"
        assert 'rolebindings.rbac.authorization.k8s.io "of-pods" is forbidden' in said["message"]
        world.delete("acid-a")
        await world.until(lambda: world.resource("acid-a") is None, "not deleted")

    simulate(scenario)


# What a process asks for itself


@asynccontextmanager
async def _kube(asked: set[Ask], permissions: Permissions) -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS) as kube:
        kube.permissions = permissions
        for resource, name in ((OPERATOR_CONFIGURATIONS, "main"), (CONFIGMAPS, "main")):
            metadata = {"name": name, "namespace": "operators"}
            kube.store.create(resource, {"metadata": metadata, "data": {}, "configuration": {}}, PERSON)
        yield kube
        asked.update(permissions.asked)


def _sources() -> tuple[configuration.Source, ...]:
    return tuple(configuration.Source(kind, "operators", "main") for kind in (OPERATOR_CONFIGURATIONS, CONFIGMAPS))


async def _process(asked: set[Ask]) -> None:
    everything = Permissions(
        roles(Installation(namespace="operators", configuration="main")), account="howdah", namespace="operators"
    )
    async with _kube(asked, everything) as kube, kube.client() as client:
        await register(client, ("all",), asyncio.Event(), times=AT_ONCE)
        await register(client, ("all",), asyncio.Event(), times=AT_ONCE)
        for where in _sources():
            await configuration.read(client, where)
        for _ in range(2):
            assert (await _elected(kube)) is None


async def _elected(kube: FakeKubernetes) -> str | None:
    """Whether the Lease was won, while another stood by; else why not."""
    times = LeaseTimes(duration_s=1.5, renew_deadline_s=1.0, retry_s=0.2)
    election, standby = (LeaderElection(kube.access(), "howdah", namespace="operators", times=times) for _ in "ab")
    election.start()
    for _ in range(100):
        await asyncio.sleep(0.02)
        if election.is_leading() or election.last_error is not None:
            break
    said = None if election.is_leading() else str(election.last_error)
    standby.start()
    await asyncio.sleep(0.8)
    assert election.alive
    assert standby.alive
    await standby.stop()
    await election.stop()
    return said


@pytest.mark.parametrize("lack", OF_THE_PROCESS, ids=str)
async def test_a_process_without_a_right_names_it_and_goes_on(lack: Lack, caplog: pytest.LogCaptureFixture) -> None:
    asked: set[Ask] = set()
    permissions = _permissions(lack)
    async with _kube(asked, permissions) as kube, kube.client() as client:
        said = [await _elected(kube), await _elected(kube)]
        with structlog.testing.capture_logs() as logged:
            await register(client, ("all",), asyncio.Event(), times=AT_ONCE)
            await register(client, ("all",), asyncio.Event(), times=AT_ONCE)
        said += [*(str(line) for line in logged), caplog.text]
        for where in _sources():
            try:
                await configuration.read(client, where)
            except Forbidden as error:
                said.append(str(error))
    refused = [str(ask) for ask, why in permissions.asked.items() if why is not None]
    assert refused
    assert any(refused[0] in (text or "") for text in said), said
