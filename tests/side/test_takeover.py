"""The reference's clusters are taken over by howdah, worked on, and given back: v1.15.1 itself made them, on a real API server.

Pods are simulated, and so is Patroni; what both operators ask of the API and of Patroni is real.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from bench.side import operators
from bench.side.operators import Howdah, Reference, started
from bench.side.plane import ROOT, Plane, until

from side.clusters import (
    CLUSTERS,
    COMPLETE,
    MINIMAL,
    NAMESPACE,
    Snapshot,
    annotate,
    patch,
    until_quiet,
    until_running,
    until_taken,
)
from side.conftest import WhenNeeded

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

HOWDAH, REFERENCE = Howdah(), Reference(qps=200)
NAMES = tuple(cluster["metadata"]["name"] for cluster in CLUSTERS)


@dataclass(slots=True)
class Story:
    """One take-over, told in snapshots."""

    plane: Plane
    mode: str
    made: Snapshot
    plan: str = ""
    taken: Snapshot | None = None
    wrote: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    wrote_later: list[str] = field(default_factory=list)
    given_back: Snapshot | None = None
    reference_said: str = ""
    taken_again: Snapshot | None = None


@pytest.fixture(scope="module", params=["configmaps", "endpoints"])
def story(request: pytest.FixtureRequest, control_plane: WhenNeeded) -> Iterator[Story]:
    """The reference makes clusters; howdah takes over; the reference takes back over; howdah takes over again, and stays."""
    with control_plane() as plane:
        asked = operators.configuration(use_configmaps=request.param == "configmaps")
        operators.prepare(plane, asked, NAMESPACE, of_reference=True)
        with started(plane, REFERENCE) as running:
            until(lambda: "started working in background" in running.said(), running.said, within_s=60)
            plane.apply(CLUSTERS)
            until_running(plane, running, len(CLUSTERS))
            until_quiet(plane, REFERENCE.user)
        told = Story(plane, request.param, made=Snapshot.of(plane))
        told.plan = howdah(plane, "plan", "-n", NAMESPACE)
        log = plane.audit
        log.skip()
        with started(plane, HOWDAH) as running:
            until_taken(plane, HOWDAH, running)
            requests = log.read()
            told.taken, told.wrote = Snapshot.of(plane), writes(requests)
            told.refused = [
                f"{r.verb} {r.resource} {r.name}" for r in requests if r.user == HOWDAH.user and r.code == 403
            ]
            plane.kubectl("label", "pod", "-n", NAMESPACE, "--all", "somebody=else")  # news that make passes
            told.wrote_later = until_quiet(plane, HOWDAH.user)
        with started(plane, REFERENCE) as running:
            until(lambda: REFERENCE.passes(running) >= len(CLUSTERS), running.said, within_s=120)
            until_quiet(plane, REFERENCE.user)
            told.given_back, told.reference_said = Snapshot.of(plane), running.said()
        with started(plane, HOWDAH) as running:
            until_taken(plane, HOWDAH, running)
            told.taken_again = Snapshot.of(plane)
            yield told


def howdah(plane: Plane, *arguments: str) -> str:
    """The command line tool, as a person calls it."""
    env = {"PYTHONPATH": str(ROOT / "src"), "OPERATOR_NAMESPACE": operators.NAMESPACE}
    env["POSTGRES_OPERATOR_CONFIGURATION_OBJECT"] = operators.CONFIGURATION
    return plane.run(sys.executable, "-m", "howdah.cli.main", *arguments, "--kubeconfig", plane.kubeconfig, **env)


def writes(requests: list) -> list[str]:
    of_howdah = (r for r in requests if r.user == HOWDAH.user and r.is_write and r.kind not in ("leases", "events"))
    return [f"{r.verb} {r.resource} {r.name}" for r in of_howdah]


def test_no_pod_is_touched_and_no_template_changed(story: Story) -> None:
    assert story.taken is not None
    assert len(story.made.pods) == sum(c["spec"]["numberOfInstances"] for c in CLUSTERS)
    assert not story.made.changes(story.taken), "\n".join(story.made.changes(story.taken))


def test_nothing_is_deleted_and_nothing_replaced(story: Story) -> None:
    assert story.wrote, "it takes the fields over"
    assert not [line for line in story.wrote if line.startswith(("delete", "update"))], story.wrote
    assert not [line for line in story.wrote if " pods " in line], story.wrote


def test_the_rights_that_are_shipped_are_enough(story: Story) -> None:
    assert story.refused == []


def test_the_next_pass_writes_nothing(story: Story) -> None:
    assert story.wrote_later == []


def test_the_plan_says_beforehand_what_differs_and_that_it_touches_no_pod(story: Story) -> None:
    for name in NAMES:
        assert f"{NAMESPACE}/{name}: " in story.plan
    assert "spec.maxUnavailable: patch, no pod is touched" in story.plan, story.plan
    assert "metadata.labels.application: patch" in story.plan, "of the backup's CronJob"
    assert not re.search(r": (roll|replace),", story.plan), story.plan


def test_the_reference_takes_back_over_and_finds_nothing_to_roll(story: Story) -> None:
    assert story.taken is not None
    assert story.given_back is not None
    assert not story.taken.changes(story.given_back), "\n".join(story.taken.changes(story.given_back))
    assert "performing rolling update" not in story.reference_said
    assert "statefulset" not in "".join(
        line for line in story.reference_said.splitlines() if "not in the desired" in line
    )


def test_and_so_does_howdah_after_that(story: Story) -> None:
    assert story.given_back is not None
    assert story.taken_again is not None
    assert not story.given_back.changes(story.taken_again), "\n".join(story.given_back.changes(story.taken_again))


# from here on the clusters are howdah's, and are worked on: in the order of the file


@pytest.mark.parametrize("name", NAMES)
def test_adopted_it_is_as_howdah_would_have_made_it(story: Story, name: str) -> None:
    before = Snapshot.of(story.plane)
    annotate(story.plane, name, "howdah.dev/adopt=true")
    instances = next(c["spec"]["numberOfInstances"] for c in CLUSTERS if c["metadata"]["name"] == name)
    until_quiet(story.plane, HOWDAH.user, within_s=240)
    after = Snapshot.of(story.plane)
    mine = [pod for pod in before.pods if pod.startswith(name)]
    assert len([pod for pod in after.pods if pod.startswith(name)]) == instances
    assert {before.pods[pod] for pod in before.pods if pod not in mine} <= set(after.pods.values()), (
        "others are left alone"
    )
    plan = json.loads(howdah(story.plane, "plan", name, "-n", NAMESPACE, "-o", "json"))
    assert "howdah.dev/adopt" not in json.dumps(plan), plan
    assert before.claims == {claim: uid for claim, uid in after.claims.items() if claim in before.claims}


def test_a_changed_template_rolls_every_pod_the_leader_last(story: Story) -> None:
    name = MINIMAL["metadata"]["name"]
    before = Snapshot.of(story.plane)
    log = story.plane.audit
    log.skip()
    patch(story.plane, name, {"resources": {"limits": {"memory": "600Mi"}, "requests": {"memory": "100Mi"}}})
    until(
        lambda: (
            not set(before.pods.values()) & {v for k, v in Snapshot.of(story.plane).pods.items() if k.startswith(name)}
        ),
        lambda: f"{Snapshot.of(story.plane).pods}",
        within_s=120,
    )
    until_quiet(story.plane, HOWDAH.user, within_s=120)
    deleted = [r.name for r in log.read() if r.user == HOWDAH.user and r.verb == "delete" and r.kind == "pods"]
    assert sorted(deleted) == [f"{name}-0", f"{name}-1"]


def test_it_scales(story: Story) -> None:
    name = COMPLETE["metadata"]["name"]
    patch(story.plane, name, {"numberOfInstances": 4})
    until(lambda: f"{name}-3" in Snapshot.of(story.plane).pods, "no fourth pod", within_s=60)
    until_quiet(story.plane, HOWDAH.user)
    patch(story.plane, name, {"numberOfInstances": 2})
    until(
        lambda: len([pod for pod in Snapshot.of(story.plane).pods if pod.startswith(name)]) == 2,
        lambda: f"{Snapshot.of(story.plane).pods}",
        within_s=90,
    )


def test_deleted_it_leaves_nothing_behind(story: Story) -> None:
    kinds = (
        "pods,statefulsets,services,endpoints,secrets,poddisruptionbudgets,cronjobs,configmaps,persistentvolumeclaims"
    )
    for name in NAMES:
        story.plane.kubectl("delete", "postgresql", name, "-n", NAMESPACE, "--timeout=90s")

    def left() -> list[str]:
        return [
            f"{item['kind']} {item['metadata']['name']}"
            for item in story.plane.items(kinds, NAMESPACE)
            if item["metadata"]["name"] != "kube-root-ca.crt"
        ]

    until(lambda: not left(), lambda: f"left behind: {left()}", within_s=60)
