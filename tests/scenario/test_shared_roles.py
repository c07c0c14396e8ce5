"""Infrastructure roles under operators that die after every write: the shared password arrives, and nothing else moves."""

import base64
from collections.abc import Awaitable, Callable

import pytest

from howdah.kube.resources import SECRETS
from scenario.world.hand import Hand
from scenario.world.world import NAMESPACE, PERSON, World, secret_name, simulate

NAME, ROLE = "acid-a", "robot"
OPTIONS = {"infrastructure_roles_secret_name": f"{NAMESPACE}/infra"}


def encoded(password: str) -> dict[str, str]:
    values = {"user1": ROLE, "password1": password}
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def share(world: World, password: str) -> None:
    metadata = {"name": "infra", "namespace": NAMESPACE}
    world.store.create(SECRETS, {"metadata": metadata, "data": encoded(password)}, PERSON)
    world.monitor.copies.add(secret_name(NAME, ROLE))


def accepts(world: World, password: str) -> bool:
    leader = world.machinery.dcs_of(NAMESPACE, NAME).leading()
    return leader is not None and leader.contents is not None and leader.contents.accepts(ROLE, password)


async def is_new(world: World, operate: Callable[[], Hand]) -> Hand:
    share(world, "shared")
    hand = operate()
    world.create(NAME)
    return hand


async def gets_another_password(world: World, operate: Callable[[], Hand]) -> Hand:
    share(world, "first")
    before = world.start_operator(options=OPTIONS)
    world.create(NAME)
    await world.converge(NAME)
    await world.until(lambda: accepts(world, "first"), "the first password arrives")
    before.die()
    world.edit(SECRETS, "infra", {"data": encoded("shared")})
    return operate()


async def is_edited_by_hand(world: World, operate: Callable[[], Hand]) -> Hand:
    hand = await gets_another_password(world, operate)
    world.edit_password(NAME, ROLE, "mine")
    return hand


async def told(world: World, story: Callable[..., Awaitable[Hand]], kill_after: int | None) -> int:
    def next_one(_: Hand) -> None:
        world.start_operator(options=OPTIONS)

    on_death = next_one if kill_after else lambda hand: None
    hand = await story(world, lambda: world.start_operator(options=OPTIONS, kill_after=kill_after, on_death=on_death))
    await world.converge(NAME)
    await world.until(lambda: accepts(world, "shared"), "the shared password arrives")
    assert hand.alive is (kill_after is None)
    return len(hand.writes)


@pytest.mark.parametrize("story", [is_new, gets_another_password, is_edited_by_hand], ids=lambda story: story.__name__)
def test_a_shared_role_survives_a_kill_after_every_write_when_it(story: Callable[..., Awaitable[Hand]]) -> None:
    total = 0

    async def uninterrupted(world: World) -> None:
        nonlocal total
        total = await told(world, story, None)

    simulate(uninterrupted)
    assert total >= 2
    for number in range(1, total + 1):

        async def interrupted(world: World, number: int = number) -> None:
            await told(world, story, number)

        simulate(interrupted, seed=number)


def test_a_shared_role_under_two_operators_at_once() -> None:
    async def scenario(world: World) -> None:
        await gets_another_password(world, lambda: world.start_operator(options=OPTIONS))
        world.start_operator(options=OPTIONS, lag_s=1.0)
        await world.converge(NAME)
        await world.until(lambda: accepts(world, "shared"), "the shared password arrives")

    simulate(scenario)
