"""Choices for the generators: cheap to draw for hypothesis (two integers), and what it shrinks is how much there is.

Bytes drawn one by one would shrink better, and cost more than all that is tested with them.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")

ALWAYS, SELDOM, EVEN = 256, 24, 128
MOST = 255
"""As rich as it gets."""
_BYTES = 2048


class Chance:
    """A stream of choices from `seed`. `richness` (0 to 255) scales how often what is optional is there."""

    def __init__(self, seed: int, richness: int = MOST) -> None:
        self._data = hashlib.shake_128(str(seed).encode()).digest(_BYTES)
        self._richness = richness + 1
        self._next = 0

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        value = self._byte()
        if bound > 256:
            value = value << 8 | self._byte()
        return value % bound

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """One of `choices`."""
        return choices[self.below(len(choices))]

    def happens(self, share: int = EVEN) -> bool:
        """Whether something that happens in `share` of 256 cases does."""
        return self._byte() >= 256 - share * self._richness // 256

    def _byte(self) -> int:
        self._next = (self._next + 1) % _BYTES
        return self._data[self._next]
