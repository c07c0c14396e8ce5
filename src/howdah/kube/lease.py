"""One candidate for a Lease: takes it, keeps it, or watches who has it. Its thread is `election.py`.

The leader renews with one request each `renew_s`, by the version that it knows. A follower asks nothing: it watches, and takes
the Lease when it has not changed for its duration. Clocks of two machines are never compared: a follower counts from when it
saw the Lease change, on its own clock, which goes on while the machine sleeps. What it saw may be old, when its watch is cut;
then the version that it writes by is old too, and the server refuses.
A Lease is not a fence: a write on its way may still arrive later. Writes need preconditions of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from .client import Client, Object
from .errors import Conflict, Forbidden, KubeError, NotFound
from .informer import Informer
from .resources import LEASES

NEVER = float("-inf")
SHORTEST_WAIT_S = 0.05
FORBIDDEN_DELAY_S = 60.0
"""How often one that may not watch tries whether it may now."""

_log = logging.getLogger(__name__)


def boottime_s() -> float:
    """Seconds on a clock that never jumps and counts suspended time (Linux; elsewhere suspension is not counted)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """A leader stops `renew_deadline_s` after its last renewal was sent; others wait for `duration_s` after they saw it."""

    duration_s: float = 15.0
    renew_deadline_s: float = 10.0
    retry_s: float = 2.0
    """After a request that failed; and between the requests of a follower that may not watch."""

    def __post_init__(self) -> None:
        if not self.duration_s > self.renew_deadline_s > self.retry_s > 0:
            raise ValueError(
                f"lease times must be duration > renew deadline > retry > 0, got {self.duration_s:g}, "
                f"{self.renew_deadline_s:g}, {self.retry_s:g} seconds"
            )

    @property
    def renew_s(self) -> float:
        """From one renewal to the next. The other half of the deadline is for those that fail."""
        return min(self.duration_s / 3, self.renew_deadline_s / 2)

    @property
    def timeout_s(self) -> float:
        """Of one request: after a renewal that hangs there is time for another."""
        return self.renew_deadline_s / 3


class LeaseSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Lease says."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Candidate:
    """`run()` in one event loop; `is_leading()` from any thread. `tell` hears in that loop when leading begins and ends."""

    def __init__(
        self,
        name: str,
        *,
        namespace: str,
        identity: str,
        times: LeaseTimes | None = None,
        tell: Callable[[bool], None] = lambda leading: None,
        may_stand: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = boottime_s,
    ) -> None:
        """While `may_stand()` says no, the Lease is neither taken nor renewed; it is asked every `times.retry_s`."""
        self.identity = identity
        self.holder = ""
        """Who held the Lease when it was last seen; "" for nobody."""
        self.last_error: KubeError | None = None
        self._name, self._namespace = name, namespace
        self._times = times or LeaseTimes()
        self._tell = tell
        self._may_stand = may_stand
        self._clock = clock
        self._valid_until = NEVER
        self._told = False
        self._live: Object | None = None
        self._is_known = False
        """Whether `_live` is the last that was heard; False after each request that failed."""
        self._seen: tuple[LeaseSpec, float] | None = None
        self._due = NEVER
        """Before this no request is sent."""
        self._news = asyncio.Event()
        self._is_ending = False
        self._expiry: asyncio.TimerHandle | None = None
        self._informer: Informer[Object] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_blind = False

    def is_leading(self) -> bool:
        """Whether writing is allowed now. Cheap; from any thread."""
        return self._clock() < self._valid_until

    def end(self) -> None:
        """Let `run()` release the Lease and return."""
        self._is_ending = True
        self._news.set()

    async def run(self, client: Client) -> None:
        """Stand for the Lease until `end()`."""
        try:
            while not self._is_ending:
                wait_s = await self._turn(client)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
                self._news.clear()
            await self._release(client)
        finally:
            self._unfollow()
            self._lost()

    async def _turn(self, client: Client) -> float:
        """What is due; the seconds until the next look at the clock, which mostly asks nothing of the server."""
        if not self._may_stand():
            return self._times.retry_s
        started = self._clock()
        if started >= self._due:
            try:
                await self._stand(client)
                self.last_error = None
            except KubeError as error:
                self.last_error, self._is_known = error, False
                # After a conflict another was first: look again at once.
                self._due = NEVER if isinstance(error, Conflict) else started + self._times.retry_s
        return self._wait_s()

    def _wait_s(self) -> float:
        # A timer stops while the machine sleeps, so none is longer than the retry period.
        now = self._clock()
        then = self._due if self._due > now or not self._is_known else self._expires_at()
        return min(self._times.retry_s, max(then - now, SHORTEST_WAIT_S))

    async def _stand(self, client: Client) -> None:
        if not self._is_known:
            self._saw(await self._read(client))
        if self._may_take():
            await self._write(client)
            return
        self._lost()
        self._follow(client)

    async def _read(self, client: Client) -> Object | None:
        try:
            return await client.get(LEASES, self._name, namespace=self._namespace)
        except NotFound:
            return None

    def _saw(self, live: Object | None) -> None:
        self._live, self._is_known = live, True
        spec = msgspec.convert((live or {}).get("spec") or {}, LeaseSpec)
        self.holder = spec.holder_identity or ""
        if self._seen is None or self._seen[0] != spec:
            self._seen = (spec, self._clock())

    def _may_take(self) -> bool:
        return self.holder in {"", self.identity} or self._clock() >= self._expires_at()

    def _expires_at(self) -> float:
        if self._seen is None:
            return NEVER
        spec, seen_at = self._seen
        return seen_at + (spec.lease_duration_seconds or self._times.duration_s)

    async def _write(self, client: Client) -> None:
        sent = self._clock()
        lease = self._lease(self._live)
        live = await (client.create(LEASES, lease) if self._live is None else client.replace(LEASES, lease))
        self._unfollow()
        self._saw(live)
        self._won(sent)

    def _lease(self, live: Object | None) -> Object:
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

    # leading

    def _won(self, sent: float) -> None:
        if not self.is_leading():
            self._told = False  # it was over, also where no timer said so yet: whoever works on it begins anew
        # Counted from before the request: others count from after it, whatever it took.
        self._valid_until = sent + self._times.renew_deadline_s
        self._due = sent + self._times.renew_s
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
        if left_s > 0:
            self._expiry = asyncio.get_running_loop().call_later(left_s + 0.01, self._watch_expiry)

    def _announce(self) -> None:
        leading = self.is_leading()
        if leading != self._told:
            self._told = leading
            self._tell(leading)

    async def _release(self, client: Client) -> None:
        was_leading = self.is_leading()
        self._lost()
        if not was_leading or not self._is_known:
            return
        released = self._lease(self._live)
        released["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        with contextlib.suppress(KubeError):  # then it expires
            await client.replace(LEASES, released)

    # following

    def _follow(self, client: Client) -> None:
        """Hear of every change from now on; whoever may not watch asks every `retry_s`."""
        if self._informer is None:
            self._informer = Informer(
                client,
                LEASES,
                dict[str, Any],
                namespace=self._namespace,
                fields=f"metadata.name={self._name}",
                on_change=self._heard,
                longest_delay_s=self._times.retry_s,
                forbidden_delay_s=FORBIDDEN_DELAY_S,
            )
            self._watch = asyncio.create_task(self._informer.run())
        unread = next((one.why for one in self._informer.malformed.values()), None)
        self._look_for_ourselves(self._informer.denied or unread)

    def _look_for_ourselves(self, why: Forbidden | str | None) -> None:
        is_blind = why is not None
        if is_blind:
            self._is_known = False
            self._due = min(self._clock() + self._times.retry_s, self._expires_at())
        if is_blind and not self._is_blind:
            _log.warning("the Lease is asked for every %g s, for it cannot be watched: %s", self._times.retry_s, why)
        self._is_blind = is_blind

    def _heard(self, _: Object | None, new: Object | None) -> None:
        self._saw(new)
        self._news.set()

    def _unfollow(self) -> None:
        self._informer, self._is_blind = None, False
        if self._watch is not None:
            self._watch.cancel()
