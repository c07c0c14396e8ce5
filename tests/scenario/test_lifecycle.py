"""One operator, no faults: what a person asks for happens, safely, and then nothing is written any more.

Each story begins with a cluster that has come to rest, and ends with the claim that it has come to rest again. What must
hold at every moment is the monitor's.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube.resources import (
    CONFIGMAPS,
    EVENTS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)
from howdah.model import names
from scenario.world.world import NAMESPACE, World, secret_name, simulate

Story = Callable[[World, str], Awaitable[None]]

BAD_IMAGE = "registry.example/spilo-18:bad"
GOOD_IMAGE = "registry.example/spilo-18:good"
ENV = [{"name": "LANG", "value": "C"}]


async def scales_out(world: World, name: str) -> None:
    world.change(name, numberOfInstances=4)


async def scales_in(world: World, name: str) -> None:
    world.change(name, numberOfInstances=1)
    await world.converge(name)
    assert len(world.pods(name)) == 1


async def scales_in_under_its_leader(world: World, name: str) -> None:
    world.hand_over(name, "acid-a-2")
    await world.until(lambda: world.leader(name) == "acid-a-2", "another member leads")
    await world.converge(name)
    world.change(name, numberOfInstances=1)
    await world.converge(name)
    assert world.leader(name) == "acid-a-0"


async def goes_to_nothing_and_comes_back(world: World, name: str) -> None:
    database = world.machinery.dcs_of(NAMESPACE, name).config()["initialize"]
    world.change(name, numberOfInstances=0)
    await world.until(lambda: not world.pods(name), "all pods go")
    await world.converge(name)
    world.change(name, numberOfInstances=2)
    await world.converge(name)
    assert world.machinery.dcs_of(NAMESPACE, name).config()["initialize"] == database


async def scales_in_under_its_leader_with_a_stateful_set_made_anew(world: World, name: str) -> None:
    before = world.store.read(STATEFUL_SETS, NAMESPACE, name)["metadata"]["uid"]
    world.hand_over(name, "acid-a-2")
    await asyncio_sleep(world, 3.0)
    world.change(name, numberOfInstances=2, volume={"size": "2Gi"})
    await world.converge(name)
    assert world.store.read(STATEFUL_SETS, NAMESPACE, name)["metadata"]["uid"] != before
    assert len(world.pods(name)) == 2


async def reloads_a_parameter(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, postgresql={"parameters": {"work_mem": "8MB"}})
    await world.converge(name)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before


async def restarts_for_a_parameter(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, postgresql={"parameters": {"max_connections": "200"}})
    await world.converge(name)
    world.change(name, postgresql={"parameters": {"max_connections": "50"}})
    await world.converge(name)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before


async def restarts_for_less_and_something_else(world: World, name: str) -> None:
    world.change(name, postgresql={"parameters": {"max_connections": "50", "wal_level": "logical"}})
    await world.converge(name)
    machines = world.machinery.dcs_of(NAMESPACE, name).machines()
    assert all(machine.parameters["max_connections"] == "50" and machine.restarts <= 2 for machine in machines)


async def rolls_for_its_environment(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, env=ENV)
    await world.converge(name)
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in world.pods(name))


async def stops_at_a_bad_image_and_heals(world: World, name: str) -> None:
    leader = world.leader(name)
    world.change(name, dockerImage=BAD_IMAGE)
    await world.until(lambda: world.phase(name) == "UpdateFailed", "the roll stops and says so")
    await world.converge(name, expected=False)
    assert world.leader(name) == leader, "the leader stays while its replacement cannot start"
    assert sum(world.monitor.unhealthy(pod) is not None for pod in world.pods(name)) == 1
    world.change(name, dockerImage=None)


async def takes_several_changes_at_once(world: World, name: str) -> None:
    parameters = {"max_connections": "300", "work_mem": "16MB"}
    world.change(name, env=ENV, numberOfInstances=3, postgresql={"parameters": parameters})
    await asyncio_sleep(world, 5.0)
    world.change(name, users={"late": []}, databases={"later": "late"}, dockerImage=GOOD_IMAGE)
    world.edit_password(name, "standby", "edited")


async def takes_a_users_new_password(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.edit_password(name, "foo_user", "edited")
    await world.converge(name)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before


async def takes_the_replication_roles_new_password(world: World, name: str) -> None:
    world.edit_password(name, "standby", "edited")
    await world.converge(name)
    machines = world.machinery.dcs_of(NAMESPACE, name).machines()
    assert all(machine.standby_password == "edited" for machine in machines)


async def takes_the_superusers_new_password(world: World, name: str) -> None:
    world.edit_password(name, "postgres", "edited")
    await world.converge(name)
    machines = world.machinery.dcs_of(NAMESPACE, name).machines()
    assert all(machine.superuser_password == "edited" for machine in machines)


async def makes_lost_secrets_again(world: World, name: str) -> None:
    for user in ("foo_user", "postgres", "standby"):
        world.remove(SECRETS, secret_name(name, user))


async def repairs_what_people_removed(world: World, name: str) -> None:
    world.remove(SERVICES, name)
    world.remove(SERVICES, f"{name}-repl")
    world.remove(POD_DISRUPTION_BUDGETS, f"postgres-{name}-pdb")


async def repairs_what_people_edited(world: World, name: str) -> None:
    world.edit(SERVICES, name, {"spec": {"selector": {"spilo-role": "replica"}}})
    world.edit(POD_DISRUPTION_BUDGETS, f"postgres-{name}-pdb", {"spec": {"minAvailable": 7}})
    world.edit(STATEFUL_SETS, name, {"metadata": {"labels": {"team": "other"}}, "spec": {"replicas": 2}})
    await world.converge(name)
    service = world.store.read(SERVICES, NAMESPACE, name)
    assert service["spec"]["selector"]["spilo-role"] == "master"
    assert world.store.read(STATEFUL_SETS, NAMESPACE, name)["metadata"]["labels"]["team"] == "acid"


async def makes_an_orphaning_stateful_set_again(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.remove(STATEFUL_SETS, name, propagation="Orphan")
    await world.converge(name)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before


async def survives_the_loss_of_its_stateful_set(world: World, name: str) -> None:
    database = world.machinery.dcs_of(NAMESPACE, name).config()["initialize"]
    world.remove(STATEFUL_SETS, name)
    await world.converge(name)
    assert world.machinery.dcs_of(NAMESPACE, name).config()["initialize"] == database


async def survives_deleted_pods(world: World, name: str) -> None:
    world.remove(PODS, "acid-a-1")
    await world.converge(name)
    world.remove(PODS, "acid-a-0")
    await world.converge(name)
    for pod in world.pods(name):
        world.remove(PODS, pod["metadata"]["name"], grace_s=0)


async def survives_crashes(world: World, name: str) -> None:
    world.crash("acid-a-1")
    await world.converge(name)
    world.crash("acid-a-0")
    await world.converge(name)
    world.crash("acid-a-0")
    world.crash("acid-a-1")
    world.crash("acid-a-2")


async def survives_the_loss_of_its_leader_in_a_roll(world: World, name: str) -> None:
    world.change(name, env=ENV)
    await world.until(lambda: any(p["metadata"].get("deletionTimestamp") for p in world.pods(name)), "the roll begins")
    world.remove(PODS, world.leader(name) or "", grace_s=0)


async def stays_as_it_was_under_an_invalid_manifest(world: World, name: str) -> None:
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, volume={"size": "10 gigs"}, env=ENV, numberOfInstances=1)
    await world.until(lambda: world.phase(name) == "UpdateFailed", "the mistake is said")
    await world.converge(name, expected=False)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before
    world.change(name, volume={"size": "1Gi"}, numberOfInstances=3)


async def does_nothing_while_all_is_paused(world: World, name: str) -> None:
    world.annotate(name, names.PAUSE, "all")
    await asyncio_sleep(world, 2.0)
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, env=ENV, numberOfInstances=4, postgresql={"parameters": {"max_connections": "200"}})
    world.edit_password(name, "standby", "edited")
    world.remove(SERVICES, name)
    await world.converge(name, expected=False)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before
    world.annotate(name, names.PAUSE, None)


async def interrupts_nobody_while_that_is_paused(world: World, name: str) -> None:
    world.annotate(name, names.PAUSE, "disruptive")
    await asyncio_sleep(world, 2.0)
    before = {pod["metadata"]["uid"] for pod in world.pods(name)}
    world.change(name, env=ENV, users={"late": []}, postgresql={"parameters": {"max_connections": "200"}})
    world.remove(SERVICES, name)
    await world.converge(name, expected=False)
    assert {pod["metadata"]["uid"] for pod in world.pods(name)} == before
    assert world.store.find(SERVICES, NAMESPACE, name) is not None
    world.annotate(name, names.PAUSE, None)


async def grows_its_volumes(world: World, name: str) -> None:
    world.change(name, volume={"size": "2Gi"})
    await world.converge(name)
    for claim in world.store.select(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, lambda _: True):
        assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"


async def loses_its_leader_object(world: World, name: str) -> None:
    world.remove(CONFIGMAPS, f"{name}-leader")


async def is_deleted_and_made_again(world: World, name: str) -> None:
    database = world.machinery.dcs_of(NAMESPACE, name).config()["initialize"]
    world.delete(name)
    await world.until(lambda: world.resource(name) is None, "the resource goes")
    left = leftovers(world, name)
    assert not left, f"left behind: {left}"
    world.create(name, numberOfInstances=3)
    await world.converge(name)
    assert world.machinery.dcs_of(NAMESPACE, name).config()["initialize"] != database


def leftovers(world: World, name: str) -> list[str]:
    kinds = (PODS, PERSISTENT_VOLUME_CLAIMS, SECRETS, SERVICES, STATEFUL_SETS, POD_DISRUPTION_BUDGETS, CONFIGMAPS)
    fits = lambda obj: (obj["metadata"].get("labels") or {}).get("cluster-name") == name  # noqa: E731
    return [f"{k.kind} {o['metadata']['name']}" for k in kinds for o in world.store.select(k, NAMESPACE, fits)]


async def asyncio_sleep(world: World, seconds: float) -> None:
    ends_s = world.now_s + seconds
    await world.until(lambda: world.now_s >= ends_s, "time passes")


STORIES: tuple[Story, ...] = (
    scales_out,
    scales_in,
    scales_in_under_its_leader,
    scales_in_under_its_leader_with_a_stateful_set_made_anew,
    goes_to_nothing_and_comes_back,
    reloads_a_parameter,
    restarts_for_a_parameter,
    restarts_for_less_and_something_else,
    rolls_for_its_environment,
    stops_at_a_bad_image_and_heals,
    takes_several_changes_at_once,
    takes_a_users_new_password,
    takes_the_replication_roles_new_password,
    takes_the_superusers_new_password,
    makes_lost_secrets_again,
    repairs_what_people_removed,
    repairs_what_people_edited,
    makes_an_orphaning_stateful_set_again,
    survives_the_loss_of_its_stateful_set,
    survives_deleted_pods,
    survives_crashes,
    survives_the_loss_of_its_leader_in_a_roll,
    stays_as_it_was_under_an_invalid_manifest,
    does_nothing_while_all_is_paused,
    interrupts_nobody_while_that_is_paused,
    grows_its_volumes,
    loses_its_leader_object,
    is_deleted_and_made_again,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_cluster(story: Story) -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        name = world.create(numberOfInstances=3)
        await world.converge(name)
        await story(world, name)
        await world.is_steady(name)

    simulate(scenario)


def test_a_cluster_of_one_member_rolls_in_place() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        name = world.create(numberOfInstances=1)
        await world.converge(name)
        world.change(name, env=ENV)
        await world.converge(name)
        world.edit_password(name, "standby", "edited")
        world.edit_password(name, "postgres", "edited")
        await world.is_steady(name)

    simulate(scenario)


@pytest.mark.parametrize("look", [1, 2, 3])
def test_pods_get_a_password_that_was_changed_when_another_change_had_been_read_already(look: int) -> None:
    """Manifest and Secrets come together where they are kept together."""

    async def scenario(world: World) -> None:
        hand = world.start_operator(lag_s=0.5)
        name = world.create(numberOfInstances=3)
        await world.converge(name)
        reads = 0

        def is_read() -> None:
            nonlocal reads
            reads += 1
            if reads == look:
                world.edit_password(name, "postgres", "edited")

        hand.when_read = is_read
        world.change(name, users={"late": []})
        await world.converge(name)
        machines = world.machinery.dcs_of(NAMESPACE, name).machines()
        assert reads > look
        assert [machine.superuser_password for machine in machines] == ["edited"] * 3
        assert not world.store.select(EVENTS, NAMESPACE, lambda event: event["reason"] == "StepFailed")
        await world.is_steady(name)

    simulate(scenario)


def test_a_first_member_that_cannot_start_is_made_again_when_the_manifest_is_mended() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        name = world.create(dockerImage=BAD_IMAGE)
        await world.until(lambda: world.phase(name) == "CreateFailed", "the failure is said")
        world.change(name, dockerImage=GOOD_IMAGE)
        await world.is_steady(name)

    simulate(scenario)


def test_a_resource_deleted_in_the_middle_of_its_creation_leaves_nothing() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        for seconds in (0.02, 0.5, 2.5, 4.0, 6.0):
            name = world.create()
            await asyncio_sleep(world, seconds)
            world.delete(name)
            await world.until(lambda: world.resource("acid-a") is None, "the resource goes")
            assert not leftovers(world, name)

    simulate(scenario)


def test_the_end_of_one_cluster_touches_no_other() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        one, other = world.create("acid-a"), world.create("acid-a-b")
        await world.converge(one, other)
        before = [o["metadata"]["uid"] for k in (PODS, SECRETS, SERVICES) for o in of(world, k, other)]
        world.delete(one)
        await world.until(lambda: world.resource(one) is None, "the resource goes")
        assert not leftovers(world, one)
        assert [o["metadata"]["uid"] for k in (PODS, SECRETS, SERVICES) for o in of(world, k, other)] == before
        await world.is_steady(other)

    simulate(scenario)


def of(world: World, kind: Resource, name: str) -> list[dict[str, Any]]:
    fits = lambda obj: (obj["metadata"].get("labels") or {}).get("cluster-name") == name  # noqa: E731
    return world.store.select(kind, NAMESPACE, fits)


def test_a_resource_that_vanishes_without_its_finalizer_takes_nothing_with_it() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        name = world.create()
        await world.converge(name)
        world.edit(POSTGRESQLS, name, {"metadata": {"finalizers": None}})
        world.store.delete(POSTGRESQLS, (NAMESPACE, name))
        await world.converge(expected=False)
        claims = world.store.select(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, lambda _: True)
        assert len(claims) == 2
        assert world.leader(name) is not None

    simulate(scenario)


def test_an_observer_writes_nothing() -> None:
    async def scenario(world: World) -> None:
        hand = world.start_operator()
        name = world.create()
        await world.converge(name)
        hand.die()
        observer = world.start_operator(observe_only=True)
        world.change(name, env=ENV, numberOfInstances=3, postgresql={"parameters": {"max_connections": "200"}})
        world.remove(SERVICES, name)
        world.create("acid-b")
        await asyncio_sleep(world, 60.0)
        world.delete(name)
        await asyncio_sleep(world, 60.0)
        assert not observer.writes

    simulate(scenario)
