"""A pooler's user list on an API server: what is in it, when it is dated, and what keeps it from being written."""

import base64
import datetime as dt
from collections.abc import AsyncIterator

import pytest

from adapters.controller.rig import NAME, NAMESPACE, Rig, rig
from howdah.core.objects.secrets import secret
from howdah.core.plan import WriteUserList
from howdah.kube.resources import SECRETS
from howdah.kube.testing.store import Writer
from howdah.model import names
from unit.core.clusters import cluster, situation, three

LIST = f"{NAME}-pooler-u"
ROLE = f"pooler.{NAME}.credentials.postgresql.acid.zalan.do"
ON = {"enableConnectionPooler": True}


@pytest.fixture
async def operator() -> AsyncIterator[Rig]:
    async with rig() as made:
        made.create(**ON)
        yield made


def set_password(operator: Rig, password: str) -> None:
    data = {"username": encoded("pooler"), "password": encoded(password)}
    if operator.find(SECRETS, ROLE) is None:
        operator.kube.store.seed(SECRETS, {"metadata": {"name": ROLE, "namespace": NAMESPACE}, "data": data})
    else:
        operator.change(SECRETS, ROLE, {"data": data})


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def written(operator: Rig) -> str | None:
    """What went wrong; the step is as a pass decides it."""
    live = operator.find(SECRETS, LIST)
    asked = cluster(**ON).poolers[0].user_list
    uid = live["metadata"]["uid"] if live is not None else None
    step = WriteUserList(reason="r", body=secret(asked), uid=uid, users=asked.users)
    target = operator.target()
    outcome = await operator.applier.carry_out(
        type(target)(target.namespace, target.name, target.uid, situation(*three(), spec=ON)), (step,)
    )
    return outcome.error


def users(operator: Rig) -> str:
    return base64.b64decode(operator.read(SECRETS, LIST)["data"]["userlist.txt"]).decode()


def annotations(operator: Rig) -> dict[str, str]:
    return operator.read(SECRETS, LIST)["metadata"].get("annotations") or {}


async def test_a_list_is_made_from_the_secret_of_the_role_and_says_from_which_version(operator: Rig) -> None:
    set_password(operator, 'quoted " password')
    assert await written(operator) is None
    assert users(operator) == '"pooler" "quoted "" password"\n'
    source = operator.read(SECRETS, ROLE)["metadata"]
    assert annotations(operator) == {names.USERS_SEEN: f"{source['uid']}:{source['resourceVersion']}"}
    assert operator.read(SECRETS, LIST)["metadata"]["labels"][names.POOLER_LABEL] == f"{NAME}-pooler"


async def test_only_another_password_dates_a_list_and_the_date_stays(operator: Rig) -> None:
    set_password(operator, "one")
    await written(operator)
    operator.change(SECRETS, ROLE, {"metadata": {"annotations": {"somebody": "else"}}})
    await written(operator)
    assert names.USERS_CHANGED not in annotations(operator)
    set_password(operator, "two")
    assert await written(operator) is None
    dated = annotations(operator)[names.USERS_CHANGED]
    assert abs(dt.datetime.fromisoformat(dated) - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=5)
    assert users(operator) == '"pooler" "two"\n'
    operator.change(SECRETS, ROLE, {"metadata": {"annotations": {"somebody": "again"}}})
    await written(operator)
    assert annotations(operator)[names.USERS_CHANGED] == dated


async def test_a_list_of_the_reference_with_the_same_passwords_is_taken_over_without_a_date(operator: Rig) -> None:
    set_password(operator, "one")
    body = secret(cluster(**ON).poolers[0].user_list)
    data = {"userlist.txt": encoded('"pooler" "one"\n')}
    operator.kube.store.create(SECRETS, {**body, "data": data}, Writer("postgres-operator"))
    assert await written(operator) is None
    assert set(annotations(operator)) == {names.USERS_SEEN}


async def test_without_a_password_nothing_is_written_and_that_is_said(operator: Rig) -> None:
    assert await written(operator) == "kubernetes: the Secret of role pooler has no username, which the pooler needs"
    set_password(operator, "")
    assert await written(operator) == "kubernetes: the Secret of role pooler has no password, which the pooler needs"
    assert operator.find(SECRETS, LIST) is None


async def test_a_list_of_somebody_else_is_not_taken(operator: Rig) -> None:
    set_password(operator, "one")
    theirs = {"metadata": {"name": LIST, "namespace": NAMESPACE}, "data": {"userlist.txt": encoded("theirs")}}
    live = operator.kube.store.seed(SECRETS, theirs)
    asked = cluster(**ON).poolers[0].user_list
    step = WriteUserList(reason="r", body=secret(asked), uid=None, users=asked.users)
    target = operator.target()
    whole = type(target)(target.namespace, target.name, target.uid, situation(*three(), spec=ON))
    outcome = await operator.applier.carry_out(whole, (step,))
    assert "is not this cluster's" in (outcome.error or "")
    assert users(operator) == "theirs"
    del live


async def test_a_late_write_does_not_bring_a_deleted_list_back(operator: Rig) -> None:
    set_password(operator, "one")
    asked = cluster(**ON).poolers[0].user_list
    step = WriteUserList(reason="r", body=secret(asked), uid="uid-of-a-deleted-one", users=asked.users)
    target = operator.target()
    whole = type(target)(target.namespace, target.name, target.uid, situation(*three(), spec=ON))
    outcome = await operator.applier.carry_out(whole, (step,))
    assert outcome.is_conflict
    assert operator.find(SECRETS, LIST) is None
