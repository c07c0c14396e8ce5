"""Nodes are cordoned and drained: the leader goes first, by a switchover, and never back and forth."""

import asyncio

from howdah.kube.resources import NODES, PODS
from howdah.kube.testing.store import Writer
from howdah.model import names
from scenario.world.world import World, rights, simulate

NAME = "acid-a"
PENDING = "LeaderMovePending"
KUBELET = Writer("kubelet")


def leader_node(world: World) -> str:
    return world.node_of(world.leader(NAME) or "")


def condition(world: World, kind: str) -> dict[str, str] | None:
    return next((c for c in world.status(NAME).get("conditions") or () if c["type"] == kind), None)


async def at_rest(world: World, **spec: object) -> None:
    world.create(NAME, **{"numberOfInstances": 3, **spec})
    await world.converge(NAME)


def handovers(world: World) -> int:
    return sum("switchover" in write for hand in world.hands for write in hand.writes)


def test_a_leader_is_gone_before_the_drain_and_the_cluster_comes_to_rest() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        await at_rest(world)
        before, node = world.leader(NAME), leader_node(world)
        world.cordon(node)
        await world.until(lambda: world.leader(NAME) not in (None, before), "another one leads", within_s=30.0)
        assert leader_node(world) != node
        world.drain(node)
        await world.converge(NAME)
        assert node not in {pod["spec"]["nodeName"] for pod in world.pods(NAME)}
        assert condition(world, PENDING) is None
        assert handovers(world) == 1
        await world.is_steady(NAME)

    simulate(scenario)


def test_a_heartbeat_of_a_thousand_nodes_makes_no_pass() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        await at_rest(world)
        requests = len(world.server.requests)
        for beat in range(250):
            for node in ("node-1", "node-2", "node-3", "node-4"):
                status = {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": f"{beat}"}]}
                world.store.patch(NODES, ("", node), lambda live, s=status: {**live, "status": s}, KUBELET)
        await asyncio.sleep(5.0)
        assert [r for r in world.server.requests[requests:] if r.is_write] == []

    simulate(scenario)


def test_all_nodes_are_drained_one_after_the_other() -> None:
    """Each leader moves at most once per drain, and every pod ends on a node that stays."""

    async def scenario(world: World) -> None:
        world.start_operator(lag_s=1.0)
        await at_rest(world)
        for node in ("node-1", "node-2", "node-3", "node-4"):
            world.cordon(node)
            await world.until(lambda node=node: leader_node(world) not in ("", node), "it leads elsewhere")
            world.drain(node)
            await world.converge(NAME)
            world.cordon(node, is_cordoned=False)
        assert handovers(world) <= 4

    simulate(scenario)


def test_with_every_node_cordoned_nobody_moves_until_there_is_a_place() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        await at_rest(world, numberOfInstances=2)
        before = world.leader(NAME)
        nodes = sorted({pod["spec"]["nodeName"] for pod in world.pods(NAME)})
        spare = [f"node-{n}" for n in range(1, 5) if f"node-{n}" not in nodes]
        for node in (*nodes, *spare):
            world.cordon(node)
        await world.until(lambda: condition(world, PENDING) is not None, "it is said")
        await world.stays_quiet(300.0)
        assert (world.leader(NAME), handovers(world)) == (before, 0)
        (reason, message) = (condition(world, PENDING) or {})["reason"], (condition(world, PENDING) or {})["message"]
        assert reason == "NoCandidate"
        assert "which is cordoned, too; it comes to another one when that is drained" in message
        world.cordon(spare[0], is_cordoned=False)
        replica_node = next(n for n in nodes if n != leader_node(world))
        world.drain(replica_node)  # the eviction brings the replica to the node that stays
        await world.until(lambda: leader_node(world) == spare[0], "the replica leads there")
        await world.converge(NAME)
        assert handovers(world) == 1

    simulate(scenario)


def test_the_only_member_stays_until_a_person_says_otherwise() -> None:
    async def scenario(world: World) -> None:
        world.start_operator()
        await at_rest(world, numberOfInstances=1)
        node = leader_node(world)
        world.cordon(node)
        await world.until(lambda: condition(world, PENDING) is not None, "it is said")
        assert (condition(world, PENDING) or {})["reason"] == "OnlyMember"
        await world.stays_quiet(300.0)
        await asyncio.sleep(1300.0)
        assert (condition(world, "Degraded") or {})["reason"] == "LeaderNotMoved"
        world.edit(PODS, f"{NAME}-0", {"metadata": {"annotations": {names.ROLLING_UPDATE_REQUIRED: "true"}}})
        await world.until(lambda: leader_node(world) not in ("", node), "it starts on another node")
        await world.converge(NAME)
        assert (condition(world, "Degraded") or {})["status"] == "False"

    simulate(scenario)


def test_an_operator_that_may_not_see_nodes_says_so_and_does_everything_else() -> None:
    async def scenario(world: World) -> None:
        world.server.permissions = rights(sees_nodes=False)
        world.start_operator()
        await at_rest(world)
        before = world.leader(NAME)
        world.cordon(leader_node(world))
        await world.stays_quiet(120.0)
        assert world.leader(NAME) == before
        assert (condition(world, PENDING) or {})["status"] == "Unknown"
        world.server.permissions = rights()
        await world.until(lambda: world.leader(NAME) != before, "the right is heard of", within_s=120.0)
        await world.converge(NAME)
        assert condition(world, PENDING) is None

    simulate(scenario)


def test_of_many_leaders_on_a_node_not_all_hand_over_at_once() -> None:
    async def scenario(world: World) -> None:
        world.start_operator(options={"max_rolling_clusters": "1"})
        clusters = [f"acid-{letter}" for letter in "abc"]
        for name in clusters:
            world.create(name, numberOfInstances=2)
        await world.converge(*clusters)
        for node in ("node-1", "node-2"):
            world.cordon(node)
        await world.converge(*clusters, within_s=1800.0)
        for name in clusters:
            pod = world.leader(name) or ""
            others = {p["spec"]["nodeName"] for p in world.pods(name)} - {"node-1", "node-2"}
            assert world.node_of(pod) not in ("node-1", "node-2") or not others

    simulate(scenario)
