"""The faults that chaos chooses from: each one hurts one cluster or its platform, and undoes what it must undo.

A fault takes the cluster, a source of chance, and a function that tells what it does. It returns when it has been done;
what follows (failover, restart, healing) is not its business.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from e2e.clusters import PostgresCluster
from e2e.world import condition
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.resources import PODS
from howdah.model.errors import ExternalError

Tell = Callable[[str], None]
STOPS_S = (0.5, 1.0, 3.0, 6.0)
LONG_STOP_S = 26.0  # longer than the leader's lock lives (ttl 20)


@dataclass(frozen=True, slots=True)
class Ground:
    """What faults are done to, and by what chance."""

    cluster: PostgresCluster
    other: PostgresCluster
    chance: random.Random
    tell: Tell


Fault = Callable[[Ground], Awaitable[None]]


async def _victim(ground: Ground) -> tuple[str, str]:
    """A pod (name, uid): the leader as often as all others together."""
    uids = await ground.cluster.uids()
    leader = await ground.cluster.leader()
    others = sorted(set(uids) - {leader})
    name = leader if leader in uids and (ground.chance.random() < 0.5 or not others) else ground.chance.choice(others)
    return name, uids[name]


def send(pids: Iterable[int], number: int) -> None:
    """A signal to each that still lives."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _chosen(ground: Ground, uid: str, part: str) -> tuple[int, ...]:
    found = ground.cluster.world.pod_processes(uid)
    parts: Mapping[str, tuple[int, ...]] = {
        "postgres": found.postmaster,
        "patroni": found.patroni,
        "all postgres processes": found.postgres,
        "the shim": (found.shim,),
        "the whole pod": (*found.everybody, found.shim),
    }
    return parts[part]


def kill(part: str) -> Fault:
    """SIGKILL a part of a pod."""

    async def fault(ground: Ground) -> None:
        name, uid = await _victim(ground)
        ground.tell(f"kill -9 {part} of {name}")
        send(_chosen(ground, uid, part), signal.SIGKILL)

    return fault


