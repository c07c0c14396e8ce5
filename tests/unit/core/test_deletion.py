"""How a cluster goes: in which order, what stays, and what keeps it from going. Absence is never consent."""

import datetime as dt
from dataclasses import replace

import pytest

from howdah.core.deletion import deletion_policy, plan_deletion, protection
from howdah.core.plan import Delete, SetFinalizers
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.observed import Live, Observed, PatroniObject, SecretMeta
from howdah.model.settings import default_settings, settings_from_configmap
from unit.core.clusters import NAME, NOW, UID, claim, decoded, pod, resource, situation, three

POLICY = replace(deletion_policy(default_settings()[0]), claims=True, secrets=True)
KEEPING = replace(POLICY, claims=False, secrets=False)
OURS = (names.FINALIZER,)


def going(*pods, annotations=None, finalizers=OURS, objects=True, rest=True, **changes):
    """A cluster whose resource is being deleted; `rest`: services, secrets, claims and Patroni's objects are there."""
    seen = situation(*three()).observed
    kept = {place: found for place, found in seen.objects.items() if rest or place[0] == "StatefulSet"}
    if not objects:
        kept = {place: found for place, found in kept.items() if place[0] != "StatefulSet"}
    empty = {} if rest else {"secrets": {}, "patroni": {}, "claims": ()}
    asked = resource(annotations, finalizers=finalizers, deleted=True)
    return replace(seen, resource=asked, pods=pods, objects=kept, **{**empty, **changes})


def deleted(decision):
    return [(step.kind, step.name) for step in decision.steps if isinstance(step, Delete)]


# --- the order ---------------------------------------------------------------------------------------------------------


def test_first_the_stateful_set_goes_and_leaves_its_pods():
    decision = plan_deletion(going(*three()), POLICY, paused=False)
    (step,) = decision.steps
    assert isinstance(step, Delete)
    assert (step.kind, step.propagation, step.uid) == ("StatefulSet", "Orphan", "uid-of-StatefulSet-acid-a")


def test_then_all_pods_go_at_once():
    decision = plan_deletion(going(pod(0), pod(1, deleting=True), objects=False), POLICY, paused=False)
    assert deleted(decision) == [("Pod", "acid-a-0")]
    assert decision.waits[0].why == "2 pod(s) are ending"


def test_nothing_of_the_rest_goes_while_a_pod_is_ending():
    decision = plan_deletion(going(pod(1, deleting=True), objects=False), POLICY, paused=False)
    assert decision.steps == ()
    assert decision.waits


def test_then_claims_secrets_budgets_services_and_patronis_objects_go():
    decision = plan_deletion(going(objects=False), POLICY, paused=False)
    kinds = [kind for kind, _ in deleted(decision)]
    order = ["PersistentVolumeClaim", "Secret", "PodDisruptionBudget", "Service", "ConfigMap"]
    assert sorted(set(kinds), key=order.index) == list(dict.fromkeys(kinds)) == order
    assert all(step.uid for step in decision.steps if isinstance(step, Delete))


def test_what_is_shared_by_the_namespace_stays():
    found = deleted(plan_deletion(going(objects=False), POLICY, paused=False))
    assert not {kind for kind, _ in found} & {"ServiceAccount", "RoleBinding"}


def test_at_last_our_finalizer_goes_and_those_of_others_stay():
    seen = going(objects=False, rest=False, finalizers=("others/one", names.FINALIZER))
    (step,) = plan_deletion(seen, POLICY, paused=False).steps
    assert isinstance(step, SetFinalizers)
    assert (step.finalizers, step.resource_version) == (("others/one",), "50")


def test_the_finalizer_stays_until_everything_is_gone():
    for seen in (going(*three()), going(pod(0, deleting=True), objects=False), going(objects=False)):
        steps = plan_deletion(seen, POLICY, paused=False).steps
        assert not any(isinstance(step, SetFinalizers) for step in steps)


