"""What end-to-end tests run on, with two operators and one in Endpoints mode.

One local platform per test process, after which nothing may be left; or, with HOWDAH_NODES set by `make e2e-nodes`, the
real nodes of that folder.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from e2e.clusters import PostgresCluster
from e2e.local_world import end, ending, public_folder, start
from e2e.nodes_world import here
from e2e.world import ENDPOINTS_NAMESPACE, PATIENCE, World
from howdah.kube.client import Client
from lifetimes import guarded

HERE = Path(__file__).parent
ON_NODES = "HOWDAH_NODES" in os.environ
LONGEST = ("test_chaos.py",)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything in this folder is end to end; of several processes one takes the longest file first, beside the others.

    On a slow machine a test as a whole has more time, too, not only each of its waits.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            own = item.get_closest_marker("timeout")
            limit_s = own.args[0] if own is not None else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(limit_s * PATIENCE), append=False)
        for mark in item.iter_markers("local_platform") if ON_NODES else ():
            item.add_marker(pytest.mark.skip(reason=f"only the local platform: {mark.args[0]}"))
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """What most tests share; each makes clusters of its own."""
    if ON_NODES:
        yield here()
        return
    parent = public_folder()
    with guarded(*ending(parent / "p")):
        found = asyncio.run(start(parent / "p", operators=2, in_endpoints=True))
        yield found
        left = asyncio.run(end(found))
    shutil.rmtree(parent)
    assert left == [], "\n".join(left)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with world.client() as found:
        yield found


@pytest.fixture
async def cluster_named(world: World, client: Client) -> AsyncIterator[Callable[[str], PostgresCluster]]:
    """Makes handles; what they made is deleted after the test, whatever became of it."""
    made: list[PostgresCluster] = []

    def handle(name: str, namespace: str = "default") -> PostgresCluster:
        made.append(PostgresCluster(world, client, name, namespace))
        return made[-1]

    yield handle
    for cluster in made:
        await _removed(cluster)


async def _removed(cluster: PostgresCluster) -> None:
    from howdah.kube.errors import NotFound

    try:
        await cluster.annotate(howdah_dev__pause=None)
        await cluster.delete()
    except NotFound:
        return
    await cluster.gone()


@pytest.fixture
def in_endpoints(cluster_named: Callable[..., PostgresCluster]) -> Callable[[str], PostgresCluster]:
    """As `cluster_named`, in the namespace whose operator keeps Patroni's state in Endpoints."""
    return lambda name: cluster_named(name, ENDPOINTS_NAMESPACE)
