"""For how long each leader lock has not been renewed, by this process's own clock. What follows from that is `core`'s.

A lock that nobody renews makes no event, and the holder's own times are by another machine's clock; so all locks are
looked at every second. What a restart forgets only makes the answer later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from howdah.core.patroni.member import parse_leader
from howdah.kube.informer import Key

Place = tuple[str, str, str]  # (kind, namespace, name)
SHORTEST_TTL_S = 15.0  # Patroni takes none below 20: before that nothing can be new


class Lock(NamedTuple):
    """A leader object as it is now, and whose it is."""

    place: Place
    key: Key
    renewed: str
    annotations: Mapping[str, str]


@dataclass(slots=True)
class _Heard:
    """The last renewal, when it was first seen here, and what was told of it: calls due, silence by the holder's clock."""

    renewed: str
    since_s: float
    told: tuple[int, bool] | None = None


class Locks:
    """Feed it by `look`; ask it by `unchanged_s`. Times are of one monotonic clock."""

    def __init__(self) -> None:
        self._heard: dict[Place, _Heard] = {}

    def unchanged_s(self, place: Place, renewed: str | None, now_s: float) -> float:
        """Seconds since this renewal was first seen; 0 for one that was not seen yet."""
        last = self._heard.get(place)
        return now_s - last.since_s if last is not None and last.renewed == renewed else 0.0

    def look(self, locks: Iterable[Lock], now_s: float, now: dt.datetime) -> list[Key]:
        """`locks` are all that there are now. The clusters with something new to decide; each is told once."""
        heard: dict[Place, _Heard] = {}
        news = []
        for lock in locks:
            last = self._heard.get(lock.place)
            if last is None or last.renewed != lock.renewed:
                last = _Heard(lock.renewed, now_s)
            heard[lock.place] = last
            if last.told is not None and now_s - last.since_s < SHORTEST_TTL_S:
                continue
            leader = parse_leader(lock.annotations)
            found = (leader.calls_due(now_s - last.since_s), leader.is_silent(now))
            if found != (last.told or (0, False)):
                news.append(lock.key)
            last.told = found
        self._heard = heard
        return news
