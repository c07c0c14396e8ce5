"""`howdah plan` asks the teams API as the operator would; where that is away it says so, and takes nobody for gone."""

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.teams.server import TOKEN, FakeTeams, teams_api
from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.controller.look import directory, judge, observe_live
from howdah.controller.observe import utc_now
from howdah.kube.resources import SECRETS
from howdah.kube.testing import FakeKubernetes
from howdah.model.cluster import Cluster
from howdah.model.settings import settings_from_configuration
from lifetimes import ended_with_us

NAMESPACE = "ns"
NAME = "acid-a"


@pytest.fixture
async def api() -> AsyncIterator[FakeTeams]:
    async with teams_api({"acid": ["anna", "bert"]}) as running:
        yield running


def configuration(api: FakeTeams) -> dict[str, Any]:
    options = {"enable_teams_api": True, "teams_api_url": api.url, "enable_team_member_deprecation": True}
    return {"teams_api": options, "kubernetes": {"oauth_token_secret_name": "token"}}


@pytest.fixture
async def kube(api: FakeTeams, tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    """With two clusters of one team, the operator's configuration and the token."""
    async with FakeKubernetes(POSTGRESQLS, POSTGRES_TEAMS, OPERATOR_CONFIGURATIONS) as running:
        for name in (NAME, "acid-b"):
            spec = {
                "teamId": "acid",
                "numberOfInstances": 1,
                "volume": {"size": "1Gi"},
                "postgresql": {"version": "18"},
            }
            running.store.seed(
                POSTGRESQLS, {"metadata": {"name": name, "namespace": NAMESPACE, "uid": name}, "spec": spec}
            )
        values = {"read-only-token-type": "Bearer", "read-only-token-secret": TOKEN}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        running.store.seed(SECRETS, {"metadata": {"name": "token", "namespace": NAMESPACE}, "data": data})
        metadata = {"name": "howdah", "namespace": NAMESPACE}
        running.store.seed(OPERATOR_CONFIGURATIONS, {"metadata": metadata, "configuration": configuration(api)})
        running.write_kubeconfig(tmp_path / "kubeconfig", NAMESPACE)
        yield running


Ask = Callable[..., Any]


@pytest.fixture
def plan(kube: FakeKubernetes, tmp_path: Path) -> Ask:
    """The command as a program calls it: the plans by name, and what is said on stderr."""
    del kube  # it only has to be there

    async def ask(*options: str) -> tuple[dict[str, Any], str]:
        process = await asyncio.create_subprocess_exec(
            *ended_with_us(sys.executable, "-m", "howdah.cli.main", "plan", "--output", "json", *options),
            env={"PATH": os.environ["PATH"], "KUBECONFIG": str(tmp_path / "kubeconfig")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, wrong = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, wrong.decode()
        return {found["name"]: found for found in json.loads(said)}, wrong.decode()

    return ask


async def judged(kube: FakeKubernetes, api: FakeTeams) -> Cluster:
    settings = settings_from_configuration({"configuration": configuration(api)})[0]
    async with kube.client(timeout_s=5) as client, directory(client, settings, NAMESPACE) as teams:
        observed = await observe_live(client, settings, NAMESPACE, NAME, now=utc_now())
        assert observed is not None
        return (await judge(client, settings, NAMESPACE, observed, directory=teams)).situation.cluster


async def test_members_of_the_team_are_in_what_is_planned_from(kube: FakeKubernetes, api: FakeTeams) -> None:
    cluster = await judged(kube, api)
    assert sorted(role.name for role in cluster.access.elsewhere.people) == ["anna", "bert"]
    assert cluster.access.elsewhere.departures is not None
    assert cluster.access.elsewhere.departures.is_complete
    assert api.tokens == {TOKEN}


async def test_one_plan_of_many_clusters_asks_once_for_a_team_and_is_silent(plan: Ask, api: FakeTeams) -> None:
    found, said = await plan()
    assert {name: planned["warnings"] for name, planned in found.items()} == {NAME: [], "acid-b": []}
    assert (said, api.asked) == ("", ["acid"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 503}, "answers 503"),
        ({"token": "another"}, "answers 401"),
        ({"body": b"{}"}, "has no list of members"),
    ],
)
async def test_an_api_that_does_not_answer_is_told_on_stderr_and_nobody_is_taken_for_gone(
    fault: dict[str, Any], words: str, plan: Ask, kube: FakeKubernetes, api: FakeTeams
) -> None:
    for name, value in fault.items():
        setattr(api, name, value)
    found, said = await plan()
    assert words in said
    assert said.count("\n") == 1, "once, however many clusters there are"
    assert said.endswith("; nobody is taken for gone\n")
    assert TOKEN not in said
    assert all(words in planned["warnings"][0]["message"] for planned in found.values())
    elsewhere = (await judged(kube, api)).access.elsewhere
    assert elsewhere.people == ()
    assert elsewhere.departures is not None
    assert not elsewhere.departures.is_complete


async def test_without_the_token_there_is_a_plan_and_the_api_is_not_asked(
    plan: Ask, kube: FakeKubernetes, api: FakeTeams
) -> None:
    kube.store.delete(SECRETS, (NAMESPACE, "token"))
    found, said = await plan()
    assert set(found) == {NAME, "acid-b"}
    assert "there is no Secret token" in said
    assert api.asked == []


async def test_it_is_not_asked_where_a_person_says_so(plan: Ask, api: FakeTeams) -> None:
    found, said = await plan("--no-teams-api")
    assert (said, api.asked) == ("", [])
    assert all("the teams API was not asked" in planned["warnings"][0]["message"] for planned in found.values())
