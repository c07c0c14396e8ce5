"""One platform per test process, with two operators and one in Endpoints mode; after it nothing may be left."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from e2e.clusters import PostgresCluster
from e2e.world import ENDPOINTS_NAMESPACE, World, end, public_folder, start
from howdah.kube.client import Client

HERE = Path(__file__).parent
LONGEST = ("test_chaos.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is end to end; of several processes one takes the longest file first, beside the others."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The platform that most tests share; each makes clusters of its own."""
    parent = public_folder()
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
