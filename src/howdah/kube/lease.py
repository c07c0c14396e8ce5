"""Leader election with a Lease: who may write, known at any moment without asking anybody.

A thread of its own with its own connection renews, so that a blocked event loop does not lose the Lease; and it stops renewing
when the loop has been dead for long, so that a hung process does not keep it. Clocks of two machines are never compared: a
follower counts from when it saw the Lease change, on its own clock, which goes on while the machine sleeps.
A Lease is not a fence: a write on its way may still arrive later. Writes need preconditions of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from .client import Client
from .credentials import Access
from .errors import Conflict, KubeError, NotFound
from .resources import LEASES
from .transport import Observer

NEVER = float("-inf")
STOP_TIMEOUT_S = 5.0
SHORTEST_WAIT_S = 0.05


def boottime_s() -> float:
    """Seconds on a clock that never jumps and counts suspended time (Linux; elsewhere suspension is not counted)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def process_identity() -> str:
    """A holder name that no other process ever has: a restarted pod must not take itself for its predecessor."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{uuid.uuid4()}"


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """A leader stops `renew_deadline_s` after its last renewal was sent; others wait for `duration_s` after they saw it."""

    duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_deadline_s > self.retry_s > 0:
            raise ValueError(
                f"lease times must be duration > renew deadline > retry > 0, got {self.duration_s:g}, "
                f"{self.renew_deadline_s:g}, {self.retry_s:g} seconds"
            )


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Lease says."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaderElection:
    """`start()` from the event loop that does the work; ask `is_leading()` before each write; `stop()` after the last one.

    `on_gain` and `on_loss` are called in that loop. A process that lost may gain again.
    """

    def __init__(
        self,
        access: Access,
        name: str,
        *,
        namespace: str,
        identity: str | None = None,
        times: LeaseTimes | None = None,
        on_gain: Callable[[], None] = lambda: None,
        on_loss: Callable[[], None] = lambda: None,
        observe: Observer | None = None,
        clock: Callable[[], float] = boottime_s,
        loop_patience_s: float = 60.0,
    ) -> None:
        self.identity = identity or process_identity()
        self.holder = ""
        """Who held the Lease when it was last seen; "" for nobody."""
        self.last_error: KubeError | None = None
        self._access = access
        self._name, self._namespace = name, namespace
        self._times = times or LeaseTimes()
        self._callbacks = {True: on_gain, False: on_loss}
        self._observe = observe
        self._clock = clock
        self._loop_patience_s = loop_patience_s
        self._valid_until = NEVER
        self._announced = False
        self._last_beat = NEVER
        self._main: asyncio.AbstractEventLoop | None = None
        self._own: asyncio.AbstractEventLoop | None = None
        self._stopping = threading.Event()
        self._stopped = asyncio.Event()  # of the own loop
        self._thread = threading.Thread(target=self._run_thread, name=f"lease-{name}", daemon=True)
        self._live: dict[str, Any] | None = None
        self._seen: tuple[LeaseSpec, float] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def is_leading(self) -> bool:
        """Whether writing is allowed now. Cheap; from any thread."""
        return self._clock() < self._valid_until

    @property
    def alive(self) -> bool:
        """Whether the election goes on; False after `stop()` or where its thread died of a bug. For health checks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to stand for election."""
        self._main = asyncio.get_running_loop()
        self._last_beat = self._clock()
        self._thread.start()

    async def stop(self) -> None:
        """Stop, and release the Lease so that another can lead at once. The caller's writes must have ended before."""
        self._stopping.set()
        if self._own is not None:
            with contextlib.suppress(RuntimeError):  # the thread has ended by itself
                self._own.call_soon_threadsafe(self._stopped.set)
        await asyncio.to_thread(self._thread.join, STOP_TIMEOUT_S)
        self._valid_until = NEVER

    # the thread

    def _run_thread(self) -> None:
        try:
            asyncio.run(self._run())
        finally:
            self._lost()

    async def _run(self) -> None:
        self._own = asyncio.get_running_loop()
        timeout_s = self._times.renew_deadline_s / 2
        async with Client(
            self._access, timeout_s=timeout_s, observe=self._observe, user_agent="howdah-lease"
        ) as client:
            while not self._stopping.is_set():
                wait_s = await self._turn(client)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopped.wait(), wait_s)
            await self._release(client)

    async def _turn(self, client: Client) -> float:
        """One try to get or to keep the Lease; the seconds until the next."""
        if not self._loop_is_alive():
            return self._times.retry_s
        try:
            await self._stand(client)
            self.last_error = None
        except Conflict as error:  # another was first: look again at once
            self.last_error, self._live = error, None
            return SHORTEST_WAIT_S
        except KubeError as error:
            self.last_error, self._live = error, None
        return self._wait_s()

    def _loop_is_alive(self) -> bool:
        try:
            if self._main is not None:
                self._main.call_soon_threadsafe(self._beat)
        except RuntimeError:  # closed without stop(): nobody is left who could work
            self._stopping.set()
            return False
        return self._clock() - self._last_beat < self._loop_patience_s

    def _beat(self) -> None:
        self._last_beat = self._clock()

    async def _stand(self, client: Client) -> None:
        sent = self._clock()
        if self._live is None or not self.is_leading():
            try:
                self._live = await client.get(LEASES, self._name, namespace=self._namespace)
            except NotFound:
                self._live = await client.create(LEASES, self._lease(None))
                self._won(sent)
                return
            if not self._may_take(msgspec.convert(self._live.get("spec") or {}, LeaseSpec)):
                self._lost()
                return
            sent = self._clock()
        self._live = await client.replace(LEASES, self._lease(self._live))
        self._won(sent)

    def _may_take(self, spec: LeaseSpec) -> bool:
        self.holder = spec.holder_identity or ""
        if self._seen is None or self._seen[0] != spec:
            self._seen = (spec, self._clock())
        return self.holder in {"", self.identity} or self._clock() >= self._expires_at(*self._seen)

    def _expires_at(self, spec: LeaseSpec, seen_at: float) -> float:
        return seen_at + (spec.lease_duration_seconds or self._times.duration_s)

    def _lease(self, live: dict[str, Any] | None) -> dict[str, Any]:
        """The Lease as we want to hold it; with the live version as the lock, so that only one of several takers wins."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = (live or {}).get("spec") or {}
        mine = before.get("holderIdentity") == self.identity
        transitions = before.get("leaseTransitions") or 0
        spec = {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": math.ceil(self._times.duration_s),
            "acquireTime": before.get("acquireTime") if mine else now,
            "renewTime": now,
            "leaseTransitions": transitions if mine or live is None else transitions + 1,
        }
        metadata = live["metadata"] if live else {"name": self._name, "namespace": self._namespace}
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _won(self, sent: float) -> None:
        # Counted from before the request: others count from after it, whatever it took.
        self.holder = self.identity
        self._valid_until = sent + self._times.renew_deadline_s
        self._announce()
        if self._expiry:
            self._expiry.cancel()
        self._watch_expiry()

    def _lost(self) -> None:
        self._valid_until = NEVER
        self._announce()

    def _watch_expiry(self) -> None:
        # The timer's clock stops in suspension and ours does not, so it looks again rather than trust the timer.
        self._announce()
        left_s = self._valid_until - self._clock()
        if self._own and left_s > 0:
            self._expiry = self._own.call_later(left_s + 0.01, self._watch_expiry)

    def _announce(self) -> None:
        leading = self.is_leading()
        if leading != self._announced and self._main is not None:
            self._announced = leading
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody to tell
                self._main.call_soon_threadsafe(self._callbacks[leading])

    def _wait_s(self) -> float:
        if self.is_leading() or self._seen is None:
            return self._times.retry_s
        left_s = self._expires_at(*self._seen) - self._clock()
        return min(self._times.retry_s, max(left_s, SHORTEST_WAIT_S))

    async def _release(self, client: Client) -> None:
        was_leading = self.is_leading()
        self._lost()
        if not was_leading or self._live is None:
            return
        released = self._lease(self._live)
        released["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        with contextlib.suppress(KubeError):  # then it expires
            await client.replace(LEASES, released)
