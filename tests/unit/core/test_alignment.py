"""Objects brought to what is intended: created, applied, taken over, made anew; each with what it must never do."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from howdah.core.alignment import align_objects, align_pod_annotations, missing_secrets
from howdah.core.objects.build import build
from howdah.core.plan import (
    NOTHING,
    AnnotatePod,
    Apply,
    Create,
    CreateEnvironmentSecret,
    CreateSecret,
    Delete,
    TakeOver,
)
from howdah.model import names
from unit.core.clusters import CURRENT, NAME, cluster, live, pod, situation, template_of, three

STATEFUL_SET = ("StatefulSet", NAME)
SERVICE = ("Service", NAME)
BODIES = {(body["kind"], body["metadata"]["name"]): body for body in build(cluster())}


def changed(place, manager=names.FIELD_MANAGER, operation="Apply", **fields: Any):
    """{place: the live object, with top-level fields of its spec changed, last written by `manager`}."""
    body = deepcopy(dict(BODIES[place]))
    body["spec"] |= fields
    managed = {"manager": manager, "operation": operation, "apiVersion": body["apiVersion"], "fieldsType": "FieldsV1"}
    return {place: live(body, managedFields=[{**managed, "fieldsV1": {"f:spec": {"f:type": {}}}}])}


def what(decision):
    return [(type(step), getattr(step, "body", {}).get("kind") or getattr(step, "kind", "")) for step in decision.steps]


# --- missing -----------------------------------------------------------------------------------------------------------


def test_every_role_gets_a_secret_without_any_value_in_the_plan():
    steps = missing_secrets(situation(*three(), secrets=False, spec={"users": {"foo": []}})).steps
    assert [step.username for step in steps if isinstance(step, CreateSecret)] == ["postgres", "standby", "foo"]
    assert all("data" not in step.body and "stringData" not in step.body for step in steps)
    assert missing_secrets(situation(*three())).steps == ()


def test_credentials_that_the_manifest_spells_out_are_in_no_step():
    spec = {"clone": {"cluster": "acid-b", "timestamp": "2026-01-01T00:00:00+00:00", "s3_wal_path": "s3://b/p"}}
    spec["clone"] |= {"s3_access_key_id": "KEY-ID-OF-TEST", "s3_secret_access_key": "VERY-SECRET-OF-TEST"}
    seen = situation(*three(), secrets=False, without=("StatefulSet",), spec=spec)
    decision = missing_secrets(seen)
    assert [step.target for step in decision.steps if isinstance(step, CreateEnvironmentSecret)] == [
        "Secret acid-a-environment"
    ]
    for text in (repr(decision), repr(align_objects(seen)), repr(seen.cluster)):
        assert "VERY-SECRET-OF-TEST" not in text


def test_what_is_missing_is_created_in_the_order_of_build():
    decision = align_objects(situation(*three(), without=("Service", "StatefulSet", "PodDisruptionBudget")))
    built = [kind for kind, _ in BODIES if kind in ("Service", "StatefulSet", "PodDisruptionBudget")]
    assert what(decision) == [(Create, kind) for kind in built]
    assert built[-1] == "StatefulSet"


@pytest.mark.parametrize(("leader_lock", "made"), [(None, [(Create, "Endpoints")]), ({}, [])], ids=["missing", "there"])
def test_endpoints_that_patroni_writes_are_made_for_it_and_never_changed(leader_lock, made):
    configured = {"settings": {"kubernetes_use_configmaps": "false"}, "initialize": None}
    seen = situation(**configured, without=("Endpoints",), leader_lock=leader_lock)
    assert what(align_objects(seen)) == made


def test_an_object_that_is_being_deleted_is_waited_for_and_nothing_after_it_is_made():
    going = {SERVICE: live(BODIES[SERVICE], deletionTimestamp="2026-01-02T03:04:00Z")}
    decision = align_objects(situation(*three(), objects=going, without=("StatefulSet",)))
    assert decision.ends
    assert (Create, "StatefulSet") not in what(decision)
    assert decision.waits[0].why == "Service acid-a is being deleted; it is made again after that"


# --- different ---------------------------------------------------------------------------------------------------------


def test_what_is_as_intended_is_not_written():
    assert align_objects(situation(*three())).steps == ()


def test_a_difference_is_applied_to_exactly_the_object_that_was_seen():
    (step,) = align_objects(situation(*three(), objects=changed(SERVICE, type="NodePort"))).steps
    assert isinstance(step, Apply)
    assert (step.uid, step.field_manager) == ("uid-of-Service-acid-a", "howdah")
    assert step.changes == ("spec.type",)
    assert step.reason == "Service acid-a: spec.type is NodePort and shall be ClusterIP"


@pytest.mark.parametrize("manager", ["howdah", "postgres-operator"])
def test_fields_of_an_ordinary_write_are_taken_over_before_the_apply(manager):
    seen = situation(*three(), objects=changed(SERVICE, manager, "Update", type="NodePort"))
    first, second = align_objects(seen).steps
    assert isinstance(first, TakeOver)
    assert isinstance(second, Apply)
    assert (first.uid, first.resource_version) == ("uid-of-Service-acid-a", "100")
    assert [entry["operation"] for entry in first.managed_fields] == ["Apply"]


def test_an_adopted_object_without_differences_becomes_ours_and_a_later_change_of_it_is_no_adoption():
    seen = situation(*three(), objects=changed(SERVICE, "postgres-operator", "Update"))
    assert what(align_objects(seen)) == [(TakeOver, "Service")]
    for other in (changed(SERVICE, "howdah", "Update"), changed(SERVICE, "kubectl-edit", "Update")):
        assert not align_objects(situation(*three(), objects=other)).steps


@pytest.mark.parametrize("manager", ["howdah", "postgres-operator"])
def test_the_role_binding_of_pods_is_never_written_once_it_is_there(manager):
    binding = ("RoleBinding", "postgres-pod")
    theirs = {**BODIES[binding], "subjects": [{"kind": "ServiceAccount", "name": "other"}]}
    fields = {"f:metadata": {"f:labels": {"f:given-up": {}}}}
    entry = {"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}
    seen = live(theirs, labels={"given-up": "y"}, managedFields=[entry])
    assert align_objects(situation(*three(), objects={binding: seen})) == NOTHING


def test_fields_of_other_managers_stay_theirs():
    seen = situation(*three(), objects=changed(SERVICE, "kubectl-edit", "Update", type="NodePort"))
    assert what(align_objects(seen)) == [(Apply, "Service")]


def test_a_stateful_set_that_cannot_be_changed_is_made_anew_without_its_pods():
    seen = situation(*three(), objects=changed(STATEFUL_SET, podManagementPolicy="Parallel"))
    (step,) = align_objects(seen).steps
    assert isinstance(step, Delete)
    assert (step.propagation, step.uid) == ("Orphan", "uid-of-StatefulSet-acid-a")


def test_before_that_its_claims_are_kept_whatever_its_policy_says():
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    live_set = changed(STATEFUL_SET, podManagementPolicy="Parallel", persistentVolumeClaimRetentionPolicy=policy)
    seen = situation(*three(), objects=live_set)
    keep, going = align_objects(seen).steps
    assert isinstance(keep, Apply)
    assert keep.body["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
    assert keep.field_manager != names.FIELD_MANAGER, "what our manager holds beside it stays"
    assert isinstance(going, Delete)


# --- adopted -----------------------------------------------------------------------------------------------------------

IMAGE = deepcopy(BODIES[STATEFUL_SET]["spec"]["template"])
IMAGE["spec"]["containers"][0]["image"] = "registry.example/spilo:other"


@pytest.mark.parametrize(
    ("claim", "objects", "annotations", "is_held"),
    [
        ("the reference made it", changed(STATEFUL_SET, "postgres-operator", "Update", template=IMAGE), {}, True),
        (
            "a person said so",
            changed(STATEFUL_SET, "postgres-operator", "Update", template=IMAGE),
            {names.ADOPTED: "true"},
            False,
        ),
        ("we made it", changed(STATEFUL_SET, template=IMAGE), {}, False),
        ("no pod would roll", changed(STATEFUL_SET, "postgres-operator", "Update", replicas=1), {}, False),
        (
            "it cannot be changed",
            changed(STATEFUL_SET, "postgres-operator", "Update", podManagementPolicy="Parallel"),
            {},
            True,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_adopted_cluster_keeps_its_template_until_a_person_says_otherwise(claim, objects, annotations, is_held):
    decision = align_objects(situation(*three(), objects=objects, annotations=annotations))
    assert bool(decision.held) is is_held, claim
    assert bool(decision.steps) is not is_held
    assert all("postgres-operator" in held.why and names.ADOPTED in held.why for held in decision.held)


# --- pods --------------------------------------------------------------------------------------------------------------


def test_annotations_of_the_template_reach_running_pods():
    spec = {"podAnnotations": {"a": "1", "b": "2"}}
    pods = (pod(0, annotations={"a": "1", "b": "2"}), pod(1, annotations={"a": "0"}), pod(2, deleting=True))
    (step,) = align_pod_annotations(situation(*pods, spec=spec)).steps
    assert isinstance(step, AnnotatePod)
    assert (step.name, step.uid) == ("acid-a-1", "uid-of-pod-1")
    assert step.annotations == {"a": "1", "b": "2"}


def test_annotations_that_the_template_had_go_and_those_of_others_stay():
    seen = situation(*three(annotations={"gone": "1", "theirs": "1"}))
    before = deepcopy(template_of(seen.intended))
    before["metadata"]["annotations"] = {"gone": "1"}
    seen = replace(seen, observed=replace(seen.observed, templates={CURRENT: before}))
    steps = align_pod_annotations(seen).steps
    assert [step.annotations for step in steps if isinstance(step, AnnotatePod)] == [{"gone": None}] * 3
