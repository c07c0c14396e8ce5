"""One operator, no faults: what a person asks for happens, safely, and then nothing is written any more."""

from scenario.world.world import World, simulate


def test_a_new_cluster_comes_to_rest() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        name = world.create()
        await world.is_steady(name)

    simulate(scenario)
