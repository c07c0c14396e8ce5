"""Tests for what only real nodes have; they run inside the lane of `make e2e-nodes` and use its world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.clusters import PostgresCluster
from e2e.conftest import ON_NODES, client, cluster_named
from e2e.nodes_world import NodesWorld, here

__all__ = ["client", "cluster_named"]

HERE = Path(__file__).parent
Named = Callable[[str], PostgresCluster]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without real nodes these tests are left out by name."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.nodes)
            item.add_marker(pytest.mark.timeout(900))
            if not ON_NODES:
                item.add_marker(pytest.mark.skip(reason="no real nodes: `make e2e-nodes` (root)"))


@pytest.fixture(scope="session")
def world() -> NodesWorld:
    """The lane; every node is connected and takes pods."""
    found = here()
    asyncio.run(found.all_run())
    return found


@pytest.fixture
async def trio(cluster_named: Named, request: pytest.FixtureRequest) -> PostgresCluster:
    """A settled cluster of three, one member a node, that loses no acknowledged write."""
    cluster = cluster_named("acid-" + request.node.name.removeprefix("test_").replace("_", "-")[:30].rstrip("-"))
    await cluster.create(numberOfInstances=3, patroni={"synchronous_mode": True})
    await cluster.settled(120)
    return cluster
