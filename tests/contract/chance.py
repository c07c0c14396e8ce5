"""Choices taken from bytes: cheap to draw for hypothesis, and shrunk by it, for a zero is always the simplest choice."""

from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")

ALWAYS, SELDOM, EVEN = 256, 24, 128


class Chance:
    """Reads `data` from its beginning; behind its end everything is the simplest choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._next = 0

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        value = self._byte()
        if bound > 256:
            value = value << 8 | self._byte()
        return value % bound

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of `choices`; the first is the simplest."""
        return choices[self.below(len(choices))]

    def happens(self, share: int = EVEN) -> bool:
        """Whether something that happens in `share` of 256 cases does."""
        return self._byte() >= 256 - share

    def _byte(self) -> int:
        if self._next >= len(self._data):
            return 0
        self._next += 1
        return self._data[self._next - 1]
