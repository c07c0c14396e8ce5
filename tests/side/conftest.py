"""One control plane with simulated nodes and a simulated Patroni for a module's tests; left out by name where it cannot run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from bench.side.plane import SCRIPTS, Plane, missing, plane, simulated_patroni

from lifetimes import guarded

WhenNeeded = Callable[[], AbstractContextManager[Plane]]


@pytest.fixture(scope="module")
def control_plane() -> WhenNeeded:
    """Makes one: with real objects of a real API server, and pods that are ready at once."""
    if (why := missing()) is not None:
        if os.environ.get("HOWDAH_WITH_KUBERNETES") == "1" and os.geteuid() == 0:
            pytest.fail(why)
        pytest.skip(why)

    @contextmanager
    def made() -> Iterator[Plane]:
        with plane() as one, guarded(SCRIPTS / "down.sh", one.directory, "remove"), simulated_patroni(one):
            yield one

    return made
