"""For how long each leader lock has not been renewed, by this process's own clock. What follows from that is `core`'s.

A lock that nobody renews makes no event, and the holder's own times are by another machine's clock; so all locks are
looked at every second. What a restart forgets only makes the answer later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from howdah.core.patroni.member import parse_leader
from howdah.model.observed import Meta

Place = tuple[str, str, str]  # (kind, namespace, name)
SHORTEST_TTL_S = 15.0  # Patroni takes none below 20: before that nothing can be new


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

    def look(self, locks: Iterable[tuple[Place, Meta]], now_s: float, now: dt.datetime) -> list[Place]:
        """`locks` are all that there are now. Those of which there is something new to decide; each is told once."""
        heard: dict[Place, _Heard] = {}
        news = []
        for place, meta in locks:
            renewed = meta.annotation("renewTime")
            if renewed is None:
                continue
            last = self._heard.get(place)
            if last is None or last.renewed != renewed:
                last = _Heard(renewed, now_s)
            heard[place] = last
            if last.told is not None and now_s - last.since_s < SHORTEST_TTL_S:
                continue
            leader = parse_leader(meta.annotations)
            found = (leader.calls_due(now_s - last.since_s), leader.is_silent(now))
            if found != (last.told or (0, False)):
                news.append(place)
            last.told = found
        self._heard = heard
        return news
