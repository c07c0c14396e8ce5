"""User lists, rolls and the end of poolers, and what is said of them. One sentence per case."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from howdah.core.alignment import align_objects
from howdah.core.facts import live_facts
from howdah.core.objects.secrets import secret
from howdah.core.plan import Apply, Create, Delete, ReplacePooler, RollPooler, TakeOver, WriteUserList
from howdah.core.planners import decide
from howdah.core.pooler_rolls import roll_poolers
from howdah.core.pooling import pooler_views, remove_poolers, user_lists
from howdah.core.situation import Situation
from howdah.core.status import PoolerView
from howdah.model import names
from howdah.model.observed import SecretMeta
from unit.core.clusters import NAMESPACE, cluster, decoded, live, situation, three

ON: Mapping[str, Any] = {"enableConnectionPooler": True}
BOTH: Mapping[str, Any] = {**ON, "enableReplicaConnectionPooler": True}
OFF: Mapping[str, Any] = {"enableConnectionPooler": False}
LIST = "acid-a-pooler-u"
ROLE_SECRET = "pooler.acid-a.credentials.postgresql.acid.zalan.do"
SEEN = f"uid-of-{ROLE_SECRET}:"  # the version of a Secret in `secrets_of` is empty


def list_meta(seen: str = SEEN, **more: Any) -> SecretMeta:
    """The leader's user list as it is after it was written."""
    body = secret(cluster(**ON).poolers[0].user_list)["metadata"]
    annotations = {**body.get("annotations", {}), names.USERS_SEEN: seen}
    return decoded(SecretMeta, {"metadata": {**body, "uid": "uid-of-list", "annotations": annotations, **more}})


def with_secrets(found: Situation, *secrets: SecretMeta) -> Situation:
    more = {(NAMESPACE, meta.metadata.name): meta for meta in secrets}
    return replace(found, observed=replace(found.observed, secrets={**found.observed.secrets, **more}))


def pooled(**arguments: Any) -> Situation:
    """All is as it should be."""
    return with_secrets(situation(*three(), spec=ON, **arguments), list_meta())


def deployment(spec: Mapping[str, Any] = ON, **changed: Any) -> dict[str, Any]:
    body = deepcopy(dict(next(b for b in situation(spec=spec).intended if b["kind"] == "Deployment")))
    body["spec"] |= changed
    return body


# --- user lists ---------------------------------------------------------------------------------------------------------


def test_a_settled_pooler_is_no_work() -> None:
    assert decide(pooled()).is_quiet


def test_a_missing_list_is_made_after_the_secrets_that_it_is_made_from() -> None:
    steps = decide(situation(*three(), spec=ON, secrets=False, without=("Deployment", "Service"))).steps
    kinds = [(type(step).__name__, step.target) for step in steps]
    at = kinds.index(("WriteUserList", f"Secret {LIST}"))
    assert kinds.index(("CreateSecret", f"Secret {ROLE_SECRET}")) < at
    assert at < kinds.index(("Create", "Deployment acid-a-pooler"))


@pytest.mark.parametrize(
    ("claim", "seen", "is_written"),
    [
        ("made from what is there", SEEN, False),
        ("made from an older version", f"uid-of-{ROLE_SECRET}:4", True),
        ("made from another Secret of that name", "uid-of-an-earlier-one:", True),
        ("made by the reference", None, True),
    ],
)
def test_a_list_is_made_anew_when_its_sources_are_others(claim: str, seen: str | None, is_written: bool) -> None:
    found = with_secrets(situation(*three(), spec=ON), list_meta(seen or ""))
    assert bool(user_lists(found).steps) == is_written, claim


def test_a_list_is_left_alone_while_a_source_is_away() -> None:
    found = with_secrets(situation(*three(), spec=ON, secrets=False), list_meta("anything"))
    assert user_lists(found).steps == ()


@pytest.mark.parametrize("part", [{"labels": {}}, {"labels": {"team": "other"}}])
def test_lost_labels_of_a_list_come_back(part: dict[str, Any]) -> None:
    (step,) = user_lists(with_secrets(situation(*three(), spec=ON), list_meta(**part))).steps
    assert isinstance(step, WriteUserList)
    assert (step.uid, "labels" in step.reason) == ("uid-of-list", True)


def test_no_password_is_in_a_plan() -> None:
    (step,) = user_lists(situation(*three(), spec=ON)).steps
    assert "data" not in step.body  # type: ignore[attr-defined]


def test_the_date_of_a_changed_list_is_a_fact_for_the_request() -> None:
    dated = list_meta(annotations={names.USERS_CHANGED: "2026-01-01T00:00:00Z"})
    seen = with_secrets(pooled(), dated).observed
    assert live_facts(seen).users_changed == {LIST: "2026-01-01T00:00:00Z"}
    namesakes = {("other", LIST): list_meta(annotations={names.USERS_CHANGED: "2026-02-02T00:00:00Z"})}
    seen = replace(seen, secrets={**seen.secrets, **namesakes})
    assert live_facts(seen).users_changed == {LIST: "2026-01-01T00:00:00Z"}, (
        "not of a cluster of the same name elsewhere"
    )


# --- rolls --------------------------------------------------------------------------------------------------------------


def differing(**changed: Any) -> Situation:
    """The live Deployment has other values than intended."""
    found = live(deployment(**changed))
    return with_secrets(situation(*three(), spec=ON, objects={("Deployment", "acid-a-pooler"): found}), list_meta())