def freeze(part: str, durations_s: tuple[float, ...] = STOPS_S) -> Fault:
    """SIGSTOP a part of a pod, and SIGCONT it after a while."""

    async def fault(ground: Ground) -> None:
        name, uid = await _victim(ground)
        seconds = ground.chance.choice(durations_s)
        pids = _chosen(ground, uid, part)
        ground.tell(f"stop {part} of {name} for {seconds:g} s")
        send(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            send(pids, signal.SIGCONT)

    return fault


def kill_process(name: str) -> Fault:
    """SIGKILL a process of the platform; its supervisor starts it again, and `up` the supervisor."""

    async def fault(ground: Ground) -> None:
        world = ground.cluster.world
        chosen = await world.leading_operator(ground.cluster.client) if name == "operator" else name
        ground.tell(f"kill -9 {chosen}")
        send(world.pids(chosen), signal.SIGKILL)
        if name == "supervisor":
            await world.restore()

    return fault


def freeze_process(name: str) -> Fault:
    """SIGSTOP a process of the platform for a while."""

    async def fault(ground: Ground) -> None:
        world = ground.cluster.world
        chosen = await world.leading_operator(ground.cluster.client) if name == "operator" else name
        seconds = ground.chance.choice(STOPS_S)
        pids = world.pids(chosen)
        ground.tell(f"stop {chosen} for {seconds:g} s")
        send(pids, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            send(pids, signal.SIGCONT)

    return fault


def delete_pod(*, force: bool) -> Fault:
    """Delete a pod, in good order or at once."""

    async def fault(ground: Ground) -> None:
        name, uid = await _victim(ground)
        ground.tell(f"delete pod {name}{' by force' if force else ''}")
        with contextlib.suppress(NotFound):
            await ground.cluster.client.delete(
                PODS, name, namespace=ground.cluster.namespace, uid=uid, grace_period_s=0 if force else None
            )

    return fault


async def roll(ground: Ground) -> None:
    """New pods for all members."""
    value = str(ground.chance.randrange(10**6))
    ground.tell(f"roll: env CHAOS={value}")
    await ground.cluster.change(env=[{"name": "CHAOS", "value": value}])


async def switch_over(ground: Ground) -> None:
    """Hand over to a random replica; Patroni may refuse one that is not synchronous."""
    candidate = ground.chance.choice(await ground.cluster.replicas())
    ground.tell(f"switchover to {candidate}")
    try:
        await ground.cluster.switch_over(candidate)
    except ExternalError as error:
        ground.tell(f"  refused: {error}")


async def scale(ground: Ground) -> None:
    """One member more, or one less; and back at the end of the round."""
    instances = ground.chance.choice((2, 4))
    ground.tell(f"scale to {instances}")
    await ground.cluster.change(numberOfInstances=instances)
    with contextlib.suppress(AssertionError):
        await ground.cluster.settled(20)
    ground.tell("scale to 3")
    await ground.cluster.change(numberOfInstances=3)


async def recreate_other(ground: Ground) -> None:
    """Delete the second cluster, and make it again under the same name as soon as it is gone."""
    ground.tell(f"delete and make {ground.other.name} again")
    with contextlib.suppress(NotFound):
        await ground.other.delete()
    await ground.other.gone(60)
    await ground.other.create(numberOfInstances=1)


async def bad_image(ground: Ground) -> None:
    """An image that nobody knows; the manifest is reverted when the roll has stopped."""
    ground.tell("image example.org/nonsense:1")
    await ground.cluster.change(dockerImage="example.org/nonsense:1")
    with contextlib.suppress(AssertionError):
        await ground.cluster.status_where(
            "the roll to stop", lambda r: condition(r, "Degraded").get("reason") == "Stopped", timeout_s=15
        )
    ground.tell("image as before")
    await ground.cluster.change(dockerImage=None)


async def wrong_password(ground: Ground) -> None:
    """Somebody writes another password into a Secret, and then the right one again."""
    role = ground.chance.choice(("zalando", "foo_user", "standby"))
    right = await ground.cluster.password(role)
    ground.tell(f"another password in the Secret of {role}")
    await ground.cluster.set_password(role, f"wrong {ground.chance.randrange(10**6)}")
    await asyncio.sleep(ground.chance.choice((0.2, 1.0, 3.0)))
    ground.tell(f"the right password in the Secret of {role}")
    await ground.cluster.set_password(role, right)


# name → (weight, fault). What takes longer than the leader's lock lives is rare in short runs.
FAULTS: Mapping[str, tuple[int, Fault]] = {
    "kill postgres": (3, kill("postgres")),
    "kill patroni": (3, kill("patroni")),
    "kill pod": (3, kill("the whole pod")),
    "kill shim": (2, kill("the shim")),
    "freeze postgres": (2, freeze("all postgres processes")),
    "freeze patroni": (2, freeze("patroni")),
    "freeze pod": (2, freeze("the whole pod")),
    "freeze patroni long": (1, freeze("patroni", (LONG_STOP_S,))),
    "freeze pod long": (1, freeze("the whole pod", (LONG_STOP_S,))),
    "kill operator": (2, kill_process("operator")),
    "kill apiserver": (2, kill_process("apiserver")),
    "kill platform": (2, kill_process("platform")),
    "kill services": (1, kill_process("services")),
    "kill supervisor": (1, kill_process("supervisor")),
    "freeze operator": (1, freeze_process("operator")),
    "freeze apiserver": (2, freeze_process("apiserver")),
    "delete pod": (2, delete_pod(force=False)),
    "delete pod by force": (2, delete_pod(force=True)),
    "roll": (2, roll),
    "switchover": (3, switch_over),
    "scale": (1, scale),
    "re-create another": (1, recreate_other),
    "bad image": (1, bad_image),
    "wrong password": (1, wrong_password),
}


async def persist(name: str, ground: Ground) -> None:
    """Do a fault, and again where the API server could not be asked because of another fault."""
    for attempt in range(20):
        try:
            await FAULTS[name][1](ground)
            return
        except (KubeError, OSError, ExternalError, IndexError, KeyError) as trouble:
            ground.tell(f"  {name}: {trouble!r}; again" if attempt == 0 else f"  {name}: again")
            await asyncio.sleep(0.5)
