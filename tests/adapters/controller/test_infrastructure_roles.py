"""Secrets of infrastructure roles: each cluster's own repeats the shared one, and its password shows up nowhere else."""

import asyncio
import base64
import dataclasses
import json
from collections.abc import Callable

import pytest

from adapters.controller.rig import NAME, NAMESPACE, Rig, rig
from howdah.core.plan import CopySecret
from howdah.core.request.asked import Reference
from howdah.kube.resources import CONFIGMAPS, EVENTS, SECRETS, STATEFUL_SETS
from howdah.kube.testing import FakeKubernetes, Request
from howdah.kube.testing.store import Writer, refusal
from steady import HANGS_S

OPTIONS = {"infrastructure_roles_secret_name": "infra"}
SOURCE = Reference("Secret", "infra", ("",))
COPY = f"robot-monitor.{NAME}.credentials.postgresql.acid.zalan.do"
PASSWORD = "never to be seen"
WRITER = Writer("somebody")


def encoded(**values: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def source(kube: FakeKubernetes, password: str = PASSWORD, **more: str) -> None:
    data = encoded(user1="robot_monitor", password1=password, inrole1="robot_zmon", **more)
    body = {"metadata": {"name": "infra", "namespace": NAMESPACE}, "type": "Opaque", "data": data}
    if kube.store.find(SECRETS, NAMESPACE, "infra") is None:
        kube.store.seed(SECRETS, body)
    else:
        kube.store.patch(SECRETS, (NAMESPACE, "infra"), lambda live: {**live, "data": data}, WRITER)


def held(operator: Rig, name: str = COPY) -> dict[str, str]:
    found = operator.find(SECRETS, name)
    assert found is not None
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


async def changed(operator: Rig, change: Callable[[], None], reference: Reference = SOURCE) -> None:
    before = operator.sources.version(reference)
    change()
    async with asyncio.timeout(HANGS_S):
        while operator.sources.version(reference) == before:
            await asyncio.sleep(0.005)


async def test_a_cluster_gets_a_secret_with_the_shared_password() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        assert held(operator) == {"username": "robot_monitor", "password": PASSWORD}
        labels = operator.read(SECRETS, COPY)["metadata"]["labels"]
        assert labels == {"application": "spilo", "cluster-name": NAME, "team": "acid"}


async def test_a_quiet_pass_reads_no_secret() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        await operator.one_pass()
        assert operator.kube.requests == []


async def test_a_changed_password_reaches_the_copy_by_one_write() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        await changed(operator, lambda: source(operator.kube, "the new one"))
        await operator.passes()
        assert held(operator)["password"] == "the new one"
        assert [(r.verb, r.name) for r in operator.writes() if r.resource == "secrets"] == [("patch", COPY)]


async def test_a_source_that_was_only_labelled_writes_nothing() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        metadata = operator.read(SECRETS, "infra")["metadata"]
        await changed(
            operator, lambda: operator.change(SECRETS, "infra", {"metadata": {**metadata, "labels": {"a": "b"}}})
        )
        await operator.one_pass()
        assert operator.writes() == []


async def test_a_copy_that_somebody_edited_is_brought_back() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        operator.change(SECRETS, COPY, {"data": encoded(password="mine")})
        await operator.passes()
        assert held(operator)["password"] == PASSWORD


async def test_a_secret_that_was_there_before_becomes_the_copy() -> None:
    def beforehand(kube: FakeKubernetes) -> None:
        source(kube)
        kube.store.seed(
            SECRETS,
            {"metadata": {"name": COPY, "namespace": NAMESPACE}, "data": encoded(password="mine", other="kept")},
        )

    async with rig(options=OPTIONS, beforehand=beforehand) as operator:
        await operator.running()
        assert held(operator) == {"username": "robot_monitor", "password": PASSWORD, "other": "kept"}


async def test_a_new_role_appears_without_a_restart_of_the_operator() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        await changed(operator, lambda: source(operator.kube, user2="robot_backup", password2="another"))
        await operator.passes()
        name = COPY.replace("monitor", "backup")
        assert held(operator, name) == {"username": "robot_backup", "password": "another"}


async def test_options_that_come_later_are_heeded() -> None:
    async with rig(options=OPTIONS, beforehand=lambda kube: source(kube, dbuser="third")) as operator:
        await operator.running()
        metadata = {"name": "infra", "namespace": NAMESPACE}
        body = {"metadata": metadata, "data": {"dbuser": "inrole: [robot_zmon]"}}
        options = dataclasses.replace(SOURCE, kind="ConfigMap")
        await changed(operator, lambda: operator.kube.store.seed(CONFIGMAPS, body), options)
        await operator.passes()
        assert held(operator, COPY.replace("robot-monitor", "dbuser"))["password"] == "third"


async def test_a_source_that_is_gone_takes_nothing_away_and_is_told() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        await changed(operator, lambda: operator.kube.store.delete(SECRETS, (NAMESPACE, "infra")))
        await operator.passes()
        assert held(operator)["password"] == PASSWORD
        assert operator.status["PostgresClusterStatus"] == "Running"
        said = [event["message"] for event in operator.kube.store.select(EVENTS, NAMESPACE, lambda _: True)]
        assert any("Secret infra: cannot be read" in message for message in said)


async def test_a_source_that_may_not_be_read_holds_up_nothing() -> None:
    def beforehand(kube: FakeKubernetes) -> None:
        source(kube)
        kube.fail_next(403, "Forbidden", resource="secrets", name="infra", times=1000)

    async with rig(options=OPTIONS, beforehand=beforehand) as operator:
        await operator.running()
        assert operator.status["PostgresClusterStatus"] == "Running"
        assert operator.find(SECRETS, COPY) is None


async def test_a_password_that_vanished_meanwhile_holds_up_nothing_else() -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        operator.create()
        await operator.caught_up()
        asked = 0

        async def gone_at_the_second_look(request: Request) -> None:
            nonlocal asked
            is_it = (request.verb, request.name) == ("get", "infra")
            asked += is_it
            if is_it and asked == 2:
                raise refusal(404, "NotFound", "gone")

        operator.kube.before = gone_at_the_second_look
        await operator.one_pass()
        assert [(type(step), error) for step, error in operator.told if error] == [
            (CopySecret, "kubernetes: there is no entry password1 of Secret infra")
        ]
        assert operator.find(STATEFUL_SETS) is not None
        operator.kube.before = None
        operator.reconciler._attempts.forget((NAMESPACE, NAME))
        await operator.passes()
        assert held(operator)["password"] == PASSWORD


async def test_the_password_is_in_no_step_no_log_no_event_and_no_status(capsys: pytest.CaptureFixture[str]) -> None:
    async with rig(options=OPTIONS, beforehand=source) as operator:
        await operator.running()
        await changed(operator, lambda: source(operator.kube, "the new one"))
        operator.told.clear()
        await operator.passes()
        assert [type(step) for step, _ in operator.told] == [CopySecret]
        built = operator.reconciler.builds.known((NAMESPACE, NAME))
        events = operator.kube.store.select(EVENTS, NAMESPACE, lambda _: True)
        everything = [repr(operator.told), repr(built), json.dumps(events), json.dumps(operator.status)]
        everything.append(capsys.readouterr().out)
        for text in everything:
            for password in (PASSWORD, "the new one"):
                assert password not in text
                assert base64.b64encode(password.encode()).decode() not in text