def other_template(**pod_spec: Any) -> dict[str, Any]:
    template: dict[str, Any] = deployment()["spec"]["template"]
    return {**template, "spec": {**template["spec"], **pod_spec}}


def test_another_number_of_pods_disturbs_nobody() -> None:
    (step,) = decide(differing(replicas=7)).steps
    assert (type(step), step.disruptive) == (Apply, False)


def test_another_template_rolls_the_pods_after_the_databases_were_looked_at() -> None:
    found = differing(template=other_template(terminationGracePeriodSeconds=1))
    assert align_objects(found).steps == ()
    (step,) = roll_poolers(found).steps
    assert isinstance(step, RollPooler)
    assert step.disruptive
    assert "Kubernetes replaces its pods" in step.reason


def test_a_roll_waits_for_the_end_of_a_pause() -> None:
    found = differing(template=other_template(terminationGracePeriodSeconds=1))
    paused = replace(found, cluster=replace(found.cluster, pause=names.Pause.DISRUPTIVE))
    plan = decide(paused)
    assert plan.steps == ()
    assert [type(held.step) for held in plan.held] == [RollPooler]


def test_a_pooler_that_the_reference_made_keeps_its_template_until_a_person_says_otherwise() -> None:
    managed = [{"manager": "postgres-operator", "operation": "Update", "fieldsV1": {}}]
    body = deployment(template=other_template(terminationGracePeriodSeconds=1))
    found = live({**body, "status": {"availableReplicas": 1}}, managedFields=managed)
    place = ("Deployment", "acid-a-pooler")
    held = with_secrets(situation(*three(), spec=ON, objects={place: found}), list_meta())
    assert [type(one.step) for one in decide(held).held] == [TakeOver, RollPooler]
    told = situation(*three(), spec=ON, objects={place: found}, annotations={names.ADOPTED: "true"})
    assert [type(step) for step in roll_poolers(told).steps] == [TakeOver], "which makes another version of it"


def test_a_selector_cannot_change_so_the_deployment_is_made_anew() -> None:
    (step,) = decide(differing(selector={"matchLabels": {"a": "b"}})).steps
    assert isinstance(step, ReplacePooler)
    assert (step.kind, step.resource_version) == ("Deployment", "100")


# --- the end ------------------------------------------------------------------------------------------------------------


def left(*, labels: Mapping[str, str] | None = None) -> Situation:
    """The leader's pooler and its Secrets are there, and the manifest does not ask for them."""
    before = situation(*three(), spec=ON)
    objects = {
        (body["kind"], body["metadata"]["name"]): live(body, **({"labels": labels} if labels is not None else {}))
        for body in before.intended
        if body["metadata"]["name"] == "acid-a-pooler"
    }
    role = next(request for request in before.cluster.secrets if request.username == "pooler")
    meta = decoded(SecretMeta, {"metadata": {**secret(role)["metadata"], "uid": "uid-of-role"}})
    return with_secrets(situation(*three(), spec=OFF, objects=objects), list_meta(), meta)


def test_everything_goes_the_secret_of_the_role_first_each_by_its_uid() -> None:
    steps = remove_poolers(left()).steps
    assert [(step.target, bool(step.uid)) for step in steps if isinstance(step, Delete)] == [
        (f"Secret {ROLE_SECRET}", True),
        ("Service acid-a-pooler", True),
        ("Deployment acid-a-pooler", True),
        (f"Secret {LIST}", True),
    ]


def test_what_carries_only_the_name_is_somebody_elses() -> None:
    targets = {step.target for step in remove_poolers(left(labels={})).steps}
    assert targets == {f"Secret {ROLE_SECRET}", f"Secret {LIST}"}


def test_a_secret_of_the_roles_name_stays_where_no_pooler_is_there() -> None:
    """A role of the manifest may have had that name; nothing tells that the Secret was a pooler's."""
    role = decoded(SecretMeta, {"metadata": {"name": ROLE_SECRET, "namespace": NAMESPACE, "uid": "u"}})
    assert remove_poolers(with_secrets(situation(*three(), spec=OFF), role)).steps == ()


def test_one_of_two_goes_alone() -> None:
    both = situation(*three(), spec=BOTH)
    objects = {(b["kind"], b["metadata"]["name"]): live(b) for b in both.intended if "pooler" in b["metadata"]["name"]}
    found = with_secrets(situation(*three(), spec=ON, objects=objects), list_meta())
    targets = [step.target for step in remove_poolers(found).steps]
    assert targets == ["Service acid-a-pooler-repl", "Deployment acid-a-pooler-repl"]


def test_what_is_going_already_is_not_deleted_again_and_comes_back_only_after_that() -> None:
    going = live(deployment(), deletionTimestamp="2026-01-02T03:04:00Z")
    found = situation(*three(), spec=ON, objects={("Deployment", "acid-a-pooler"): going})
    assert remove_poolers(found).steps == ()
    assert not any(isinstance(step, Create) for step in decide(found).steps)


# --- what is said -------------------------------------------------------------------------------------------------------


def test_pods_that_take_connections_are_counted() -> None:
    body = {**deployment(), "status": {"availableReplicas": 1}}
    found = situation(*three(), spec=BOTH, objects={("Deployment", "acid-a-pooler"): live(body)})
    assert pooler_views(found) == (PoolerView("acid-a-pooler", 2, 1), PoolerView("acid-a-pooler-repl", 2, 0))
