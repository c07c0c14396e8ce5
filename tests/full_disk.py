"""A disk without room, as one process sees it: no file can be written to, and those that are may be opened and removed."""

import contextlib
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def full_disk(pid: int = 0) -> Iterator[None]:
    """For a process (0: this one) and those that it starts within. The system says EFBIG where it would say ENOSPC."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
