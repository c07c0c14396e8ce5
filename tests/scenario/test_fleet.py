"""One changed option of the operator never rolls all clusters at once: the first alone, then a few, none after a failure."""

import asyncio

from howdah.kube.resources import PODS
from scenario.test_lifecycle import BAD_IMAGE, GOOD_IMAGE
from scenario.world.world import World, simulate

CLUSTERS = tuple(f"acid-{letter}" for letter in "abcdefgh")
LIMIT = 3


def is_rolling(world: World, name: str, image: str) -> bool:
    """Begun and not yet done: some pod is of the new image or going, and some is old, missing or not healthy."""
    pods = world.pods(name)
    new = [p for p in pods if p["spec"]["containers"][0]["image"] == image]
    going = [p for p in pods if p["metadata"].get("deletionTimestamp")]
    done = len(new) == 2 and all(world.monitor.unhealthy(p) is None for p in new)
    return bool(new or going or len(pods) < 2) and not done


def rolled(world: World, image: str) -> list[str]:
    """The clusters with a pod of the image."""
    return [n for n in CLUSTERS if any(p["spec"]["containers"][0]["image"] == image for p in world.pods(n))]


async def _fleet(world: World, members: int = 2) -> None:
    hand = world.start_operator()
    for name in CLUSTERS:
        world.create(name, numberOfInstances=members)
    await world.converge(*CLUSTERS)
    hand.die()


def test_the_first_cluster_rolls_alone_and_then_no_more_than_the_limit() -> None:
    async def scenario(world: World) -> None:
        await _fleet(world)
        world.start_operator(options={"docker_image": GOOD_IMAGE, "max_rolling_clusters": str(LIMIT)})
        most, first_is_done = 0, False
        ends_s = world.now_s + 600.0
        while len(rolled(world, GOOD_IMAGE)) < len(CLUSTERS) or any(is_rolling(world, n, GOOD_IMAGE) for n in CLUSTERS):
            assert world.now_s < ends_s, "the fleet is not done"
            rolling = [n for n in CLUSTERS if is_rolling(world, n, GOOD_IMAGE)]
            begun = rolled(world, GOOD_IMAGE)
            if not first_is_done:
                assert len(rolling) <= 1, f"{rolling} roll before the first is done"
                first_is_done = bool(begun) and not rolling
            most = max(most, len(rolling))
            await asyncio.sleep(0.1)
        assert 1 < most <= LIMIT
        await world.converge(*CLUSTERS)

    simulate(scenario)


def test_pods_that_a_drain_made_anew_are_no_leave_to_roll_and_0_stops_all() -> None:
    """All replicas are of the new image already, by no decision of ours."""

    async def scenario(world: World) -> None:
        await _fleet(world)
        hand = world.start_operator(options={"docker_image": GOOD_IMAGE, "max_rolling_clusters": "0"})
        await asyncio.sleep(60.0)
        assert rolled(world, GOOD_IMAGE) == []
        for name in CLUSTERS:
            (replica,) = {pod["metadata"]["name"] for pod in world.pods(name)} - {world.leader(name)}
            world.remove(PODS, replica)
        await world.until(lambda: len(rolled(world, GOOD_IMAGE)) == len(CLUSTERS), "the replicas are back")
        await asyncio.sleep(60.0)
        leaders = {name: world.leader(name) for name in CLUSTERS}
        assert all(leader == f"{name}-0" for name, leader in leaders.items()), "0 holds the switchovers, too"
        hand.die()
        world.start_operator(options={"docker_image": GOOD_IMAGE, "max_rolling_clusters": str(LIMIT)})
        most, done = 0, set[str]()
        ends_s = world.now_s + 900.0
        while len(done) < len(CLUSTERS):
            assert world.now_s < ends_s, "the fleet is not done"
            begun = {name for name, leader in leaders.items() if world.leader(name) != leader} - done
            done |= {name for name in begun if not is_rolling(world, name, GOOD_IMAGE)}
            assert done or len(begun) <= 1, f"{begun} roll before the first is done"
            most = max(most, len(begun - done))
            await asyncio.sleep(0.1)
        assert 1 < most <= LIMIT

    simulate(scenario)


def test_after_a_failed_roll_no_other_cluster_begins_not_even_after_a_restart() -> None:
    async def scenario(world: World) -> None:
        await _fleet(world)
        options = {"docker_image": BAD_IMAGE, "max_rolling_clusters": str(LIMIT)}
        hand = world.start_operator(options=options)
        await asyncio.sleep(120.0)
        assert len(rolled(world, BAD_IMAGE)) == 1
        hand.die()
        hand = world.start_operator(options=options)
        await asyncio.sleep(120.0)
        assert len(rolled(world, BAD_IMAGE)) == 1
        assert all(world.leader(name) is not None for name in CLUSTERS)
        hand.die()
        world.start_operator(options={"docker_image": GOOD_IMAGE, "max_rolling_clusters": str(LIMIT)})
        await world.until(lambda: len(rolled(world, GOOD_IMAGE)) == len(CLUSTERS), "the mended option", within_s=600.0)
        await world.converge(*CLUSTERS)

    simulate(scenario)


def test_a_cluster_of_one_member_that_fails_stops_the_others_too() -> None:
    async def scenario(world: World) -> None:
        await _fleet(world, members=1)
        world.start_operator(options={"docker_image": BAD_IMAGE})
        await asyncio.sleep(120.0)
        assert len(rolled(world, BAD_IMAGE)) == 1

    simulate(scenario)
