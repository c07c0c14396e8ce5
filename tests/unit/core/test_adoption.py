"""What the reference operator made: no pod follows a change of it before a person says so, and nothing forgets that."""

import json
from copy import deepcopy
from typing import Any

import pytest

from howdah.core.adoption import why_not_adopted
from howdah.core.alignment import align_objects
from howdah.core.findings import findings_of
from howdah.core.objects.build import build
from howdah.core.plan import Apply, ReplacePod, ScaleIn, Switchover, TakeOver
from howdah.core.planners import decide, replacements
from howdah.core.status import Outcome, build_status
from howdah.model import names
from unit.core.clusters import NAME, OUTDATED, cluster, leader, live, lock, pod, resource, situation, three

STATEFUL_SET = ("StatefulSet", NAME)
BODY = next(body for body in build(cluster()) if body["kind"] == "StatefulSet")
ADOPTED = {names.ADOPTED: "true"}
MARK = {names.ROLLING_UPDATE_REQUIRED: "true"}
REFERENCE = "postgres-operator"


def fields_of(value: Any) -> dict[str, Any]:
    """What an ordinary write owns of an object."""
    found = {}
    for key, below in value.items():
        if isinstance(below, list) and all(isinstance(item, dict) and "name" in item for item in below):
            found[f"f:{key}"] = {
                f"k:{json.dumps({'name': item['name']}, separators=(',', ':'))}": {".": {}, **fields_of(item)}
                for item in below
            }
        else:
            found[f"f:{key}"] = fields_of(below) if isinstance(below, dict) else {}
    return found


def of_the_reference(change=lambda body: None, *others: str) -> dict[tuple[str, str], Any]:
    """The StatefulSet as the reference wrote it; `others` have written, too."""
    body = deepcopy(dict(BODY))
    change(body)
    said = {"apiVersion": "apps/v1", "fieldsType": "FieldsV1"}
    entries = [{**said, "manager": REFERENCE, "operation": "Update", "fieldsV1": fields_of({"spec": body["spec"]})}]
    entries += [{**said, "manager": other, "operation": "Apply", "fieldsV1": {}} for other in others]
    controller = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"}
    return {STATEFUL_SET: live(body, managedFields=[*entries, {**said, **controller, "fieldsV1": {}}])}


