"""Probes that cannot be asked: with real containers whose records are spoilt, and a machine that gives no descriptors."""

import asyncio
import contextlib
import resource
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.local.test_containers import alive, program, until
from howdah.local.node import containers, execution, probes
from howdah.local.node.containers import Container, Program
from howdah.local.node.fencing import Fence
from howdah.local.node.keeper import Keeper, Surroundings
from howdah.local.node.status import ContainerView
from steady import HANGS_S

PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 0.05, "failureThreshold": 1, "timeoutSeconds": 30}


@contextlib.contextmanager
def without_its_record(container: Container) -> Iterator[None]:
    record = container.folder / "spec.json"
    away = record.rename(record.with_name("away"))
    try:
        yield
    finally:
        away.rename(record)


@contextlib.contextmanager
def with_an_empty_record(container: Container) -> Iterator[None]:
    with without_its_record(container):
        (container.folder / "spec.json").touch()
        yield


@contextlib.contextmanager
def without_descriptors(container: Container | None = None) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("spoilt", [without_its_record, with_an_empty_record, without_descriptors])
async def test_what_cannot_be_asked_is_not_ready_and_is_asked_again(fence: Fence, folder: Path, spoilt) -> None:
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sleep", "600"))
    beliefs: list[bool] = []
    check = probes.check_of(PROBE, {}, "", lambda argv, timeout_s: execution.run(container, argv, timeout_s))
    report = lambda holds, _why: beliefs.append(holds)  # noqa: E731
    asking = asyncio.create_task(
        probes.keep_asking(PROBE, check, eager=True, believed=False, unasked_is_no=True, report=report)
    )
    try:
        await until(lambda: beliefs == [True], "the first yes")
        with spoilt(container):
            await until(lambda: asking.done() or beliefs == [True, False], "the no")
        assert not asking.done()
        await until(lambda: beliefs == [True, False, True], "the yes after it")
    finally:
        asking.cancel()
        await container.stop(grace_s=0)


@pytest.mark.parametrize("spoilt", [without_its_record, with_an_empty_record, without_descriptors])
async def test_nobody_is_killed_because_we_cannot_ask(fence: Fence, folder: Path, spoilt) -> None:
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sleep", "600"))
    beliefs: list[bool] = []
    asked: list[Exception | None] = []
    codes = [0]

    async def run(argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
        try:
            await execution.run(container, argv, timeout_s)
        except Exception as problem:
            asked.append(problem)
            raise
        asked.append(None)
        return codes[-1], ""

    check = probes.check_of(PROBE, {}, "", run)
    report = lambda holds, _why: beliefs.append(holds)  # noqa: E731
    asking = asyncio.create_task(
        probes.keep_asking(PROBE, check, eager=False, believed=True, unasked_is_no=False, report=report)
    )
    try:
        with spoilt(container):
            await until(lambda: len([problem for problem in asked if problem]) > 3, "questions that fail")
        assert not beliefs
        codes.append(1)
        await until(lambda: beliefs == [False], "the no, which is heard")
    finally:
        asking.cancel()
        await container.stop(grace_s=0)


async def test_an_agent_without_descriptors_says_nothing_of_a_port() -> None:
    ports = [{"tcpSocket": {"port": 9}}, {"httpGet": {"port": 9}}]
    checks = [probes.check_of(probe, {}, "127.0.0.1", execution.run) for probe in ports]  # type: ignore[arg-type]
    assert [(await probes.answer_of(check)).holds for check in checks] == [False, False]
    with without_descriptors():
        assert [(await probes.answer_of(check)).holds for check in checks] == [None, None]


async def test_time_in_which_nobody_could_ask_is_no_failed_startup(fence: Fence, folder: Path) -> None:
    async def sleeper(_spec: Mapping[str, Any]) -> Program:
        return program(folder, "sleep", "600")

    said: list[str] = []
    stopping = asyncio.Event()
    pod = Surroundings(
        pod_uid=folder.name, pod_ip=lambda: "", folder=folder, fence=fence, restart_policy="Always", grace_s=1, program=sleeper,
        stopping=stopping, changed=lambda: None, event=lambda _type, reason, _message: said.append(reason),
    )  # fmt: skip
    asking = {"exec": {"command": ["test", "-e", "up"]}, "timeoutSeconds": HANGS_S}
    probe = {**asking, "periodSeconds": 0.5, "failureThreshold": 4}
    keeper = Keeper({"name": "main", "startupProbe": probe}, pod, ContainerView("main", "x"))
    keeping = asyncio.create_task(keeper.keep())
    await until(lambda: keeper.container, "the container")
    assert keeper.container is not None
    with without_its_record(keeper.container):
        await asyncio.sleep(3)  # the limit is 2 s
        assert "Killing" not in said
        (folder / "up").touch()
    await until(lambda: keeper.view.started, "the yes")
    assert "Killing" not in said
    stopping.set()
    await asyncio.wait_for(asyncio.gather(keeper.stop(grace_s=0), keeping), HANGS_S)


async def test_a_container_is_stopped_although_its_hook_cannot_run(fence: Fence, folder: Path) -> None:
    async def sleeper(_spec: Mapping[str, Any]) -> Program:
        return program(folder, "sleep", "600")

    said: list[str] = []
    stopping = asyncio.Event()
    pod = Surroundings(
        pod_uid=folder.name, pod_ip=lambda: "", folder=folder, fence=fence, restart_policy="Always", grace_s=1, program=sleeper,
        stopping=stopping, changed=lambda: None, event=lambda _type, reason, _message: said.append(reason),
    )  # fmt: skip
    spec = {"name": "main", "lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}
    keeper = Keeper(spec, pod, ContainerView("main", "x"))
    keeping = asyncio.create_task(keeper.keep())
    await until(lambda: keeper.container, "the container")
    assert keeper.container is not None
    with without_descriptors(keeper.container):
        stopping.set()
        stopped = asyncio.create_task(keeper.stop(grace_s=0.5))
        await until(lambda: "FailedPreStopHook" in said or stopped.done(), "the hook")
    await asyncio.wait_for(asyncio.gather(stopped, keeping), HANGS_S)
    assert alive(folder) == set()
