"""`howdah render`: what a manifest becomes, and what is said of one that is not valid."""

from pathlib import Path

import pytest
import yaml

from howdah.cli.exits import Exit, Failed
from howdah.cli.render import MADE_AT_CREATION, print_crds, print_objects

ROOT = Path(__file__).parents[3]
MINIMAL = ROOT / "examples" / "minimal.yaml"

NAME = "acid-minimal-cluster"


def written(folder: Path, text: str) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(text)
    return path


def rendered(capsys: pytest.CaptureFixture[str], *files: Path) -> list[dict[str, object]]:
    print_objects(files, None, "yaml")
    return list(yaml.safe_load_all(capsys.readouterr().out))


def test_minimal_manifest_becomes_these_objects(capsys: pytest.CaptureFixture[str]) -> None:
    found = [(body["kind"], body["metadata"]["name"]) for body in rendered(capsys, MINIMAL)]  # type: ignore[index]

    credentials = f"{NAME}.credentials.postgresql.acid.zalan.do"
    assert found == [
        *(("Secret", f"{user}.{credentials}") for user in ("postgres", "standby", "foo-user", "zalando")),
        ("ServiceAccount", "postgres-pod"),
        ("RoleBinding", "postgres-pod"),
        ("Service", NAME),
        ("Service", f"{NAME}-repl"),
        ("PodDisruptionBudget", f"postgres-{NAME}-critical-op-pdb"),
        ("PodDisruptionBudget", f"postgres-{NAME}-pdb"),
        ("StatefulSet", NAME),
    ]


def test_no_password_is_rendered(capsys: pytest.CaptureFixture[str]) -> None:
    secrets = [body for body in rendered(capsys, MINIMAL) if body["kind"] == "Secret"]
    assert {body["stringData"]["password"] for body in secrets} == {MADE_AT_CREATION}  # type: ignore[index]


INFRASTRUCTURE = """
kind: OperatorConfiguration
apiVersion: acid.zalan.do/v1
metadata: {name: howdah}
configuration: {kubernetes: {infrastructure_roles_secret_name: infra}}
---
kind: Secret
apiVersion: v1
metadata: {name: infra}
stringData: {user1: robot_zmon_reader, password1: hidden}
data: {user2: cm9ib3RfYmFja3Vw, password2: aGlkZGVu}
"""


def test_infrastructure_roles_are_read_from_the_files_without_their_passwords(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = rendered(capsys, MINIMAL, written(tmp_path, INFRASTRUCTURE))
    secrets = [body["stringData"] for body in found if body["kind"] == "Secret"]
    assert secrets[-2:] == [
        {"username": "robot_zmon_reader", "password": "<that of entry password1 of Secret infra>"},
        {"username": "robot_backup", "password": "<that of entry password2 of Secret infra>"},
    ]
    assert "hidden" not in str(found)


def test_same_manifest_is_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for _ in range(2):
        print_objects([ROOT / "examples" / "complete.yaml"], None, "yaml")
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_every_problem_is_told_and_nothing_is_rendered(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = MINIMAL.read_text().replace("size: 1Gi", "size: 1GB").replace("numberOfInstances: 2", "numberOfInstances: x")
    with pytest.raises(Failed) as caught:
        print_objects([written(tmp_path, text)], None, "yaml")
    said = capsys.readouterr()
    assert caught.value.code is Exit.INVALID
    assert said.out == ""
    assert "spec.volume.size" in said.err
    assert "write 1G or 1Gi" in said.err
    assert "spec.numberOfInstances" in said.err


CONFIGURATION = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: postgres-operator}
data: {pod_environment_configmap: "team/pod-env", enable_master_load_balancer: "false"}
"""
VARIABLES = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: pod-env, namespace: team}
data: {AWS_REGION: eu-central-1}
"""


def test_object_that_is_not_among_the_files_is_a_marked_placeholder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    print_objects([written(tmp_path, MINIMAL.read_text() + CONFIGURATION)], None, "yaml")
    said = capsys.readouterr()
    assert "<keys of ConfigMap pod-env in namespace team or default>" in said.out
    assert "is not among the files" in said.err


def test_object_among_the_files_is_used(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    print_objects([written(tmp_path, MINIMAL.read_text() + CONFIGURATION + VARIABLES)], None, "yaml")
    said = capsys.readouterr()
    assert "AWS_REGION" in said.out
    assert "is not among the files" not in said.err


def test_configuration_among_the_files_is_heeded(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plain = rendered(capsys, MINIMAL)
    configured = rendered(capsys, written(tmp_path, MINIMAL.read_text() + CONFIGURATION + VARIABLES))
    assert _leader_type(plain) == "LoadBalancer"
    assert _leader_type(configured) == "ClusterIP"


def _leader_type(bodies: list[dict[str, object]]) -> object:
    found = (body for body in bodies if body["kind"] == "Service" and body["metadata"]["name"] == NAME)  # type: ignore[index]
    return next(found)["spec"]["type"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("just words", "is no Kubernetes object"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}", "no postgresql resource"),
        (MINIMAL.read_text() + CONFIGURATION + CONFIGURATION, "two configurations"),
    ],
)
def test_file_that_cannot_be_used_is_one_clear_error(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=said) as caught:
        print_objects([written(tmp_path, text)], None, "yaml")
    assert caught.value.code is Exit.INVALID


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"nothing\.yaml: cannot be read"):
        print_objects([tmp_path / "nothing.yaml"], None, "yaml")


def test_crds_are_documents_that_kubectl_reads(capsys: pytest.CaptureFixture[str]) -> None:
    print_crds("yaml", ("all",))
    found = [body["metadata"]["name"] for body in yaml.safe_load_all(capsys.readouterr().out)]
    assert found == ["postgresqls.acid.zalan.do", "operatorconfigurations.acid.zalan.do", "postgresteams.acid.zalan.do"]


def test_unknown_format_is_refused() -> None:
    with pytest.raises(Failed, match="-o text: expected yaml or json") as caught:
        print_crds("text", ("all",))
    assert caught.value.code is Exit.INVALID
