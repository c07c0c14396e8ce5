"""A real API server: the embedded one, or the one of the kubeconfig that HOWDAH_TEST_KUBECONFIG names."""

import base64
import os
from pathlib import Path

import pytest
import yaml

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
    yield Api(of_files(server.kubeconfig))
    server.stop()


def of_files(kubeconfig: Path) -> Path:
    """As members of the local platform have it: certificates in files. Patroni copies what is embedded into /tmp."""
    document = yaml.safe_load(kubeconfig.read_text())
    for section in (document["clusters"][0]["cluster"], document["users"][0]["user"]):
        for embedded in [key for key in section if key.endswith("-data")]:
            key = embedded.removesuffix("-data")
            section[key] = str(kubeconfig.with_name(key))
            Path(section[key]).write_bytes(base64.b64decode(section.pop(embedded)))
    made = kubeconfig.with_name("kubeconfig-of-files")
    made.write_text(yaml.safe_dump(document))
    return made
