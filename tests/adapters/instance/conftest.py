"""A real API server: the embedded one, or the one of the kubeconfig that HOWDAH_TEST_KUBECONFIG names."""

import os
from pathlib import Path

import pytest

from adapters.apiserver.client import Server
from adapters.instance.world import Api


@pytest.fixture(scope="session")
def api(tmp_path_factory):
    given = os.environ.get("HOWDAH_TEST_KUBECONFIG")
    if given:
        yield Api(Path(given))
        return
    server = Server(tmp_path_factory.mktemp("api") / "state")
    server.start()
    yield Api(server.kubeconfig)
    server.stop()
