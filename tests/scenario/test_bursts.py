"""Many changes are few passes, and nothing of them is missed."""

import asyncio

from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, SERVICES
from howdah.model import names
from scenario.world.world import NAMESPACE, World, simulate

MEMBERS = 3


def passes(world: World) -> int:
    """So many there have been of all clusters."""
    return sum(" debug pass {" in line for line in world.said)


def claims(name: str) -> list[str]:
    return [f"{names.DATA_VOLUME}-{name}-{ordinal}" for ordinal in range(MEMBERS)]


def inherits(world: World, claim: str) -> bool:
    found = world.store.read(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, claim)
    return (found["metadata"].get("annotations") or {}).get("team") == "acid"


def test_claims_edited_one_after_the_other_are_all_mended_and_together() -> None:
    async def scenario(world: World) -> None:
        world.start_operator(options={"inherited_annotations": "team"})
        name = world.create(numberOfInstances=MEMBERS)
        await world.converge(name)
        world.annotate(name, "team", "acid")
        await world.converge(name)
        before = passes(world)
        for claim in claims(name):
            assert inherits(world, claim)
            world.edit(PERSISTENT_VOLUME_CLAIMS, claim, {"metadata": {"annotations": {"team": None}}})
            await asyncio.sleep(0.2)
        await world.until(lambda: all(inherits(world, claim) for claim in claims(name)), "all are mended", within_s=2.0)
        await world.stays_quiet(30.0)
        assert passes(world) - before <= 3  # one that mends, one that looks at it, and one for what was heard later

    simulate(scenario)


def test_a_pass_that_could_not_be_is_made_up_for_at_the_resync() -> None:
    async def scenario(world: World) -> None:
        world.start_operator(options={"resync_period": "60s"})
        name = world.create()
        await world.converge(name)
        (operator,) = world.operators
        operator._election._is_leading = False  # as after a suspension: the Lease is over, and nobody has been told
        operator._queue.add((NAMESPACE, name))
        world.remove(SERVICES, name)
        await asyncio.sleep(1.0)
        operator._election._is_leading = True
        await world.until(
            lambda: world.store.find(SERVICES, NAMESPACE, name) is not None, "the service is made again", within_s=70.0
        )

    simulate(scenario)
