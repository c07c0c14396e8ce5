"""Fixtures: a real API server process on loopback, a client, a namespace of the test's own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.apiserver.client import Client, Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests that do not restart it."""
    found = Server(tmp_path_factory.mktemp("apiserver") / "state")
    found.start()
    yield found
    found.stop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may stop and kill."""
    found = Server(tmp_path / "state")
    found.start()
    yield found
    if found.process is not None:
        found.stop()


@pytest.fixture(scope="session")
def api(server: Server) -> Client:
    return server.client()


_numbers = itertools.count(1)


@pytest.fixture
def namespace(api: Client) -> str:
    """A namespace of the test's own."""
    name = f"t{next(_numbers)}"
    assert api.post("/api/v1/namespaces", {"metadata": {"name": name}}).code == 201
    return name


@pytest.fixture
def core(namespace: str) -> str:
    """The path of core resources in the test's namespace."""
    return f"/api/v1/namespaces/{namespace}"
