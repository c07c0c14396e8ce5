"""A real API server: the embedded one, or the one of the kubeconfig that HOWDAH_TEST_KUBECONFIG names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.instance.world import Api, until


@pytest.fixture(scope="session")
def api(tmp_path_factory):
    given = os.environ.get("HOWDAH_TEST_KUBECONFIG")
    if given:
        yield Api(Path(given))
        return
    folder = tmp_path_factory.mktemp("api")
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "howdah.local.apiserver", "--dir", str(folder / "state")],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: b"ready" in log.read_bytes() or process.poll() is not None, why="the API server starts")
        assert process.poll() is None, log.read_text()
        yield Api(folder / "state" / "kubeconfig")
    finally:
        process.terminate()
        process.wait(20)
