"""Statements that go on beside the passes end with the lead, and before an operator that ends gives it away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from howdah.adapters.postgres import Outcome
from howdah.controller.databases import CLOSE_S
from howdah.controller.main import Edges
from howdah.model.postgres.statements import Statement
from scenario.world.sql import SimulatedServers
from scenario.world.world import AlwaysLeading, World, simulate


class Lead(AlwaysLeading):
    """An election that can be lost, and won again."""

    def __init__(self, gained: Callable[[], None], lost: Callable[[], None]) -> None:
        super().__init__(gained, lost)
        self._lost = lost

    def lose(self) -> None:
        self._is_leading = False
        self._lost()


@dataclass
class Copying:
    """A server that is at the statements of database `foo` for ever; it says who led when they were cancelled."""

    real: SimulatedServers
    leads: Callable[[], bool]
    cancels_in_s: float = 0.0
    begun: int = 0
    led_at_the_end: list[bool] = field(default_factory=list)

    async def observe(self, *arguments: Any) -> Any:
        return await self.real.observe(*arguments)

    async def sessions(self, *arguments: Any) -> Any:
        return await self.real.sessions(*arguments)

    async def apply(self, target: Any, statements: Sequence[Statement], *others: Any, **options: Any) -> Outcome:
        if all(statement.group != "foo" for statement in statements):
            return await self.real.apply(target, statements, *others, **options)
        self.begun += 1
        try:
            await asyncio.sleep(1e9)
        except asyncio.CancelledError:
            await asyncio.sleep(self.cancels_in_s)
            self.led_at_the_end.append(self.leads())
            raise
        raise AssertionError("it sleeps")


@dataclass
class Rigged:
    """The edges of one operator, with a lead and a server of the test's."""

    cancels_in_s: float = 0.0
    leads: list[Lead] = field(default_factory=list)
    servers: list[Copying] = field(default_factory=list)

    def __call__(self, edges: Edges) -> Edges:
        def election(gained: Callable[[], None], lost: Callable[[], None]) -> Lead:
            self.leads.append(Lead(gained, lost))
            return self.leads[-1]

        assert isinstance(edges.postgres, SimulatedServers)
        self.servers.append(Copying(edges.postgres, lambda: self.leads[-1].is_leading(), self.cancels_in_s))
        return replace(edges, postgres=self.servers[-1], election=election)


def test_statements_end_with_the_lead_and_are_begun_again_with_it() -> None:
    async def scenario(world: World) -> None:
        rigged = Rigged()
        world.start_operator(edges=rigged)
        world.create()
        await world.until(lambda: [server.begun for server in rigged.servers] == [1], "the copy")
        lead, server = rigged.leads[-1], rigged.servers[-1]
        lead.lose()
        await world.until(lambda: server.led_at_the_end == [False], "the end of the copy")
        await asyncio.sleep(600)
        assert server.begun == 1
        lead.start()
        await world.until(lambda: server.begun == 2, "another copy")

    simulate(scenario)


def test_an_operator_ends_its_statements_before_it_gives_the_lead_away() -> None:
    async def scenario(world: World) -> None:
        rigged = Rigged()
        hand = world.start_operator(edges=rigged)
        world.create()
        await world.until(lambda: [server.begun for server in rigged.servers] == [1], "the copy")
        await asyncio.sleep(60)  # no pass waits for it any more
        hand.told_to_end.set()
        await world.until(lambda: not rigged.leads[-1].is_leading(), "the end of the operator")
        assert rigged.servers[-1].led_at_the_end == [True]

    simulate(scenario)


def test_a_server_that_does_not_cancel_holds_nobody_up_for_long() -> None:
    async def scenario(world: World) -> None:
        rigged = Rigged(cancels_in_s=600)
        hand = world.start_operator(edges=rigged)
        world.create()
        await world.until(lambda: [server.begun for server in rigged.servers] == [1], "the copy")
        await asyncio.sleep(60)  # no pass waits for it any more
        hand.told_to_end.set()
        await world.until(lambda: not rigged.leads[-1].is_leading(), "the end of the operator", within_s=2 * CLOSE_S)
        assert rigged.servers[-1].led_at_the_end == []

    simulate(scenario)
