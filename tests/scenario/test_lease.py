"""Two replicas and one Lease, in simulated time: what they ask of the server, and how long nobody leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from howdah.core.permissions import GRANTS, Installation, roles
from howdah.kube.lease import Candidate, LeaseTimes
from howdah.kube.resources import LEASES
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.faults import Request
from scenario.world.clock import OWNER, VirtualLoop, now
from scenario.world.hand import Hand
from scenario.world.wire import SimulatedClient

NAME, NAMESPACE = "howdah", "operators"
TIMES = LeaseTimes()
ROUND_S = 0.1
"""More than any exchange in this world takes."""


@dataclass(slots=True)
class Replica:
    """One process. `slept_s`: how long its machine was suspended, which its timers do not know."""

    server: FakeKubernetes
    name: str
    slept_s: float = 0.0
    told: list[str] = field(default_factory=list)
    hand: Hand = field(init=False)
    candidate: Candidate = field(init=False)
    task: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.hand = Hand(self.name)
        self.candidate = Candidate(
            NAME,
            namespace=NAMESPACE,
            identity=self.name,
            times=TIMES,
            tell=lambda leading: self.told.append("gains" if leading else "loses"),
            clock=lambda: loop.time() + self.slept_s,
        )
        client = SimulatedClient(self.server, self.hand, lambda *_: None, lambda *_: 1)
        client.transport._timeout_s = TIMES.timeout_s
        token = OWNER.set(self.hand)
        try:
            self.task = loop.create_task(self.candidate.run(client))
        finally:
            OWNER.reset(token)

    @property
    def leads(self) -> bool:
        return self.hand.alive and self.candidate.is_leading()


class Pair:
    """A leader and a standby that has come to rest; nobody ever sees both lead."""

    def __init__(self) -> None:
        self.server = FakeKubernetes(clock=now)
        self.a = Replica(self.server, "a")
        self.both_led = False

    async def rests(self) -> None:
        await asyncio.sleep(1.0)
        self.b = Replica(self.server, "b")
        await asyncio.sleep(20.0)
        assert self.a.leads
        assert not self.b.leads

    async def looks(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self.both_led |= self.a.leads and self.b.leads

    async def until(self, holds: Callable[[], bool], within_s: float = 60.0) -> float:
        """The seconds that it took."""
        started_s = self.now_s
        while not holds():
            assert self.now_s - started_s < within_s, f"not within {within_s:g} s"
            await asyncio.sleep(0.01)
        return self.now_s - started_s

    async def asked(self, seconds: float) -> list[Request]:
        """The requests of so long."""
        before = len(self.server.requests)
        await asyncio.sleep(seconds)
        return self.server.requests[before:]

    @property
    def now_s(self) -> float:
        return asyncio.get_running_loop().time()


def simulate(scenario: Callable[[Pair], Awaitable[None]]) -> None:
    async def run() -> None:
        pair = Pair()
        await pair.rests()
        looking = asyncio.create_task(pair.looks())
        await scenario(pair)
        looking.cancel()
        for replica in (pair.a, pair.b):
            replica.hand.die()
        await asyncio.sleep(1.0)
        assert not pair.both_led

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def verbs(requests: list[Request]) -> list[str]:
    return [request.verb for request in requests]


def test_two_quiet_replicas_ask_twelve_times_a_minute() -> None:
    async def scenario(pair: Pair) -> None:
        assert verbs(await pair.asked(60.0)) == ["update"] * 12

    simulate(scenario)


def test_the_watch_made_anew_now_and_then_is_all_that_a_standby_asks() -> None:
    async def scenario(pair: Pair) -> None:
        asked = verbs(await pair.asked(3600.0))
        assert asked.count("update") == 720
        assert set(asked) == {"update", "watch"}
        assert asked.count("watch") <= 15

    simulate(scenario)


@pytest.mark.parametrize("after_renewal_s", [0.0, 0.5, 2.4, 4.8])
def test_a_killed_leader_is_followed_within_the_duration_of_its_lease(after_renewal_s: float) -> None:
    async def scenario(pair: Pair) -> None:
        before = len(pair.server.requests)
        await pair.until(lambda: len(pair.server.requests) > before)
        await asyncio.sleep(ROUND_S + after_renewal_s)
        pair.a.hand.die()
        took_s = await pair.until(lambda: pair.b.leads)
        waited_s = ROUND_S + after_renewal_s + took_s
        assert TIMES.duration_s - 0.01 <= waited_s < TIMES.duration_s + ROUND_S
        assert verbs(pair.server.requests[before:]) == ["update", "update"]

    simulate(scenario)


def test_a_released_lease_is_taken_at_once() -> None:
    async def scenario(pair: Pair) -> None:
        pair.a.candidate.end()
        assert await pair.until(lambda: pair.b.leads) < ROUND_S

    simulate(scenario)


def test_a_deleted_lease_is_made_anew_at_once() -> None:
    async def scenario(pair: Pair) -> None:
        pair.a.hand.die()
        pair.server.store.delete(LEASES, (NAMESPACE, NAME))
        assert await pair.until(lambda: pair.b.leads) < ROUND_S

    simulate(scenario)


@pytest.mark.parametrize("trouble", ["cut", "end", "expired", "away"])
def test_a_standby_whose_watch_ended_hears_of_a_release(trouble: str) -> None:
    async def scenario(pair: Pair) -> None:
        match trouble:
            case "cut":
                pair.server.cut_watches()
            case "end":
                pair.server.end_watches()
            case "expired":
                pair.server.expire()
            case _:
                pair.server.fail_next(0, verb="watch", times=5)
                pair.server.cut_watches()
        await asyncio.sleep(9.0)
        pair.a.candidate.end()
        assert await pair.until(lambda: pair.b.leads) < TIMES.retry_s
        assert pair.b.told == ["gains"]

    simulate(scenario)


def test_a_standby_that_hears_nothing_takes_nothing_from_a_leader() -> None:
    async def scenario(pair: Pair) -> None:
        pair.server.store.watchers.clear()  # its stream stays open, and silent
        asked = await pair.asked(60.0)
        assert pair.a.told == ["gains"]
        assert pair.b.told == []
        refused = [request for request in asked if request.status == 409]
        assert 3 <= len(refused) <= 4

    simulate(scenario)


def test_a_standby_that_may_not_watch_asks_each_retry_period(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(pair: Pair) -> None:
        left = [grant for grant in GRANTS if grant.resource != "leases" or "watch" not in grant.verbs]
        installation = Installation(namespace=NAMESPACE)
        pair.server.permissions = Permissions(roles(installation, left), account="howdah", namespace=NAMESPACE)
        pair.server.cut_watches()
        await asyncio.sleep(30.0)
        asked = verbs(await pair.asked(60.0))
        assert 29 <= asked.count("get") <= 31
        assert asked.count("list") + asked.count("watch") <= 2
        pair.a.hand.die()
        assert await pair.until(lambda: pair.b.leads) < TIMES.duration_s + TIMES.retry_s
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "cannot be watched" in caplog.text

    simulate(scenario)


def test_a_standby_that_may_watch_again_stops_asking() -> None:
    async def scenario(pair: Pair) -> None:
        pair.server.permissions = Permissions((), account="howdah", namespace=NAMESPACE)
        pair.server.cut_watches()
        await asyncio.sleep(5.0)
        pair.server.permissions = None
        await asyncio.sleep(70.0)
        assert "get" not in verbs(await pair.asked(60.0))

    simulate(scenario)


def test_a_failed_renewal_is_tried_again_after_the_retry_period() -> None:
    async def scenario(pair: Pair) -> None:
        pair.server.fail_next(500, verb="update", resource="leases")
        before = len(pair.server.requests)
        await pair.until(lambda: len(pair.server.requests) == before + 1)
        assert verbs(await pair.asked(TIMES.retry_s - ROUND_S)) == []
        assert verbs(await pair.asked(2 * ROUND_S)) == ["get", "update"]  # the first may have had its effect
        assert verbs(await pair.asked(60.0)) == ["update"] * 12
        assert pair.a.told == ["gains"]

    simulate(scenario)


def test_a_renewal_that_hangs_leaves_time_for_another() -> None:
    async def scenario(pair: Pair) -> None:
        pair.server.stall_next(60.0, verb="update", resource="leases")
        await asyncio.sleep(30.0)
        assert pair.a.told == ["gains"]

    simulate(scenario)


def test_a_leader_that_cannot_renew_stops_before_another_starts() -> None:
    async def scenario(pair: Pair) -> None:
        pair.server.fail_next(0, resource="leases", times=40)
        await pair.until(lambda: not pair.a.leads, within_s=TIMES.renew_deadline_s)
        await pair.until(lambda: pair.a.leads or pair.b.leads)

    simulate(scenario)


def test_time_in_which_the_machine_slept_counts() -> None:
    async def scenario(pair: Pair) -> None:
        pair.a.hand.die()
        pair.b.slept_s = 3600.0
        assert await pair.until(lambda: pair.b.leads) <= TIMES.retry_s + ROUND_S

    simulate(scenario)
