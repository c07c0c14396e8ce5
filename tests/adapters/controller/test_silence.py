"""A leader that nobody hears of, from its last renewal on: marked, asked about, and left by services, or not."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.controller.rig import KEY, NAME, Rig, rig
from howdah.core.patroni.member import CALLS_AFTER_S
from howdah.core.plan import CallElection, UnlabelLeader
from howdah.kube.informer import BLINK_S
from howdah.kube.resources import CONFIGMAPS, PODS
from steady import HANGS_S

LOCK, LEADER = f"{NAME}-leader", f"{NAME}-0"
TTL_S = 3
DUE_S = TTL_S + CALLS_AFTER_S[0]


def renew(operator: Rig) -> None:
    now = dt.datetime.now(dt.UTC).isoformat()
    operator.change(CONFIGMAPS, LOCK, {"metadata": lock_with(operator, renewTime=now, ttl=str(TTL_S))})


def lock_with(operator: Rig, **said: str) -> dict:
    metadata = operator.read(CONFIGMAPS, LOCK)["metadata"]
    return {**metadata, "annotations": {**metadata["annotations"], **said}}


def has_label(operator: Rig) -> bool:
    return operator.read(PODS, LEADER)["metadata"]["labels"].get("spilo-role") == "master"


@asynccontextmanager
async def led() -> AsyncIterator[Rig]:
    """A cluster whose leader has just renewed its lock for the last time."""
    async with rig() as operator:
        await operator.running()
        metadata = operator.read(PODS, LEADER)["metadata"]
        operator.change(PODS, LEADER, {"metadata": {"labels": {**metadata["labels"], "spilo-role": "master"}}})
        renew(operator)
        await operator.passes()
        operator.forget()
        operator.api.hanging.add(0)
        yield operator


async def passes(operator: Rig, for_s: float) -> list[type]:
    """As the queue would run them; the steps that were done."""
    end_s = asyncio.get_running_loop().time() + for_s
    while asyncio.get_running_loop().time() < end_s:
        await operator.one_pass()
        await asyncio.sleep(0.03)
    return [type(step) for step, error in operator.told if error is None]


async def passes_until(operator: Rig, step: type) -> list[type]:
    """The steps that were done, of which this is one."""
    async with asyncio.timeout(HANGS_S):
        while step not in (done := await passes(operator, 0.1)):
            pass
    return done


async def called_and_services_stay(operator: Rig) -> None:
    await passes_until(operator, CallElection)
    assert UnlabelLeader not in await passes(operator, 1.0)
    assert has_label(operator)


async def test_services_leave_a_silent_leader_as_soon_as_the_server_has_confirmed_it() -> None:
    async with led() as operator:
        done = await passes_until(operator, UnlabelLeader)
        assert done[:2] == [CallElection, UnlabelLeader]
        assert not has_label(operator)


async def test_services_stay_with_a_leader_that_one_of_the_others_vouches_for() -> None:
    async with led() as operator:
        operator.api.vouching.add(2)
        await called_and_services_stay(operator)


async def test_services_stay_with_a_leader_that_says_that_it_leads() -> None:
    """It cannot reach the API server, and has not asked the others yet whether it may go on."""
    async with led() as operator:
        operator.api.hanging.clear()
        await called_and_services_stay(operator)


@pytest.mark.parametrize("how", ["silent", "hanging"])
async def test_services_stay_where_no_other_member_answers(how: str) -> None:
    async with led() as operator:
        getattr(operator.api, how).update({1, 2})
        await called_and_services_stay(operator)


async def test_one_that_hangs_is_not_waited_for_when_another_may_take_over() -> None:
    async with led() as operator:
        operator.api.hanging.add(1)
        began_s = asyncio.get_running_loop().time()
        await passes_until(operator, UnlabelLeader)
        assert asyncio.get_running_loop().time() - began_s < DUE_S + 1


async def test_a_leader_that_renewed_unheard_keeps_its_services() -> None:
    """The event of its renewal is on its way: the mark carries the version that was seen, and is refused."""
    async with led() as operator:
        await asyncio.sleep(DUE_S)
        await operator.caught_up()
        renew(operator)  # its event is taken in when the pass waits for its first answer, and has decided
        await operator.reconciler.run(KEY)
        assert [request.name for request in operator.writes() if request.resource == "configmaps"] == [LOCK]
        assert operator.told == []
        assert await passes(operator, TTL_S / 4) == []
        assert has_label(operator)


async def test_after_an_api_server_that_was_away_a_leader_has_its_ttl_to_come_back() -> None:
    """It could not renew, and every member vouched for it; or nobody did, and it comes back all the same."""
    async with led() as operator:
        await operator.kube.stop()
        await asyncio.sleep(BLINK_S + TTL_S)
        await operator.kube.start()
        async with asyncio.timeout(HANGS_S):
            while not all(informer.watching for informer in operator.watch.configmaps):
                await asyncio.sleep(0.01)
        assert await passes(operator, TTL_S / 4) == []
        renew(operator)
        assert await passes(operator, TTL_S / 4) == []
        assert has_label(operator)
