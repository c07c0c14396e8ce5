"""Fields that were written by ordinary writes become ours by apply, on a store that does with them what the API server does.

What a real one answers (1.36): the entry of an Update outlives an apply that leaves it out; with its fields moved to the
applier's entry, the same apply removes it, and a third one changes nothing.
"""

import pytest

from howdah.core.objects.given_up import given_up
from howdah.core.objects.ownership import KEEPER, KEPT_ANNOTATIONS, taken_over, unintended_but_kept
from howdah.kube.resources import STATEFUL_SETS
from howdah.kube.testing import Store
from howdah.kube.testing.store import Writer
from howdah.model.names import FIELD_MANAGER

US = Writer(FIELD_MANAGER)


def body(*variables, **metadata):
    env = [{"name": name, "value": "x"} for name in variables]
    containers = [{"name": "postgres", "image": "spilo", "env": env}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "a", "namespace": "ns", **metadata},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


def variables(live):
    return [entry["name"] for entry in live["spec"]["template"]["spec"]["containers"][0].get("env") or ()]


def take_over(store, live):
    entries = taken_over(live["metadata"]["managedFields"])
    if entries is None:
        return live

    def change(found):
        found["metadata"]["managedFields"] = list(entries)
        return found

    return store.patch(STATEFUL_SETS, ("ns", "a"), change, US)


def owners(live):
    return [(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]]


@pytest.mark.parametrize("first", ["postgres-operator", FIELD_MANAGER])
def test_a_field_of_an_ordinary_write_can_be_given_up_after_the_take_over(first):
    store = Store()
    live = store.create(STATEFUL_SETS, body("KEPT", "GONE"), Writer(first))
    applied = store.apply(STATEFUL_SETS, body("KEPT", uid=live["metadata"]["uid"]), US, force=True)
    assert variables(applied) == ["KEPT", "GONE"], "this is why a take-over is needed"
    moved = take_over(store, applied)
    assert moved["metadata"]["generation"] == applied["metadata"]["generation"]
    again = store.apply(STATEFUL_SETS, body("KEPT", uid=live["metadata"]["uid"]), US, force=True)
    assert variables(again) == ["KEPT"]
    third = store.apply(STATEFUL_SETS, body("KEPT", uid=live["metadata"]["uid"]), US, force=True)
    assert third["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert given_up(third["metadata"]["managedFields"], body("KEPT"), third, manager=FIELD_MANAGER) == ()


def test_a_field_of_somebody_else_stays():
    store = Store()
    store.create(STATEFUL_SETS, body("KEPT"), Writer("postgres-operator"))
    theirs = store.apply(STATEFUL_SETS, body("THEIRS"), Writer("mesh"), force=True)
    take_over(store, theirs)
    live = store.apply(STATEFUL_SETS, body("KEPT", uid=theirs["metadata"]["uid"]), US, force=True)
    assert sorted(variables(live)) == ["KEPT", "THEIRS"]
    assert ("mesh", "Apply") in owners(live)


def entry(manager, operation="Update", subresource="", **fields):
    found = {"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    return {**found, "fieldsV1": fields, **({"subresource": subresource} if subresource else {})}


@pytest.mark.parametrize(
    ("claim", "entries"),
    [
        ("nothing is owned", []),
        ("all is ours already", [entry(FIELD_MANAGER, "Apply")]),
        ("only others write", [entry("kubectl-edit"), entry("mesh", "Apply")]),
        (
            "its controller writes the status",
            [entry(FIELD_MANAGER, "Apply"), entry("postgres-operator", "Update", "status")],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_moves_when(claim, entries):
    assert taken_over(entries) is None, claim


def test_all_that_moves_is_one_entry_and_ours_comes_first():
    mine = entry(FIELD_MANAGER, "Apply", **{"f:spec": {"f:a": {}}})
    other, status = (
        entry("kubectl-edit", **{"f:spec": {"f:z": {}}}),
        entry("kube-controller-manager", "Update", "status"),
    )
    moving = entry("postgres-operator", **{"f:spec": {"f:a": {}, "f:b": {".": {}, "f:c": {}}}})
    first, *rest = taken_over([other, moving, status, mine]) or ()
    assert (first["manager"], first["operation"]) == (FIELD_MANAGER, "Apply")
    assert first["fieldsV1"] == {"f:spec": {"f:a": {}, "f:b": {".": {}, "f:c": {}}}}
    assert rest == [other, status]


# --- what is left as the reference wrote it ----------------------------------------------------------------------------

(IDLE,) = KEPT_ANNOTATIONS


def service(**annotations):
    return {"metadata": {"name": "a", "annotations": annotations}}


def annotated(manager, operation="Update", *keys):
    return entry(manager, operation, **{"f:metadata": {"f:annotations": {f"f:{key}": {} for key in keys}}})


def test_the_timeout_of_a_load_balancer_does_not_become_ours_where_nobody_intends_it():
    mine, kept = (
        taken_over([annotated("postgres-operator", "Update", IDLE, "x")], leaving=unintended_but_kept(service())) or ()
    )
    assert mine == annotated(FIELD_MANAGER, "Apply", "x")
    assert kept == annotated(KEEPER, "Update", IDLE)
    assert taken_over([mine, kept], leaving=unintended_but_kept(service())) is None, "once"
    assert taken_over(
        [annotated("postgres-operator", "Update", IDLE)], leaving=unintended_but_kept(service(**{IDLE: "60"}))
    ) == (annotated(FIELD_MANAGER, "Apply", IDLE),), "the manifest says it"


def test_what_was_left_before_stays_left_when_the_reference_came_back_in_between():
    before = [annotated(FIELD_MANAGER, "Apply", "x"), annotated(KEEPER, "Update", IDLE), entry("cloud")]
    found = taken_over(
        [*before, annotated("postgres-operator", "Update", IDLE, "y")], leaving=unintended_but_kept(service())
    )
    assert found == (
        annotated(FIELD_MANAGER, "Apply", "y", "x"),
        entry("cloud"),
        annotated(KEEPER, "Update", IDLE),
    ), "the server takes one entry of a manager"
