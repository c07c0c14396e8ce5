"""Whose lag has passed a limit: members write their positions all the time, and only the class of a lag is worth a pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from howdah.core.patroni.member import LEADING, Member, parse_member
from howdah.core.status import class_of_lag
from howdah.kube.informer import Key
from howdah.model.observed import Pod


class Lags:
    """Remembers the class of every member, to tell of each change once."""

    def __init__(self) -> None:
        self._classes: dict[tuple[Key, str], str] = {}

    def look(self, pods: Iterable[tuple[Key, Pod]]) -> list[Key]:
        """`pods` are all that there are now. Clusters in which a member's lag is of another class than at the last look."""
        clusters: dict[Key, list[Member]] = defaultdict(list)
        for key, pod in pods:
            if (member := parse_member(pod.name, pod.metadata.annotations)) is not None:
                clusters[key].append(member)
        found = {(key, name): said for key, members in clusters.items() for name, said in self._said(key, members)}
        news = dict.fromkeys(key for (key, name), said in found.items() if said != self._classes.get((key, name), "ok"))
        self._classes = found
        return list(news)

    def _said(self, key: Key, members: list[Member]) -> Iterable[tuple[str, str]]:
        there = next((member.lsn for member in members if member.role in LEADING), None)
        for member in members:
            if member.role not in LEADING:
                lag_bytes = None if there is None or member.lsn is None else max(0, there - member.lsn)
                yield member.name, class_of_lag(self._classes.get((key, member.name)), lag_bytes)
