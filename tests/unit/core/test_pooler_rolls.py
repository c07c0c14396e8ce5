"""When the pods of poolers are replaced: in a window, as the fleet allows, one pooler of a cluster at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from howdah.core.objects.diff import Difference, Effect
from howdah.core.plan import FleetBudget, ReplacePooler, RollPooler, TakeOver
from howdah.core.planners import decide
from howdah.core.pooler_rolls import UNKNOWN, Rollout, pooler_causes, roll_poolers, rollout
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Live, Pod
from unit.core.clusters import live, situation, three

Json = dict[str, Any]
BOTH: Mapping[str, Any] = {"enableConnectionPooler": True, "enableReplicaConnectionPooler": True}
CLOSED = {"maintenanceWindows": ["Mon:01:00-02:00"]}
OPEN = {"maintenanceWindows": ["03:00-04:00"]}
LEADER, REPLICAS = "acid-a-pooler", "acid-a-pooler-repl"
SERVES = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
HALF_WAY = {**SERVES, "replicas": 3, "updatedReplicas": 1}


def deployment(name: str, status: Json = SERVES, **changed: Any) -> Live:
    """As it is intended, but for fields of its pods."""
    body = next(
        b for b in situation(*three(), spec=BOTH).intended if (b["kind"], b["metadata"]["name"]) == ("Deployment", name)
    )
    template = body["spec"]["template"]
    pods = {**template, "spec": {**template["spec"], **changed}}
    return live({**body, "spec": {**body["spec"], "template": pods}, "status": status}, generation=1)


def old(name: str, status: Json = SERVES) -> Live:
    return deployment(name, status, terminationGracePeriodSeconds=7)


def seen(*found: Live, budget: FleetBudget | None = None, pods: Sequence[Pod] = (), **spec: Any) -> Situation:
    poolers = {name: deployment(name) for name in (LEADER, REPLICAS)} | {one.meta.name: one for one in found}
    objects = {("Deployment", name): one for name, one in poolers.items()}
    return situation(*(pods or three()), spec={**BOTH, **spec}, objects=objects, budget=budget or FleetBudget())


def of_the_reference(one: Live) -> Live:
    entry = {"manager": "postgres-operator", "operation": "Update", "apiVersion": "apps/v1", "fieldsV1": {}}
    body = {**one.body("apps/v1", "Deployment"), "status": one.decoded_status()}
    return live(body, generation=1, managedFields=[entry])


@pytest.mark.parametrize("available", [2, 0])
def test_the_references_pooler_waits_for_the_word_while_it_serves_somebody(available: int) -> None:
    decision = roll_poolers(seen(of_the_reference(old(LEADER, {**SERVES, "availableReplicas": available}))))
    assert ([type(step) for step in decision.steps], bool(decision.held)) == (
        [] if available else [TakeOver],
        bool(available),
    )


def rolled(found: Situation) -> list[str]:
    decision = roll_poolers(found)
    return [step.target for step in decision.steps if isinstance(step, RollPooler)]


def cause() -> str:
    (one,) = pooler_causes(seen(old(LEADER)))
    return one


def test_a_changed_template_waits_for_its_window_and_rolls_in_it() -> None:
    plan = decide(seen(old(LEADER), **CLOSED))
    (held,) = [held for held in plan.held if isinstance(held.step, RollPooler)]
    assert held.until is not None
    assert "the maintenance window opens at Mon 2026-01-05 01:00 UTC" in held.why
    assert not any(step.disruptive for step in plan.steps)
    assert rolled(seen(old(LEADER), **OPEN)) == [f"Deployment {LEADER}"]


@pytest.mark.parametrize("status", [{}, {**SERVES, "availableReplicas": 0}])
def test_a_pooler_that_serves_nobody_is_mended_at_once(status: Json) -> None:
    found = seen(old(LEADER, status), budget=FleetBudget(limit=0), **CLOSED)
    assert rolled(found) == [f"Deployment {LEADER}"]


def test_pods_that_know_an_old_password_wait_for_nothing() -> None:
    found = seen(budget=FleetBudget(limit=0), **CLOSED)
    path = f"spec.template.metadata.annotations.{names.USERS_CHANGED}"
    dated = Difference(path, "2026-01-02T00:00:00Z", None, Effect.PATCH, "a password changed")
    assert rolled(replace(found, differences={**found.differences, ("Deployment", LEADER): (dated,)})) == [
        f"Deployment {LEADER}"
    ]


@pytest.mark.parametrize(
    ("claim", "budget", "expected"),
    [
        ("nobody else rolls", FleetBudget(), True),
        ("the first one goes alone", FleetBudget(rolling={cause(): 1}), False),
        ("one has finished", FleetBudget(rolling={cause(): 1}, finished=frozenset({cause()})), True),
        ("too many", FleetBudget(rolling={cause(): 5}, finished=frozenset({cause()})), False),
        ("a roll of unknown cause counts, too", FleetBudget(rolling={UNKNOWN: 1}), False),
        ("it failed elsewhere", FleetBudget(failed={cause(): "other"}), False),
        ("this one is under way", FleetBudget(rolling={cause(): 5}, mine=frozenset({cause()})), True),
        ("not every cluster was looked at", FleetBudget(is_complete=False), False),
        ("all are stopped", FleetBudget(limit=0, finished=frozenset({cause()})), False),
    ],
)
def test_poolers_that_change_alike_share_the_fleets_budget(claim: str, budget: FleetBudget, expected: bool) -> None:
    assert (rolled(seen(old(LEADER), budget=budget)) != []) is expected, claim


def test_the_same_change_is_the_same_cause_in_every_cluster_and_another_one_is_not() -> None:
    assert pooler_causes(seen(old(LEADER))) == pooler_causes(seen(old(REPLICAS)))
    assert pooler_causes(seen()) == frozenset()
    assert pooler_causes(seen(deployment(LEADER, priorityClassName="x"))) != frozenset({cause()})


def test_the_second_pooler_waits_for_the_first() -> None:
    assert rolled(seen(deployment(LEADER, HALF_WAY), old(REPLICAS))) == []
    assert (
        f"the pods of {LEADER} are being replaced"
        in roll_poolers(seen(deployment(LEADER, HALF_WAY), old(REPLICAS))).waits[0].why
    )
    assert rolled(seen(old(LEADER, HALF_WAY))) == [f"Deployment {LEADER}"], "a template that is wrong is mended"


def test_a_deployment_that_has_to_be_made_anew_waits_likewise() -> None:
    body = live(
        {**_body(LEADER), "spec": {**_body(LEADER)["spec"], "selector": {"matchLabels": {"a": "b"}}}, "status": SERVES}
    )
    assert [type(step) for step in roll_poolers(seen(body, **OPEN)).steps] == [ReplacePooler]
    assert [type(held.step) for held in roll_poolers(seen(body, **CLOSED)).held] == [ReplacePooler]


def _body(name: str) -> Json:
    return dict(deployment(name).body("apps/v1", "Deployment"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (SERVES, Rollout(LEADER, 2, has_old_pods=False, is_complete=True, has_failed=False)),
        (HALF_WAY, Rollout(LEADER, 2, has_old_pods=True, is_complete=False, has_failed=False)),
        (
            {**SERVES, "observedGeneration": 0},
            Rollout(LEADER, 2, has_old_pods=False, is_complete=False, has_failed=False),
        ),
        (
            {**SERVES, "availableReplicas": 1},
            Rollout(LEADER, 1, has_old_pods=False, is_complete=False, has_failed=False),
        ),
        (
            {
                **HALF_WAY,
                "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
            },
            Rollout(LEADER, 2, has_old_pods=True, is_complete=False, has_failed=True),
        ),
        ({}, Rollout(LEADER, 0, has_old_pods=False, is_complete=False, has_failed=False)),
    ],
)
def test_how_far_a_rollout_is_is_told_as_kubectl_tells_it(status: Json, expected: Rollout) -> None:
    assert rollout(deployment(LEADER, status), 2) == expected


def test_pods_that_know_an_old_password_wait_until_it_is_read_that_the_server_knows_the_new_one() -> None:
    dated = deployment(LEADER)
    found = seen(dated)
    place = ("Deployment", LEADER)
    path = f"spec.template.metadata.annotations.{names.USERS_CHANGED}"
    changed = Difference(path, "new", "old", Effect.ROLL, "another date")
    found = replace(found, differences={place: (changed,)})
    assert rolled(found) == [f"Deployment {LEADER}"]
    reading = replace(found, database=replace(found.database, is_due=True))
    assert rolled(reading) == []
    assert [wait.why for wait in roll_poolers(reading).waits] == [
        f"whether the server knows the new password of {LEADER} is being read"
    ]