def with_more(body: dict[str, Any]) -> None:
    body["spec"]["template"]["spec"]["tolerations"] = [{"key": "db", "operator": "Exists"}]
    body["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "OF_V1", "value": "x"})


def with_replicas(replicas: int):
    return lambda body: body["spec"].update(replicas=replicas)


def with_annotation(body: dict[str, Any]) -> None:
    body["spec"]["template"]["metadata"].setdefault("annotations", {})["of-v1"] = "x"


def kinds(steps):
    return [type(step) for step in steps]


# --- whose it is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "objects", "annotations", "waits"),
    [
        ("the reference made it", of_the_reference(), {}, True),
        ("a person said so", of_the_reference(), ADOPTED, False),
        ("it was ours, and the reference wrote to it since", of_the_reference(lambda _: None, "howdah"), {}, True),
        ("somebody tells who wrote it", {STATEFUL_SET: live(BODY)}, {}, False),
        ("it is not there", {STATEFUL_SET: None}, {}, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_the_references_until_its_fields_are_taken_over_or_a_person_says_so(claim, objects, annotations, waits):
    why = why_not_adopted(objects[STATEFUL_SET], resource(annotations))
    expected = "it was made by postgres-operator; annotate the resource with howdah.dev/adopt=true"
    assert why == (expected if waits else None), claim


# --- what it has beside our intent -------------------------------------------------------------------------------------


def test_what_the_reference_wrote_and_we_do_not_intend_is_told_and_held_before_the_fields_are_ours():
    decision = align_objects(situation(*three(), objects=of_the_reference(with_more)))
    assert decision.steps == ()
    take, apply = (held.step for held in decision.held)
    assert isinstance(take, TakeOver)
    assert isinstance(apply, Apply)
    place = "spec.template.spec"
    assert apply.changes == (f"{place}.containers[postgres].env[OF_V1]", f"{place}.tolerations")
    assert apply.costs == ("roll", "roll")


def test_after_the_word_it_goes_with_its_fields():
    decision = align_objects(situation(*three(), objects=of_the_reference(with_more), annotations=ADOPTED))
    assert (kinds(decision.steps), decision.held) == ([TakeOver, Apply], ())


def test_what_touches_no_pod_goes_with_the_take_over_and_is_told():
    _, apply = align_objects(situation(*three(), objects=of_the_reference(with_annotation))).steps
    assert apply.changes == ("spec.template.metadata.annotations.of-v1",)
    assert apply.costs == ("patch",)


def test_a_credential_that_moves_into_a_secret_waits_for_the_word_because_the_reference_would_roll_for_it():
    spec = {"clone": {"cluster": "acid-b", "timestamp": "2026-01-01T00:00:00+00:00", "s3_wal_path": "s3://b/p"}}
    spec["clone"] |= {"s3_access_key_id": "KEY-ID-OF-TEST", "s3_secret_access_key": "VERY-SECRET-OF-TEST"}
    body = deepcopy(next(b for b in build(cluster(**spec)) if b["kind"] == "StatefulSet"))
    for entry in body["spec"]["template"]["spec"]["containers"][0]["env"]:
        if entry["name"] == "CLONE_AWS_SECRET_ACCESS_KEY":
            del entry["valueFrom"]
            entry["value"] = "VERY-SECRET-OF-TEST"
    made = of_the_reference(lambda found: found.update(body))
    decision = align_objects(situation(*three(), objects=made, spec=spec))
    assert not [step for step in decision.steps if step.target.startswith("StatefulSet")]
    apply = decision.held[-1].step
    assert set(apply.costs) == {"patch"}, "no pod is touched when it goes"
    assert "the reference would undo by rolling pods" in apply.reason
    assert "VERY-SECRET-OF-TEST" not in repr(decision)
    word = align_objects(situation(*three(), objects=made, spec=spec, annotations=ADOPTED))
    assert (kinds(word.steps), word.held) == ([TakeOver, Apply], ())


def test_nobody_hands_over_for_fewer_instances_that_wait_for_the_word():
    leads = (leader(2), pod(0), pod(1))
    of_more = of_the_reference(lambda body: (with_more(body), body["spec"].update(replicas=3)))
    asked = {"objects": of_more, "spec": {"numberOfInstances": 2}, "leader_lock": lock(f"{NAME}-2")}
    held = decide(situation(*leads, **asked))
    assert not [step for step in held.steps if isinstance(step, Switchover)]
    adopted = decide(situation(*leads, **asked, annotations=ADOPTED))
    assert [step for step in adopted.steps if isinstance(step, Switchover)]


def test_of_what_others_wrote_all_that_touches_no_pod_is_applied_beside_older_pods():
    body = deepcopy(dict(BODY))
    body["spec"]["replicas"] = 2
    entry = {"apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": "restore", "operation": "Update"}
    made = {STATEFUL_SET: live(body, managedFields=[{**entry, "fieldsV1": fields_of({"spec": body["spec"]})}])}
    decision = align_objects(situation(*OLD, objects=made))
    assert (kinds(decision.steps), decision.held) == ([Apply], ())


# --- pods of an older template -----------------------------------------------------------------------------------------

OLD = (leader(), pod(1, revision=OUTDATED), pod(2))


def test_pods_that_the_reference_left_with_an_older_template_are_not_replaced_before_the_word():
    seen = situation(*OLD, objects=of_the_reference())
    decision = replacements(seen)
    assert (decision.steps, decision.waits, decision.stopped) == ((), (), None)
    (held,) = decision.held
    assert isinstance(held.step, ReplacePod)
    assert held.step.name == "acid-a-1"
    assert "image is registry.example/spilo:old" in held.step.reason
    assert held.why.endswith("annotate the resource with howdah.dev/adopt=true")
    after = replacements(situation(*OLD, objects=of_the_reference(), annotations=ADOPTED))
    assert (kinds(after.steps), after.held) == ([ReplacePod], ())


@pytest.mark.parametrize(
    ("claim", "pods"),
    [
        ("an old template", OLD),
        ("marked, and its mark may be taken away", (leader(), pod(1), pod(2, revision=OUTDATED, annotations=MARK))),
        ("failed, and it may recover", (leader(), pod(1), pod(2, revision=OUTDATED, waiting="CrashLoopBackOff"))),
        ("nobody knows yet", (leader(), pod(1), pod(2, revision="revision-unseen"))),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_as_long_as_a_pod_has_an_older_template_the_stateful_set_stays_the_references(claim, pods):
    """That is the memory of the hold: the next pass, and an operator that starts anew, see it."""
    decision = align_objects(situation(*pods, objects=of_the_reference()))
    assert decision.steps == (), claim
    assert kinds(held.step for held in decision.held) == [TakeOver]
    word = align_objects(situation(*pods, objects=of_the_reference(), annotations=ADOPTED))
    assert (kinds(word.steps), word.held) == ([TakeOver], ())


def test_without_such_a_pod_it_becomes_ours_at_first_sight():
    decision = align_objects(situation(*three(), objects=of_the_reference()))
    assert (kinds(decision.steps), decision.held) == ([TakeOver], ())


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_a_marked_pod_is_replaced_and_those_beside_it_wait(chosen):
    pods = [pod(1, revision=OUTDATED), pod(2, revision=OUTDATED)]
    pods = [leader(revision=OUTDATED), *pods]
    marked = (leader if chosen == 0 else pod)(chosen, revision=OUTDATED, annotations=MARK)
    pods[chosen] = marked
    decision = replacements(situation(*pods, objects=of_the_reference()))
    (step,) = decision.steps
    assert getattr(step, "leader", None) or step.name == marked.name
    assert [held.step.name for held in decision.held] == [p.name for p in pods if p is not marked]


@pytest.mark.parametrize(
    ("claim", "second", "is_replaced"),
    [
        ("it has failed", pod(2, revision=OUTDATED, waiting="CrashLoopBackOff"), True),
        ("no node takes it", pod(2, revision=OUTDATED, no_node="0/3 nodes"), True),
        ("it missed a probe", pod(2, revision=OUTDATED, ready=False), False),
        ("it does not stream", pod(2, revision=OUTDATED, state="in archive recovery"), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_the_others_only_one_that_serves_nobody_and_will_not_is_replaced(claim, second, is_replaced):
    decision = replacements(situation(leader(), pod(1), second, objects=of_the_reference()))
    assert kinds(decision.steps) == ([ReplacePod] if is_replaced else []), claim
    assert bool(decision.held) is not is_replaced


def test_the_number_of_instances_follows_the_manifest_all_the_same_and_takes_nothing_over():
    more = align_objects(situation(*OLD, objects=of_the_reference(with_replicas(2))))
    assert (kinds(more.steps), kinds(held.step for held in more.held)) == ([Apply], [TakeOver])
    fewer = align_objects(situation(*OLD, pod(3), objects=of_the_reference(with_replicas(4))))
    assert (kinds(fewer.steps), fewer.held) == ([ScaleIn], ())
    applied = align_objects(situation(*OLD, objects=of_the_reference(lambda _: None, names.FIELD_MANAGER)))
    assert (applied.steps, kinds(held.step for held in applied.held)) == ((), [TakeOver])


def test_a_surplus_that_only_a_take_over_could_remove_waits_with_it():
    decision = align_objects(situation(*OLD, objects=of_the_reference(with_annotation)))
    assert (decision.steps, kinds(held.step for held in decision.held)) == ((), [TakeOver, Apply])


def test_a_cluster_that_waits_for_the_word_runs_and_says_so():
    seen = situation(*OLD, objects=of_the_reference())
    plan = decide(seen)
    status = build_status({}, findings_of(seen), plan, Outcome(), seen.observed.now)
    conditions = {c["type"]: c for c in status["conditions"]}
    assert status["PostgresClusterStatus"] == "Running"
    assert conditions["Progressing"]["reason"] == "Held"
    said = conditions["RestartPending"]
    assert (said["status"], said["reason"]) == ("True", "Replacement")
    assert "howdah.dev/adopt=true" in said["message"]
