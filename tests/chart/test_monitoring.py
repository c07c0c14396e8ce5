"""Alert rules and dashboard: promtool takes them, they fire when they should, and every metric and label is one of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from chart.rendering import CHART, Json, run, tool
from howdah.controller.metrics import Metrics
from howdah.core import status

ALERTS = CHART / "files" / "alerts.yaml"
CASES = Path(__file__).parent / "alerts_test.yaml"
ADDED_BY_PROMETHEUS = {"namespace", "job", "pod", "le"}


def rules() -> list[Json]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    board = json.loads((CHART / "files" / "dashboard.json").read_text())
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


def known() -> Mapping[str, set[str]]:
    """Series by name, with the labels that the operator gives them."""
    metrics = Metrics()
    metrics.watch(clusters_by_phase=lambda: {"Running": 1}, queue_depth=lambda: 0, denied=lambda: [("Secret", "team")])
    metrics.api_call("get", "pods", 200, 0.1)
    metrics.passes.labels("ok").observe(0.1)
    metrics.steps.labels("Create", "done").inc()
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_promtool_takes_the_rules() -> None:
    done = run(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_not_before() -> None:
    done = run(tool("promtool"), "test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_in_both_directions() -> None:
    tried: dict[str, set[bool]] = {}
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for look in case["alert_rule_test"]:
            tried.setdefault(look["alertname"], set()).add(bool(look.get("exp_alerts")))
    assert tried == {rule["alert"]: {True, False} for rule in rules()}


@pytest.mark.parametrize("expression", list(expressions()))
def test_every_metric_and_label_is_one_that_the_operator_gives(expression: str) -> None:
    metrics = set(re.findall(r"\bhowdah_\w+", expression))
    assert metrics
    assert metrics <= set(known())
    labels = set().union(*(known()[name] for name in metrics)) | ADDED_BY_PROMETHEUS
    selected = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    grouped = {word.strip() for part in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for word in part.split(",")}
    assert selected | grouped <= labels


def test_the_state_that_an_alert_looks_for_exists() -> None:
    rule = next(rule for rule in rules() if rule["alert"] == "HowdahClustersFailed")
    pattern = re.search(r'state=~"([^"]*)"', rule["expr"])
    assert pattern is not None
    phases = set(
        re.findall(r'"(\w+)"', Path(status.__file__).read_text().partition("def phase")[2].partition("\ndef ")[0])
    )
    failed = {phase for phase in phases if re.fullmatch(pattern[1], phase)}
    assert failed == {"CreateFailed", "SyncFailed", "UpdateFailed"}


def test_each_alert_says_what_to_do() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description"}
