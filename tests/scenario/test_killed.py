"""The operator killed after every single write: whatever was done last, the next one goes on from what it sees."""

from collections.abc import Awaitable, Callable

import pytest

from scenario.test_lifecycle import ENV, leftovers
from scenario.world.hand import Hand
from scenario.world.world import World, simulate

Story = Callable[[World, str], Awaitable[None]]
RESTART_S = 1.0


async def is_created(world: World, name: str) -> None:
    world.create(name)


async def rolls(world: World, name: str) -> None:
    world.change(name, env=ENV)


async def scales_in_with_its_leader(world: World, name: str) -> None:
    world.change(name, numberOfInstances=1)


async def gets_new_passwords(world: World, name: str) -> None:
    world.edit_password(name, "standby", "edited")
    world.edit_password(name, "postgres", "edited")
    world.edit_password(name, "foo_user", "edited")


async def restarts(world: World, name: str) -> None:
    world.change(name, postgresql={"parameters": {"max_connections": "200"}}, users={"late": []})


async def is_deleted(world: World, name: str) -> None:
    world.delete(name)


async def _prepared(world: World, story: Story, name: str) -> None:
    """A cluster at rest, before the story; its operator is gone."""
    if story is is_created:
        return
    hand = world.start_operator()
    world.create(name, numberOfInstances=2 if story is not rolls else 3)
    await world.converge(name)
    if story is scales_in_with_its_leader:
        world.hand_over(name, f"{name}-1")
        await world.converge(name)
    hand.die()


async def _told(world: World, story: Story, name: str, kill_after: int | None) -> int:
    """The story under an operator that dies after so many writes; how many it made."""
    await _prepared(world, story, name)
    await story(world, name)

    def next_one(_: Hand) -> None:
        world.start_operator()

    hand = world.start_operator(kill_after=kill_after, on_death=next_one if kill_after else lambda hand: None)
    if story is is_deleted:
        await world.until(lambda: world.resource(name) is None, "the resource goes")
        assert not leftovers(world, name)
    else:
        await world.converge(name)
    assert hand.alive is (kill_after is None)
    return len(hand.writes)


STORIES: tuple[Story, ...] = (
    is_created,
    rolls,
    scales_in_with_its_leader,
    gets_new_passwords,
    restarts,
    is_deleted,
)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_cluster_survives_a_kill_after_every_write_when_it(story: Story) -> None:
    name, total = "acid-a", 0

    async def uninterrupted(world: World) -> None:
        nonlocal total
        total = await _told(world, story, name, None)

    simulate(uninterrupted)
    assert total > 3
    for number in range(1, total + 1):

        async def interrupted(world: World, number: int = number) -> None:
            await _told(world, story, name, number)

        simulate(interrupted, seed=number)
