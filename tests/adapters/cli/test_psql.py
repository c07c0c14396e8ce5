"""`howdah psql` as a person starts it: where the service's address is nobody's here, psql runs beside the server."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRESQLS
from howdah.kube.exec import ExecResult
from howdah.kube.resources import PODS, SECRETS, SERVICES
from howdah.kube.testing import FakeKubernetes
from lifetimes import ended_with_us
from steady import HANGS_S

NAMESPACE, NAME = "ns", "acid-a"
LABELS = {"application": "spilo", "cluster-name": NAME}
ADDRESS = "10.96.4.5"


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    """A cluster whose superuser is root, and whose role `app` has a login with a date."""
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS) as running:
        metadata = {"namespace": NAMESPACE, "labels": LABELS}
        spec = {"postgresql": {"version": "18"}}
        running.store.seed(POSTGRESQLS, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec})
        names = {"secret_name_template": "{username}.{cluster}.credentials"}
        options = {"users": {"super_username": "root"}, "kubernetes": names}
        place = {"name": "howdah", "namespace": NAMESPACE}
        running.store.seed(OPERATOR_CONFIGURATIONS, {"metadata": place, "configuration": options})
        for role, login in (("root", "root"), ("app", "app260101")):
            name = f"{role}.{NAME}.credentials"
            data = {"username": login, "password": f"password-of-{login}"}
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
            running.store.seed(SECRETS, {"metadata": {**metadata, "name": name}, "data": encoded})
        service = {"clusterIP": ADDRESS, "ports": [{"name": "postgresql", "port": 5432}]}
        running.store.seed(SERVICES, {"metadata": {**metadata, "name": NAME}, "spec": service})
        leader = {**metadata, "name": f"{NAME}-0", "labels": {**LABELS, "spilo-role": "master"}}
        running.store.seed(PODS, {"metadata": leader, "spec": {"containers": []}})
        running.write_kubeconfig(tmp_path / "kubeconfig", NAMESPACE)
        yield running


@pytest.mark.parametrize(("options", "login"), [((), "root"), (("--user", "app"), "app260101")])
async def test_beside_the_server_psql_is_the_user_whose_secret_was_found(
    kube: FakeKubernetes, tmp_path: Path, options: tuple[str, ...], login: str
) -> None:
    asked: list[list[str]] = []

    def answer(_namespace: str, pod: str, _container: str, argv: list[str], _stdin: bytes) -> ExecResult:
        asked.append([pod, *argv])
        return ExecResult(0, b"1\n", b"")

    kube.exec_handler = answer
    process = await asyncio.create_subprocess_exec(
        *ended_with_us(sys.executable, "-m", "howdah.cli.main", "psql", NAME, *options, "-c", "select 1"),
        env={"PATH": os.environ["PATH"], "KUBECONFIG": str(tmp_path / "kubeconfig")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), HANGS_S)
    assert (process.returncode, said) == (0, b"1\n"), wrong.decode()
    assert asked == [[f"{NAME}-0", "psql", "-U", login, "-d", "postgres", "-c", "select 1"]]
