"""The judge judges right: it finds a lost timeline, and is silent about a switchover."""

from __future__ import annotations

import pytest

from e2e.writing import Acknowledged, split_brain

A, B = "127.0.0.2", "127.0.0.3"


@pytest.mark.parametrize(
    ("writes", "is_split"),
    [
        ([], False),
        ([(0, 1, A, 1), (1, 2, A, 1)], False),
        ([(0, 1, A, 1), (2, 3, B, 2), (4, 5, A, 3)], False),  # two switchovers
        ([(0, 1, A, 1), (0.5, 3, A, 1), (2, 2.5, B, 2)], False),  # began before, answered late
        ([(0, 1, A, 1), (2, 3, B, 2), (3.5, 4, A, 1)], True),  # the old leader went on
        ([(0, 1, A, 1), (0.5, 1.5, B, 1)], True),  # two servers, one timeline
        ([(2, 3, B, 2), (3.5, 4, A, 1), (0, 1, A, 1)], True),  # whatever the order of the notes
    ],
)
def test_split_brain_is_a_write_on_an_old_timeline(writes: list[tuple[float, float, str, int]], is_split: bool) -> None:
    found = split_brain([Acknowledged(*write) for write in writes])
    assert (found is not None) == is_split
