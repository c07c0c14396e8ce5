"""A server for each major of this machine, cleaned before each test."""

from collections.abc import Iterator

import pytest

from adapters.postgres.servers import Server, installations, start

MAJORS = installations()


@pytest.fixture(scope="session", params=sorted(MAJORS), ids=lambda major: f"pg{major}")
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = start(request.param, MAJORS[request.param])
    yield server
    server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.reset()
    return running
