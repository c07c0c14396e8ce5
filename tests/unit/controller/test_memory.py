"""Freed memory between objects that stay goes back to the machine."""

import os
from pathlib import Path

import pytest

from howdah.controller.memory import give_back

MIB = 2**20


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif("glibc" not in os.confstr("CS_GNU_LIBC_VERSION"), reason="this is about glibc's malloc")
def test_what_was_freed_between_objects_that_stay_is_given_back():
    pieces = [bytes(2000) for _ in range(40_000)]
    kept = pieces[::50]
    del pieces
    before = resident_bytes()
    give_back()
    assert before - resident_bytes() > 30 * MIB
    assert len(kept) == 800
