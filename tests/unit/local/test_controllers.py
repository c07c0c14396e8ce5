"""What the controllers decide, without an API."""

from datetime import UTC, datetime
from typing import Any

import pytest

from howdah.local.controllers import deployment, endpoints, jobs, owners, statefulset
from howdah.local.controllers.revisions import LABEL, History
from howdah.local.controllers.statefulset import Create, Delete

OLD, NEW = "s-old", "s-new"


def pod(ordinal: int, revision: str = NEW, *, ready: bool = True, leaving: bool = False, phase: str = "Running") -> Any:
    metadata: dict[str, Any] = {
        "name": f"s-{ordinal}",
        "namespace": "n",
        "uid": f"u{ordinal}",
        "labels": {LABEL: revision},
    }
    if leaving:
        metadata["deletionTimestamp"] = "now"
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, "conditions": [condition]}}


def owner(
    replicas: int, *, policy: str = "OrderedReady", strategy: str = "RollingUpdate", **more: Any
) -> dict[str, Any]:
    spec = {"replicas": replicas, "podManagementPolicy": policy, "updateStrategy": {"type": strategy, **more}}
    return {"metadata": {"name": "s", "namespace": "n", "uid": "o"}, "spec": spec, "status": {}}


def decided(found: dict[str, Any], *pods: Any, history: History = History(NEW, NEW)) -> list[str]:  # noqa: B008
    by_ordinal = {int(item["metadata"]["name"][2:]): item for item in pods}
    actions = statefulset.decide(found, by_ordinal, history)
    return [
        f"create {action.ordinal} {action.revision}" if isinstance(action, Create) else f"delete {_name(action)}"
        for action in actions
    ]


def _name(action: Delete) -> str:
    return str(action.pod["metadata"]["name"])


BOTH = History(OLD, NEW)


@pytest.mark.parametrize(
    ("found", "pods", "history", "actions"),
    [
        (owner(2), [], History(NEW, NEW), ["create 0 s-new"]),
        (owner(2), [pod(0, ready=False)], History(NEW, NEW), []),
        (owner(2), [pod(0)], History(NEW, NEW), ["create 1 s-new"]),
        (owner(2), [pod(0), pod(1)], History(NEW, NEW), []),
        (owner(2, policy="Parallel"), [], History(NEW, NEW), ["create 0 s-new", "create 1 s-new"]),
        (owner(1), [pod(0), pod(1), pod(2)], History(NEW, NEW), ["delete s-2"]),
        (owner(1), [pod(0), pod(1), pod(2, leaving=True)], History(NEW, NEW), []),
        (owner(1, policy="Parallel"), [pod(0), pod(1), pod(2)], History(NEW, NEW), ["delete s-2", "delete s-1"]),
        (owner(2), [pod(0, OLD), pod(1, OLD)], BOTH, ["delete s-1"]),
        (owner(2), [pod(0, OLD), pod(1, ready=False)], BOTH, []),
        (owner(2), [pod(0, OLD), pod(1)], BOTH, ["delete s-0"]),
        (owner(2, strategy="OnDelete"), [pod(0, OLD), pod(1, OLD)], BOTH, []),
        (owner(2, strategy="OnDelete", policy="Parallel"), [pod(0, OLD)], BOTH, ["create 1 s-new"]),
        (owner(2, rollingUpdate={"partition": 1}), [pod(0, OLD), pod(1)], BOTH, []),
        (owner(2, rollingUpdate={"partition": 1}), [pod(1)], BOTH, ["create 0 s-old"]),
        (owner(1), [pod(0, phase="Failed", ready=False)], History(NEW, NEW), ["delete s-0"]),
        (owner(0), [], History(NEW, NEW), []),
    ],
)
def test_statefulset_acts_in_order(found: Any, pods: list[Any], history: History, actions: list[str]) -> None:
    assert decided(found, *pods, history=history) == actions


@pytest.mark.parametrize(
    ("name", "ordinal"), [("s-0", 0), ("s-12", 12), ("s-x", None), ("t-0", None), ("s-a-0", None), ("s-01", None)]
)
def test_ordinal_of_a_name(name: str, ordinal: int | None) -> None:
    assert statefulset.ordinal_of("s", name) == ordinal


def test_finished_rolling_update_makes_the_new_revision_current() -> None:
    going = statefulset.status_of(owner(2), {0: pod(0, OLD), 1: pod(1)}, BOTH)
    done = statefulset.status_of(owner(2), {0: pod(0), 1: pod(1)}, BOTH)
    assert (going["currentRevision"], going["currentReplicas"], going["updatedReplicas"]) == (OLD, 1, 1)
    assert (done["currentRevision"], done["currentReplicas"]) == (NEW, 2)


def _claim(*references: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "d-s-0", "ownerReferences": list(references)}}


