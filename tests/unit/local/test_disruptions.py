"""How many pods of a budget may be disturbed: counted from what their controllers want."""

from typing import Any

import pytest

from howdah.local.disruptions import Allowance, allowance

Json = dict[str, Any]
SET = {"kind": "StatefulSet", "name": "s", "uid": "u-s", "controller": True}
REPLICAS = {"kind": "ReplicaSet", "name": "r", "uid": "u-r", "controller": True}
ABOVE = {"kind": "Deployment", "name": "d", "uid": "u-d", "controller": True}


def pod(owner: Json | None = SET, *, ready: bool = True, leaving: bool = False) -> Json:
    metadata: Json = {"ownerReferences": [owner]} if owner else {}
    if leaving:
        metadata["deletionTimestamp"] = "now"
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def world(replicas: int | None) -> dict[tuple[str, str], Json]:
    spec = {} if replicas is None else {"replicas": replicas}
    return {
        ("StatefulSet", "s"): {"metadata": {"uid": "u-s"}, "spec": spec},
        ("ReplicaSet", "r"): {"metadata": {"uid": "u-r", "ownerReferences": [ABOVE]}, "spec": {"replicas": 1}},
        ("Deployment", "d"): {"metadata": {"uid": "u-d"}, "spec": spec},
    }


def counted(spec: Json, pods: list[Json], replicas: int | None = 3) -> Allowance:
    there = world(replicas)
    return allowance({"spec": spec}, pods, lambda kind, name: there.get((kind, name)))


@pytest.mark.parametrize(
    ("spec", "pods", "replicas", "allowed"),
    [
        ({"maxUnavailable": 1}, [pod(), pod(), pod()], 3, 1),
        ({"maxUnavailable": 1}, [pod(), pod()], 3, 0),  # the third is disturbed already
        ({"maxUnavailable": 1}, [pod(), pod(), pod(ready=False)], 3, 0),
        ({"maxUnavailable": 1}, [pod(), pod(), pod(leaving=True)], 3, 0),
        ({"maxUnavailable": "50%"}, [pod(), pod(), pod()], 3, 2),
        ({"maxUnavailable": 5}, [pod(), pod()], 3, 2),
        ({"maxUnavailable": 0}, [pod(), pod(), pod()], 3, 0),
        ({"minAvailable": 1}, [pod(), pod()], 2, 1),
        ({"minAvailable": 1}, [pod(), pod()], 3, 1),
        ({"minAvailable": 2}, [pod(), pod()], 2, 0),
        ({"minAvailable": 0}, [], 2, 0),
        ({"minAvailable": "50%"}, [pod(), pod()], 2, 1),
        ({"minAvailable": "50%"}, [pod(), pod()], 4, 0),
        ({"maxUnavailable": 1}, [pod()], None, 1),  # one is the default
        ({"maxUnavailable": 1}, [pod(REPLICAS), pod(REPLICAS)], 2, 1),  # two, as the Deployment wants
        ({"minAvailable": 1}, [pod(None), pod(None)], 3, 1),
        ({"maxUnavailable": 1}, [pod(None), pod(None)], 3, 0),  # nobody says how many there are to be
        ({"maxUnavailable": 1}, [pod({**SET, "uid": "u-of-another"})], 1, 0),
        ({"maxUnavailable": 1}, [pod({**SET, "kind": "Strange"})], 1, 0),
        ({}, [pod(), pod()], 2, 0),
    ],
)
def test_disruptions_allowed(spec: Json, pods: list[Json], replicas: int | None, allowed: int) -> None:
    assert counted(spec, pods, replicas).allowed == allowed


def test_the_numbers_are_those_that_the_status_has() -> None:
    assert counted({"maxUnavailable": 1}, [pod(), pod()]) == Allowance(expected=3, desired=2, healthy=2)
