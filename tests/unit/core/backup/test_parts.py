"""How a dump is cut: a store takes all of it, and the job's memory holds what is sent at once."""

import pytest

from howdah.core.backup.parts import MIB, parts

GIB = 1024 * MIB
TIB = 1024 * GIB
PARTS_OF_S3, LARGEST_OF_AZURE = 10_000, 4_000 * MIB


@pytest.mark.parametrize("size", [0, GIB, 125 * GIB, 156 * GIB, 700 * GIB, 3 * TIB, 20 * TIB, 30 * TIB])
def test_a_dump_that_gzip_could_not_make_smaller_is_taken(size: int) -> None:
    """Random bytes, written as hexadecimal digits and packed again, are 1.17 times as many."""
    assert parts(size).size_bytes * PARTS_OF_S3 >= 1.2 * size
    assert parts(size).size_bytes <= LARGEST_OF_AZURE


@pytest.mark.parametrize("size", [None, 0, GIB, 200 * GIB, 500 * GIB, TIB, 2 * TIB, 10 * TIB])
def test_parts_that_are_sent_at_once_stay_within_256_mib_or_it_is_one(size: int | None) -> None:
    found = parts(size)
    assert found.at_once == 1 or found.size_bytes * found.at_once <= 256 * MIB
    assert 1 <= found.at_once <= 4


def test_small_databases_cost_little_memory() -> None:
    assert (parts(GIB).size_bytes, parts(GIB).at_once) == (16 * MIB, 4)


def test_where_nobody_knows_the_size_a_dump_may_be_hundreds_of_gigabytes() -> None:
    assert parts(None).size_bytes * PARTS_OF_S3 >= 600 * GIB


def test_a_larger_part_has_longer_to_arrive() -> None:
    assert parts(GIB).timeout_s == 120
    assert parts(8 * TIB).timeout_s > 1000
