"""Every recorded manifest and configuration is read as far as the reference accepted it, and nothing of it is lost."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from howdah.model.errors import InvalidSpec, Problem
from howdah.model.manifest import dump_manifest, parse_manifest
from howdah.model.settings import settings_from_configmap, settings_from_configuration
from howdah.model.spec import Spec
from howdah.model.teams import parse_team

CASES = Path(__file__).parent / "cases"
EXAMPLES = Path(__file__).parents[2] / "examples"

REFUSED = {"users-contradiction/manifest.yaml": "spec.users.app: has login and nologin; remove one of them"}
"""The reference's schema lets them in, and its operator refuses them."""


def found(pattern: str, kind: str) -> dict[str, Any]:
    return {
        str(file.relative_to(CASES)): document
        for file in sorted(CASES.glob(pattern))
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == kind
    }


MANIFESTS = found("*/manifest*.yaml", "postgresql")
CONFIGURATIONS = found("*/configuration*.yaml", "OperatorConfiguration")
CONFIGMAPS = found("*/configmap*.yaml", "ConfigMap")
TEAMS = found("*/extra*.yaml", "PostgresTeam")


def test_the_recorded_inputs_are_there() -> None:
    assert (len(MANIFESTS) > 100, len(CONFIGURATIONS) > 100, len(CONFIGMAPS) > 5, len(TEAMS) > 0) == (True,) * 4


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_recorded_manifest_is_read_and_written_without_loss(name: str) -> None:
    raw = MANIFESTS[name]
    if name in REFUSED:
        with pytest.raises(InvalidSpec) as refused:
            parse_manifest(raw)
        assert str(refused.value) == REFUSED[name]
        return

    parsed = parse_manifest(raw)

    assert dump_manifest(parsed.manifest) == with_empty_users(raw)
    assert not any("not a known field" in str(warning) for warning in parsed.warnings)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_recorded_configuration_is_read_without_doubt(name: str) -> None:
    _, warnings = settings_from_configuration(CONFIGURATIONS[name])

    assert not doubts(warnings)


@pytest.mark.parametrize("name", CONFIGMAPS)
def test_a_recorded_configmap_is_read_without_doubt(name: str) -> None:
    _, warnings = settings_from_configmap(CONFIGMAPS[name]["data"])

    assert not doubts(warnings)


@pytest.mark.parametrize("name", TEAMS)
def test_a_recorded_team_is_read(name: str) -> None:
    assert parse_team(TEAMS[name]).spec.additional_teams


@pytest.mark.parametrize("name", ["minimal.yaml", "complete.yaml"])
def test_an_example_is_without_doubt(name: str) -> None:
    raw = yaml.safe_load((EXAMPLES / name).read_text())

    assert not parse_manifest(raw).warnings


def test_the_complete_example_names_every_field() -> None:
    raw = yaml.safe_load((EXAMPLES / "complete.yaml").read_text())
    here = parse_manifest(raw).manifest.spec.model_fields_set

    # A cluster that follows another one cannot be a copy of one as well.
    assert {name for name in Spec.model_fields if not name.startswith("removed_")} - here == {"standby"}


def doubts(warnings: Iterable[Problem]) -> list[Problem]:
    """All but that an option is one of `model.coverage` without effect yet."""
    return [warning for warning in warnings if warning.message != "is not acted on"]


def with_empty_users(raw: dict[str, Any]) -> dict[str, Any]:
    """A user given as null has no flags; that is what is written back."""
    users = raw["spec"].get("users")
    if not users:
        return raw
    return {**raw, "spec": {**raw["spec"], "users": {name: flags or [] for name, flags in users.items()}}}
