"""Ten rounds of random faults; a hundred by `make chaos`."""

from __future__ import annotations

import secrets

import pytest

from e2e import chaos
from e2e.world import World

pytestmark = pytest.mark.local_platform(
    "it kills the platform's own processes; tests/nodes has the faults of real nodes"
)

ROUNDS = 10
LIMIT_S = 180  # no round begins after that: the whole of the tests has to stay short


@pytest.mark.timeout(420)
async def test_no_acknowledged_write_is_lost_and_never_two_servers_accept_writes(world: World) -> None:
    seed = secrets.randbelow(10**6)
    report = await chaos.run(world, rounds=ROUNDS, seed=seed, limit_s=LIMIT_S)
    assert report.violations == [], "\n".join(report.lines)
    assert report.rounds >= 5, "\n".join(report.lines)
