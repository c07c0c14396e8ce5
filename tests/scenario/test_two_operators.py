"""Two operators that both believe to lead, one of them with caches that are seconds late, and no harm is done."""

from collections.abc import Awaitable, Callable

import pytest

from scenario.test_killed import gets_new_passwords, is_created, is_deleted, restarts, rolls
from scenario.test_lifecycle import BAD_IMAGE, GOOD_IMAGE, asyncio_sleep, leftovers
from scenario.world.world import World, simulate

Story = Callable[[World, str], Awaitable[None]]


async def scales_out_and_in(world: World, name: str) -> None:
    world.change(name, numberOfInstances=4)
    await asyncio_sleep(world, 12.0)
    world.change(name, numberOfInstances=2)


async def changes_its_mind_about_an_image(world: World, name: str) -> None:
    world.change(name, dockerImage=BAD_IMAGE)
    await asyncio_sleep(world, 7.0)
    world.change(name, dockerImage=GOOD_IMAGE)
    await asyncio_sleep(world, 3.0)
    world.crash(f"{name}-1")


async def is_made_again_at_once(world: World, name: str) -> None:
    world.delete(name)
    await world.until(lambda: world.resource(name) is None, "the resource goes")
    world.create(name)


STORIES: tuple[Story, ...] = (
    is_created,
    rolls,
    gets_new_passwords,
    restarts,
    scales_out_and_in,
    changes_its_mind_about_an_image,
    is_deleted,
    is_made_again_at_once,
)


@pytest.mark.parametrize("lag_s", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_two_operators_do_no_harm_when_a_cluster(story: Story, lag_s: float) -> None:
    async def scenario(world: World) -> None:
        name = "acid-a"
        world.start_operator()
        world.start_operator(lag_s=lag_s)
        if story is not is_created:
            world.create(name, numberOfInstances=3)
            await world.converge(name)
        await story(world, name)
        if story is is_deleted:
            await world.until(lambda: world.resource(name) is None, "the resource goes")
            await asyncio_sleep(world, 30.0)
            assert not leftovers(world, name)
        else:
            await world.is_steady(name)

    simulate(scenario, seed=int(lag_s))
