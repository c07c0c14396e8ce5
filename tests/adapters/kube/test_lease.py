import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from howdah.kube.client import Client
from howdah.kube.election import LeaderElection, process_identity
from howdah.kube.lease import LeaseTimes
from howdah.kube.resources import LEASES
from howdah.kube.testing import FakeKubernetes
from steady import HANGS_S, process_clock

TIMES = LeaseTimes(duration_s=1.5, renew_deadline_s=1.0, retry_s=0.2)
Clock = Callable[[], float]
LEASED_S = 2  # durations in a Lease are whole seconds


async def eventually(holds: Callable[[], bool], timeout_s: float = HANGS_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
def clock() -> Iterator[Clock]:
    """By which candidates count, and the tests."""
    with process_clock() as counted:
        yield counted


@pytest.fixture
async def elsewhere() -> AsyncIterator[FakeKubernetes]:
    """A server in a loop of its own, which answers while the test's loop is blocked."""
    loop, server = asyncio.new_event_loop(), FakeKubernetes()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.start(), loop))
    yield server
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(server.stop(), loop))
    loop.call_soon_threadsafe(loop.stop)
    await asyncio.to_thread(thread.join)
    loop.close()


@asynccontextmanager
async def candidate(
    kube: FakeKubernetes, clock: Clock, name: str, told: list[str] | None = None, **settings: Any
) -> AsyncIterator[LeaderElection]:
    words = told if told is not None else []
    election = LeaderElection(
        kube.access(),
        "operator",
        namespace="default",
        identity=name,
        times=TIMES,
        clock=clock,
        on_gain=lambda: words.append(f"{name} gains"),
        on_loss=lambda: words.append(f"{name} loses"),
        **settings,
    )
    election.start()
    try:
        yield election
    finally:
        await election.stop()


def blocked(clock: Clock, for_s: float) -> None:
    """Nothing else runs in this loop meanwhile."""
    until_s = clock() + for_s
    while clock() < until_s:
        time.sleep(0.05)


async def spec(client: Client) -> dict[str, Any]:
    lease = await client.get(LEASES, "operator", namespace="default")
    return dict(lease["spec"])


async def test_the_first_leads_and_the_second_waits(kube: FakeKubernetes, clock: Clock, client: Client) -> None:
    async with candidate(kube, clock, "a") as a:
        await eventually(a.is_leading)
        async with candidate(kube, clock, "b") as b:
            await asyncio.sleep(3)
            assert a.is_leading()
            assert not b.is_leading()
            assert b.holder == "a"
            assert (await spec(client))["leaseTransitions"] == 0


async def test_a_released_lease_is_taken_at_once(kube: FakeKubernetes, clock: Clock, client: Client) -> None:
    async with candidate(kube, clock, "a") as a, candidate(kube, clock, "b") as b:
        await eventually(lambda: a.is_leading() or b.is_leading())
        leader, follower = (a, b) if a.is_leading() else (b, a)
        await leader.stop()
        stopped = clock()
        await eventually(follower.is_leading)
        assert clock() - stopped < 1
    assert (await spec(client))["holderIdentity"] == ""


async def test_a_dead_leader_is_followed_after_its_time_and_not_before(
    kube: FakeKubernetes, clock: Clock, client: Client
) -> None:
    dead = {
        "holderIdentity": "dead",
        "leaseDurationSeconds": LEASED_S,
        "renewTime": "2001-01-01T00:00:00.000000Z",  # another machine's clock: it must not count
        "leaseTransitions": 4,
    }
    kube.store.seed(LEASES, {"metadata": {"name": "operator", "namespace": "default"}, "spec": dead})
    started = clock()
    async with candidate(kube, clock, "a") as a:
        await eventually(a.is_leading)
        assert LEASED_S <= clock() - started < LEASED_S + 0.7
    assert (await spec(client))["leaseTransitions"] == 5


async def test_only_one_of_many_takes_an_expired_lease(kube: FakeKubernetes, clock: Clock) -> None:
    told: list[str] = []
    async with (
        candidate(kube, clock, "a", told) as a,
        candidate(kube, clock, "b", told) as b,
        candidate(kube, clock, "c", told) as c,
    ):
        for _ in range(150):
            assert sum(one.is_leading() for one in (a, b, c)) <= 1
            await asyncio.sleep(0.01)
        assert len(told) == 1


async def test_a_leader_cut_off_stops_before_another_may_start(kube: FakeKubernetes, clock: Clock) -> None:
    told: list[str] = []
    async with candidate(kube, clock, "a", told) as a:
        await eventually(a.is_leading)
        cut_at = clock()
        await kube.stop()
        await eventually(lambda: not a.is_leading())
        assert clock() - cut_at < TIMES.duration_s
        await eventually(lambda: told == ["a gains", "a loses"])
        await kube.start()
        await eventually(a.is_leading)
    await asyncio.sleep(0)
    assert told == ["a gains", "a loses", "a gains", "a loses"]


async def test_a_blocked_event_loop_keeps_the_lease(elsewhere: FakeKubernetes, clock: Clock) -> None:
    async with candidate(elsewhere, clock, "a") as a:
        await eventually(a.is_leading)
        blocked(clock, 2.5)
        assert a.is_leading()


async def test_an_event_loop_that_is_dead_for_long_gives_the_lease_up(elsewhere: FakeKubernetes, clock: Clock) -> None:
    async with candidate(elsewhere, clock, "a", loop_patience_s=0.5) as a:
        await eventually(a.is_leading)
        blocked(clock, 2.5)
        assert not a.is_leading()
        await eventually(a.is_leading)


async def test_after_a_suspension_nobody_believes_to_lead(kube: FakeKubernetes, clock: Clock) -> None:
    asleep_s = 0.0
    async with candidate(kube, lambda: clock() + asleep_s, "a") as a:
        await eventually(a.is_leading)
        asleep_s = 3600.0
        assert not a.is_leading()


async def test_who_leads_again_after_a_suspension_is_told_so(kube: FakeKubernetes, clock: Clock) -> None:
    """Between the two nobody worked, and nobody may have said so: no timer ran."""
    asleep_s = 0.0
    told: list[str] = []
    async with candidate(kube, lambda: clock() + asleep_s, "a", told) as a:
        await eventually(a.is_leading)
        asleep_s = 3600.0
        await eventually(lambda: told.count("a gains") == 2)
        assert a.is_leading()


async def test_a_stolen_lease_is_noticed(kube: FakeKubernetes, clock: Clock, client: Client) -> None:
    async with candidate(kube, clock, "a") as a:
        await eventually(a.is_leading)
        await client.merge_patch(LEASES, "operator", {"spec": {"holderIdentity": "thief"}}, namespace="default")
        await eventually(lambda: not a.is_leading(), timeout_s=0.9)
        assert a.holder == "thief"


async def test_a_lost_answer_is_no_lost_lease(kube: FakeKubernetes, clock: Clock) -> None:
    told: list[str] = []
    async with candidate(kube, clock, "a", told) as a:
        await eventually(a.is_leading)
        kube.fail_next(0, verb="update", resource="leases", after_effect=True)
        await asyncio.sleep(1.5)
        assert a.is_leading()
        assert told == ["a gains"]


def test_times_that_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match="duration > renew deadline > retry"):
        LeaseTimes(duration_s=10, renew_deadline_s=10)


def test_identities_never_repeat() -> None:
    assert process_identity() != process_identity()