def test_retained_claim_loses_every_owner_that_could_take_it_along() -> None:
    mine = {"kind": "StatefulSet", "name": "s", "uid": "an earlier one", "apiVersion": "apps/v1"}
    foreign = {"kind": "Thing", "name": "t", "uid": "x", "apiVersion": "v1"}
    assert statefulset.claim_owners(owner(1), _claim(mine, foreign), None) == [foreign]
    assert statefulset.claim_owners(owner(1), _claim(foreign), None) is None


def test_claim_is_owned_by_what_the_retention_policy_names() -> None:
    found = owner(1)
    found["spec"]["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    kept = statefulset.claim_owners(found, _claim(), None) or []
    scaled = statefulset.claim_owners(found, _claim(*kept), pod(0)) or []
    assert [entry["kind"] for entry in kept] == ["StatefulSet"]
    assert [entry["kind"] for entry in scaled] == ["Pod"]


@pytest.mark.parametrize(
    ("selector", "labels", "fits"),
    [
        (None, {"a": "1"}, False),
        ({}, {"a": "1"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "2"}}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {"a": "1"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {}, True),
    ],
)
def test_selectors(selector: Any, labels: dict[str, str], fits: bool) -> None:
    assert owners.matches(selector, labels) is fits


def _backend(name: str, address: str, *, ready: bool, leaving: bool = False) -> Any:
    found = pod(0, ready=ready, leaving=leaving)
    found["metadata"] |= {"name": name, "labels": {"a": "1"}}
    found["status"]["podIP"] = address
    found["spec"] = {"containers": [{"ports": [{"name": "pg", "containerPort": 5432}]}]}
    return found


def test_endpoints_hold_ready_pods_and_nothing_of_leaving_ones() -> None:
    service = {
        "metadata": {"name": "v", "namespace": "n", "uid": "x"},
        "spec": {"selector": {"a": "1"}, "ports": [{"name": "p", "port": 1, "targetPort": "pg"}]},
    }
    pods = [
        _backend("b", "127.32.0.2", ready=True),
        _backend("a", "127.32.0.1", ready=False),
        _backend("c", "127.32.0.3", ready=True, leaving=True),
    ]
    (subset,) = endpoints.subsets(service, pods)
    assert [entry["ip"] for entry in subset["addresses"]] == ["127.32.0.2"]
    assert [entry["ip"] for entry in subset["notReadyAddresses"]] == ["127.32.0.1"]
    assert subset["ports"] == [{"name": "p", "port": 5432, "protocol": "TCP"}]


def test_service_without_selector_selects_nothing() -> None:
    assert not endpoints.selects({"spec": {"selector": {}}}, _backend("b", "127.32.0.2", ready=True))


def _set(name: str, replicas: int, available: int) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"replicas": replicas}, "status": {"availableReplicas": available}}


@pytest.mark.parametrize(
    ("new", "old", "changes"),
    [
        (_set("new", 0, 0), [], {"new": 2}),
        (_set("new", 2, 2), [], {}),
        (_set("new", 0, 0), [_set("old", 2, 2)], {"new": 1}),
        (_set("new", 1, 0), [_set("old", 2, 2)], {}),
        (_set("new", 1, 1), [_set("old", 2, 2)], {"old": 1}),
        (_set("new", 1, 1), [_set("old", 1, 1)], {"new": 2}),
        (_set("new", 1, 1), [_set("old", 1, 2)], {"new": 2}),
        (_set("new", 2, 2), [_set("old", 1, 1)], {"old": 0}),
        (_set("new", 0, 0), [_set("old", 2, 0)], {"new": 1, "old": 0}),
    ],
)
def test_deployment_moves_pods_without_dipping_below_what_it_wants(new: Any, old: list[Any], changes: Any) -> None:
    assert deployment.scales({"spec": {"replicas": 2}}, new, old) == changes


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "now", "due"),
    [
        ("0 1 * * *", "2026-11-24T12:00", "2026-11-24T01:00"),
        ("*/15 * * * *", "2026-11-24T12:16", "2026-11-24T12:15"),
        ("30 0 * * mon", "2026-11-24T12:00", "2026-11-23T00:30"),
        ("0 0 * * 7", "2026-11-24T12:00", "2026-11-22T00:00"),
        ("0 0 23 * sun", "2026-11-24T12:00", "2026-11-23T00:00"),
        ("@hourly", "2026-11-24T12:16", "2026-11-24T12:00"),
    ],
)
def test_latest_due_time_of_a_schedule(text: str, now: str, due: str) -> None:
    assert jobs.schedule(text).latest(_at("2026-01-01T00:00"), _at(now)) == _at(due)


def test_time_that_was_served_is_not_due_again() -> None:
    assert jobs.schedule("0 1 * * *").latest(_at("2026-11-24T01:00"), _at("2026-11-24T12:00")) is None


@pytest.mark.parametrize("text", ["", "* * * *", "60 * * * *", "* 24 * * *", "x * * * *", "@never"])
def test_wrong_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        jobs.schedule(text)
