"""Which major version the pods are told: never another one under existing data by a mere roll, never outside a window."""

import datetime as dt
from typing import Any

import pytest

from howdah.core.facts import live_facts
from howdah.core.objects.build import build
from howdah.core.request.asked import LiveFacts, References
from howdah.core.resolve import resolve
from howdah.model.cluster import Cluster
from howdah.model.observed import Observed
from howdah.model.settings import settings_from_configmap
from howdah.model.units import PgVersion
from unit.core.clusters import live, manifest, resource

SUNDAY = dt.datetime(2026, 1, 4, 12, 0, tzinfo=dt.UTC)
OPENS = dt.datetime(2026, 1, 5, 1, 0, tzinfo=dt.UTC)
WINDOWS = {"maintenanceWindows": ["Mon:01:00-02:00", "Wed:01:00-02:00"]}
BIN_DIR = {"enable_pgversion_env_var": "false"}
FULL = {"major_version_upgrade_mode": "full", "minimal_major_version": "16", "target_major_version": "18"}


def told(
    version: str, runs: int | None, settings: dict[str, str] | None = None, at: dt.datetime = SUNDAY, **spec: Any
) -> Cluster:
    facts = LiveFacts(exists=runs is not None, version=PgVersion(runs) if runs else None, at=at)
    body = manifest(postgresql={"version": version}, **spec)
    return resolve(body, settings_from_configmap(settings or {})[0], References(), facts)


@pytest.mark.parametrize(
    ("claim", "cluster", "expected", "said"),
    [
        ("a new cluster outside its window", told("18", None, **WINDOWS), 18, ""),
        ("without windows", told("18", 17), 18, ""),
        ("inside a window", told("18", 17, at=OPENS, **WINDOWS), 18, ""),
        (
            "outside",
            told("18", 17, **WINDOWS),
            17,
            "waits for the maintenance window, which opens at Mon 2026-01-05 01:00",
        ),
        ("windows are not heeded", told("18", 17, {"enable_maintenance_windows": "false"}, **WINDOWS), 18, ""),
        (
            "the operator's window",
            told("18", 17, {"maintenance_windows": "Mon:01:00-02:00"}),
            17,
            "Mon 2026-01-05 01:00",
        ),
        ("lower", told("16", 17), 17, '"16" is lower than 17, which the pods have: nothing is done; write 17'),
        ("lower, inside a window", told("16", 17, at=OPENS, **WINDOWS), 17, "is lower"),
        ("the same", told("17", 17, **WINDOWS), 17, ""),
        ("a folder of binaries", told("18", 17, BIN_DIR), 17, "would be started on data of 17"),
        ("a new folder of binaries", told("18", None, BIN_DIR), 18, ""),
        ("mode full", told("14", 14, FULL), 18, ""),
        ("mode full, outside", told("14", 14, FULL, **WINDOWS), 14, "waits for the maintenance window"),
        ("mode full, high enough", told("16", 16, FULL), 16, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_version_that_pods_are_told(claim: str, cluster: Cluster, expected: int, said: str) -> None:
    assert cluster.version == PgVersion(expected), claim
    held = [str(w) for w in cluster.warnings if w.path == "spec.postgresql.version"]
    assert len(held) == bool(said)
    assert said in cluster.rollout.version_held
    template = next(body for body in build(cluster) if body["kind"] == "StatefulSet")["spec"]["template"]
    variables = {e["name"]: e.get("value", "") for e in template["spec"]["containers"][0]["env"]}
    assert variables.get("PGVERSION") in (None, str(expected))
    assert f"postgresql/{expected}/bin" in variables["SPILO_CONFIGURATION"] or "PGVERSION" in variables


def test_only_a_window_says_when_to_look_again() -> None:
    assert told("18", 17, **WINDOWS).rollout.version_held_until == OPENS
    assert told("16", 17, **WINDOWS).rollout.version_held_until is None
    assert told("18", 17).rollout.version_held_until is None


@pytest.mark.parametrize(
    ("settings", "team", "expected"),
    [
        ({}, "acid", True),
        ({"major_version_upgrade_mode": "off"}, "acid", False),
        ({"major_version_upgrade_mode": "off", "major_version_upgrade_team_allow_list": "acid"}, "acid", True),
        ({"major_version_upgrade_mode": "off", "major_version_upgrade_team_allow_list": "other"}, "acid", False),
    ],
)
def test_whether_the_settings_allow_an_upgrade(settings: dict[str, str], team: str, expected: bool) -> None:
    assert told("18", 17, settings, teamId=team).rollout.may_upgrade is expected


@pytest.mark.parametrize("settings", [{}, BIN_DIR], ids=["PGVERSION", "bin_dir"])
def test_the_live_version_is_read_from_what_the_pods_are_told(settings: dict[str, str]) -> None:
    cluster = told("16", None, settings)
    body = next(body for body in build(cluster) if body["kind"] == "StatefulSet")
    observed = Observed(now=SUNDAY, resource=resource(), objects={("StatefulSet", cluster.key.name): live(body)})
    assert live_facts(observed).version == PgVersion(16)
