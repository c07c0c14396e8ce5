"""For how long each leader lock has not been renewed, by this process's own clock, and when something is due because of it.

Counted is from the event of the last renewal, and only while nothing could pass unseen: a leader whose API server is away
cannot renew. A lock that nobody renews makes no event, so each has a place in a queue. A renewal only notes when it came;
the place is put right when its time comes, which is once per ttl. What a restart forgets only makes the answer later.
What follows from silence is `core`'s.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from howdah.core.patroni.member import parse_leader
from howdah.kube.informer import Key

Place = tuple[str, str, str]  # (kind, namespace, name)
SHORTEST_WAIT_S = 0.001  # what is due a rounding error later does not keep the process busy


class Lock(NamedTuple):
    """A leader object as it is now, and whose it is. `watched_s`: for how long every change of it has been seen."""

    place: Place
    key: Key
    renewed: str
    annotations: Mapping[str, str]
    watched_s: Callable[[], float]


@dataclass(slots=True)
class _Heard:
    """The last renewal and when it came. `told` of it: calls due, silence. `due_s`: its next look.

    `was_renewed`: not only found here, but seen to be renewed.
    """

    lock: Lock
    since_s: float
    was_renewed: bool = False
    told: tuple[int, bool] = (0, False)
    due_s: float | None = None

    def unchanged_s(self, now_s: float) -> float:
        return min(now_s - self.since_s, self.lock.watched_s())


class Locks:
    """Feed it by `hear` and `forget`; ask it by `unchanged_s`, and by `due` at `first_s`. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[Place, _Heard] = {}
        self._queue: list[tuple[float, Place]] = []  # with entries that are out of date: see `_Heard.due_s`

    @property
    def first_s(self) -> float | None:
        """When to ask what is due next; None: not before something is heard."""
        return self._queue[0][0] if self._queue else None

    def hear(self, lock: Lock, now_s: float) -> bool:
        """A leader object, each time that it comes from the server; whether this ends a silence that was told of."""
        heard, ends_silence = self._heard.get(lock.place), False
        if heard is None:
            heard = self._heard[lock.place] = _Heard(lock, now_s)
        elif heard.lock.renewed != lock.renewed:
            ends_silence = heard.told != (0, False)
            heard.since_s, heard.was_renewed, heard.told = now_s, True, (0, False)
        if heard.due_s is None or heard.lock.annotations.get("ttl") != lock.annotations.get("ttl"):
            self._put(heard, now_s)
        heard.lock = lock
        return ends_silence

    def forget(self, place: Place) -> None:
        """It is gone, or no lock any more."""
        self._heard.pop(place, None)

    def unchanged_s(self, place: Place, renewed: str | None, now_s: float) -> float:
        """Seconds since this renewal was seen; 0 for one that was not seen."""
        heard = self._heard.get(place)
        return heard.unchanged_s(now_s) if heard is not None and heard.lock.renewed == renewed else 0.0

    def was_renewed(self, place: Place) -> bool:
        """Whether a renewal was seen, so that our clock alone tells for how long there was no other."""
        heard = self._heard.get(place)
        return heard is not None and heard.was_renewed

    def due(self, now_s: float, now: dt.datetime) -> list[Key]:
        """The clusters with something new to decide; each is told once."""
        news = []
        while self._queue and self._queue[0][0] <= now_s:
            due_s, place = heappop(self._queue)
            heard = self._heard.get(place)
            if heard is not None and heard.due_s == due_s and self._look(heard, now_s, now):
                news.append(heard.lock.key)
        return news

    def _look(self, heard: _Heard, now_s: float, now: dt.datetime) -> bool:
        """Whether there is something new about it."""
        leader = parse_leader(heard.lock.annotations)
        unchanged_s = heard.unchanged_s(now_s)
        is_silent = leader.is_silent(now, unchanged_s if heard.was_renewed else None)
        before, heard.told = heard.told, (leader.calls_due(unchanged_s), is_silent)
        left_s = leader.changes_in_s(unchanged_s, now, was_renewed=heard.was_renewed)
        heard.due_s = None
        if left_s is not None:
            self._put(heard, now_s + max(left_s, SHORTEST_WAIT_S))
        return heard.told != before

    def _put(self, heard: _Heard, due_s: float) -> None:
        heard.due_s = due_s
        heappush(self._queue, (due_s, heard.lock.place))
