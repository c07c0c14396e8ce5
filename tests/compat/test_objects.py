"""The objects that we make are those that the reference was recorded to make, but for what is listed with its reason."""

import pytest

from compat.compare import CASES, Totals, compare_folders, rules


@pytest.fixture(scope="module")
def totals() -> Totals:
    return compare_folders([CASES])


def test_every_field_is_as_recorded_or_differs_for_a_listed_reason(totals: Totals) -> None:
    print(totals)
    assert not totals.unexplained, "\n".join(map(str, totals.unexplained))
    assert totals.fields > 30_000  # the comparison looks at something


@pytest.mark.parametrize("file", ["differences.yaml", "unfinished.yaml"])
def test_every_listed_row_is_still_needed(totals: Totals, file: str) -> None:
    used = totals.intended if file == "differences.yaml" else totals.unfinished
    unused = [row for index, row in enumerate(rules(file)) if not used[index] and "seen_in" not in row]
    assert not unused, f"remove these rows from {file}: what they excuse is as recorded now"


def test_every_difference_has_its_reason() -> None:
    assert all(row["reason"] for row in rules("differences.yaml"))
