"""Where objects live: in memory for reading (as JSON text, which is small), in SQLite for keeping.

Every change gets the next resourceVersion, one counter over all kinds. Changes are visible in memory at
once, are committed in groups by a thread, and nobody outside hears of one before it is on disk: answers
wait for `durable()`, watch events are published after the commit (synchronous=FULL). A failed commit
ends the process: memory would be ahead of the disk.

Versions are reserved in blocks and a start jumps to the end of the last block, so a number is never used
twice, even on a disk that lies about syncing. History is kept in memory alone: versions from before a
start, or older than the last `HISTORY` changes of a kind, are gone (410).
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from .objects import Obj, decode, encode, labels_of, name_of, namespace_of, version_of

log = logging.getLogger(__name__)

HISTORY = 500
BLOCK = 100_000

Name: TypeAlias = tuple[str, str]
"""(namespace, name); the namespace of cluster-scoped objects is empty."""


@dataclass(frozen=True, slots=True)
class Record:
    """A stored object: its JSON text, and what selecting needs without reading that."""

    namespace: str
    name: str
    version: int
    labels: Mapping[str, str]
    body: bytes

    def obj(self) -> Obj:
        """The object, as a copy of the caller's own."""
        found: Obj = decode(self.body)
        return found


def record_of(obj: Obj) -> Record:
    """The record of an object that has its resourceVersion."""
    labels = labels_of(obj)
    return Record(namespace_of(obj), name_of(obj), version_of(obj), dict(labels), encode(obj))


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one object. `before` is None for a creation, `after` for a removal.

    `last` is what a watcher shows: the object after the change, or as it was when removed.
    """

    version: int
    before: Record | None
    after: Record | None
    last: Record


Listener: TypeAlias = Callable[[Change], None]


@dataclass(slots=True)
class Collection:
    """The objects of one resource, their recent changes, and who listens."""

    records: dict[Name, Record] = field(default_factory=dict)
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=HISTORY))
    forgotten: int = 0
    """The newest version whose change is no longer in history."""
    listeners: set[Listener] = field(default_factory=set)


_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT, namespace TEXT, name TEXT, body BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_Write: TypeAlias = tuple[str, Name, bytes | None]


@dataclass(slots=True)
class _Batch:
    """Changes that go to disk together."""

    done: asyncio.Future[None]
    writes: list[_Write] = field(default_factory=list)
    changes: list[tuple[Collection, Change]] = field(default_factory=list)


class Store:
    """One writer, in one event loop. Objects handed in or out are never changed afterwards."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA cache_size=-1000")
        self._db.executescript(_SCHEMA)
        self._collections: dict[str, Collection] = {}
        self.started_at = self.version = self._start_version()
        self.published = self.version
        """Every change up to this version is on disk and was given to the listeners."""
        self._load()
        self._open: _Batch | None = None
        self._in_flight: _Batch | None = None
        self._flushing: asyncio.Task[None] | None = None

    def _start_version(self) -> int:
        reserved = int(self.setting("reserved") or 0)
        self._reserved = reserved + BLOCK
        self._save_setting("reserved", str(self._reserved))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the block must outlive even a lost log
        return reserved + 1

    def _load(self) -> None:
        for resource, namespace, name, body in self._db.execute("SELECT * FROM objects"):
            record = record_of(decode(body))
            self.collection(resource).records[namespace, name] = record
            if record.version >= self.version:
                raise RuntimeError(f"store: {resource} {namespace}/{name} is newer than the reserved versions")

    def setting(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def _save_setting(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def collection(self, resource: str) -> Collection:
        found = self._collections.get(resource)
        if found is None:
            found = self._collections[resource] = Collection(forgotten=self.started_at)
        return found

    def get(self, resource: str, namespace: str, name: str) -> Obj | None:
        """A copy of an object."""
        found = self.collection(resource).records.get((namespace, name))
        return found.obj() if found is not None else None

    def records(self, resource: str, namespace: str = "") -> list[Record]:
        """What is stored in one namespace, or in all, in no order."""
        records = self.collection(resource).records
        return [record for record in records.values() if not namespace or record.namespace == namespace]

    def objects(self, resource: str, namespace: str = "") -> Iterator[Obj]:
        """Copies of the objects of one namespace, or of all, in no order."""
        return (record.obj() for record in self.records(resource, namespace))

    def changes_since(self, resource: str, version: int) -> list[Change]:
        """Later changes of a resource, oldest first, those on their way to disk too."""
        collection = self.collection(resource)
        batches = (batch for batch in (self._in_flight, self._open) if batch is not None)
        waiting = [change for batch in batches for owner, change in batch.changes if owner is collection]
        known = (*collection.history, *(change for change in waiting if change.version > self.published))
        return [change for change in known if change.version > version]

    def put(self, resource: str, obj: Obj) -> Obj:
        """Stores an object, new or changed; returns it with its resourceVersion."""
        stored = self._stamped(obj)
        record = record_of(stored)
        collection = self.collection(resource)
        key = record.namespace, record.name
        change = Change(self.version, collection.records.get(key), record, record)
        collection.records[key] = record
        self._record(collection, change, (resource, key, record.body))
        return stored

    def delete(self, resource: str, obj: Obj) -> Obj:
        """Removes an object; returns its last form, with the version of the removal."""
        last = self._stamped(obj)
        record = record_of(last)
        collection = self.collection(resource)
        key = record.namespace, record.name
        change = Change(self.version, collection.records.pop(key), None, record)
        self._record(collection, change, (resource, key, None))
        return last

    def _stamped(self, obj: Obj) -> Obj:
        """The object with the next version, its type first: lists cut that off."""
        head = {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
        metadata = {**obj["metadata"], "resourceVersion": str(self._next_version())}
        return {**head, **obj, "metadata": metadata}

    def _next_version(self) -> int:
        self.version += 1
        return self.version

    def _record(self, collection: Collection, change: Change, write: _Write) -> None:
        if self._open is None:
            self._open = _Batch(asyncio.get_running_loop().create_future())
        self._open.writes.append(write)
        self._open.changes.append((collection, change))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
            self._flushing.add_done_callback(_end_process_on_failure)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._open is not None:
            batch, self._open = self._open, None
            self._in_flight = batch
            await loop.run_in_executor(self._thread, self._commit, batch.writes, self.version)
            for collection, change in batch.changes:
                _publish(collection, change)
            self.published = max(self.published, batch.changes[-1][1].version)
            batch.done.set_result(None)
            self._in_flight = None
        self._flushing = None

    def _commit(self, writes: Sequence[_Write], version: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for resource, key, body in writes:
            if body is None:
                statement = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
                self._db.execute(statement, (resource, *key))
            else:
                self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (resource, *key, body))
        if version + BLOCK // 2 > self._reserved:
            self._reserved = version + BLOCK
            self._save_setting("reserved", str(self._reserved))
        self._db.execute("COMMIT")

    async def durable(self) -> None:
        """Returns when every change made so far is on disk and published."""
        batch = self._open or self._in_flight
        if batch is not None:
            await asyncio.shield(batch.done)

    async def close(self) -> None:
        await self.durable()
        self._thread.shutdown(wait=True)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._db.close()


def _publish(collection: Collection, change: Change) -> None:
    if len(collection.history) == collection.history.maxlen:
        collection.forgotten = collection.history[0].version
    collection.history.append(change)
    for listener in tuple(collection.listeners):
        listener(change)


def _end_process_on_failure(task: asyncio.Task[None]) -> None:
    """Crash-only: the next start reads what the disk has."""
    if task.cancelled() or task.exception() is None:
        return
    log.critical("the store could not be written, the process ends: %s", task.exception())
    os._exit(74)
