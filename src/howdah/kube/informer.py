"""A local copy of one collection, kept true by list and watch, whatever the server does.

It lists, watches from there, resumes after cut streams, lists anew when its version is too old, and says by `on_change` what
became different. It never gives up and never spins. Objects are held as the caller's trimmed type, never whole.
"""
# ruff: noqa: A002 - `type` as in client.py

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import msgspec

from .client import Client, decoder
from .errors import UNREADABLE, ApiError, Forbidden, Gone, KubeError, Malformed
from .outline import outline
from .resources import Resource
from .watch import IDLE_S, WatchEvent, watch_batches

T = TypeVar("T")
Key = tuple[str, str]
"""(namespace, name); the namespace is "" for cluster-wide kinds."""

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 5.0
"""After an outage the store is at most about this late; a try is one refused connection."""
LONGEST_ASKED_S = 30.0
"""What a server that asks for more is waited for: a maintenance page may ask for hours and be gone in minutes."""
STEADY_S = 5.0
"""A stream that lived this long was a good one: the next try comes after the first delay again."""
BLINK_S = 2.0
"""A stream that is made anew within this time was not broken: what changed meanwhile is told that much later, no more."""
FAILURES_BEFORE_LIST = 5
"""So often a watch may be refused in a row before its version is thought to be the cause."""

_log = logging.getLogger(__name__)


class ObjectMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """The metadata of any object, as far as caches and owners need it."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deletion_timestamp: str | None = None


class PartialObject(msgspec.Struct, frozen=True):
    """An object of any kind, metadata only."""

    metadata: ObjectMetadata


class _Identity(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> Key:
        return (self.namespace, self.name)


class _Envelope(msgspec.Struct):
    metadata: _Identity


class _Labels(msgspec.Struct):
    labels: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Labels


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_LABELLED = msgspec.json.Decoder(_Labelled)


@dataclass(frozen=True, slots=True)
class Unread:
    """An object whose newest state does not decode, or at which a function of the informer's user failed.

    `labels`: those of that state; None where not even they can be read.
    """

    key: Key
    labels: Mapping[str, str] | None
    why: str


@dataclass(slots=True)
class Held(Generic[T]):
    """One object of the store; the uid tells an object from a later one of the same name."""

    uid: str
    object: T
    index_keys: dict[str, tuple[Hashable, ...]]


@dataclass(slots=True)
class Counts:
    """What happened since the start, for metrics."""

    lists: int = 0
    watches: int = 0
    events: int = 0
    changes: int = 0
    failures: int = 0
    malformed: int = 0


class Informer(Generic[T]):
    """Run `run()` as a task; read when `synced` is set. All of it belongs to one event loop.

    `on_change(old, new)` is called from the loop, at once and in order: (None, new) for a new object, (old, None) with the last
    seen state for one that has gone, (old, new) only where `significant` of both differs. An object that was replaced by
    another of the same name is told as gone and new.
    `on_seen(informer, new)` is called before that for every state that comes, also where nothing significant differs.
    `on_malformed(informer, old, new)` is told likewise of what is `malformed`: (None, new) for an object that is from now on,
    (old, new) where the reason is another one, (old, None) for one that can be read again or has gone. What any of the other
    functions raises is a bug, not the server's doing: it is logged, and the object is malformed until a later state of it does
    no harm. The others go on, for whoever can write one object must not keep everybody from being looked after.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        type: type[T],
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        indexes: Mapping[str, Callable[[T], Iterable[Hashable]]] | None = None,
        significant: Callable[[T], Any] = lambda obj: obj,
        on_change: Callable[[T | None, T | None], None] | None = None,
        on_seen: Callable[[Informer[T], T], None] | None = None,
        on_malformed: Callable[[Informer[T], Unread | None, Unread | None], None] | None = None,
        idle_s: float = IDLE_S,
        blink_s: float = BLINK_S,
        longest_delay_s: float = LONGEST_DELAY_S,
        forbidden_delay_s: float | None = None,
    ) -> None:
        """`forbidden_delay_s`: between attempts where the kind need not be seen; None: as after any failure.

        The first attempts come as after any failure: a right may have been given so late that the server has not heard of it.
        """
        self.resource = resource
        self.namespace = namespace  # None: all
        self.labels = labels
        self.synced = asyncio.Event()
        self.last_contact = float("-inf")
        """When the server last gave a sign of life, bookmarks included; by the loop's clock, as all times here."""
        self.last_error: KubeError | None = None
        """Why there is no stream now; None while there is one."""
        self.denied: Forbidden | None = None
        """The refusal, from the moment it came until a stream opens: no other failure meanwhile says that all is seen."""
        self.malformed: dict[Key, Unread] = {}
        """Objects of which nothing is known but this; the store keeps their last good state, if any."""
        self.counts = Counts()
        self._client = client
        self._decode = decoder(cast(Hashable, type)).decode
        self._scope: dict[str, Any] = {
            "namespace": namespace,
            "labels": labels,
            "fields": fields,
            "metadata_only": metadata_only,
        }
        self._store: dict[Key, Held[T]] = {}
        self._index_functions = dict(indexes or {})
        self._indexes: dict[str, dict[Hashable, set[Key]]] = {name: {} for name in self._index_functions}
        self._significant = significant
        self._on_change = on_change
        self._on_seen = on_seen
        self._on_malformed = on_malformed
        self._idle_s = idle_s
        self._blink_s = blink_s
        self._longest_delay_s = longest_delay_s
        self._forbidden_delay_s = forbidden_delay_s
        self._version = ""
        self._open_since: float | None = None
        self._whole_since = self._cut_at = float("-inf")  # cut at infinity: not cut

    # reading

    @property
    def watching(self) -> bool:
        """Whether a stream is open now."""
        return self._open_since is not None

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None where there is none (or not yet: see `synced`)."""
        held = self._store.get((namespace, name))
        return held.object if held else None

    def __iter__(self) -> Iterator[T]:
        return (held.object for held in tuple(self._store.values()))

    def __len__(self) -> int:
        return len(self._store)

    def keys(self) -> tuple[Key, ...]:
        """All (namespace, name), in no order."""
        return tuple(self._store)

    def by_index(self, index: str, key: Hashable) -> tuple[T, ...]:
        """The objects for which the index function gave this key, ordered by namespace and name."""
        return tuple(self._store[held].object for held in sorted(self._indexes[index].get(key, ())))

    def index_keys(self, index: str) -> tuple[Hashable, ...]:
        """Every key that the index has now."""
        return tuple(self._indexes[index])

    def staleness_s(self) -> float:
        """Seconds since the last sign of life; infinite before the first."""
        return _now_s() - self.last_contact

    def unbroken_s(self) -> float:
        """For how many seconds every change has been seen as it came; 0 where there is no stream. See `BLINK_S`."""
        now_s = _now_s()
        return now_s - self._whole_since if now_s - self._cut_at <= self._blink_s else 0.0

    # keeping

    async def run(self) -> None:
        """Keep the store true until cancelled."""
        delay_s, refused = FIRST_DELAY_S, 0
        while True:
            wait_s = 0.0
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                self._note_end(0.0)
            except Exception as failure:  # noqa: BLE001 - anything else is a bug; then, too, a new list is what may help
                error = failure if isinstance(failure, KubeError) else self._bug(failure)
                self._note_end(self.staleness_s())
                self.last_error = error
                self.denied = error if isinstance(error, Forbidden) else self.denied
                self.counts.failures += 1
                refused = refused + 1 if isinstance(error, ApiError) else 0
                wait_s = min(getattr(error, "retry_after_s", None) or 0.0, LONGEST_ASKED_S)
                if isinstance(error, Forbidden) and delay_s >= self._longest_delay_s:
                    wait_s = self._forbidden_delay_s or wait_s
                if _version_is_lost(error) or refused >= FAILURES_BEFORE_LIST:
                    self._version, refused = "", 0
            if self._open_since is not None and _now_s() - self._open_since >= STEADY_S:
                delay_s, refused = FIRST_DELAY_S, 0
            self._open_since = None
            await asyncio.sleep(max(wait_s, delay_s * random.uniform(0.5, 1.0)))
            delay_s = min(delay_s * 2, self._longest_delay_s)

    @property
    def has_looked(self) -> bool:
        """Whether the server has said once what there is, or says that it is not for us."""
        return self.synced.is_set() or self.denied is not None

    def reset(self) -> None:
        """Forget all, for the kind is not there any more: each object is told as gone. Not while `run` runs."""
        for key in self._store.keys() | self.malformed.keys():
            self._take_away(key)
        self.synced.clear()
        self._version, self.last_error, self.denied, self._open_since = "", None, None, None
        self._whole_since = self._cut_at = float("-inf")

    def _bug(self, failure: Exception) -> Malformed:
        _log.error("the cache of %s failed by a bug", self.resource.plural, exc_info=failure)
        return Malformed(f"watch {self.resource.plural}: {type(failure).__name__}")

    def _note_begin(self) -> None:
        now_s = _now_s()
        if now_s - self._cut_at > self._blink_s:
            self._whole_since = now_s
        self._cut_at = float("inf")

    def _note_end(self, unheard_s: float) -> None:
        """`unheard_s`: for how long it may have been cut already."""
        if self._open_since is not None:
            self._cut_at = _now_s() - unheard_s

    async def _list(self) -> None:
        self.counts.lists += 1
        present: set[Key] = set()
        version = ""
        async for page in self._client.pages(self.resource, **self._scope):
            if page is None:
                present.clear()
                continue
            self.last_contact = _now_s()
            for raw in page.items:
                if identity := self._identity(raw):
                    self._take(identity, raw)
                    present.add(identity.key)
            version = page.resource_version
            await asyncio.sleep(0)
        for key in (self._store.keys() | self.malformed.keys()) - present:
            self._take_away(key)
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        self.counts.watches += 1
        batches = watch_batches(self._client, self.resource, self._version, idle_s=self._idle_s, **self._scope)
        async with aclosing(batches):
            async for batch in batches:
                self.last_contact, self.last_error, self.denied = _now_s(), None, None
                if self._open_since is None:
                    self._open_since = self.last_contact
                    self._note_begin()
                for event in batch:
                    self._handle(event)
                await asyncio.sleep(0)

    def _handle(self, event: WatchEvent) -> None:
        self.counts.events += 1
        identity = self._identity(event.object)
        if identity is None:
            return
        if event.type in {"ADDED", "MODIFIED"}:
            self._take(identity, event.object)
        elif event.type == "DELETED":
            self._take_away(identity.key)
        self._version = identity.resource_version or self._version

    def _identity(self, raw: msgspec.Raw) -> _Identity | None:
        try:
            return _identity(raw)
        except UNREADABLE:
            self.counts.malformed += 1
            return None

    def _take(self, identity: _Identity, raw: msgspec.Raw) -> None:
        key = identity.key
        try:
            self._hold(key, identity.uid, self._decode(raw), told_anyway=key in self.malformed)
        except UNREADABLE as error:  # RecursionError also from whoever looks at what was decoded
            self._mark(key, raw, str(error))
        except Exception as error:  # noqa: BLE001 - a bug at one object must not blind everybody
            self._mark(key, raw, f"it cannot be handled ({type(error).__name__})", error)
        else:
            self._unmark(key)

    def _take_away(self, key: Key) -> None:
        try:
            self._drop(key)
        except Exception as error:  # noqa: BLE001 - likewise
            self._log_bug(key, error)
        self._unmark(key)

    def _hold(self, key: Key, uid: str, new: T, *, told_anyway: bool) -> None:
        held = self._store.get(key)
        if held is not None and held.uid != uid:
            self._drop(key)
            held = None
        if self._on_seen is not None:
            self._on_seen(self, new)
        index_keys = {name: tuple(function(new)) for name, function in self._index_functions.items()}
        if held is None:
            self._store[key] = Held(uid, new, index_keys)
            self._index(key, {}, index_keys)
            self._tell(None, new)
            return
        old = held.object
        if held.index_keys != index_keys:
            self._index(key, held.index_keys, index_keys)
            held.index_keys = index_keys
        held.object = new
        now = self._significant(new)
        if told_anyway or self._significant(old) != now:
            self._tell(old, new)

    def _drop(self, key: Key) -> None:
        held = self._store.pop(key, None)
        if held is not None:
            self._index(key, held.index_keys, {})
            self._tell(held.object, None)

    def _index(self, key: Key, before: dict[str, tuple[Hashable, ...]], after: dict[str, tuple[Hashable, ...]]) -> None:
        for name, index in self._indexes.items():
            for gone in before.get(name, ()):
                members = index.get(gone, set())
                members.discard(key)
                if not members:
                    index.pop(gone, None)
            for new in after.get(name, ()):
                index.setdefault(new, set()).add(key)

    def _tell(self, old: T | None, new: T | None) -> None:
        self.counts.changes += 1
        if self._on_change:
            self._on_change(old, new)

    def _mark(self, key: Key, raw: msgspec.Raw, why: str, bug: Exception | None = None) -> None:
        self.counts.malformed += 1
        before, now = self.malformed.get(key), Unread(key, _labels(raw), why)
        self.malformed[key] = now
        if now == before:
            return
        if bug is not None:
            self._log_bug(key, bug)
        if self._on_malformed:
            self._on_malformed(self, before, now)

    def _unmark(self, key: Key) -> None:
        before = self.malformed.pop(key, None)
        if before is not None and self._on_malformed:
            self._on_malformed(self, before, None)

    def _log_bug(self, key: Key, bug: Exception) -> None:
        _log.error("%s %s cannot be handled: a bug", self.resource.kind, "/".join(filter(None, key)), exc_info=bug)


def _identity(raw: msgspec.Raw) -> _Identity:
    try:
        return _ENVELOPE.decode(raw).metadata
    except RecursionError:
        return _ENVELOPE.decode(_shallow(raw)).metadata


def _labels(raw: msgspec.Raw) -> Mapping[str, str] | None:
    try:
        return _LABELLED.decode(_shallow(raw)).metadata.labels or {}
    except UNREADABLE:
        return None


def _shallow(raw: msgspec.Raw) -> bytes:
    """An object down to its labels."""
    return outline(bytes(raw), 3)[0]


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _version_is_lost(error: KubeError) -> bool:
    """Whether only a new list helps: 410, or any refusal of the request itself. Not 401, 403, 404, 429: those pass."""
    if isinstance(error, Malformed | Gone):
        return True
    passing = {401, 403, 404, 429}
    return isinstance(error, ApiError) and 400 <= error.status < 500 and error.status not in passing
