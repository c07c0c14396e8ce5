"""The command as it is called: exit codes, errors of one line, quick help."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from howdah.cli.options import local_platforms

ROOT = Path(__file__).parents[3]
NOWHERE = "apiVersion: v1\nkind: Config\ncurrent-context: c\n" + (
    "contexts: [{name: c, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
)


def howdah(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "howdah.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        cwd=ROOT,
        check=False,
    )


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a server that is not there."""
    path = tmp_path_factory.mktemp("kube") / "config"
    path.write_text(NOWHERE)
    return str(path)


def test_invalid_manifest_ends_with_code_2_and_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "howdah.cli.main", "render", "-"],
        input=(ROOT / "examples" / "minimal.yaml").read_text().replace("1Gi", "1GB"),
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.returncode == 2
    assert "spec.volume.size" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("status",), ("plan",), ("explain", "x"), ("url", "x"), ("orphans",)])
def test_server_that_is_away_is_one_line_and_code_1(words: tuple[str, ...], kubeconfig: str) -> None:
    done = howdah(*words, "--kubeconfig", kubeconfig)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in done.stderr


def test_unknown_format_and_unknown_command_end_with_code_2(kubeconfig: str) -> None:
    assert howdah("status", "-o", "xml", "--kubeconfig", kubeconfig).returncode == 2
    assert howdah("nonsense").returncode == 2


def test_reader_that_goes_away_is_no_error_to_shout_about() -> None:
    program = f"{sys.executable} -m howdah.cli.main crds | head -1"
    done = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=False,
    )
    assert done.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "howdah.cli.main", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"aiohttp", "pydantic", "psycopg", "yaml", "asyncio", "structlog", "prometheus_client"}


def test_without_a_named_cluster_local_platforms_are_pointed_at(tmp_path: Path) -> None:
    assert local_platforms(tmp_path / "never") == local_platforms(tmp_path) == ""
    for name in ("demo", "local"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kubeconfig").touch()
        assert f"export KUBECONFIG={tmp_path}/{name}/kubeconfig" in local_platforms(tmp_path)
    assert local_platforms(tmp_path).count("export") == 2


@pytest.mark.parametrize("name", ["../other", "", "Demo"])
def test_a_platforms_name_is_no_path(name: str) -> None:
    done = howdah("local", "down", "--remove", "--name", name)
    assert (done.returncode, "write lower-case letters" in done.stderr) == (2, True)


def test_without_a_named_cluster_it_is_said_what_can_name_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "howdah.cli.main", "status"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert "no Kubernetes cluster is named" in done.stderr
    assert "Traceback" not in done.stderr


def test_rights_follow_the_definition_of_the_pods_role_binding(tmp_path: Path) -> None:
    definition = tmp_path / "binding.yaml"
    definition.write_text("kind: RoleBinding\nmetadata: {name: of-pods}\nroleRef: {kind: ClusterRole, name: theirs}\n")
    done = howdah("rbac", "--role-binding", str(definition))
    assert "resourceNames:\n  - of-pods\n" in done.stdout
    assert "resourceNames:\n  - theirs\n" in done.stdout
    definition.write_text("kind: Role\n")
    refused = howdah("rbac", "--role-binding", str(definition))
    assert refused.returncode == 2
    assert "is not a RoleBinding" in refused.stderr
    assert "Traceback" not in refused.stderr
