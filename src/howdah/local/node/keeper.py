"""One container of a pod over all its starts: start, probe, restart with growing pauses, stop. Adopts what runs already."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from howdah.kube.events import EventType
from howdah.local.node import containers, execution, logs, probes, processes
from howdah.local.node.containers import Container, Exit, Program, StartError
from howdah.local.node.environment import ConfigError
from howdah.local.node.fencing import Fence
from howdah.local.node.status import ContainerView, Terminated

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
GOOD_RUN_S = 600.0
CONFIG_RETRY_S = 2.0
IMAGE_RETRY_S = 10.0
STOP_RETRY_S = 0.5
FALLBACK_BYTES = 2048
LAST_WORDS_BYTES = 4096

_log = structlog.get_logger("node")


class UnknownImageError(Exception):
    """No role of this platform fits the image."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a container needs from its pod."""

    pod_uid: str
    pod_ip: Callable[[], str]
    folder: Path
    fence: Fence
    restart_policy: str
    grace_s: float
    program: Callable[[Mapping[str, Any]], Awaitable[Program]]
    """Resolves the container's references anew; raises ConfigError or UnknownImageError."""
    stopping: asyncio.Event
    changed: Callable[[], None]
    event: Callable[[EventType, str, str], None]
    """(type, reason, message)."""


def work_folder(pod_folder: Path, container: str) -> Path:
    """Where a container starts; it belongs to the containers' user."""
    return pod_folder / "work" / container


def termination_log(pod_folder: Path, container: str) -> Path:
    """Where a container may leave its last words."""
    return work_folder(pod_folder, container) / "termination-log"


