"""What is remembered of the teams API: one request for all who ask, and nobody is dropped when it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.teams.server import TOKEN, FakeTeams, teams_api
from howdah.adapters.teams import TeamsApi
from howdah.controller.teams import Directory
from howdah.model.errors import ExternalError
from howdah.model.postgres.people import Membership
from steady import HANGS_S

A, B = ("ns", "acid-a"), ("ns", "acid-b")


@dataclass
class Case:
    api: FakeTeams
    directory: Directory
    told: list[tuple[str, str]]
    token: str = TOKEN

    async def read(self) -> str:
        if not self.token:
            raise ExternalError("teams API", transient=True, message="there is no token")
        return self.token

    async def of(self, *teams: str, key: tuple[str, str] = A) -> Membership:
        return await self.directory.of(key, teams)

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(HANGS_S):
            while not is_so():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def case(*, holds_s: float = 60, retry_s: float = 60, **teams: list[str]) -> AsyncIterator[Case]:
    async with teams_api(teams) as api:
        told: list[tuple[str, str]] = []
        found: Case
        directory = Directory(
            TeamsApi(api.url, timeout_s=0.3),
            token=lambda: found.read(),
            notify=told.append,
            holds_s=holds_s,
            retry_s=retry_s,
        )
        found = Case(api, directory, told)
        try:
            yield found
        finally:
            await directory.close()


async def test_the_first_answer_is_waited_for() -> None:
    async with case(acid=["anna"]) as it:
        assert await it.of("acid", "ghost") == Membership(
            members={"acid": ("anna",)}, unknown_teams=frozenset({"ghost"}), is_complete=True
        )


async def test_a_team_is_asked_for_once_however_many_clusters_ask() -> None:
    async with case(acid=["anna"]) as it:
        await asyncio.gather(*(it.of("acid", key=("ns", f"acid-{n}")) for n in range(50)))
        await it.of("acid")
        assert it.api.asked == ["acid"]


async def test_an_old_answer_is_taken_and_another_one_is_told_to_who_asked() -> None:
    async with case(holds_s=0, acid=["anna"], other=[]) as it:
        await it.of("acid", key=A)
        await it.of("other", key=B)
        it.told.clear()
        it.api.teams["acid"].append("bert")
        assert (await it.of("acid")).members == {"acid": ("anna",)}
        await it.until(lambda: bool(it.told))
        assert it.told == [A]
        assert (await it.of("acid")).members == {"acid": ("anna", "bert")}


async def test_the_same_answer_is_no_news() -> None:
    async with case(holds_s=0, acid=["anna"]) as it:
        await it.of("acid")
        it.told.clear()
        await it.of("acid")
        await it.until(lambda: it.api.asked == ["acid", "acid"])
        await asyncio.sleep(0.05)
        assert it.told == []


async def test_when_the_api_fails_who_is_known_stays_and_the_reason_is_told() -> None:
    async with case(holds_s=0, retry_s=0.05, acid=["anna"]) as it:
        await it.of("acid")
        for fault in ("status", "body", "hangs"):
            setattr(it.api, fault, {"status": 503, "body": b"nonsense", "hangs": True}[fault])
            it.told.clear()
            await it.of("acid")
            await it.until(lambda: A in it.told)
            found = await it.of("acid")
            assert (found.members, found.is_complete) == ({"acid": ("anna",)}, True)
            assert [problem.endswith("what it said last holds") for problem in found.problems] == [True]
            it.api.status = it.api.body = None
            it.api.hangs = False
            await it.until(lambda: not it.directory._known["acid"].error)
        assert (await it.of("acid")).problems == ()


async def test_after_a_start_without_the_api_nothing_is_known_and_no_pass_waits_for_long() -> None:
    async with case(retry_s=0.05, acid=["anna"]) as it:
        it.api.status = 500
        found = await it.of("acid")
        assert (found.members, found.is_complete) == ({}, False)
        assert found.problems == ('team "acid": teams API: answers 500 for team "acid"; its members are not known yet',)
        it.told.clear()
        it.api.status = None
        await it.until(lambda: it.told == [A])
        assert (await it.of("acid")).members == {"acid": ("anna",)}


async def test_without_a_token_nobody_is_asked_and_a_new_one_is_used_at_once() -> None:
    async with case(acid=["anna"]) as it:
        it.token = ""
        found = await it.of("acid")
        assert (it.api.asked, found.is_complete) == ([], False)
        it.token = TOKEN
        it.told.clear()
        it.directory.try_again()
        assert it.told == [A]
        assert (await it.of("acid")).is_complete
        assert it.api.tokens == {TOKEN}


async def test_a_team_that_nobody_asks_for_any_more_is_forgotten() -> None:
    async with case(retry_s=0.01, acid=["anna"], other=[]) as it:
        it.api.status = 500
        await it.of("acid", "other", key=A)
        await it.of("acid", key=B)
        await it.of("acid", key=A)
        assert set(it.directory._known) == {"acid"}
        it.directory.forget(A)
        it.directory.forget(B)
        assert it.directory._known == {}
        await asyncio.sleep(0.05)
        asked = len(it.api.asked)
        await asyncio.sleep(0.05)
        assert len(it.api.asked) == asked


async def test_a_team_is_absent_when_it_is_denied_again_while_another_is_known() -> None:
    async with case(holds_s=0, acid=["anna"]) as it:
        first = await it.of("acid", "virtual")
        assert (first.unknown_teams, first.absent_teams) == ({"virtual"}, frozenset())
        it.told.clear()
        await denied(it, "acid", "virtual")
        assert A in it.told
        await it.until(lambda: it.directory._known["acid"].answered_at > it.directory._known["virtual"].denied_at)
        second = await it.of("acid", "virtual")
        assert (second.unknown_teams, second.absent_teams) == ({"virtual"}, {"virtual"})
        it.api.teams["virtual"] = ["bea"]
        await it.of("acid", "virtual")
        await it.until(lambda: it.directory._known["virtual"].was_known)
        assert (await it.of("acid", "virtual")).unknown_teams == frozenset()


async def test_a_team_that_was_known_or_whose_api_knows_nobody_is_not_absent() -> None:
    async with case(holds_s=0, acid=["anna"], gone=["gert"]) as it:
        await it.of("gone")
        del it.api.teams["gone"]
        await denied(it, "gone")
        assert (await it.of("acid", "gone")).absent_teams == frozenset()
    async with case(holds_s=0) as it:
        await denied(it, "virtual", "acid")
        found = await it.of("virtual", "acid")
        assert (found.unknown_teams, found.absent_teams) == ({"virtual", "acid"}, frozenset())


async def test_who_answered_before_the_api_broke_is_no_proof() -> None:
    async with case(holds_s=0, acid=["anna"]) as it:
        await it.of("acid", key=B)
        it.api.teams.clear()
        await denied(it, "virtual")
        assert (await it.of("virtual")).absent_teams == frozenset()


async def denied(it: Case, *teams: str) -> None:
    """Asked until each of them that the API does not know was denied twice."""
    async with asyncio.timeout(HANGS_S):
        while True:
            await it.of(*teams)
            if all(it.directory._known[team].denials >= 2 for team in teams if team not in it.api.teams):
                return
            await asyncio.sleep(0.01)
