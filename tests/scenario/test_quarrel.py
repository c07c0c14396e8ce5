"""Somebody undoes what the operator does: it goes on, seldom, and says so once."""

from __future__ import annotations

import asyncio

from howdah.kube.resources import SECRETS, SERVICES
from scenario.world.world import NAMESPACE, World, simulate

NAME, MARK = "acid-a", "example.org/mark"
LASTS_S = 600.0


def applied(world: World) -> int:
    return sum(r.resource == "services" and r.is_write and r.name == NAME for r in world.server.requests)


def degraded(world: World) -> str:
    return next(c["status"] for c in world.status(NAME)["conditions"] if c["type"] == "Degraded")


async def undo(world: World, *, after_s: float) -> None:
    """As a webhook does it at once, or a controller after a while."""
    while True:
        await asyncio.sleep(after_s)
        if MARK in (world.store.read(SERVICES, NAMESPACE, NAME)["metadata"].get("annotations") or {}):
            world.edit(SERVICES, NAME, {"metadata": {"annotations": {MARK: None}}})


def test_a_quarrel_gets_slower_and_its_condition_does_not_turn() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        world.create(NAME)
        await world.converge(NAME)
        before, turns = applied(world), [degraded(world)]
        adversary = asyncio.create_task(undo(world, after_s=0.02))
        world.change(NAME, serviceAnnotations={MARK: "asked for"})
        for _ in range(int(LASTS_S / 0.05)):
            await asyncio.sleep(0.05)
            if degraded(world) != turns[-1]:
                turns.append(degraded(world))
        assert turns == ["False", "True"]
        assert applied(world) - before < 25, "at last once in a minute"
        world.change(NAME, users={"late": []})
        await asyncio.sleep(5.0)
        assert "late" in str(world.store.select(SECRETS, NAMESPACE, lambda _: True)), "others go on"
        adversary.cancel()
        await world.until(lambda: degraded(world) == "False", "it is over", within_s=180.0)
        await world.converge(NAME)
        assert world.store.read(SERVICES, NAMESPACE, NAME)["metadata"]["annotations"][MARK] == "asked for"
        await world.is_steady(NAME)

    simulate(scenario)
