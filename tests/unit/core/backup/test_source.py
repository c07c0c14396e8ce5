"""From which member a dump is taken."""

from typing import Any

import msgspec

from howdah.core.backup.source import sources
from howdah.model.observed import Meta, Pod, PodSpec
from unit.core.clusters import NAME, leader, pod

JOB = "logical-backup-acid-a-29-x"


def on(node: str, found: Pod) -> Pod:
    return msgspec.structs.replace(found, spec=PodSpec(node_name=node))


def own(node: str) -> Pod:
    return Pod(Meta(JOB), PodSpec(node_name=node))


def chosen(*pods: Pod) -> list[str]:
    return [source.name for source in sources(pods, NAME, JOB)]


def test_a_replica_near_the_job_comes_first_then_others_then_the_leader() -> None:
    pods = (on("a", leader(0)), on("b", pod(1)), on("a", pod(2)), own("a"))
    assert chosen(*pods) == ["acid-a-2", "acid-a-1", "acid-a-0"]
    assert sources(pods, NAME, JOB)[0].address == "10.0.0.3"


def test_a_replica_that_does_not_follow_comes_after_the_leader() -> None:
    assert chosen(leader(0), pod(1, state="starting")) == ["acid-a-0", "acid-a-1"]


def test_who_is_not_ready_or_goes_away_is_not_asked() -> None:
    assert chosen(leader(0), pod(1, ready=False), pod(2, deleting=True)) == ["acid-a-0"]


def test_a_pooler_with_the_same_labels_is_no_member() -> None:
    found = pod(1)
    pooler: Any = msgspec.structs.replace(
        found, metadata=msgspec.structs.replace(found.metadata, name="acid-a-pooler-1")
    )
    assert chosen(pooler, leader(0)) == ["acid-a-0"]


def test_a_standby_cluster_is_dumped_too() -> None:
    assert chosen(pod(0, role="standby_leader", state="running")) == ["acid-a-0"]