@pytest.mark.parametrize(
    ("claim", "of", "goes"),
    [
        ("it says that it is this cluster's", f"ns/{NAME}", True),
        ("a cluster of the same name there may have made it", None, False),
        ("it is of a cluster of the same name elsewhere", f"other/{NAME}", False),
    ],
)
def test_a_secret_in_another_namespace_goes_only_where_it_says_whose_it_is(claim, of, goes):
    seen = going(objects=False)
    name = f"other.app.{NAME}.credentials.postgresql.acid.zalan.do"
    annotations = {names.CLUSTER: of} if of else {}
    metadata = {"name": name, "namespace": "other", "uid": "uid-there", "annotations": annotations}
    secrets = {**seen.secrets, ("other", name): decoded(SecretMeta, {"metadata": metadata})}
    decision = plan_deletion(replace(seen, secrets=secrets), POLICY, paused=False)
    gone = [(s.name, s.namespace, s.uid) for s in decision.steps if isinstance(s, Delete)]
    assert ((name, "other", "uid-there") in gone) is goes, claim


@pytest.mark.parametrize(
    ("claim", "of", "goes"),
    [
        ("it says nothing, as all that lie beside their cluster", None, True),
        ("it says that it is this cluster's", f"ns/{NAME}", True),
        ("it is of a cluster of the same name elsewhere", f"other/{NAME}", False),
    ],
)
def test_a_secret_beside_the_cluster_stays_where_it_says_that_it_is_of_another(claim, of, goes):
    name = f"ns.app.{NAME}.credentials.postgresql.acid.zalan.do"
    metadata = {"name": name, "namespace": "ns", "uid": "uid-here", "annotations": {names.CLUSTER: of} if of else {}}
    secrets = {("ns", name): decoded(SecretMeta, {"metadata": metadata})}
    decision = plan_deletion(going(objects=False, rest=False, secrets=secrets), POLICY, paused=False)
    assert (("Secret", name) in deleted(decision)) is goes, claim


