"""Which fields an installed definition would drop is known from its schema."""

from copy import deepcopy
from typing import Any

from howdah.model.crd_losses import lost_fields
from howdah.model.crds import all_crds, postgresql_crd

Json = dict[str, Any]
KEEPS = "x-kubernetes-preserve-unknown-fields"


def older(*paths: str, keeps_unknown: bool = False) -> Json:
    """Our definition without these fields, and without keeping what it does not know."""
    crd = deepcopy(postgresql_crd())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    if not keeps_unknown:
        strict(schema)
    for path in paths:
        *above, name = path.split(".")
        part = schema
        for step in above:
            part = part["properties"][step]
            part = part.get("items", part)
        del part["properties"][name]
    return crd


def strict(schema: Json) -> None:
    if schema.get("properties"):
        schema.pop(KEEPS, None)
    for part in (*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(part, dict):
            strict(part)


def test_our_own_definitions_lose_nothing() -> None:
    assert [lost_fields(crd, crd) for crd in all_crds()] == [(), (), ()]


def test_a_field_that_is_not_known_is_lost_with_all_below_it() -> None:
    found = older("spec.standby", "spec.volume.type", "spec.sidecars.command", "status.conditions")

    assert lost_fields(found, postgresql_crd()) == (
        "spec.sidecars[].command",
        "spec.standby",
        "spec.volume.type",
        "status.conditions",
    )


def test_a_definition_that_keeps_what_it_does_not_know_loses_nothing() -> None:
    assert lost_fields(older("spec.standby", keeps_unknown=True), postgresql_crd()) == ()


def test_a_definition_without_a_schema_keeps_everything() -> None:
    crd = {"spec": {"versions": [{"name": "v1", "served": True, "storage": True}]}}

    assert lost_fields(crd, postgresql_crd()) == ()
