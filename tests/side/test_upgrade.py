"""The operator itself is upgraded and rolled back over running clusters: the previous release, this one, the previous again.

What a release writes on purpose when it takes over from the one before is listed in `INTENDED`, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from bench.side import operators
from bench.side.operators import Howdah, started
from bench.side.plane import Plane, until

from side.clusters import CLUSTERS, NAMESPACE, Snapshot, manifest, until_quiet, until_running
from side.conftest import WhenNeeded
from side.releases import previous_release, unpacked

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

POOLED = manifest("acid-pooled", enableConnectionPooler=True, enableReplicaConnectionPooler=True)
ALL = (*CLUSTERS, POOLED)

INTENDED: dict[str, str] = {
    "customresourcedefinitions": "each release brings its own definitions along",
    "postgresqls/status": "each release says in the status what it knows",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One release over the clusters: what it wrote, and how it left them."""

    name: str
    wrote: tuple[str, ...]
    left: Snapshot


@pytest.fixture(scope="module")
def stages(control_plane: WhenNeeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, ...]]:
    """The clusters as the previous release made them; after this release; after the previous one again."""
    revision = previous_release()
    before = Howdah(source=unpacked(revision, "src", tmp_path_factory.mktemp("previous")))
    with control_plane() as plane:
        operators.prepare(plane, operators.configuration(), NAMESPACE)
        with started(plane, before, "previous") as running:
            until(lambda: before.metrics(running).get("howdah_leading"), running.said, within_s=60)
            plane.apply(ALL)
            until_running(plane, running, len(ALL))
            until_quiet(plane, before.user)
        made = Stage(f"made by {revision}", (), Snapshot.of(plane))
        yield made, took_over(plane, Howdah(), "this release"), took_over(plane, before, f"{revision} again")


def took_over(plane: Plane, operator: Howdah, name: str) -> Stage:
    log = plane.audit
    log.skip()
    with started(plane, operator, name.replace(" ", "-")) as running:
        until(lambda: operator.passes(running) >= len(ALL), running.said, within_s=60)
        until_quiet(plane, operator.user)
    ours = [r for r in log.read() if r.user == operator.user and r.is_write and r.kind not in ("leases", "events")]
    return Stage(name, tuple(f"{r.verb} {r.resource} {r.namespace}/{r.name}" for r in ours), Snapshot.of(plane))


def test_no_pod_is_touched_by_the_upgrade_nor_by_the_way_back(stages: tuple[Stage, ...]) -> None:
    made, *later = stages
    assert len(made.left.pods) >= sum(cluster["spec"]["numberOfInstances"] for cluster in ALL)
    for stage in later:
        changes = made.left.changes(stage.left)
        assert not changes, f"{stage.name} changed: " + "\n".join(changes)


def test_nothing_is_written_but_what_is_intended(stages: tuple[Stage, ...]) -> None:
    for stage in stages[1:]:
        beyond = [line for line in stage.wrote if line.split()[1] not in INTENDED]
        assert not beyond, f"{stage.name} wrote: {beyond}"