# --- what stays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "policy", "gone", "kept"),
    [
        ("volumes", replace(POLICY, claims=False), "Secret", "PersistentVolumeClaim"),
        ("passwords", replace(POLICY, secrets=False), "PersistentVolumeClaim", "Secret"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_settings_keep_stays(claim, policy, gone, kept):
    found = {kind for kind, _ in deleted(plan_deletion(going(objects=False), policy, paused=False))}
    assert gone in found, claim
    assert kept not in found


def test_kept_volumes_do_not_keep_the_resource():
    seen = replace(going(objects=False, rest=False), claims=(claim(0),))
    (step,) = plan_deletion(seen, KEEPING, paused=False).steps
    assert isinstance(step, SetFinalizers)


# --- what keeps it from going ------------------------------------------------------------------------------------------


def test_without_our_finalizer_nothing_is_touched():
    for finalizers in ((), ("others/one",)):
        decision = plan_deletion(going(*three(), finalizers=finalizers), POLICY, paused=False)
        assert (decision.steps, decision.held, decision.ends) == ((), (), True)


def test_a_paused_resource_waits_with_its_reason():
    decision = plan_deletion(going(*three()), POLICY, paused=True)
    assert decision.steps == ()
    assert decision.held[0].why == "the resource is paused"


def test_what_could_not_be_read_is_not_taken_for_gone():
    problem = ExternalError("kubernetes", transient=True, message="secrets: 403")
    decision = plan_deletion(going(objects=False, rest=False, problems=(problem,)), POLICY, paused=False)
    assert decision.steps == ()
    assert "403" in decision.waits[0].why


PROTECTED = replace(POLICY, date_key="delete-date", name_key="delete-name")


@pytest.mark.parametrize(
    ("annotations", "asks_for"),
    [
        ({}, "delete-date=2026-01-02"),
        ({"delete-date": "2026-01-02"}, "delete-name=acid-a"),
        ({"delete-date": "2026-01-01", "delete-name": "acid-a"}, "delete-date=2026-01-02"),
        ({"delete-date": "2026-01-02", "delete-name": "acid-b"}, "delete-name=acid-a"),
        ({"delete-date": "2026-01-02", "delete-name": "acid-a"}, None),
    ],
)
def test_a_protected_cluster_goes_only_when_every_annotation_confirms_it(annotations, asks_for):
    seen = going(*three(), annotations=annotations)
    why = protection(seen, PROTECTED)
    assert (why is None) is (asks_for is None)
    assert asks_for is None or asks_for in (why or "")
    assert bool(plan_deletion(seen, PROTECTED, paused=False).steps) is (asks_for is None)


def test_the_day_of_the_protection_is_that_of_utc():
    late = dt.timezone(dt.timedelta(hours=-5))
    at = dt.datetime(2026, 1, 1, 23, 0, tzinfo=late)  # the second of January in UTC
    seen = replace(going(annotations={"delete-date": "2026-01-02", "delete-name": NAME}), now=at)
    assert protection(seen, PROTECTED) is None


def test_the_policy_is_what_the_settings_say():
    options = {
        "enable_persistent_volume_claim_deletion": "false",
        "enable_secrets_deletion": "false",
        "delete_annotation_date_key": "d",
        "delete_annotation_name_key": "n",
    }
    assert deletion_policy(settings_from_configmap(options)[0]) == replace(
        POLICY, claims=False, secrets=False, date_key="d", name_key="n"
    )
    assert deletion_policy(settings_from_configmap({})[0]) == POLICY


def test_a_resource_seen_for_the_first_time_with_nothing_around_it_just_goes():
    seen = Observed(now=NOW, resource=resource(deleted=True))
    assert seen.resource.meta.uid == UID
    (step,) = plan_deletion(seen, POLICY, paused=False).steps
    assert isinstance(step, SetFinalizers)


def test_what_people_made_under_the_clusters_labels_stays():
    seen = going(objects=False)
    (_, secret), *_ = seen.secrets.items()
    theirs = type(secret)(metadata=type(secret.metadata)(name="my-own-secret", namespace="ns", uid="uid-mine"))
    decision = plan_deletion(
        replace(seen, secrets={**seen.secrets, ("ns", "my-own-secret"): theirs}), POLICY, paused=False
    )
    assert "my-own-secret" not in [step.name for step in decision.steps if isinstance(step, Delete)]


STRANGER = f"{NAME}-exporter"


def labelled_by_people(kind, name):
    body = {"kind": kind, "metadata": {"name": name, "namespace": "ns", "uid": "uid-theirs"}}
    return decoded(Live, body)


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment", "Service", "PodDisruptionBudget", "CronJob"])
def test_objects_of_people_with_the_clusters_labels_stay_and_are_not_waited_for(kind):
    seen = going(objects=False, rest=False)
    theirs = replace(seen, objects={(kind, STRANGER): labelled_by_people(kind, STRANGER)})
    (step,) = plan_deletion(theirs, POLICY, paused=False).steps
    assert isinstance(step, SetFinalizers)


@pytest.mark.parametrize("kind", ["ConfigMap", "Endpoints"])
def test_neither_do_what_only_looks_like_patronis(kind):
    seen = going(objects=False, rest=False)
    body = {"metadata": {"name": STRANGER, "namespace": "ns", "uid": "uid-theirs"}}
    theirs = replace(seen, patroni={(kind, STRANGER): decoded(PatroniObject, body)})
    (step,) = plan_deletion(theirs, POLICY, paused=False).steps
    assert isinstance(step, SetFinalizers)


def test_poolers_go_with_the_cluster_and_their_user_lists_whatever_the_settings_say():
    spec = {"enableConnectionPooler": True}
    seen = situation(*three(), spec=spec).observed
    users = decoded(SecretMeta, {"metadata": {"name": "acid-a-pooler-u", "namespace": "ns", "uid": "uid-of-list"}})
    secrets = {**seen.secrets, ("ns", "acid-a-pooler-u"): users}
    objects = {place: found for place, found in seen.objects.items() if place[0] != "StatefulSet"}
    there = replace(seen, resource=resource(deleted=True), pods=(), objects=objects, secrets=secrets)
    gone = deleted(plan_deletion(there, KEEPING, paused=False))
    assert gone[0] == ("Deployment", "acid-a-pooler")
    assert {("Service", "acid-a-pooler"), ("Secret", "acid-a-pooler-u")} < set(gone)
    assert [name for kind, name in gone if kind == "Secret"] == ["acid-a-pooler-u"]
