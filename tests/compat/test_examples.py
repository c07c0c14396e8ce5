"""Manifests with the facts of the reference's examples are taken by our definitions, and so are the objects made of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from compat.compare import CASES, Loader
from contract.published import objections
from howdah.cli.render import objects
from howdah.core.resolve import resolve
from howdah.model.errors import InvalidSpec
from howdah.model.manifest import parse_manifest
from howdah.model.settings import default_settings

HERE = Path(__file__).parent / "examples"
EXAMPLES = sorted(HERE.glob("*.yaml"))
RECORDED = sorted(CASES.glob("*/manifest*.yaml"))


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(file.read_text(), Loader)
    return found


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_is_valid_and_renders_to_valid_objects(file: Path) -> None:
    raw = read(file)

    made = objects(resolve(raw, default_settings()[0]))

    assert {body["kind"] for body in made} >= {"StatefulSet", "Service", "PodDisruptionBudget", "Secret"}
    assert [why for body in (raw, *made) for why in objections(body)] == []


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_definition_takes_every_recorded_manifest_that_is_valid(file: Path) -> None:
    raw = read(file)
    try:
        parse_manifest(raw)
    except InvalidSpec:
        assert list(objections(raw)), "refused by the operator, and the definition could have said so"
    else:
        assert [why for why in objections(raw) if "is not known" not in why] == []


def test_removed_names_stand_in_for_their_successors_with_a_warning() -> None:
    cluster = resolve(read(HERE / "older-release.yaml"), default_settings()[0])

    renamed = ("useLoadBalancer", "replicaLoadBalancer", "pod_priority_class_name", "init_containers")
    assert {f"spec.{name}" for name in renamed} <= {warning.path for warning in cluster.warnings}
    assert cluster.pod.priority_class == "high"
    assert [container["name"] for container in cluster.pod.init_containers] == ["date"]
    assert next(service.type for service in cluster.services if service.role == "master") == "LoadBalancer"
