"""A client that writes every 20 ms through the service address, and the longest time that it could not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bench.platform import PostgresCluster

EVERY_S = 0.02
ANSWER_TIMEOUT_S = 1.0
CONNECT_TIMEOUT_S = 2


@dataclass(slots=True)
class Writer:
    """What the client saw: when a write was acknowledged (perf_counter), and how many failed."""

    conninfo: str
    acknowledged: list[float] = field(default_factory=list)
    failed: int = 0

    def longest_gap_s(self, since: float) -> float:
        """The longest time between two acknowledged writes, of which the later one came after `since`."""
        pairs = zip(self.acknowledged, self.acknowledged[1:], strict=False)
        return max((later - earlier for earlier, later in pairs if later >= since), default=float("inf"))

    async def until_writing(self, since: float, timeout_s: float) -> None:
        """Until writes have gone well for a second without a pause, after a pause that began since then, or timeout."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            recent = [at for at in self.acknowledged[-200:] if at > time.perf_counter() - 1]
            if self.longest_gap_s(since) > 10 * EVERY_S and len(recent) > 20:
                return
            await asyncio.sleep(0.1)
        raise TimeoutError(f"writes did not stop and go on within {timeout_s:g} s; failed: {self.failed}")

    async def run(self) -> None:
        """Write until cancelled; a connection that fails is made anew."""
        while True:
            with contextlib.suppress(psycopg.Error, OSError, TimeoutError):
                await self._write_on()
            self.failed += 1
            await asyncio.sleep(EVERY_S)

    async def _write_on(self) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            session = await psycopg.AsyncConnection.connect(self.conninfo, autocommit=True)
        async with session:
            while True:
                write = asyncio.ensure_future(session.execute("INSERT INTO bench DEFAULT VALUES"))
                await _answered(session, write)
                self.acknowledged.append(time.perf_counter())
                await asyncio.sleep(EVERY_S)


async def _answered(session: psycopg.AsyncConnection[Any], write: asyncio.Future[Any]) -> None:
    """Wait for a write; a server that is silent is hung up on at once, where the driver would ask it to cancel."""
    try:
        await asyncio.wait({write}, timeout=ANSWER_TIMEOUT_S)
        if not write.done():
            with socket.socket(fileno=os.dup(session.fileno())) as line:
                line.shutdown(socket.SHUT_RDWR)
        await write
    except asyncio.CancelledError:
        write.cancel()
        raise


@asynccontextmanager
async def writing(cluster: PostgresCluster) -> AsyncIterator[Writer]:
    """A client at work."""
    await cluster.ask("CREATE TABLE IF NOT EXISTS bench (at timestamptz DEFAULT now())")
    writer = Writer(await cluster.conninfo())
    task = asyncio.create_task(writer.run())
    try:
        while not writer.acknowledged:
            await asyncio.sleep(EVERY_S)
        yield writer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
