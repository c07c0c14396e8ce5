"""What a cluster on its way still lacks, and what is told of it."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from howdah.cli.arrival import Sight, doing, missing, news
from howdah.model.observed import Pod


def conditions(**statuses: str) -> dict[str, dict[str, str]]:
    return {kind: {"status": status, "message": f"says {kind}"} for kind, status in statuses.items()}


DONE = Sight(
    phase="Running",
    is_current=True,
    conditions=conditions(Ready="True", CredentialsInSync="True"),
    members=(("c-0", "runs"), ("c-1", "runs")),
    wanted=2,
    streaming=frozenset({"c-1"}),
)


def test_a_complete_cluster_lacks_nothing() -> None:
    assert missing(DONE) == ()


def test_a_cluster_without_instances_lacks_nothing() -> None:
    assert missing(Sight(is_current=True, wanted=0)) == ()


@pytest.mark.parametrize(
    ("sight", "said"),
    [
        (replace(DONE, is_current=False), "the operator looks at the manifest"),
        (replace(DONE, conditions=conditions(Ready="False")), "says Ready"),
        (replace(DONE, streaming=None), "no member accepts writes"),
        (replace(DONE, streaming=frozenset()), "0 of 1 replicas stream"),
        (replace(DONE, members=(("c-0", "runs"),)), "1 of 2 pods exist"),
        (replace(DONE, members=(("c-0", "runs"), ("c-1", "copies the leader's data"))), "c-1 copies the leader's data"),
        (replace(DONE, phase="Updating"), "roles and databases are made"),
        (
            replace(DONE, conditions=conditions(Ready="True", CredentialsInSync="Unknown")),
            "roles and databases are made",
        ),
    ],
)
def test_what_is_missing_is_said(sight: Sight, said: str) -> None:
    assert said in missing(sight)


def test_old_status_is_no_proof_that_a_member_accepts_writes() -> None:
    assert not replace(DONE, streaming=None).is_ready


def test_standby_cluster_needs_no_member_that_accepts_writes() -> None:
    ready = {"Ready": {"status": "True", "reason": "StandbyLeaderRuns", "message": ""}}
    assert missing(replace(DONE, conditions=ready, streaming=None)) == ()


def test_each_change_is_told_once() -> None:
    start = Sight(is_current=True, wanted=2, members=(("c-0", "runs"),))
    assert list(news(start, DONE)) == [
        "c-1 runs",
        "says Ready",
        "c-1 streams",
        "roles and databases are as the manifest says",
    ]
    assert list(news(DONE, DONE)) == []


def test_invalid_manifest_is_noticed_only_for_the_manifest_that_was_applied() -> None:
    refused = {"Degraded": {"status": "True", "reason": "InvalidSpec", "message": "spec.x: wrong"}}
    assert replace(DONE, conditions=refused).invalid == "spec.x: wrong"
    assert replace(DONE, conditions=refused, is_current=False).invalid is None


def pod(*, phase: str = "Running", annotation: str | None = None, **container: Any) -> Pod:
    body = {
        "metadata": {"name": "c-0", "annotations": {"status": annotation} if annotation else {}},
        "status": {"phase": phase, "containerStatuses": [{"name": "postgres", **container}]},
    }
    return msgspec.json.decode(msgspec.json.encode(body), type=Pod)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(phase="Pending"), "is being started"),
        (pod(), "prepares its data"),
        (pod(annotation='{"state":"running","role":"primary"}'), "runs"),
        (pod(annotation='{"state":"creating replica","role":"replica"}'), "copies the leader's data"),
        (pod(annotation='{"state":"crashed"}'), "is crashed"),
        (
            pod(phase="Pending", state={"waiting": {"reason": "ErrImagePull", "message": "no such image"}}),
            "does not start: ErrImagePull: no such image",
        ),
        (
            pod(
                state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
                lastState={"terminated": {"exitCode": 1, "message": "PostgreSQL 17 is not here\n"}},
            ),
            "does not start: CrashLoopBackOff: PostgreSQL 17 is not here",
        ),
    ],
)
def test_member_says_what_it_does(found: Pod, said: str) -> None:
    assert doing(found) == said
