"""A server for each major of this machine, cleaned before each test."""

from collections.abc import Iterator

import pytest

from adapters.postgres.servers import Server, installations, start

MAJORS = installations()


def only(major: int) -> pytest.MarkDecorator:
    """Runs a test on one major: for what is slow, or is the same on all."""
    return pytest.mark.parametrize("running", [major], indirect=True, ids=[f"pg{major}"])


@pytest.fixture(scope="session", params=sorted(MAJORS), ids=lambda major: f"pg{major}")
def running(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = start(request.param, MAJORS[request.param])
    yield server
    server.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.reset()
    return running
