"""What comparisons answered, for as long as the versions that were compared stay the same. A quiet pass compares nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

from howdah.kube.informer import Key

T = TypeVar("T")


class Compared(Generic[T]):
    """By cluster and object. `versions` are whatever the answer depends on, of both sides."""

    def __init__(self) -> None:
        self._answers: dict[Key, dict[Hashable, tuple[object, T]]] = {}

    def __len__(self) -> int:
        """Clusters of which something is remembered."""
        return len(self._answers)

    def answer(self, key: Key, what: Hashable, versions: object) -> T | None:
        """None where these versions were not compared."""
        known = self._answers.get(key, {}).get(what)
        return known[1] if known is not None and known[0] == versions else None

    def remember(self, key: Key, what: Hashable, versions: object, answer: T) -> T:
        """The answer, remembered in place of the one before."""
        self._answers.setdefault(key, {})[what] = (versions, answer)
        return answer

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._answers.pop(key, None)
