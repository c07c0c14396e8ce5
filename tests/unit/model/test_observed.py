"""What the structs of what was seen answer by themselves."""

import msgspec
import pytest

from howdah.model.observed import Live, Pod, Revision, status_of

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}


def test_the_template_of_a_revision_is_that_of_its_stateful_set():
    data = {"spec": {"template": {**TEMPLATE, "$patch": "replace"}}}
    kept = msgspec.json.encode({"metadata": {"name": "r"}, "data": data})
    assert msgspec.json.decode(kept, type=Revision).template() == TEMPLATE


def test_a_revision_without_a_template_has_an_empty_one():
    assert msgspec.json.decode(b'{"metadata": {"name": "r"}}', type=Revision).template() == {}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, {"PostgresClusterStatus": ""}),
        ("Running", {"PostgresClusterStatus": "Running"}),
        ({"PostgresClusterStatus": "Running"}, {"PostgresClusterStatus": "Running"}),
        ({"conditions": [{}, {"type": "Ready"}], "members": [{}]}, {"conditions": [{"type": "Ready"}], "members": []}),
        ({"conditions": "none", "members": None}, {"conditions": [], "members": []}),
    ],
)
def test_a_status_says_what_an_older_definition_left_of_it(found, said):
    assert status_of(found) == said


def managed(manager, subresource=None, *paths):
    fields = {"f:spec": {path: {} for path in paths}}
    return {"manager": manager, "operation": "Apply", "subresource": subresource, "fieldsV1": fields}


SET = {
    "metadata": {
        "name": "a",
        "uid": "u",
        "resourceVersion": "1",
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "managedFields": [managed("howdah", None, "f:replicas"), managed("kube-controller-manager", "status")],
    },
    "spec": {"replicas": 1},
    "status": {"readyReplicas": 0},
}


def live(**changes):
    """The set with other parts; those of its metadata by their own names."""
    parts = {name: value for name, value in changes.items() if name in ("spec", "status")}
    metadata = {**SET["metadata"], **{name: value for name, value in changes.items() if name not in parts}}
    return msgspec.json.decode(msgspec.json.encode({**SET, **parts, "metadata": metadata}), type=Live)


@pytest.mark.parametrize(
    "changes",
    [
        {"resourceVersion": "2"},
        {"status": {"readyReplicas": 1}, "resourceVersion": "2"},
        {"managedFields": [managed("howdah", None, "f:replicas"), managed("kube-controller-manager", "status", "f:x")]},
    ],
)
def test_another_status_makes_no_difference_to_what_is_intended(changes):
    assert live(**changes).hash_but_status() == live().hash_but_status()


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "v"},
        {"labels": {"a": "c"}},
        {"annotations": None},
        {"ownerReferences": [{"kind": "postgresql", "name": "a", "uid": "u"}]},
        {"finalizers": ["somebody's"]},
        {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        {"spec": {"replicas": 2}},
        {"managedFields": [managed("howdah", None, "f:replicas", "f:template")]},
        {"managedFields": [managed("somebody", None, "f:replicas")]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_else_changes_makes_one(changes):
    assert live(**changes).hash_but_status() != live().hash_but_status()


@pytest.mark.parametrize(
    ("restarts", "state", "keeps_failing"),
    [
        (2, {"terminated": {"exitCode": 64}}, True),
        (0, {"terminated": {"exitCode": 64}}, False),
        (2, {"terminated": {"exitCode": 0}}, False),
        (2, {"running": {}}, False),
        (2, {"waiting": {"reason": "ContainerCreating"}}, False),
    ],
)
def test_a_pod_keeps_failing_also_while_the_kubelet_says_no_more_than_that_it_has_ended(restarts, state, keeps_failing):
    status = {"containerStatuses": [{"name": "postgres", "restartCount": restarts, "state": state}]}
    found = msgspec.json.decode(msgspec.json.encode({"metadata": {"name": "a-0"}, "status": status}), type=Pod)
    assert (found.keeps_failing, found.cannot_start) == (keeps_failing, keeps_failing)
