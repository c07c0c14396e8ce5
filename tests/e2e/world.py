"""What an end-to-end test stands on: a cluster with operators, be it the local platform or real nodes with containers.

Tests speak to `World`; which one they get is the choice of who starts them (conftest.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from howdah.kube.client import Client
from howdah.kube.errors import KubeError
from howdah.local.node import processes

NAMESPACE = "default"
ENDPOINTS_NAMESPACE = "in-endpoints"  # its operator keeps Patroni's state in Endpoints
LEASE = "howdah"
PATIENCE = float(os.environ.get("HOWDAH_PATIENCE", "1"))
"""How many times as long everything may take: containers on a busy machine are slower than processes on an idle one."""

T = TypeVar("T")


class World(Protocol):
    """A cluster with operators. Its processes are seen from outside, and killed by pid."""

    @property
    def majors(self) -> tuple[str, ...]:
        """The PostgreSQL majors that database containers have, oldest first."""

    def client(self) -> AbstractAsyncContextManager[Client]:
        """The administrator's client."""

    def pids(self, name: str) -> list[int]:
        """Processes that run under this name now: an operator, or a part of what Kubernetes is."""

    def signal(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one of them; its pid."""

    def pod_processes(self, uid: str) -> PodProcesses:
        """The processes of a pod as they are now."""

    async def volume_folders(self, client: Client, claims: Iterable[Mapping[str, Any]]) -> list[Path]:
        """The folders of this machine where the claims' data are."""

    def psql(self, pod: str, **env: str) -> list[str]:
        """The beginning of a command line that runs psql where it is: on this machine, or in the pod."""

    async def leading_operator(self, client: Client) -> str:
        """The name of the operator that holds the Lease now."""

    async def all_run(self, timeout_s: float = 60) -> None:
        """Wait until everything runs, and the API answers."""

    async def restore(self) -> None:
        """What a person does after killing things."""


async def until(
    question: Callable[[], Awaitable[T]], what: str | Callable[[], str], *, timeout_s: float = 30, every_s: float = 0.1
) -> T:
    """The first answer that is true; fails after `timeout_s`, saying what was waited for."""
    deadline = time.monotonic() + timeout_s * PATIENCE
    while True:
        trouble: Exception | None = None
        try:
            answer = await question()
            if answer:
                return answer
        except (KubeError, OSError) as error:
            trouble = error
        if time.monotonic() >= deadline:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {timeout_s * PATIENCE:g} s for: {said}{f' ({trouble})' if trouble else ''}")
        await asyncio.sleep(every_s)


@dataclass(frozen=True, slots=True)
class PodProcesses:
    """Who runs in a pod, as pids of this machine."""

    launcher: int | None
    shim: int
    patroni: tuple[int, ...]
    postmaster: tuple[int, ...]
    postgres: tuple[int, ...]  # the postmaster and everything below it
    everybody: tuple[int, ...]  # without launcher and shim

    @classmethod
    def of(cls, everybody: Iterable[int], *, shim: int, launcher: int | None = None) -> PodProcesses:
        """Told apart by their command lines."""
        found = tuple(everybody)
        patroni = tuple(pid for pid in found if b"\0-m\0howdah.instance.patroni_main\0" in command_line(pid))
        servers = [pid for pid in found if b"postgres\0-D\0" in command_line(pid)]
        below = processes.descendants(servers)
        return cls(launcher, shim, patroni, tuple(servers), (*servers, *sorted(below)), found)


def command_line(pid: int) -> bytes:
    """NUL-separated; empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def condition(resource: dict[str, Any], name: str) -> dict[str, Any]:
    """A condition of a `postgresql` resource; {} while it has none of that name."""
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry["type"] == name), {})
