"""The CRDs are structural, bounded, and have the names and columns that people's scripts know."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from howdah.model import spec
from howdah.model.crd_schema import property_at, structural_schema
from howdah.model.crds import all_crds, operator_configuration_crd, postgres_team_crd, postgresql_crd
from howdah.model.fields import Part
from howdah.model.settings import OPTIONS

CRDS = {crd["metadata"]["name"]: crd for crd in all_crds()}
_FORBIDDEN = ("$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "title", "const", "examples", "uniqueItems")


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    (version,) = crd["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}.*")


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_every_node_is_structural(crd: dict[str, Any]) -> None:
    for path, node in nodes(schema_of(crd)):
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert not any(word in node for word in _FORBIDDEN), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert not isinstance(node.get("additionalProperties"), bool), path
        assert node.get("type") != "array" or "items" in node, path
        assert node.get("maximum", 0) < 2**53, path


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_every_default_fits_its_own_schema(crd: dict[str, Any]) -> None:
    kinds = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}
    for path, node in nodes(schema_of(crd)):
        if "default" in node:
            assert isinstance(node["default"], kinds[node["type"]]), path
            assert node["default"] in node.get("enum", [node["default"]]), path
            assert re.search(node.get("pattern", ""), str(node["default"])), path


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_every_rule_says_what_to_do(crd: dict[str, Any]) -> None:
    for path, node in nodes(schema_of(crd)):
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], path


def test_names_are_those_of_the_reference() -> None:
    names = {name: crd["spec"]["names"] for name, crd in CRDS.items()}

    assert names == {
        "postgresqls.acid.zalan.do": {
            "kind": "postgresql",
            "listKind": "postgresqlList",
            "plural": "postgresqls",
            "singular": "postgresql",
            "shortNames": ["pg"],
            "categories": ["all"],
        },
        "operatorconfigurations.acid.zalan.do": {
            "kind": "OperatorConfiguration",
            "listKind": "OperatorConfigurationList",
            "plural": "operatorconfigurations",
            "singular": "operatorconfiguration",
            "shortNames": ["opconfig"],
            "categories": ["all"],
        },
        "postgresteams.acid.zalan.do": {
            "kind": "PostgresTeam",
            "listKind": "PostgresTeamList",
            "plural": "postgresteams",
            "singular": "postgresteam",
            "shortNames": ["pgteam"],
            "categories": ["all"],
        },
    }


def test_categories_follow_the_configuration() -> None:
    assert postgresql_crd(["all", "databases"])["spec"]["names"]["categories"] == ["all", "databases"]


@pytest.mark.parametrize(
    ("crd", "columns"),
    [
        (
            postgresql_crd(),
            [
                ("Team", "string", ".spec.teamId"),
                ("Version", "string", ".spec.postgresql.version"),
                ("Pods", "integer", ".spec.numberOfInstances"),
                ("Volume", "string", ".spec.volume.size"),
                ("CPU-Request", "string", ".spec.resources.requests.cpu"),
                ("Memory-Request", "string", ".spec.resources.requests.memory"),
                ("Age", "date", ".metadata.creationTimestamp"),
                ("Status", "string", ".status.PostgresClusterStatus"),
            ],
        ),
        (
            operator_configuration_crd(),
            [
                ("Image", "string", ".configuration.docker_image"),
                ("Cluster-Label", "string", ".configuration.kubernetes.cluster_name_label"),
                ("Service-Account", "string", ".configuration.kubernetes.pod_service_account_name"),
                ("Min-Instances", "integer", ".configuration.min_instances"),
                ("Age", "date", ".metadata.creationTimestamp"),
            ],
        ),
        (postgres_team_crd(), []),
    ],
    ids=["postgresql", "configuration", "team"],
)
def test_columns_are_those_of_the_reference(crd: dict[str, Any], columns: list[tuple[str, str, str]]) -> None:
    (version,) = crd["spec"]["versions"]
    found = version.get("additionalPrinterColumns", [])

    assert [(column["name"], column["type"], column["jsonPath"]) for column in found] == columns
    assert all(column["description"] for column in found)


def test_a_cluster_can_be_scaled() -> None:
    (version,) = postgresql_crd()["spec"]["versions"]

    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.numberOfInstances"
    status = property_at(schema_of(postgresql_crd()), "status")["properties"]
    assert {"replicas", "labelSelector", "PostgresClusterStatus", "conditions", "members"} <= status.keys()


def test_only_what_the_reference_requires_is_required() -> None:
    schema = schema_of(postgresql_crd())

    assert schema["required"] == ["metadata", "spec"]
    assert sorted(property_at(schema, "spec")["required"]) == [
        "numberOfInstances", "postgresql", "teamId", "volume",
    ]  # fmt: skip


def test_unknown_fields_are_kept_at_every_level_of_a_spec() -> None:
    for path, node in nodes(property_at(schema_of(postgresql_crd()), "spec")):
        if "properties" in node:
            assert node["x-kubernetes-preserve-unknown-fields"] is True, path


def test_any_major_is_let_in() -> None:
    version = property_at(schema_of(postgresql_crd()), "spec.postgresql.version")

    assert "enum" not in version
    assert re.search(version["pattern"], "19")


def test_a_user_without_flags_is_kept_by_the_server() -> None:
    assert property_at(schema_of(postgresql_crd()), "spec.users.*")["nullable"] is True


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_every_option_is_in_the_schema_with_its_default(option: Any) -> None:
    found = property_at(schema_of(operator_configuration_crd()), option.path)

    assert found["description"] == option.help
    assert found.get("default") == option.schema


def test_every_field_of_a_spec_is_described() -> None:
    models = {part for part in vars(spec).values() if isinstance(part, type) and issubclass(part, BaseModel)}

    for model in models - {spec.Manifest, spec.Metadata}:
        for name, field in model.model_fields.items():
            assert field.description or name == "name", f"{model.__name__}.{name}"


def test_a_schema_that_holds_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold itself: Node"):
        structural_schema(Node)


def test_a_union_is_refused() -> None:
    class Either(Part):
        value: int | str

    with pytest.raises(ValueError, match="no unions"):
        structural_schema(Either)


class Node(Part):
    """Refers to itself."""

    next: "Node | None" = None
