"""Reading a container's log as `kubectl logs` asks for it: tail, since, timestamps, previous, follow.

The shim writes the files (`shim.Log`): `ATTEMPT.log`, and `ATTEMPT.log.1` for what came before it.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from howdah.local.node.containers import log_path

FOLLOW_INTERVAL_S = 0.1


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What is asked for; `since` is the time of the first line, as text in the log's own form."""

    tail: int | None = None
    since: str = ""
    timestamps: bool = False
    limit_bytes: int | None = None


def since_text(seconds: float) -> str:
    """A moment in the form in which log lines begin, so that texts compare as times do."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _shown(record: bytes, query: LogQuery) -> bytes:
    stamp, _, rest = record.partition(b" ")
    _stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if query.since and stamp.decode("ascii", "replace") < query.since:
        return b""
    end = b"" if tag == b"P" else b"\n"
    text = text.removesuffix(b"\n") + end
    return stamp + b" " + text if query.timestamps else text


def _lines(path: Path, end: int | None) -> Iterator[bytes]:
    older = path.with_name(path.name + ".1")
    if older.exists():
        with older.open("rb") as file:
            yield from file
    if path.exists():
        with path.open("rb") as file:
            yield from file if end is None else file.read(end).splitlines(keepends=True)


def last_bytes(folder: Path, attempt: int, size: int) -> str:
    """The end of a log, for a termination message."""
    path = log_path(folder, attempt)
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * size))
        records = file.read().splitlines()[-80:]
    text = b"".join(_shown(record, LogQuery()) for record in records)
    return text[-size:].decode("utf-8", "replace")


def read(folder: Path, attempt: int, query: LogQuery, end: int | None = None) -> Iterator[bytes]:
    """What is in the log now, up to byte `end` of its newest file."""
    records = _lines(log_path(folder, attempt), end)
    shown: Iterable[bytes] = (text for record in records if (text := _shown(record, query)))
    if query.tail is not None:
        shown = iter(deque(shown, maxlen=query.tail))
    left = query.limit_bytes
    for text in shown:
        if left is None:
            yield text
        elif left > 0:
            yield text[:left]
            left -= len(text)


async def follow(folder: Path, attempt: int, query: LogQuery, is_over: Callable[[], bool]) -> AsyncIterator[bytes]:
    """What is in the log now and what comes; ends when `is_over` and everything was read."""
    path = log_path(folder, attempt)
    file = None
    try:
        if path.exists():
            file = path.open("rb")
            file.seek(0, 2)
        for text in read(folder, attempt, query, file.tell() if file else 0):
            yield text
        rest = b""
        while True:
            over = is_over()
            if file is None and path.exists():
                file = path.open("rb")
            data = file.read() if file else b""
            if data:
                *records, rest = (rest + data).split(b"\n")
                yield b"".join(_shown(record + b"\n", query) for record in records)
            elif file and path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                file.close()  # the log was put aside: go on with the new file
                file = None
            elif over:
                return
            else:
                await asyncio.sleep(FOLLOW_INTERVAL_S)
    finally:
        if file:
            file.close()
