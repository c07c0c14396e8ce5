"""What has gone leaves nothing behind in the operator: its memory is of the clusters there are, not of those there were."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube.resources import PODS
from scenario.world.world import World, simulate

GONE = tuple(f"acid-gone{number}" for number in range(6))
STAYS = "acid-stays"
RESYNC_S = 60.0
OTHERS = ("_edges", "_client", "_server", "_patroni")  # the simulated world
BOUNDED = ("_recorder", "departed")
"""What remembers the last so many, whatever they were about: events that are told again, pods that were seen to go."""


def traces(thing: Any, word: str, place: str, seen: set[int]) -> Iterator[str]:
    """Where in an object and all that it holds a text with `word` is: places as a person would write them."""
    if isinstance(thing, str | bytes):
        if word in str(thing):
            yield f"{place}: {str(thing)[:80]}"
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    for name, part in _parts(thing):
        if name.lstrip(".") not in (*OTHERS, *BOUNDED):
            yield from traces(part, word, f"{place}{name}", seen)


def _parts(thing: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        return [(f"[{key!r}]", part) for item in list(thing.items()) for key, part in ((item[0], item[0]), item)]
    if isinstance(thing, list | tuple | set | frozenset | deque):
        return [("[…]", part) for part in list(thing)]
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return [(f".{field.name}", getattr(thing, field.name)) for field in dataclasses.fields(thing)]
    if type(thing).__module__.startswith("howdah."):
        return [(f".{name}", part) for name, part in getattr(thing, "__dict__", {}).items()]
    if isinstance(thing, asyncio.TimerHandle):
        return [(".args", thing._args)]
    return []


def found(world: World, word: str) -> list[str]:
    (operator,) = world.operators
    return list(traces(operator, word, "operator", set()))


def test_clusters_that_were_deleted_are_forgotten() -> None:
    async def scenario(world: World) -> None:
        world.start_operator(options={"resync_period": f"{RESYNC_S:g}s"})
        for name in (*GONE, STAYS):
            world.create(name)
        await world.converge(*GONE, STAYS)
        for number, name in enumerate(GONE):
            world.change(name, env=[{"name": "ROUND", "value": str(number)}])
        await world.converge(*GONE)
        assert len(found(world, "acid-gone")) > len(GONE), "the walk finds what is remembered of living clusters"
        for name in GONE:
            world.delete(name)
        await world.until(lambda: all(world.resource(name) is None for name in GONE), "they are gone")
        await asyncio.sleep(2 * RESYNC_S)
        assert found(world, "acid-gone") == []
        assert found(world, STAYS) != []

    simulate(scenario)


def test_changes_of_a_cluster_that_stays_are_forgotten() -> None:
    async def scenario(world: World) -> None:
        world.start_operator(options={"resync_period": f"{RESYNC_S:g}s"})
        world.create(STAYS)
        await world.converge(STAYS)
        for number in range(3):
            world.change(STAYS, serviceAnnotations={"example.org/mark": f"passing-{number}"})
            world.remove(PODS, f"{STAYS}-1")
            await world.converge(STAYS)
        world.change(STAYS, serviceAnnotations=None)
        await world.converge(STAYS)
        await asyncio.sleep(2 * RESYNC_S)
        assert found(world, "passing-") == []

    simulate(scenario)


def test_a_cluster_deleted_while_another_operator_led_is_forgotten_when_this_one_leads_again() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        world.create(GONE[0])
        await world.converge(GONE[0])
        (operator,) = world.operators
        await operator._election.stop()
        world.edit(POSTGRESQLS, GONE[0], {"metadata": {"finalizers": None}})
        world.delete(GONE[0])
        await asyncio.sleep(5.0)
        assert list(traces(operator._fleet, GONE[0], "fleet", set())) != []
        operator._election.start()
        await asyncio.sleep(5.0)
        assert list(traces(operator._fleet, GONE[0], "fleet", set())) == []
        for part in (operator._reconciler.builds, operator._reconciler.teller):
            assert list(traces(part, GONE[0], type(part).__name__, set())) == []

    simulate(scenario)
