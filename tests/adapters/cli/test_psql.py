"""`howdah psql` as a person starts it: where the service's address is nobody's here, psql runs beside the server."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.postgres.servers import Server, installations, start
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


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL whose superuser is root, too, with one database more."""
    major = max(installations())
    running = start(major, installations()[major])
    try:
        running.sql("CREATE ROLE root SUPERUSER LOGIN PASSWORD 'password-of-root'")
        running.sql("CREATE DATABASE other")
        yield running
    finally:
        running.stop()


async def howdah_psql(
    folder: Path, *words: str, stdin: int = asyncio.subprocess.DEVNULL
) -> tuple[int | None, str, str]:
    """Exit code, output and errors; programs in `folder` come first."""
    process = await asyncio.create_subprocess_exec(
        *ended_with_us(sys.executable, "-m", "howdah.cli.main", "psql", NAME, *words),
        env={"PATH": f"{folder}:{os.environ['PATH']}", "KUBECONFIG": str(folder / "kubeconfig")},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), HANGS_S)
    return process.returncode, said.decode(), wrong.decode()


@pytest.mark.parametrize(("options", "login"), [((), "root"), (("--user", "app"), "app260101")])
async def test_beside_the_server_psql_is_the_user_whose_secret_was_found(
    kube: FakeKubernetes, tmp_path: Path, options: tuple[str, ...], login: str
) -> None:
    asked: list[list[str]] = []

    def answer(_namespace: str, pod: str, _container: str, argv: list[str], _stdin: bytes) -> ExecResult:
        asked.append([pod, *argv])
        return ExecResult(0, b"1\n", b"")

    kube.exec_handler = answer
    assert await howdah_psql(tmp_path, *options, "-c", "select 1") == (0, "1\n", "")
    place = ["env", f"PGUSER={login}", "PGDATABASE=postgres"]
    assert asked == [[f"{NAME}-0", *place, "psql", "-c", "select 1"]]


WHERE = "select current_database() || ' as ' || current_user"


@pytest.mark.parametrize(
    ("ours", "theirs", "database"),
    [
        ((), (), "postgres"),
        ((), ("other",), "other"),
        ((), ("-d", "other"), "other"),
        (("-d", "other"), (), "other"),
        (("-d", "other"), ("postgres",), "postgres"),
    ],
)
@pytest.mark.parametrize("is_direct", [True, False])
async def test_by_both_ways_the_words_mean_the_same_to_psql(
    kube: FakeKubernetes,
    server: Server,
    tmp_path: Path,
    is_direct: bool,
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    database: str,
) -> None:
    def inside(_namespace: str, _pod: str, _container: str, argv: list[str], _stdin: bytes) -> ExecResult:
        """As in the container, where variables and a socket lead to the server."""
        place = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGPASSWORD": "password-of-root"}
        path = f"{installations()[server.major]}:{os.environ['PATH']}"
        done = subprocess.run(argv, env={"PATH": path, **place}, capture_output=True, check=False, timeout=HANGS_S)
        return ExecResult(done.returncode, done.stdout, done.stderr)

    kube.exec_handler = inside
    if is_direct:
        service = {"clusterIP": "127.0.0.1", "ports": [{"name": "postgresql", "port": server.port}]}
        metadata = {"name": NAME, "namespace": NAMESPACE, "labels": LABELS}
        kube.store.seed(SERVICES, {"metadata": metadata, "spec": service})
    assert await howdah_psql(tmp_path, *ours, "-AtXc", WHERE, *theirs) == (0, f"{database} as root\n", "")


async def test_a_terminal_is_opened_by_kubectl_for_the_same_psql(kube: FakeKubernetes, tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text("#!/bin/sh\necho $*\n")
    kubectl.chmod(0o755)
    ours, theirs = os.openpty()
    try:
        done = await howdah_psql(tmp_path, "-n", NAMESPACE, "other", stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    place = f"exec -it --namespace {NAMESPACE} {NAME}-0 -c postgres --"
    assert done == (0, f"{place} env PGUSER=root PGDATABASE=postgres psql other\n", "")
