"""Members of teams reach the request: from the teams API over HTTP and from PostgresTeam resources that are watched."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec import Raw

from adapters.teams.server import TOKEN, FakeTeams, teams_api
from howdah.adapters.kubernetes import POSTGRES_TEAMS, POSTGRESQLS
from howdah.adapters.teams import TeamsApi
from howdah.controller.references import Asking, ReferenceReader
from howdah.controller.sources import Sources, read_teams
from howdah.controller.teams import Directory
from howdah.controller.token import Token
from howdah.core.request.asked import References
from howdah.core.request.roles import token_reference
from howdah.core.resolve import resolve
from howdah.kube.resources import SECRETS
from howdah.kube.testing import FakeKubernetes
from howdah.kube.testing.store import Writer
from howdah.model.cluster import Cluster
from howdah.model.observed import Live, OwnedMeta
from howdah.model.settings import Settings, settings_from_configuration
from steady import HANGS_S

NAMESPACE = "ns"
A, B = (NAMESPACE, "acid-a"), (NAMESPACE, "other-b")
TEAMS = {A: "acid", B: "other"}
WRITER = Writer("somebody")


def settings(**teams_api: Any) -> Settings:
    options = {"enable_teams_api": True, "enable_postgres_team_crd": True, **teams_api}
    kubernetes = {"oauth_token_secret_name": "token", "watched_namespace": NAMESPACE}
    return settings_from_configuration({"configuration": {"teams_api": options, "kubernetes": kubernetes}})[0]


@dataclass
class Case:
    kube: FakeKubernetes
    api: FakeTeams
    settings: Settings
    sources: Sources
    reader: ReferenceReader
    told: list[tuple[str, str] | None]

    async def references(self, key: tuple[str, str] = A) -> References:
        return await self.reader.of(self.settings, key, Asking(TEAMS[key]))

    async def cluster(self, key: tuple[str, str] = A) -> Cluster:
        spec = {
            "teamId": TEAMS[key],
            "numberOfInstances": 1,
            "postgresql": {"version": "18"},
            "volume": {"size": "1Gi"},
        }
        metadata = {"name": key[1], "namespace": NAMESPACE, "uid": "u"}
        body = {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "metadata": metadata, "spec": spec}
        return resolve(body, self.settings, await self.references(key))

    async def people(self, key: tuple[str, str] = A) -> list[str]:
        return sorted(role.name for role in (await self.cluster(key)).access.elsewhere.people)

    def team(self, name: str, **spec: Any) -> None:
        metadata = {"name": name, "namespace": NAMESPACE}
        if self.kube.store.find(POSTGRES_TEAMS, NAMESPACE, name) is None:
            self.kube.store.seed(POSTGRES_TEAMS, {"metadata": metadata, "spec": spec})
        else:
            self.kube.store.patch(POSTGRES_TEAMS, (NAMESPACE, name), lambda live: {**live, "spec": spec}, WRITER)

    def token(self, **values: str) -> None:
        data = {key.replace("_", "-"): base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.kube.store.seed(SECRETS, {"metadata": {"name": "token", "namespace": NAMESPACE}, "data": data})

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANGS_S):
            while not is_so():
                await asyncio.sleep(0.01)


def good_token(kube: FakeKubernetes) -> None:
    values = {"read-only-token-type": "Bearer", "read-only-token-secret": f"{TOKEN}\n"}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    kube.store.seed(SECRETS, {"metadata": {"name": "token", "namespace": NAMESPACE}, "data": data})


@asynccontextmanager
async def case(
    *,
    given: Settings | None = None,
    beforehand: Callable[[FakeKubernetes], None] = good_token,
    has_crd: bool = True,
    holds_s: float = 300,
    **teams: list[str],
) -> AsyncIterator[Case]:
    kinds = (POSTGRESQLS, POSTGRES_TEAMS) if has_crd else (POSTGRESQLS,)
    asked = given or settings()
    async with FakeKubernetes(*kinds) as kube, kube.client(timeout_s=5) as client, teams_api(teams) as api:
        beforehand(kube)
        told: list[tuple[str, str] | None] = []
        sources = Sources(
            client,
            asked,
            operator_namespace=NAMESPACE,
            namespaces=(NAMESPACE,),
            notify=told.append,
            token_changed=lambda: directory.try_again(),
        )
        token = Token(client, NAMESPACE, token_reference(asked), sources)
        directory = Directory(
            TeamsApi(api.url, timeout_s=1), token=token, notify=told.append, holds_s=holds_s, retry_s=0.05
        )
        running = asyncio.create_task(sources.run())
        async with asyncio.timeout(HANGS_S):
            await sources.synced()
        try:
            yield Case(kube, api, asked, sources, ReferenceReader(client, NAMESPACE, sources, directory), told)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await directory.close()


async def test_members_come_from_the_api_with_the_token_of_its_secret() -> None:
    async with case(acid=["anna", "bert"]) as it:
        assert await it.people() == ["anna", "bert"]
        assert it.api.tokens == {TOKEN}


async def test_a_quiet_look_asks_neither_of_the_two() -> None:
    async with case(acid=["anna"]) as it:
        first = await it.references()
        it.kube.requests.clear()
        for _ in range(5):
            assert await it.references() == first
        assert (it.kube.requests, it.api.asked) == ([], ["acid"])


async def test_additional_teams_are_asked_for_too() -> None:
    async with case(acid=["anna"], friends=["fred"], far=["farah"]) as it:
        it.team("custom", additionalTeams={"acid": ["friends"], "friends": ["far"]}, additionalMembers={"far": ["x"]})
        await it.until(lambda: bool(it.sources.teams()[0].plain))
        assert await it.people() == ["anna", "farah", "fred", "x"]
        assert sorted(it.api.asked) == ["acid", "far", "friends"]


async def test_a_changed_team_wakes_the_clusters_that_it_concerns() -> None:
    async with case(acid=["anna"], other=[]) as it:
        it.team("custom", additionalTeams={"acid": ["friends"]})
        await it.until(lambda: bool(it.sources.teams()[0].plain))
        assert (await it.people(A), await it.people(B)) == (["anna"], [])
        await it.until(lambda: it.api.asked.count("friends") == 1)
        it.told.clear()
        it.team("custom", additionalTeams={"acid": ["friends"]}, additionalMembers={"friends": ["fred"]})
        await it.until(lambda: bool(it.told))
        assert it.told == [A]
        assert await it.people(A) == ["anna", "fred"]
        it.told.clear()
        it.kube.store.delete(POSTGRES_TEAMS, (NAMESPACE, "custom"))
        await it.until(lambda: bool(it.told))
        assert it.told == [A]
        assert await it.people(A) == ["anna"]


async def test_a_wrong_team_is_told_and_drops_nobody() -> None:
    given = settings(enable_team_member_deprecation=True, enable_teams_api=False)
    async with case(given=given) as it:
        it.team("good", additionalMembers={"acid": ["anna"]})
        it.team("bad", additionalMembers={"acid": "bert"})
        await it.until(lambda: len(it.sources.teams()[1]) == 1 and bool(it.sources.teams()[0].people))
        cluster = await it.cluster()
        assert [role.name for role in cluster.access.elsewhere.people] == ["anna"]
        assert cluster.access.elsewhere.departures is not None
        assert not cluster.access.elsewhere.departures.is_complete
        assert ["PostgresTeam ns/bad is not heeded" in str(warning) for warning in cluster.warnings] == [True]


DEEP = '{"a":' * 5000 + "1" + "}" * 5000


def spoiled(**parts: str) -> bytes:
    """A PostgresTeam as the API server has it, its parts as they are written."""
    metadata = f'{{"name":"deep","namespace":"{NAMESPACE}","uid":"u","resourceVersion":"900"}}'
    return ("{" + ",".join(f'"{key}":{text}' for key, text in {"metadata": metadata, **parts}.items()) + "}").encode()


async def test_a_team_that_could_never_be_read_is_told_and_drops_nobody() -> None:
    def deep(kube: FakeKubernetes) -> None:
        good_token(kube)
        kube.store.seed(POSTGRES_TEAMS, {"metadata": {"name": "deep", "namespace": NAMESPACE}, "spec": {}})
        kube.spoil(POSTGRES_TEAMS, NAMESPACE, "deep", spoiled(status=DEEP))

    given = settings(enable_team_member_deprecation=True, enable_teams_api=False)
    async with case(given=given, beforehand=deep) as it:
        cluster = await it.cluster()
        assert cluster.access.elsewhere.departures is not None
        assert not cluster.access.elsewhere.departures.is_complete
        assert ["PostgresTeam ns/deep cannot be read" in str(warning) for warning in cluster.warnings] == [True]
        assert (it.sources.malformed(), it.reader.malformed()) == (1, 1)
        it.told.clear()
        it.kube.store.delete(POSTGRES_TEAMS, (NAMESPACE, "deep"))
        await it.until(lambda: bool(it.told))
        cluster = await it.cluster()
        assert cluster.access.elsewhere.departures is not None
        assert cluster.access.elsewhere.departures.is_complete
        assert cluster.warnings == ()


async def test_a_team_that_cannot_be_read_any_more_is_told_at_once_and_counts_as_it_was() -> None:
    given = settings(enable_team_member_deprecation=True, enable_teams_api=False)
    async with case(given=given) as it:
        it.team("deep", additionalMembers={"acid": ["anna"]})
        await it.until(lambda: bool(it.sources.teams()[0].people))
        assert await it.people() == ["anna"]
        it.told.clear()
        it.kube.spoil(POSTGRES_TEAMS, NAMESPACE, "deep", spoiled(spec=DEEP))
        it.team("deep", additionalMembers={})
        await it.until(lambda: it.told == [None])
        assert await it.people() == ["anna"]
        assert not (await it.references()).membership.is_complete


@pytest.mark.parametrize("depth", range(900, 1001, 5))
def test_a_team_that_a_pass_cannot_read_is_a_problem_and_no_bug(depth: int) -> None:
    metadata = OwnedMeta(name="deep", namespace=NAMESPACE)
    members = f'{{"additionalMembers":{{"acid":["anna"]}},"more":{"[" * depth + "]" * depth}}}'
    teams, problems = read_teams([Live(metadata, spec=Raw(members.encode()))])
    is_read = bool(teams.people)
    assert is_read or "PostgresTeam ns/deep cannot be read" in problems[0]
    assert not (is_read and depth == 1000)


def test_what_is_written_into_the_status_of_a_team_is_no_reason_not_to_read_it() -> None:
    spec = Raw(b'{"additionalMembers":{"acid":["anna"]}}')
    teams, problems = read_teams(
        [Live(OwnedMeta(name="deep", namespace=NAMESPACE), spec=spec, status=Raw(DEEP.encode()))]
    )
    assert (teams.members_of("acid"), problems) == (("anna",), ())


async def test_without_the_crd_there_are_no_teams_and_nothing_is_wrong() -> None:
    async with case(acid=["anna"], has_crd=False) as it:
        cluster = await it.cluster()
        assert [role.name for role in cluster.access.elsewhere.people] == ["anna"]
        assert cluster.warnings == ()


async def test_teams_that_may_not_be_seen_drop_nobody() -> None:
    def denied(kube: FakeKubernetes) -> None:
        good_token(kube)
        kube.fail_next(403, "Forbidden", resource="postgresteams", times=1000)

    async with case(given=settings(enable_team_member_deprecation=True), beforehand=denied, acid=["anna"]) as it:
        cluster = await it.cluster()
        assert [role.name for role in cluster.access.elsewhere.people] == ["anna"]
        assert cluster.access.elsewhere.departures is not None
        assert not cluster.access.elsewhere.departures.is_complete


@pytest.mark.parametrize(
    ("answer", "is_complete"), [({"status": 404}, False), ({"status": 500}, False), ({"teams": {"acid": []}}, True)]
)
async def test_who_left_is_known_only_from_an_answer_with_a_list(answer: dict[str, Any], is_complete: bool) -> None:
    async with case(given=settings(enable_team_member_deprecation=True), acid=["anna"]) as it:
        for name, value in answer.items():
            setattr(it.api, name, value)
        elsewhere = (await it.cluster()).access.elsewhere
        assert elsewhere.people == ()
        assert elsewhere.departures is not None
        assert elsewhere.departures.is_complete is is_complete


async def test_a_team_that_only_a_postgres_team_knows_keeps_nobody_from_leaving() -> None:
    given = settings(enable_team_member_deprecation=True)
    async with case(given=given, holds_s=0, acid=["anna"]) as it:
        it.team("own", additionalTeams={"acid": ["virtual"]}, additionalMembers={"virtual": ["bea"]})
        await it.until(lambda: bool(it.sources.teams()[0].people))
        cluster = await it.cluster()
        assert not cluster.access.elsewhere.departures.is_complete  # said once, it may be a failure
        assert [str(warning) for warning in cluster.warnings if "nobody is taken for gone" in str(warning)] != []
        cluster = await complete(it)
        assert not [warning for warning in cluster.warnings if "nobody is taken for gone" in str(warning)]
        assert [role.name for role in cluster.access.elsewhere.people] == ["bea", "anna"]
        it.team("own", additionalTeams={"acid": ["virtual"]}, additionalMembers={"virtual": []})
        await it.until(lambda: not it.sources.teams()[0].people["virtual"])
        assert [role.name for role in (await complete(it)).access.elsewhere.people] == ["anna"]


async def complete(it: Case) -> Cluster:
    async with asyncio.timeout(HANGS_S):
        while not (cluster := await it.cluster()).access.elsewhere.departures.is_complete:
            await asyncio.sleep(0.01)
    return cluster


@pytest.mark.parametrize(
    ("additional", "word"),
    [
        ({"friends": ["x"]}, "for some minutes"),  # the API knew it
        ({"elsewhere": ["x"]}, "needs an entry in additionalMembers"),  # nobody gives it people
    ],
)
async def test_a_team_that_may_have_members_drops_nobody_however_often_it_is_denied(
    additional: dict[str, list[str]], word: str
) -> None:
    given = settings(enable_team_member_deprecation=True)
    async with case(given=given, holds_s=0, acid=["anna"], friends=["fred"]) as it:
        it.team("own", additionalTeams={"acid": ["friends"]}, additionalMembers=additional)
        await it.until(lambda: bool(it.sources.teams()[0].people))
        assert "fred" in await it.people()
        del it.api.teams["friends"]
        before = len(it.api.asked)
        async with asyncio.timeout(HANGS_S):
            while "fred" in await it.people() or it.api.asked[before:].count("friends") < 4:
                await asyncio.sleep(0.01)
        cluster = await it.cluster()
        assert not cluster.access.elsewhere.departures.is_complete
        said = [str(warning) for warning in cluster.warnings if "nobody is taken for gone" in str(warning)]
        assert ['"friends"' in one and word in one for one in said] == [True]


async def test_a_token_that_comes_later_is_used_at_once() -> None:
    async with case(beforehand=lambda kube: None, acid=["anna"]) as it:
        cluster = await it.cluster()
        assert cluster.access.elsewhere.people == ()
        assert ["there is no Secret token" in str(warning) for warning in cluster.warnings] == [True]
        assert it.api.asked == []
        it.told.clear()
        good_token(it.kube)
        await it.until(lambda: A in it.told)
        assert await it.people() == ["anna"]


@pytest.mark.parametrize(
    "values",
    [
        {"read_only_token_type": "Basic", "read_only_token_secret": TOKEN},
        {"read_only_token_type": "Bearer"},
        {"read_only_token_type": "Bearer", "read_only_token_secret": "a\nb"},
    ],
)
async def test_a_secret_without_a_bearer_token_is_told(values: dict[str, str]) -> None:
    async with case(beforehand=lambda kube: None, acid=["anna"]) as it:
        it.token(**values)
        reference = token_reference(it.settings)
        assert reference is not None
        await it.until(lambda: it.sources.version(reference) is not None)
        cluster = await it.cluster()
        assert ["holds no token" in str(warning) for warning in cluster.warnings] == [True]
        assert TOKEN not in repr(cluster)
        assert it.api.asked == []


async def test_a_standby_cluster_and_one_without_database_access_have_no_people() -> None:
    async with case(acid=["anna"]) as it:
        references = await it.references()
        body = {
            "apiVersion": "acid.zalan.do/v1",
            "kind": "postgresql",
            "metadata": {"name": "acid-a", "namespace": NAMESPACE, "uid": "u"},
            "spec": {
                "teamId": "acid",
                "numberOfInstances": 1,
                "postgresql": {"version": "18"},
                "volume": {"size": "1Gi"},
                "standby": {"standby_host": "elsewhere"},
            },
        }
        assert resolve(body, it.settings, references).access.elsewhere.people == ()
