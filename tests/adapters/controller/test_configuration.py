"""A changed operator configuration is taken up by the running process; a broken one leaves the old in force and is said."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRESQLS
from howdah.controller.configuration import Configuration, Following, read, source
from howdah.controller.main import Operator, Options, run
from howdah.kube.client import Client
from howdah.kube.credentials import Access
from howdah.kube.events import Reference
from howdah.kube.resources import CONFIGMAPS, EVENTS, POD_DISRUPTION_BUDGETS, STATEFUL_SETS
from howdah.kube.testing import FakeKubernetes
from howdah.kube.testing.server import NoCredentials
from howdah.kube.testing.store import Writer
from steady import HANGS_S

FORMS = {
    "ConfigMap": (CONFIGMAPS, {"CONFIG_MAP_NAME": "operator"}),
    "OperatorConfiguration": (OPERATOR_CONFIGURATIONS, {"POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "operator"}),
}
CHECK_S = 0.02


@dataclass(slots=True)
class Desk:
    """A configuration that a person edits, and what is said of it."""

    kube: FakeKubernetes
    client: Client
    form: str
    said: list[tuple[str, str, str]] = field(default_factory=list)
    in_force: list[bool] = field(default_factory=list)

    def write(self, **options: str) -> None:
        """All options anew, as strings; those that are none are written as numbers where the form has them."""
        resource, _ = FORMS[self.form]
        is_map = resource is CONFIGMAPS
        body = {"data": options} if is_map else {"configuration": {name: _json(text) for name, text in options.items()}}
        if self.kube.store.find(resource, "own", "operator") is None:
            self.kube.store.seed(resource, {"metadata": {"name": "operator", "namespace": "own"}, **body})
        else:
            self.kube.store.patch(resource, ("own", "operator"), lambda live: {**live, **body}, Writer("somebody"))

    def label(self) -> None:
        """An edit that changes no option."""
        resource, _ = FORMS[self.form]
        change = {"labels": {"a": "b"}}
        self.kube.store.patch(
            resource,
            ("own", "operator"),
            lambda live: {**live, "metadata": {**live["metadata"], **change}},
            Writer("somebody"),
        )

    def say(self, about: Reference, kind: str, reason: str, message: str) -> None:
        assert about.name == "operator"
        self.said.append((kind, reason, message))

    async def following(self) -> "tuple[Configuration, asyncio.Task[Configuration]]":
        where = source(FORMS[self.form][1], "own")
        current = await read(self.client, where)
        following = Following(self.client, where, in_force=self.in_force.append, check_s=CHECK_S)
        return current, asyncio.create_task(following.next(current, self.say))


def _json(text: str) -> Any:
    return int(text) if text.isdigit() else text


@pytest.fixture(params=FORMS)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS) as kube, kube.client(timeout_s=5) as client:
        yield Desk(kube, client, request.param)


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(HANGS_S):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_changed_option_is_taken_up_and_said(desk: Desk) -> None:
    desk.write(docker_image="spilo:1", max_instances="3")
    _, task = await desk.following()

    desk.write(docker_image="spilo:2", max_instances="3")

    found = await asyncio.wait_for(task, HANGS_S)
    assert found.settings.docker_image == "spilo:2"
    assert desk.said == [("Normal", "ConfigurationTaken", "in force now: docker_image")]
    assert desk.in_force[-1] is True


async def test_an_edit_that_changes_no_option_is_nothing(desk: Desk) -> None:
    desk.write(docker_image="spilo:1")
    _, task = await desk.following()

    desk.label()
    seen = len(desk.kube.requests)
    await until(lambda: len(desk.kube.requests) > seen + 2)

    assert not task.done()
    assert desk.said == []
    task.cancel()


async def test_a_broken_one_leaves_the_old_in_force_and_is_said_once_until_it_is_mended(desk: Desk) -> None:
    desk.write(docker_image="spilo:1")
    _, task = await desk.following()

    desk.write(docker_image="spilo:2", max_instances="-7")
    await until(lambda: desk.said)
    desk.label()
    seen = len(desk.kube.requests)
    await until(lambda: len(desk.kube.requests) > seen + 3)

    assert not task.done()
    ((kind, reason, message),) = desk.said
    assert (kind, reason) == ("Warning", "ConfigurationRefused")
    assert "max_instances" in message
    assert desk.in_force[-1] is False

    desk.write(docker_image="spilo:2", max_instances="7")
    assert (await asyncio.wait_for(task, HANGS_S)).settings.docker_image == "spilo:2"
    assert desk.in_force[-1] is True


async def test_one_that_is_away_leaves_the_old_in_force(desk: Desk) -> None:
    desk.write(docker_image="spilo:1")
    _, task = await desk.following()

    desk.kube.store.delete(FORMS[desk.form][0], ("own", "operator"))
    await until(lambda: desk.in_force[-1] is False)
    assert not task.done()

    desk.write(docker_image="spilo:1")
    await until(lambda: desk.in_force[-1] is True)
    assert not task.done()
    task.cancel()


async def test_an_option_that_waits_for_a_restart_is_said_and_the_others_are_taken(desk: Desk) -> None:
    desk.write(docker_image="spilo:1")
    _, task = await desk.following()

    desk.write(docker_image="spilo:2", super_username="root") if desk.form == "ConfigMap" else desk.kube.store.patch(
        OPERATOR_CONFIGURATIONS,
        ("own", "operator"),
        lambda live: {**live, "configuration": {"docker_image": "spilo:2", "users": {"super_username": "root"}}},
        Writer("somebody"),
    )

    found = await asyncio.wait_for(task, HANGS_S)
    assert (found.settings.docker_image, found.settings.super_username) == ("spilo:2", "postgres")
    assert [reason for _, reason, _ in desk.said] == ["ConfigurationHeld", "ConfigurationTaken"]
    assert desk.in_force[-1] is False


# the whole process


@asynccontextmanager
async def operator(kube: FakeKubernetes, environment: dict[str, str]) -> AsyncIterator["asyncio.Task[None]"]:
    options = Options(
        access=Access(kube.url, "own", NoCredentials()),
        environment=environment,
        listen_host="127.0.0.1",
        listen_port=0,
        configuration_check_s=CHECK_S,
    )
    task = asyncio.create_task(run(options))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_running_operator_does_as_its_configuration_says_now() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS) as kube, kube.client(timeout_s=5) as client:
        desk = Desk(kube, client, "ConfigMap")
        common = {"watched_namespace": "own", "enable_database_access": "false", "leader_retry_period": "100ms"}
        desk.write(**common, pdb_name_format="{cluster}-pdb")
        spec = {"teamId": "a", "numberOfInstances": 1, "postgresql": {"version": "18"}, "volume": {"size": "1Gi"}}
        kube.store.seed(POSTGRESQLS, {"metadata": {"name": "acid-a", "namespace": "own"}, "spec": spec})

        async with operator(kube, FORMS["ConfigMap"][1]) as process:

            def grace() -> Any:
                found = kube.store.find(STATEFUL_SETS, "own", "acid-a")
                return found and found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

            def reasons() -> list[str]:
                events = kube.store.select(EVENTS, "own", lambda event: event["involvedObject"]["name"] == "operator")
                return [event["reason"] for event in events]

            await until(lambda: grace() == 300)

            desk.write(**common, pdb_name_format="{cluster}-pdb", pod_terminate_grace_period="never")
            await until(lambda: "ConfigurationRefused" in reasons())
            assert grace() == 300

            desk.write(**common, pdb_name_format="{cluster}-other", pod_terminate_grace_period="1m")
            await until(lambda: grace() == 60)
            await until(lambda: {"ConfigurationTaken", "ConfigurationHeld"} <= set(reasons()))
            names = {b["metadata"]["name"] for b in kube.store.select(POD_DISRUPTION_BUDGETS, "own", lambda _: True)}
            assert "acid-a-pdb" in names
            assert "acid-a-other" not in names
            assert not process.done()


@pytest.fixture
def collector() -> Iterator[None]:
    """With nothing of earlier tests, and afterwards as it was: an operator tunes it for its process."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    gc.collect()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def operators() -> list["weakref.ref[Operator]"]:
    """Those in memory, whether anybody holds them or not; nothing is collected by asking."""
    gc.unfreeze()  # what is frozen is not listed
    found = [weakref.ref(thing) for thing in gc.get_objects() if type(thing) is Operator]
    gc.freeze()
    return found


@pytest.mark.usefixtures("collector")
async def test_an_operator_whose_configuration_is_over_goes_with_its_caches() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS) as kube, kube.client(timeout_s=5) as client:
        desk = Desk(kube, client, "ConfigMap")
        common = {"watched_namespace": "own", "enable_database_access": "false", "leader_retry_period": "100ms"}
        desk.write(**common)
        spec = {"teamId": "a", "numberOfInstances": 1, "postgresql": {"version": "18"}, "volume": {"size": "1Gi"}}
        kube.store.seed(POSTGRESQLS, {"metadata": {"name": "acid-a", "namespace": "own"}, "spec": spec})

        def grace() -> Any:
            found = kube.store.find(STATEFUL_SETS, "own", "acid-a")
            return found and found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

        former = [one() for one in operators()]  # an earlier test may hold one
        async with operator(kube, FORMS["ConfigMap"][1]):
            await until(lambda: grace() == 300)
            (first,) = (one for one in operators() if all(one() is not held for held in former))
            desk.write(**common, pod_terminate_grace_period="1m")
            await until(lambda: grace() == 60)
            # Else its caches are held as long as the process lives.
            await until(lambda: gc.collect() >= 0 and first() is None)
