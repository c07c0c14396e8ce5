"""Fewer members: what may not go yet, and what does not wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from howdah.kube.resources import SECRETS, SERVICES, STATEFUL_SETS
from scenario.world.world import NAMESPACE, World, secret_name, simulate

NAME = "acid-a"
FAR = 200 * 2**30


def replicas(world: World) -> int:
    found: int = world.store.read(STATEFUL_SETS, NAMESPACE, NAME)["spec"]["replicas"]
    return found


def waits_for(world: World) -> str:
    return next((c["message"] for c in world.status(NAME)["conditions"] if c["type"] == "Progressing"), "")


async def led_by(world: World, pod: str, **spec: Any) -> None:
    world.start_operator()
    world.create(NAME, **{"numberOfInstances": 3, **spec})
    await world.converge(NAME)
    if world.leader(NAME) != pod:
        world.hand_over(NAME, pod)
    await world.until(lambda: world.leader(NAME) == pod, f"{pod} leads")
    await world.converge(NAME)


@pytest.mark.parametrize("lacks", [0, FAR], ids=["it lacks a stream", "it lacks much"])
def test_the_only_synchronous_standby_stays_while_who_is_to_stay_is_cut_off(lacks: int) -> None:
    async def scenario(world: World) -> None:
        await led_by(world, f"{NAME}-1", patroni={"synchronous_mode": True})
        world.machine(f"{NAME}-0").is_cut_off = True
        world.machine(f"{NAME}-1").lsn += lacks
        sync = world.machinery.dcs_of(NAMESPACE, NAME)
        await world.until(lambda: sync.annotations("sync").get("sync_standby") == f"{NAME}-2", "the other one is")
        world.change(NAME, numberOfInstances=1)
        await asyncio.sleep(60.0)
        assert (replicas(world), world.leader(NAME)) == (3, f"{NAME}-1")
        assert f"{NAME}-0" in waits_for(world)
        world.machine(f"{NAME}-0").is_cut_off = False
        await world.converge(NAME)
        assert (replicas(world), world.leader(NAME)) == (1, f"{NAME}-0")
        await world.is_steady(NAME)

    simulate(scenario)


def test_what_interrupts_nobody_does_not_wait_for_a_switchover_that_patroni_refuses() -> None:
    async def scenario(world: World) -> None:
        await led_by(world, f"{NAME}-2")
        for pod in (f"{NAME}-0", f"{NAME}-1"):
            world.machine(pod).has_watchdog = False
        world.change(NAME, numberOfInstances=2)
        await asyncio.sleep(30.0)
        parameters = {"work_mem": "8MB"}
        world.change(NAME, users={"late": []}, databases={"later": "late"}, postgresql={"parameters": parameters})
        world.change(NAME, volume={"size": "2Gi"})
        world.remove(SERVICES, NAME)
        await asyncio.sleep(120.0)
        assert (replicas(world), world.leader(NAME)) == (3, f"{NAME}-2"), "nobody has gone"
        assert world.store.find(SERVICES, NAMESPACE, NAME) is not None
        assert world.store.find(SECRETS, NAMESPACE, secret_name(NAME, "late")) is not None
        dcs = world.machinery.dcs_of(NAMESPACE, NAME)
        assert "later" in world.machine(f"{NAME}-2").contents.databases  # type: ignore[union-attr]
        assert dcs.dynamic()["postgresql"]["parameters"]["work_mem"] == "8MB"
        for pod in (f"{NAME}-0", f"{NAME}-1"):
            world.machine(pod).has_watchdog = True
        await world.converge(NAME)
        assert (replicas(world), world.leader(NAME)) == (2, f"{NAME}-0")
        await world.is_steady(NAME)

    simulate(scenario)


def test_a_refused_switchover_is_asked_for_less_and_less_often() -> None:
    """Whatever else is done meanwhile: each asking may cost Patroni seconds."""

    async def scenario(world: World) -> None:
        await led_by(world, f"{NAME}-2")
        for pod in (f"{NAME}-0", f"{NAME}-1"):
            world.machine(pod).has_watchdog = False
        world.change(NAME, numberOfInstances=2)
        for number in range(300):
            world.change(NAME, serviceAnnotations={"example.org/mark": str(number)})
            await asyncio.sleep(1.0)
        asked = [line for line in world.said if "no good candidates" in line and "pass" not in line]
        assert len(asked) <= 16, asked

    simulate(scenario)
