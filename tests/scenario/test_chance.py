"""Stories made up by chance: people, crashes, kills and a misbehaving API server, in any order; at the end all is well.

A failing story is printed as the names of what happened and the seconds after each: it can be told again as an `@example`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from howdah.kube.resources import POD_DISRUPTION_BUDGETS, PODS, SECRETS, SERVICES, STATEFUL_SETS, Resource
from howdah.kube.testing import Fault, fitting
from howdah.model import names
from scenario.test_lifecycle import BAD_IMAGE, ENV, GOOD_IMAGE
from scenario.world.world import World, secret_name, simulate

NAME = "acid-a"
Act = Callable[[World], Awaitable[None] | None]


def _changed(**spec: Any) -> Act:
    return lambda world: world.change(NAME, **spec)


def _parameters(**parameters: str) -> Act:
    return _changed(postgresql={"parameters": parameters})


def _paused(word: str | None) -> Act:
    return lambda world: world.annotate(NAME, names.PAUSE, word)


def _password(user: str) -> Act:
    return lambda world: world.edit_password(NAME, user, "edited")


def _removed(resource: Resource, name: str, **how: Any) -> Act:
    return lambda world: world.remove(resource, name, **how)


def _crashed(pod: str) -> Act:
    return lambda world: world.crash(pod)


def _cordoned(node: str) -> Act:
    return lambda world: world.cordon(node)


def _drained(node: str) -> Act:
    return lambda world: world.drain(node)


async def _made_again(world: World) -> None:
    world.annotate(NAME, names.PAUSE, None)
    world.delete(NAME)
    ends_s = world.now_s + 200.0
    while world.resource(NAME) is not None and world.now_s < ends_s:
        await asyncio.sleep(0.5)
    if world.resource(NAME) is None:
        world.create(NAME)


def _operator_dies(world: World) -> None:
    alive = [hand for hand in world.hands if hand.alive]
    world.restart_operator(alive[-1])


def _a_second_one(world: World) -> None:
    if sum(hand.alive for hand in world.hands) < 2:
        world.start_operator(lag_s=4.0)


def _fault(times: int, verb: str, **fault: Any) -> Act:
    return lambda world: world.server.faults.add(Fault(fitting(verb), times=times, **fault))


ACTS: Mapping[str, Act] = {
    "scale to 0": _changed(numberOfInstances=0),
    "scale to 1": _changed(numberOfInstances=1),
    "scale to 2": _changed(numberOfInstances=2),
    "scale to 4": _changed(numberOfInstances=4),
    "environment C": _changed(env=ENV),
    "environment de": _changed(env=[{"name": "LANG", "value": "de_DE"}]),
    "bad image": _changed(dockerImage=BAD_IMAGE),
    "good image": _changed(dockerImage=GOOD_IMAGE),
    "more connections": _parameters(max_connections="200"),
    "less connections": _parameters(max_connections="50", work_mem="8MB"),
    "synchronous": _changed(patroni={"synchronous_mode": True}),
    "one more user": _changed(users={"late": ["createdb"]}, databases={"later": "late"}),
    "invalid manifest": _changed(volume={"size": "ten"}),
    "larger volumes": _changed(volume={"size": "2Gi"}),
    "pause all": _paused("all"),
    "pause disruptive": _paused("disruptive"),
    "resume": _paused(None),
    "password of standby": _password("standby"),
    "password of postgres": _password("postgres"),
    "password of foo_user": _password("foo_user"),
    "Secret removed": _removed(SECRETS, secret_name(NAME, "standby")),
    "Service removed": _removed(SERVICES, NAME),
    "budget removed": _removed(POD_DISRUPTION_BUDGETS, f"postgres-{NAME}-pdb"),
    "StatefulSet removed": _removed(STATEFUL_SETS, NAME),
    "StatefulSet orphaning": _removed(STATEFUL_SETS, NAME, propagation="Orphan"),
    "StatefulSet scaled": lambda world: world.edit(STATEFUL_SETS, NAME, {"spec": {"replicas": 5}}),
    "hand over": lambda world: world.hand_over(NAME, f"{NAME}-1"),
    "made again": _made_again,
    **{f"crash {n}": _crashed(f"{NAME}-{n}") for n in range(3)},
    **{f"pod {n} deleted": _removed(PODS, f"{NAME}-{n}") for n in range(3)},
    **{f"node of {n} lost": _removed(PODS, f"{NAME}-{n}", grace_s=0) for n in range(3)},
    **{f"node-{n} cordoned": _cordoned(f"node-{n}") for n in (1, 2, 3)},
    **{f"node-{n} drained": _drained(f"node-{n}") for n in (1, 2)},
    "nodes take pods again": lambda world: world.uncordon_all(),
    "operator killed": _operator_dies,
    "second operator, late": _a_second_one,
    "watches cut": lambda world: world.server.cut_watches(),
    "history forgotten": lambda world: world.server.expire(),
    "409 on writes": _fault(2, "write", status=409, reason="Conflict"),
    "429 on writes": _fault(3, "write", status=429, reason="TooManyRequests", retry_after_s=2),
    "500 on writes": _fault(2, "write", status=500),
    "500 after writes": _fault(2, "write", status=500, after_effect=True),
    "cut after writes": _fault(2, "write", status=0, after_effect=True),
    "slow writes": _fault(2, "write", only_delay=True, delay_s=20.0),
    "no answer to writes": _fault(1, "write", status=0, after_effect=True, delay_s=60.0),
    "503 on reads": _fault(6, "get", status=503),
    "500 on lists": _fault(3, "list", status=500),
    "410 on lists": _fault(2, "list", status=410, reason="Expired"),
    "410 on watches": _fault(5, "watch", status=410, reason="Expired"),
}
STEPS = st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from((0.0, 0.3, 1.0, 3.0, 8.0, 30.0, 90.0)))
Story = list[tuple[str, float]]


def mended(world: World) -> None:
    """All that is wrong on purpose is put right; the cluster has to manage the rest."""
    world.server.faults.clear()
    world.uncordon_all()
    world.annotate(NAME, names.PAUSE, None)
    # Asked for where a StatefulSet is made anew for a cluster that was scaled to 0 before it had initialised.
    world.annotate(NAME, names.USE_KEPT_VOLUMES, "true")
    resource = world.resource(NAME)
    assert resource is not None
    if resource["spec"].get("dockerImage") == BAD_IMAGE:
        world.change(NAME, dockerImage=GOOD_IMAGE)
    if resource["spec"]["volume"]["size"] == "ten":
        world.change(NAME, volume={"size": "2Gi"})


def told(story: Story, *, seed: int, begins_at_rest: bool) -> None:
    """A story, and the claim of its end."""

    async def scenario(world: World) -> None:
        world.start_operator()
        world.create(NAME, numberOfInstances=3)
        if begins_at_rest:
            await world.converge(NAME)
        for name, pause_s in story:
            waits = ACTS[name](world)
            if waits is not None:
                await waits
            await asyncio.sleep(pause_s)
        mended(world)
        await world.is_steady(NAME)

    simulate(scenario, seed=seed)


@given(story=st.lists(STEPS, min_size=3, max_size=9), seed=st.integers(0, 999))
def test_whatever_happens_a_cluster_comes_to_rest_and_nobody_was_harmed(story: Story, seed: int) -> None:
    told(story, seed=seed, begins_at_rest=True)


@given(story=st.lists(STEPS, min_size=2, max_size=6), seed=st.integers(0, 999))
def test_whatever_happens_while_a_cluster_is_made_it_comes_to_rest(story: Story, seed: int) -> None:
    told(story, seed=seed, begins_at_rest=False)
