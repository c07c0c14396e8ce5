"""Tells people what happened to an object, as Events that `kubectl describe` shows; never in the way of the work itself.

The same (object, type, reason, message) is one Event that counts up. Written by `run()` in the background; what cannot be
written is counted and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from .client import Client
from .errors import KubeError, NotFound
from .resources import EVENTS, Resource

MOST_PENDING = 1000
MOST_REMEMBERED = 4000
LONGEST_REMEMBERED = timedelta(hours=1)
"""As long as an API server keeps an event by default: after that there is nothing to count up."""
REPEAT_S = 10.0
"""A repeated event is written at most this often; the count is right anyway."""
MOST_TRIES = 5
LAST_S = 3.0
"""So long a process that ends tries to write what it has noted."""
LONGEST_MESSAGE = 1024
"""The API's limit for a message, in characters."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The object that an event is about."""

    resource: Resource
    name: str
    namespace: str = ""
    uid: str = ""

    def as_object(self) -> dict[str, str]:
        """As `involvedObject` has it."""
        fields = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
        }
        return {key: value for key, value in fields.items() if value}


EventType = Literal["Normal", "Warning"]
_Key = tuple[Reference, EventType, str, str]


@dataclass(slots=True)
class _Series:
    first: datetime
    last: datetime
    count: int = 0
    written_at: float = float("-inf")
    name: str = ""
    tries: int = 0
    waits: bool = False


class EventRecorder:
    """Belongs to one event loop. `record` never waits and never raises; `run()` writes until cancelled."""

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        instance: str = "",
        repeat_s: float = REPEAT_S,
        on_failure: Callable[[KubeError], None] = lambda error: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.dropped = 0
        """Events that found the queue full, or no time at the end."""
        self.failed = 0
        """Events that the server did not take."""
        self._client = client
        self._on_failure = on_failure
        self._component, self._instance = component, instance
        self._repeat_s = repeat_s
        self._clock = clock
        self._series: OrderedDict[_Key, _Series] = OrderedDict()
        self._pending: dict[_Key, None] = {}
        self._wake = asyncio.Event()
        self._started = 0

    def record(self, about: Reference, reason: str, message: str, *, type: EventType = "Normal") -> None:  # noqa: A002
        """Note an event; `reason` is a stable word in CamelCase, `message` a sentence without secrets."""
        key: _Key = (about, type, reason, message[:LONGEST_MESSAGE])
        now = self._clock()
        series = self._series.get(key)
        if series is None:
            if len(self._pending) >= MOST_PENDING:
                self.dropped += 1
                return
            series = self._series[key] = _Series(now, now)
        self._series.move_to_end(key)
        series.count, series.last = series.count + 1, now
        if not series.waits:
            self._queue(key)
        while len(self._series) > MOST_REMEMBERED or self._oldest.last < now - LONGEST_REMEMBERED:
            self._series.popitem(last=False)

    async def run(self) -> None:
        """Write what is noted, in order."""
        loop = asyncio.get_running_loop()
        while True:
            while not self._pending:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._pending))
            del self._pending[key]
            series = self._series.get(key)
            if series is None:
                continue
            early_s = series.written_at + self._repeat_s - loop.time()
            if early_s > 0:
                self._later(key, series, early_s)
            else:
                await self._write(key, series)

    async def flush(self, timeout_s: float = LAST_S) -> int:
        """Write what is noted now, repeats included; for the end of a process, after `run()` was cancelled.

        What could not be written in this time is dropped; how many those are.
        """
        waiting = (key for key, series in self._series.items() if series.waits)
        left = list(dict.fromkeys((*self._pending, *waiting)))
        self._pending.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while left:
                    if series := self._series.get(left[0]):
                        await self._write(left[0], series)
                    del left[0]
        self.dropped += len(left)
        return len(left)

    @property
    def _oldest(self) -> _Series:
        return next(iter(self._series.values()))

    def _queue(self, key: _Key) -> None:
        if series := self._series.get(key):
            series.waits = False
            self._pending[key] = None
            self._wake.set()

    def _later(self, key: _Key, series: _Series, seconds: float) -> None:
        if not series.waits:
            asyncio.get_running_loop().call_later(seconds, self._queue, key)
        series.waits = True

    async def _write(self, key: _Key, series: _Series) -> None:
        series.written_at = asyncio.get_running_loop().time()
        try:
            if not (series.name and await self._count_up(key, series)):
                series.name = await self._create(key, series)
            series.tries = 0
        except KubeError as error:
            self.failed += 1
            self._on_failure(error)
            series.tries += 1
            if error.transient and series.tries < MOST_TRIES:
                self._later(key, series, self._repeat_s)

    async def _count_up(self, key: _Key, series: _Series) -> bool:
        patch = {"count": series.count, "lastTimestamp": _seconds(series.last)}
        try:
            await self._client.merge_patch(EVENTS, series.name, patch, namespace=_namespace(key[0]))
        except NotFound:  # events live for an hour
            return False
        return True

    async def _create(self, key: _Key, series: _Series) -> str:
        about, kind, reason, message = key
        self._started += 1
        unique = f"{int(series.last.timestamp() * 1e6):x}{self._started:x}"
        name = f"{about.name[:200]}.{unique}"
        body: Mapping[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": _namespace(about)},
            "involvedObject": about.as_object(),
            "type": kind,
            "reason": reason,
            "message": message,
            "count": series.count,
            "firstTimestamp": _seconds(series.first),
            "lastTimestamp": _seconds(series.last),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }
        await self._client.create(EVENTS, body)
        return name


def _namespace(about: Reference) -> str:
    return about.namespace or "default"  # as client-go for objects without one


def _seconds(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
