"""One server with roles, a database and the lookup function; poolers are each test's own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.postgres.servers import Server, installations, start

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="PgBouncer is not installed"))


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    majors = installations()
    server = start(max(majors), majors[max(majors)])
    yield server
    server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.reset()
    return running
