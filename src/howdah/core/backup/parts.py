"""How a dump of unknown size is cut for a store that takes 10,000 parts of an object and no more.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html; Google's is the same, Azure takes 50,000 blocks.
"""

from __future__ import annotations

from howdah.model.backups import Parts

MIB = 1024 * 1024
PLANNED_PARTS = 8_000
"""For as much as the databases have on disk. A dump is a fraction of that as a rule; of random bytes it is 1.17 times as
much (twice as long as text, and gzip halves it again), for which the other 2,000 are.
"""
SMALLEST, LARGEST = 16 * MIB, 4_000 * MIB
"""Azure takes blocks of up to 4,000 MiB, S3 and Google parts of 5 GiB."""
OF_UNKNOWN = 64 * MIB
"""Enough for a dump of 625 GiB."""
AT_ONCE = 4
MEMORY = 256 * MIB
"""Of all parts that are sent at once; a single one may be larger."""
SHORTEST_TIMEOUT_S = 120.0
SLOWEST_PER_S = MIB
"""Bytes. A part that is sent slower is tried again on a new connection, for the one it was sent on may be dead."""


def parts(databases_bytes: int | None) -> Parts:
    """For databases of so many bytes on disk; None where nobody could say."""
    size = OF_UNKNOWN if databases_bytes is None else min(max(SMALLEST, databases_bytes // PLANNED_PARTS + 1), LARGEST)
    return Parts(
        size_bytes=size,
        at_once=max(1, min(AT_ONCE, MEMORY // size)),
        timeout_s=max(SHORTEST_TIMEOUT_S, size / SLOWEST_PER_S),
    )