def _read_own(path: Path) -> str:
    """The text of a file of the containers' user, who must not make us read another one by a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LAST_WORDS_BYTES).decode("utf-8", "replace")


def pause_s(failures: int) -> float:
    """Seconds before the next start after so many ends in a row: at once, then 1 s, doubling up to a minute.

    As a kubelet with ReduceDefaultCrashLoopBackOffDecay has it:
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#reduced-container-restart-delay
    """
    return 0.0 if failures <= 1 else min(FIRST_PAUSE_S * 2 ** (failures - 2), LONGEST_PAUSE_S)


def restarts(policy: str, code: int, is_init: bool) -> bool:
    """Whether a container that ended so is started again."""
    if is_init:
        return code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and code != 0)


async def stopped(container: Container, grace_s: float) -> None:
    """Returns when it is proved dead; a machine that gives no descriptor at this moment is asked again."""
    while True:
        try:
            return await container.stop(grace_s)
        except OSError as problem:
            _log.warning("container not stopped yet", container=container.run.container, problem=str(problem))
            await asyncio.sleep(STOP_RETRY_S)


class Keeper:
    """Run `keep()` as a task; `view` is what the pod's status shows."""

    def __init__(
        self, spec: Mapping[str, Any], pod: Surroundings, view: ContainerView, *, is_init: bool = False
    ) -> None:
        self.spec = spec
        self.view = view
        self.container: Container | None = None
        self._pod = pod
        self._is_init = is_init
        self._failures = 0
        self._grace_s = 0.0
        self._killing: asyncio.Task[None] | None = None

    @property
    def folder(self) -> Path:
        """Records and logs of this container."""
        return self._pod.folder / "containers" / str(self.spec["name"])

    async def keep(self) -> None:
        """Until it will not run again: finished, or the pod stops and everything of it is proved dead."""
        container = self._adopted()
        last = self.view.ended
        if container is None and last and not restarts(self._pod.restart_policy, last.exit.code, self._is_init):
            return
        while True:
            if container is None:
                container = await self._started()
            if container is None:
                return
            ended = await self._attend(container)
            self._failures = 1 if ended.finished - ended.started > GOOD_RUN_S else self._failures + 1
            if self._pod.stopping.is_set() or not restarts(self._pod.restart_policy, ended.code, self._is_init):
                return
            if not await self._pause():
                return
            container = None

    async def stop(self, grace_s: float) -> None:
        """Returns when what runs now is proved dead. `keep` then ends, too, if the pod is stopping."""
        self._grace_s = grace_s
        if self.container is None:
            return
        if grace_s > 0 and (hook := (self.spec.get("lifecycle") or {}).get("preStop")):
            begin = time.monotonic()
            await self._before_stop(self.container, hook, grace_s)
            grace_s = max(1.0, grace_s - (time.monotonic() - begin))
        await stopped(self.container, grace_s)

    async def _before_stop(self, container: Container, hook: Mapping[str, Any], grace_s: float) -> None:
        check = probes.check_of(
            {**hook, "timeoutSeconds": grace_s}, self.spec, self._pod.pod_ip(), self._exec(container)
        )
        answer = await probes.answer_of(check)
        if not answer.holds:
            self._pod.event("Warning", "FailedPreStopHook", f"{self.spec['name']}: {answer.why}")

    def _show(self, **changes: Any) -> None:
        self.view = replace(self.view, **changes)
        self._pod.changed()

    def _adopted(self) -> Container | None:
        found = containers.adopt(self.folder)
        if found is None:
            return None
        other_boot = found.run.init.boot != processes.boot_id()
        if other_boot and self._is_init:
            return None  # a rebooted pod initialises again
        self.view = replace(
            self.view,
            restarts=found.attempt,
            started_at=found.started,
            container_id=self._id(found.attempt),
            ended=None,
        )
        return found

    def _id(self, attempt: int) -> str:
        return f"howdah://{self._pod.pod_uid}/{self.spec['name']}/{attempt}"

    async def _started(self) -> Container | None:
        """A new start; tries until it succeeds or the pod stops."""
        attempt = self.view.restarts + (1 if self.view.last or self.view.ended else 0)
        while not self._pod.stopping.is_set():
            try:
                program = await self._pod.program(self.spec)
                name = f"{self._pod.pod_uid}/{self.spec['name']}"
                container = await containers.start(self._pod.fence, name, self.folder, attempt, program)
            except UnknownImageError as problem:
                again = self.view.waiting in ("ErrImagePull", "ImagePullBackOff")
                await self._failed("ImagePullBackOff" if again else "ErrImagePull", str(problem), IMAGE_RETRY_S)
            except ConfigError as problem:
                await self._failed("CreateContainerConfigError", str(problem), CONFIG_RETRY_S)
            except (StartError, OSError) as problem:
                await self._failed("RunContainerError", str(problem), FIRST_PAUSE_S)
            else:
                ready = not self._is_init and not self.spec.get("readinessProbe") and not self.spec.get("startupProbe")
                self._show(
                    started_at=container.started, last=self.view.ended or self.view.last, ended=None, ready=ready,
                    started=not self.spec.get("startupProbe"), restarts=attempt, container_id=self._id(attempt), message="",
                )  # fmt: skip
                self._pod.event("Normal", "Started", f"Started container {self.spec['name']}")
                return container
        return None

    async def _failed(self, reason: str, message: str, retry_s: float) -> None:
        if (self.view.waiting, self.view.message) != (reason, message):
            self._pod.event("Warning", "Failed", message)
        self._show(
            waiting=reason,
            message=message,
            ended=None,
            last=self.view.ended or self.view.last,
            started_at=None,
            ready=False,
        )
        await self._sleep(retry_s)

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pod.stopping.wait()

    async def _pause(self) -> bool:
        """Wait before the next start; False when the pod stops meanwhile."""
        seconds = pause_s(self._failures)
        if seconds:
            message = f"back-off {seconds:.0f}s restarting failed container={self.spec['name']}"
            self._show(waiting="CrashLoopBackOff", message=message, last=self.view.ended, ended=None)
            self._pod.event("Warning", "BackOff", message)
            # The end stays known for the next start's number.
            await self._sleep(seconds)
        return not self._pod.stopping.is_set()

    async def _attend(self, container: Container) -> Exit:
        """Probe it until its proved end."""
        self.container = container
        asking = [asyncio.create_task(self._ask(container))]
        if self._pod.stopping.is_set():
            asking.append(asyncio.create_task(self.stop(self._grace_s)))
        try:
            ended = await container.ended()
        finally:
            for task in asking:
                task.cancel()
        self.container = None
        end = Terminated(ended, self._id(container.attempt), self._last_words(container, ended.code))
        self._show(started_at=None, ended=end, ready=False, started=False)
        return ended

    def _last_words(self, container: Container, code: int) -> str:
        if said := _read_own(termination_log(self._pod.folder, str(self.spec["name"]))):
            return said
        if code == 0 or self.spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
            return ""
        return logs.last_bytes(self.folder, container.attempt, FALLBACK_BYTES)

    def _exec(self, container: Container) -> probes.Exec:
        return lambda argv, timeout_s: execution.run(container, argv, timeout_s)

    async def _ask(self, container: Container) -> None:
        """Startup first, then readiness and liveness side by side."""
        exec_ = self._exec(container)

        async def keep(kind: str, believed: bool, report: Callable[[bool, str], None], eager: bool) -> None:
            if probe := self.spec.get(kind):
                check = probes.check_of(probe, self.spec, self._pod.pod_ip(), exec_)
                unasked_is_no = kind == "readinessProbe"
                await probes.keep_asking(
                    probe, check, eager=eager, believed=believed, unasked_is_no=unasked_is_no, report=report
                )

        if self.spec.get("startupProbe") and not self.view.started:
            begun = asyncio.Event()
            asking = asyncio.create_task(
                keep("startupProbe", False, lambda holds, _why: begun.set() if holds else None, True)
            )
            try:
                await self._started_up(begun, container)
            finally:
                asking.cancel()
        if not self.view.started or (not self.view.ready and not self.spec.get("readinessProbe")):
            self._show(started=True, ready=self.view.ready or not self.spec.get("readinessProbe"))
        await asyncio.gather(
            keep("readinessProbe", self.view.ready, self._is_ready, True),
            keep("livenessProbe", True, lambda holds, why: self._is_alive(container, holds, why), False),
        )

    async def _started_up(self, begun: asyncio.Event, container: Container) -> None:
        when = probes.timing(self.spec["startupProbe"])
        limit_s = when.initial_delay_s + when.period_s * when.failures
        try:
            async with asyncio.timeout(limit_s):
                await begun.wait()
        except TimeoutError:
            if await self._answers(container):
                return
            self._is_alive(container, False, f"startup probe did not succeed within {limit_s:g}s")
            await asyncio.Event().wait()  # until the end of the container cancels this

    async def _answers(self, container: Container) -> bool:
        """The startup probe's last word. Time in which nobody could ask proves nothing: it is asked until it answers."""
        probe = self.spec["startupProbe"]
        check = probes.check_of(probe, self.spec, self._pod.pod_ip(), self._exec(container))
        while True:
            answer = await probes.answer_of(check)
            if answer.holds is not None:
                return answer.holds
            await asyncio.sleep(probes.timing(probe).period_s)

    def _is_ready(self, holds: bool, why: str) -> None:
        if not holds:
            self._pod.event("Warning", "Unhealthy", f"Readiness probe failed: {why}")
        self._show(ready=holds)

    def _is_alive(self, container: Container, holds: bool, why: str) -> None:
        if holds:
            return
        self._pod.event("Warning", "Unhealthy", f"Liveness probe failed: {why}")
        self._pod.event("Normal", "Killing", f"Container {self.spec['name']} failed liveness probe, will be restarted")
        self._killing = asyncio.create_task(stopped(container, self._pod.grace_s))
