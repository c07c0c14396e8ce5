"""A client that writes all the time through the leader's service address, and the judge of what became of its writes.

A commit that was answered must be there at the end; one whose answer is missing may be there or not. `Probe` asks for
another thing: whether two servers that accept writes could be reached at the same time. It commits without waiting for
a standby, so that a server which ought to have stopped would be caught even in synchronous mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from e2e.clusters import Connection, PostgresCluster
from e2e.world import until
from howdah.kube.errors import KubeError

ANSWER_TIMEOUT_S = 6.0
PAUSE_S = 0.02
READ_BACK_S = 60.0
USER, DATABASE = "zalando", "foo"
WRITTEN, PROBED = "written", "probed"

_ids = itertools.count(1)


class Unanswered(Exception):  # noqa: N818 - not an error of ours: what became of the commit is unknown
    """The connection failed, or nobody answered in time."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that a server accepted: when (monotonic seconds), and who it was."""

    started: float
    ended: float
    server: str
    timeline: int


async def make_tables(cluster: PostgresCluster) -> None:
    """The tables that the clients write to."""
    for table in (WRITTEN, PROBED):
        await cluster.run(f"create table if not exists {table} (id bigint primary key, at timestamptz default now())")


class Client:
    """One connection at a time through the service; a new one after each failure."""

    def __init__(self, cluster: PostgresCluster) -> None:
        self._cluster = cluster
        self._conninfo = ""
        self._connection: Connection | None = None
        self.notices = 0

    async def row(self, sql: bytes, *values: object) -> tuple[object, ...]:
        """One statement; raises Unanswered."""
        work = asyncio.ensure_future(self._row(sql, values))
        done, _ = await asyncio.wait({work}, timeout=ANSWER_TIMEOUT_S)
        if not done:
            self._hang_up()
        try:
            return await work
        except (psycopg.Error, KubeError, OSError) as error:
            await self.close()
            raise Unanswered(str(error).strip()) from error

    async def _row(self, sql: bytes, values: tuple[object, ...]) -> tuple[object, ...]:
        if self._connection is None:
            try:
                # Remembered, so that the API server may be away; read anew when it does not work.
                self._conninfo = self._conninfo or await self._cluster.conninfo(USER, DATABASE)
                self._connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
            except psycopg.OperationalError as error:
                if "authentication" in str(error):
                    self._conninfo = ""
                raise
            self._connection.prepare_threshold = None  # through a pooler each statement may meet another session
            self._connection.add_notice_handler(self._noticed)
        row = await (await self._connection.execute(sql, values)).fetchone()
        return row if row is not None else ()

    def _noticed(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        # "The transaction has already committed locally, but might not have been replicated": no promise.
        if diagnostic.severity_nonlocalized == "WARNING":
            self.notices += 1

    def _hang_up(self) -> None:
        """End the wait for an answer. A cancelled wait would ask the server to cancel, and wait for that, too."""
        if self._connection is not None and not self._connection.closed:
            with socket.socket(fileno=os.dup(self._connection.fileno())) as own, contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()


@dataclass(slots=True)
class Writer:
    """What was sent and what was answered."""

    acknowledged: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    longest_gap_s: float = 0.0
    last_answer: float = field(default_factory=time.monotonic)
    troubles: list[str] = field(default_factory=list)

    async def run(self, cluster: PostgresCluster, stop: asyncio.Event) -> None:
        """Write until told to stop."""
        client = Client(cluster)
        try:
            while not stop.is_set():
                await self._write(client, next(_ids))
                await asyncio.sleep(PAUSE_S)
        finally:
            await client.close()

    async def _write(self, client: Client, number: int) -> None:
        self.unknown.add(number)
        warned = client.notices
        try:
            await client.row(b"insert into written (id) values (%s) returning id", number)
        except Unanswered as trouble:
            self.troubles.append(f"{time.strftime('%X')} {trouble}")
            await asyncio.sleep(PAUSE_S)
            return
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self.last_answer)
        self.last_answer = now
        if client.notices == warned:
            self.unknown.discard(number)
            self.acknowledged.add(number)

    def restart_clock(self) -> None:
        """From now on gaps count."""
        self.longest_gap_s, self.last_answer = 0.0, time.monotonic()


