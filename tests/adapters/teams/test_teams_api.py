"""What the teams API says is taken or refused; its token goes nowhere else."""

import pytest

from adapters.teams.server import TOKEN, teams_api
from howdah.adapters.answers import LONGEST_ANSWER_BYTES
from howdah.adapters.teams import TeamsApi
from howdah.model.errors import ExternalError


async def test_members_are_told_in_order_and_once() -> None:
    async with teams_api({"acid": ["bert", "anna", "bert"]}) as api:
        assert await TeamsApi(api.url).members("acid", TOKEN) == ("bert", "anna")


async def test_a_team_without_members_is_not_an_unknown_one() -> None:
    async with teams_api({"empty": []}) as api:
        assert await TeamsApi(api.url).members("empty", TOKEN) == ()
        assert await TeamsApi(api.url).members("ghost", TOKEN) is None


async def test_a_name_stays_one_segment_of_the_path() -> None:
    async with teams_api({"a/../b?c": ["anna"]}) as api:
        assert await TeamsApi(api.url).members("a/../b?c", TOKEN) == ("anna",)


@pytest.mark.parametrize(("status", "is_passing"), [(500, True), (503, True), (429, True), (401, False), (302, False)])
async def test_any_other_status_is_a_failure(status: int, is_passing: bool) -> None:
    async with teams_api({"acid": ["anna"]}) as api:
        api.status = status
        with pytest.raises(ExternalError, match=f'answers {status} for team "acid"') as error:
            await TeamsApi(api.url).members("acid", TOKEN)
        assert error.value.transient is is_passing
        assert api.asked == ["acid"]  # a redirect is not followed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"member": null}',
        b'{"member": "anna"}',
        b'{"member": [1]}',
        b'{"member": ["\xff"]}',
    ],
)
async def test_an_answer_without_a_list_of_names_is_a_failure_and_not_an_empty_team(body: bytes) -> None:
    async with teams_api() as api:
        api.body = body
        with pytest.raises(ExternalError, match="has no list of members"):
            await TeamsApi(api.url).members("acid", TOKEN)


async def test_an_endless_answer_is_cut() -> None:
    async with teams_api() as api:
        api.body = b" " * (LONGEST_ANSWER_BYTES + 1)
        with pytest.raises(ExternalError, match="too long"):
            await TeamsApi(api.url).members("acid", TOKEN)


async def test_an_api_that_hangs_is_given_up() -> None:
    async with teams_api() as api:
        api.hangs = True
        with pytest.raises(ExternalError, match=r"no answer in 0\.2 s"):
            await TeamsApi(api.url, timeout_s=0.2).members("acid", TOKEN)


@pytest.mark.parametrize("url", ["http://user:hidden@127.0.0.1:1/api", "nonsense", "http://[bad"])
async def test_an_api_that_is_away_is_told_without_its_address(url: str) -> None:
    with pytest.raises(ExternalError, match="cannot be reached") as error:
        await TeamsApi(url).members("acid", TOKEN)
    assert "hidden" not in str(error.value)
