"""The operator as a process of its own, with what it says of itself (metrics) and what it costs (/proc)."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from bench import fleet, processes

START_TIMEOUT_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class OperatorProcess:
    """A running operator."""

    process: asyncio.subprocess.Process
    address: str
    started: float  # perf_counter

    @property
    def pid(self) -> int:
        return self.process.pid

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name with labels; empty while it does not answer yet."""
        try:
            timeout = aiohttp.ClientTimeout(total=10)
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{self.address}/metrics", timeout=timeout) as answer,
            ):
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    async def passes(self) -> int:
        """Passes that have ended."""
        found = await self.metrics()
        return int(sum(v for name, v in found.items() if name.startswith("howdah_pass_duration_seconds_count")))

    async def until_decided(self, clusters: int) -> float:
        """Seconds from its start until it has made a pass over as many clusters as there are, and none waits."""
        while time.perf_counter() - self.started < START_TIMEOUT_S:
            found = await self.metrics()
            made = sum(v for name, v in found.items() if name.startswith("howdah_pass_duration_seconds_count"))
            if made >= clusters and not found.get("howdah_queue_depth", 1.0):
                return time.perf_counter() - self.started
            if self.process.returncode is not None:
                raise RuntimeError(f"the operator ended with code {self.process.returncode}; read its log")
            await asyncio.sleep(POLL_S)
        raise TimeoutError(f"the operator had not looked at {clusters} clusters after {START_TIMEOUT_S:g} s")

    async def until_quiet(self, *, share: float = 0.03, quiet_s: float = 2.0, timeout_s: float = 120.0) -> None:
        """Until it has used no more than this share of a processor for a while."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            before = processes.cpu_s(self.pid)
            await asyncio.sleep(quiet_s)
            if processes.cpu_s(self.pid) - before <= share * quiet_s:
                return
        raise TimeoutError(f"the operator was not quiet within {timeout_s:g} s")


@asynccontextmanager
async def running(url: str, folder: Path, *, observe_only: bool = False) -> AsyncIterator[OperatorProcess]:
    """An operator against the API server at `url`; its log is `operator.log` in the folder."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url)))
    address = f"127.0.0.1:{processes.free_port()}"
    environment = {
        **os.environ,
        "OPERATOR_NAMESPACE": fleet.OPERATOR_NAMESPACE,
        "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": fleet.CONFIGURATION,
    }
    argv = ["-m", "howdah.cli.main", "operator", "--kubeconfig", str(kubeconfig), "--listen", address]
    with (folder / "operator.log").open("ab") as log:
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *argv,
            *(["--observe-only"] if observe_only else []),
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        yield OperatorProcess(process, address, started)
    finally:
        await processes.stop(process)


def _kubeconfig(url: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": "default"}}],
        "current-context": "bench",
    }
