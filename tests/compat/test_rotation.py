"""Secrets after a Sync of the reference are those that rotation makes of them, in every recorded case."""

from typing import Any

import pytest

from compat.compare import CASES, Case, cases_in, cluster_of, documents, read_case
from compat.rotation import NOW, rotated
from howdah.model.errors import InvalidSpec

Secrets = dict[tuple[str, str], dict[str, Any]]


def secrets_of(case: Case, file: str) -> Secrets:
    bodies = [body for body in documents(case.folder / file) if body["kind"] == "Secret"]
    return {(body["metadata"]["namespace"], body["metadata"]["name"]): body for body in bodies}


def unchanged() -> list[Case]:
    """Cases whose only step after the creation, which worked, is the Sync."""
    found = [read_case(folder) for folder in cases_in([CASES]) if not documents(folder / "case.yaml")[0].get("steps")]
    return [case for case in found if secrets_of(case, "objects.yaml") and is_accepted(case)]


def is_accepted(case: Case) -> bool:
    """What we refuse is judged elsewhere."""
    try:
        return bool(cluster_of(case))
    except InvalidSpec:
        return False


UNCHANGED = unchanged()


@pytest.mark.parametrize("case", UNCHANGED, ids=[case.name for case in UNCHANGED])
def test_a_sync_leaves_the_secrets_as_recorded(case: Case) -> None:
    cluster = cluster_of(case)
    made = secrets_of(case, "objects.yaml")
    recorded = made | secrets_of(case, "objects-2.yaml")
    ours = rotated(cluster, made)
    assert {place: body["stringData"] for place, body in ours.items()} == {
        place: recorded[place]["stringData"] for place in ours
    }


def test_rotation_is_recorded_and_was_compared() -> None:
    rotating = [case for case in UNCHANGED if any(rotation_of(case))]
    assert {case.name for case in rotating} >= {"rotation-all", "rotation-lists"}
    assert len(UNCHANGED) > 80


def rotation_of(case: Case) -> list[str]:
    return [body["stringData"].get("nextRotation", "") for body in secrets_of(case, "objects-2.yaml").values()]


def due_now(**spec: Any) -> dict[str, str]:
    """The Secret of `app` after its time has come, in the notation of the recordings."""
    case = next(case for case in UNCHANGED if case.name == "rotation-lists")
    case.manifest["spec"] = {**case.manifest["spec"], **spec}
    cluster, made = cluster_of(case), secrets_of(case, "objects.yaml")
    place = next(place for place in made if place[1].startswith("app."))
    made[place] = {
        **made[place],
        "stringData": made[place]["stringData"] | {"nextRotation": NOW.replace(year=2020).isoformat()},
    }
    return dict(rotated(cluster, made)[place]["stringData"])


@pytest.mark.parametrize(
    ("spec", "after"),
    [
        ({"usersWithSecretRotation": ["app"]}, {"username": "appYYMMDD", "nextRotation": "NOW+90d"}),
        (
            {"usersWithSecretRotation": [], "usersWithInPlaceSecretRotation": ["app"]},
            {"username": "app", "nextRotation": "NOW+90d"},
        ),
    ],
)
def test_a_rotation_ends_in_the_form_that_the_reference_writes(spec: dict[str, Any], after: dict[str, str]) -> None:
    assert due_now(**spec) == after | {"password": "PASSWORD:64 (change 1)"}
