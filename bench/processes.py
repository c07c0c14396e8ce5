"""Processes that the benchmark starts or watches: what they use, read from /proc, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

STOP_TIMEOUT_S = 15.0


def cpu_s(pid: int) -> float:
    """Seconds of processor time that the living threads of the process have used."""
    used_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            used_ns += int((thread / "schedstat").read_text().split()[0])
    return used_ns / 1e9


def rss_mib(pid: int) -> float:
    """Memory that the process holds now, shared pages included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


async def stop(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> None:
    """End a process that we started, and see it gone; after a while without mercy."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A port of loopback on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port
