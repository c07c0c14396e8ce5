"""`howdah switchover` from where Patroni's REST API cannot be reached: the API server says who leads."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from howdah.adapters.patroni import UnreachableError
from howdah.cli import switchover
from howdah.cli.exits import Failed
from howdah.kube.client import Client
from howdah.kube.exec import ExecResult
from howdah.kube.resources import CONFIGMAPS, PODS
from howdah.kube.testing import FakeKubernetes
from unit.core.clusters import NAME, NAMESPACE, situation, three

LABELS = {"application": "spilo", "cluster-name": NAME}
PATIENCE_S = 0.5
"""How long the new leader is waited for here."""


class World:
    """A cluster of three, as Patroni writes it to the API server."""

    def __init__(self, kube: FakeKubernetes, client: Client) -> None:
        self.kube, self.client = kube, client
        self.asked_inside: list[tuple[str, ...]] = []
        kube.exec_handler = self._exec

    async def make(self) -> None:
        lock = {"name": f"{NAME}-leader", "namespace": NAMESPACE, "labels": LABELS, "annotations": {}}
        await self.client.create(CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": lock})
        for number in range(3):
            meta = {"name": f"{NAME}-{number}", "namespace": NAMESPACE, "labels": LABELS}
            await self.client.create(
                PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": []}}
            )
        await self.lead(f"{NAME}-0")

    async def lock(self, holder: str | None) -> None:
        patch = {"metadata": {"annotations": {"leader": holder}}}
        await self.client.merge_patch(CONFIGMAPS, f"{NAME}-leader", patch, namespace=NAMESPACE)

    async def lead(self, name: str) -> None:
        status = json.dumps({"role": "primary", "state": "running"})
        await self.client.merge_patch(
            PODS, name, {"metadata": {"annotations": {"status": status}}}, namespace=NAMESPACE
        )
        await self.lock(name)

    def _exec(self, namespace: str, pod: str, container: str, argv: Any, stdin: Any) -> ExecResult:
        self.asked_inside.append(tuple(argv))
        return ExecResult(0, b"", b"")

    async def switch_over(self, members: Any) -> None:
        await switchover._switch_over(self.client, None, members, (NAMESPACE, NAME), f"{NAME}-1")  # type: ignore[arg-type]


class Deaf:
    """Members whose answers do not come through; a command may be heard all the same."""

    def __init__(self, *, silent_s: float = 0.0, hears: Callable[[], Awaitable[None]] | None = None) -> None:
        self._silent_s, self._hears = silent_s, hears

    async def switch_over(self, *_: Any) -> None:
        if self._hears is not None:
            await self._hears()
        await asyncio.sleep(self._silent_s)
        raise UnreachableError("Patroni", transient=True, message="no answer")

    async def hear(self, members: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async def seen(*_: Any) -> Any:
        return situation(*three())

    monkeypatch.setattr(switchover, "_situation", seen)
    monkeypatch.setattr(switchover, "LEADS_TIMEOUT_S", PATIENCE_S)
    async with FakeKubernetes() as kube, kube.client() as client:
        made = World(kube, client)
        await made.make()
        yield made


async def test_the_new_leader_is_waited_for_from_when_it_was_asked_however_long_asking_took(world: World) -> None:
    def asked_inside(*_: Any) -> ExecResult:
        led.append(asyncio.get_running_loop().create_task(late()))
        return ExecResult(0, b"", b"")

    async def late() -> None:
        await asyncio.sleep(PATIENCE_S / 5)
        await world.lead(f"{NAME}-1")

    led: list[asyncio.Task[None]] = []
    world.kube.exec_handler = asked_inside
    await world.switch_over(Deaf(silent_s=1.5 * PATIENCE_S))
    await asyncio.gather(*led)


@pytest.mark.parametrize("holder", [f"{NAME}-1", None])
async def test_what_was_heard_though_no_answer_came_is_not_asked_for_again(world: World, holder: str | None) -> None:
    async def heard() -> None:
        await world.lock(holder)
        led.append(asyncio.create_task(late()))

    async def late() -> None:
        await asyncio.sleep(PATIENCE_S / 5)
        await world.lead(f"{NAME}-1")

    led: list[asyncio.Task[None]] = []
    await world.switch_over(Deaf(hears=heard))
    await asyncio.gather(*led)
    assert world.asked_inside == []


async def test_where_nobody_was_heard_patroni_is_asked_in_the_leaders_container_and_not_for_ever(world: World) -> None:
    with pytest.raises(Failed, match=f"{NAME}-1 does not lead after"):
        await world.switch_over(Deaf())
    who = ("--leader", f"{NAME}-0", "--candidate", f"{NAME}-1", "--force")
    assert world.asked_inside == [("patronictl", "switchover", NAME, *who)]