@asynccontextmanager
async def writing(cluster: PostgresCluster, clients: int = 1) -> AsyncIterator[Writer]:
    """Clients that write while the block runs."""
    await make_tables(cluster)
    writer, stop = Writer(), asyncio.Event()
    tasks = [asyncio.create_task(writer.run(cluster, stop)) for _ in range(clients)]
    try:
        yield writer
    finally:
        stop.set()
        await asyncio.gather(*tasks)


async def lost(cluster: PostgresCluster, writer: Writer) -> list[int]:
    """Acknowledged writes that are not there. A server that is starting is waited for: an operator may not know yet."""
    promised = set(writer.acknowledged)  # before the read: the writers go on meanwhile

    async def question() -> tuple[set[int]]:
        try:
            async with await cluster.connect(USER, DATABASE) as connection:
                rows = await (await connection.execute(b"select id from written")).fetchall()
        except psycopg.Error as error:
            raise OSError(str(error)) from error
        return ({int(row[0]) for row in rows},)

    (found,) = await until(question, "the writes to be read back", timeout_s=READ_BACK_S)
    return sorted(promised - found)


class Probe:
    """Connections through the service, new ones and held ones, that note who accepts a write."""

    SQL = (
        b"insert into probed (id) values (%s) returning host(inet_server_addr()), "
        b"('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int, pg_is_in_recovery()"
    )

    def __init__(self, seed: int) -> None:
        self.accepted: list[Acknowledged] = []
        self._random = random.Random(seed)

    async def run(self, cluster: PostgresCluster, stop: asyncio.Event) -> None:
        """Probe until told to stop: some connections live for one write, some for many."""
        while not stop.is_set():
            client = Client(cluster)
            try:
                for _ in range(self._random.choice((1, 3, 100))):
                    if stop.is_set():
                        break
                    await self._probe(client)
                    await asyncio.sleep(PAUSE_S)
            except Unanswered:
                await asyncio.sleep(PAUSE_S)
            finally:
                await client.close()

    async def _probe(self, client: Client) -> None:
        await client.row(b"select set_config('synchronous_commit', 'local', false)")
        started = time.monotonic()
        server, timeline, in_recovery = await client.row(self.SQL, next(_ids))
        assert in_recovery is False
        self.accepted.append(Acknowledged(started, time.monotonic(), str(server), int(str(timeline))))


@asynccontextmanager
async def probing(cluster: PostgresCluster, seed: int, clients: int = 3) -> AsyncIterator[Probe]:
    """Probes while the block runs."""
    await make_tables(cluster)
    probe, stop = Probe(seed), asyncio.Event()
    tasks = [asyncio.create_task(probe.run(cluster, stop)) for _ in range(clients)]
    try:
        yield probe
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def split_brain(accepted: Iterable[Acknowledged]) -> str | None:
    """Why two servers accepted writes at the same time; None if they did not.

    Every promotion begins a new timeline. So a timeline has one server, and no write on an older timeline may begin
    after one on a newer timeline was accepted.
    """
    ordered = sorted(accepted, key=lambda write: write.ended)
    servers: dict[int, str] = {}
    newest: Acknowledged | None = None
    for write in ordered:
        if servers.setdefault(write.timeline, write.server) != write.server:
            return f"timeline {write.timeline} was written on {servers[write.timeline]} and on {write.server}"
        if newest is not None and write.timeline < newest.timeline and write.started > newest.ended:
            return (
                f"{write.server} accepted a write on timeline {write.timeline}, {write.started - newest.ended:.2f} s "
                f"after {newest.server} had accepted one on timeline {newest.timeline}"
            )
        if newest is None or write.timeline > newest.timeline:
            newest = write
    return None
