"""Whole passes against an API server: what is written, in which order, and above all what is not."""

import asyncio
import base64
import datetime as dt
import json
from copy import deepcopy

import pytest

from adapters.controller.rig import KEY, LABELS, NAME, NAMESPACE, rig
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.lead import NotLeading
from howdah.controller.passes import SOON_S
from howdah.controller.telling import COMMENTARY_S
from howdah.kube.resources import (
    CONFIGMAPS,
    ENDPOINTS,
    PERSISTENT_VOLUME_CLAIMS,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.model import names

ENV = [{"name": "LANG", "value": "C"}]
OURS = (STATEFUL_SETS, SERVICES, POD_DISRUPTION_BUDGETS, SECRETS, CONFIGMAPS, PODS)


def asked(operator):
    return [(request.verb, request.resource, request.name) for request in operator.writes()]


def of_kind(operator, resource):
    return [request for request in operator.writes() if request.resource == resource]


def everything(operator):
    return {
        (resource.plural, obj["metadata"]["name"]): obj["metadata"]["resourceVersion"]
        for resource in OURS
        for obj in operator.kube.store.select(resource, NAMESPACE, lambda _: True)
    }


def change_spec(operator, **spec):
    operator.change(POSTGRESQLS, NAME, {"spec": spec})


def delete(operator):
    operator.kube.store.delete(POSTGRESQLS, KEY)


def claim(operator, ordinal=0):
    metadata = {
        "name": f"pgdata-{NAME}-{ordinal}",
        "namespace": NAMESPACE,
        "labels": {"application": "spilo", "cluster-name": NAME},
    }
    operator.kube.store.seed(PERSISTENT_VOLUME_CLAIMS, {"metadata": metadata, "spec": {}})


# --- a new cluster and a quiet one -------------------------------------------------------------------------------------


async def test_a_new_cluster_is_made_by_posts_finalizer_first_and_stateful_set_last():
    async with rig() as operator:
        operator.create()
        await operator.one_pass()
        made = asked(operator)
        assert made[0] == ("patch", "postgresqls", NAME)
        assert {verb for verb, resource, _ in made if not resource.startswith("postgresqls")} == {"create"}
        kinds = [resource for verb, resource, _ in made if verb == "create"]
        assert kinds.index("secrets") < kinds.index("statefulsets")
        assert operator.read(POSTGRESQLS)["metadata"]["finalizers"] == [names.FINALIZER]


async def test_a_cluster_at_rest_costs_no_request_at_all():
    async with rig() as operator:
        await operator.running()
        result = await operator.one_pass()
        assert operator.kube.requests == []
        assert result.again_in_s is None
        assert operator.status["PostgresClusterStatus"] == "Running"


async def test_an_operator_that_starts_on_a_cluster_at_rest_writes_nothing():
    async with rig() as operator:
        await operator.running()
        operator.reconciler.builds.forget(KEY)
        await operator.one_pass()
        assert operator.kube.requests == []


async def test_what_somebody_else_changed_is_brought_back_by_one_apply():
    async with rig() as operator:
        await operator.running()
        live = operator.read(SERVICES)
        operator.change(SERVICES, NAME, {"spec": {"selector": {"spilo-role": "replica"}}})
        await operator.passes()
        assert operator.read(SERVICES)["spec"]["selector"] == live["spec"]["selector"]
        assert [verb for verb, resource, _ in asked(operator) if resource == "services"] == ["patch", "apply"]
        assert [r.body["metadata"]["uid"] for r in of_kind(operator, "services") if r.verb == "apply"] == [
            live["metadata"]["uid"]
        ]


async def test_a_field_that_leaves_the_manifest_goes_also_where_the_server_has_a_default_for_it():
    async with rig() as operator:
        await operator.running(schedulerName="stork")
        assert operator.read(STATEFUL_SETS)["spec"]["template"]["spec"]["schedulerName"] == "stork"
        change_spec(operator, schedulerName=None)
        await operator.passes()
        assert "schedulerName" not in operator.read(STATEFUL_SETS)["spec"]["template"]["spec"]


async def test_a_label_of_somebody_else_is_no_work():
    async with rig() as operator:
        await operator.running()
        metadata = operator.read(SERVICES)["metadata"]
        labelled = {**metadata, "labels": {**metadata["labels"], "theirs": "1"}}
        operator.change(SERVICES, NAME, {"metadata": labelled})
        await operator.one_pass()
        assert operator.writes() == []


async def test_a_store_that_was_left_behind_moves_no_cluster():
    """Services that got a selector, and pods made anew in the other store, would be a second cluster."""
    async with rig() as operator:
        await operator.running()
        annotations = {"initialize": "7", "config": "{}", "renewTime": "2020-01-01T00:00:00+00:00"}
        labels = operator.read(CONFIGMAPS, f"{NAME}-config")["metadata"]["labels"]
        metadata = {"name": f"{NAME}-config", "namespace": KEY[0], "labels": labels, "annotations": annotations}
        operator.kube.store.seed(ENDPOINTS, {"metadata": metadata})
        for leader_object in (f"{NAME}-config", f"{NAME}-leader"):
            operator.kube.store.delete(CONFIGMAPS, (KEY[0], leader_object))
        await operator.passes()
        assert not [r for r in operator.writes() if r.resource in ("statefulsets", "services", "pods", "endpoints")]


# --- who may write -----------------------------------------------------------------------------------------------------


async def test_an_observer_decides_and_writes_nothing():
    async with rig(observe_only=True) as operator:
        operator.create()
        await operator.one_pass()
        await operator.recorder.flush()
        assert operator.kube.writes() == []


async def test_an_observer_interrupts_and_deletes_nothing():
    async with rig() as writer:
        await writer.running()
        change_spec(writer, env=ENV)
        writer.reconciler._observe_only = writer.reconciler.teller._observe_only = True
        for _ in range(3):
            await writer.one_pass()
        delete(writer)
        await writer.one_pass()
        await writer.recorder.flush()
        assert writer.kube.writes() == []


async def test_who_does_not_lead_writes_nothing():
    async with rig() as operator:
        operator.create()
        operator.leads.append(False)
        with pytest.raises(NotLeading):
            await operator.one_pass()
        await operator.recorder.flush()
        assert operator.kube.writes() == []


@pytest.mark.parametrize(
    ("annotation", "mine", "is_touched"),
    [("", "", True), ("theirs", "", False), ("", "mine", False), ("theirs", "mine", False), ("mine", "mine", True)],
)
async def test_a_resource_of_another_operator_is_not_touched(annotation, mine, is_touched):
    async with rig(controller_id=mine) as operator:
        operator.create({names.CONTROLLER: annotation} if annotation else None)
        await operator.one_pass()
        assert bool(operator.writes()) is is_touched


async def test_a_paused_cluster_is_left_as_it_is():
    async with rig() as operator:
        await operator.running()
        before = everything(operator)
        operator.change(POSTGRESQLS, NAME, {"spec": {"env": ENV, "numberOfInstances": 1}})
        metadata = operator.read(POSTGRESQLS)["metadata"]
        operator.change(POSTGRESQLS, NAME, {"metadata": {**metadata, "annotations": {names.PAUSE: "all"}}})
        await operator.passes()
        assert everything(operator) == before
        assert {resource for _, resource, _ in asked(operator)} == {"postgresqls/status"}


# --- status ------------------------------------------------------------------------------------------------------------


async def test_a_status_is_written_once():
    async with rig() as operator:
        await operator.running()
        pod = operator.read(PODS, f"{NAME}-2")
        conditions = [{"type": "Ready", "status": "False"}]
        operator.change(PODS, f"{NAME}-2", {"metadata": pod["metadata"]})
        operator.kube.store.seed(PODS, {**pod, "status": {**pod["status"], "conditions": conditions}})
        for _ in range(3):
            await operator.one_pass()
        assert asked(operator) == [("patch", "postgresqls/status", NAME)]
        assert operator.condition("Degraded")[:2] == ("True", "MembersUnhealthy")


async def test_a_status_of_which_an_older_definition_left_nothing_but_braces_is_written_anew():
    async with rig() as operator:
        await operator.running()
        found = operator.read(POSTGRESQLS)
        found["status"] |= {"conditions": [{}, {}], "members": [{}]}
        operator.kube.store.seed(POSTGRESQLS, found)
        await operator.one_pass()
        assert operator.condition("Ready")[0] == "True"
        assert [member["name"] for member in operator.status["members"]]


async def test_a_position_that_moved_is_no_status():
    async with rig() as operator:
        await operator.running()
        pod = operator.read(PODS, f"{NAME}-1")
        heartbeat = json.loads(pod["metadata"]["annotations"]["status"]) | {"xlog_location": 900}
        annotations = {**pod["metadata"]["annotations"], "status": json.dumps(heartbeat)}
        operator.change(PODS, f"{NAME}-1", {"metadata": {**pod["metadata"], "annotations": annotations}})
        await operator.one_pass()
        assert operator.writes() == []


async def test_of_a_crd_that_prunes_our_fields_only_what_it_keeps_is_written_and_once():
    async with rig() as operator:

        async def prune(request):
            if request.resource == "postgresqls/status":
                kept = {"PostgresClusterStatus": request.body["status"]["PostgresClusterStatus"]}
                request.body["status"] = kept

        operator.kube.before = prune
        await operator.running()
        assert operator.status == {"PostgresClusterStatus": "Running"}
        for _ in range(3):
            await operator.one_pass()
        assert operator.writes() == []


async def test_a_status_on_a_resource_that_changed_is_not_written_but_soon_tried_again():
    async with rig() as operator:
        await operator.running()
        operator.kube.store.delete(PODS, (NAMESPACE, f"{NAME}-2"))
        operator.kube.fail_next(409, "Conflict", verb="patch", resource="postgresqls/status")
        result = await operator.one_pass()
        assert result.again_in_s is not None
        assert result.failed is None
        assert operator.condition("Degraded")[0] == "False"
        await operator.one_pass()
        assert operator.condition("Degraded")[:2] == ("True", "MembersMissing")


async def with_the_first_member_alone(operator):
    """A cluster that is being made: of its members only the first has come; what was asked so far is forgotten."""
    operator.create()
    await operator.passes()
    operator.populate()
    for number in (1, 2):
        operator.kube.store.delete(PODS, (NAMESPACE, f"{NAME}-{number}"))
    await operator.passes()
    operator.forget()


async def test_how_far_new_members_have_come_is_not_written_at_every_step():
    async with rig() as operator:
        await with_the_first_member_alone(operator)
        operator.pod(1)
        result = await operator.one_pass()
        assert operator.writes() == []
        assert result.again_in_s is not None
        assert result.again_in_s <= COMMENTARY_S
        operator.reconciler.teller._told_at[KEY] -= COMMENTARY_S
        await operator.one_pass()
        assert asked(operator) == [("patch", "postgresqls/status", NAME)]
        assert [member["name"] for member in operator.status["members"]] == [f"{NAME}-0", f"{NAME}-1"]
        operator.pod(2)
        await operator.one_pass()
        assert operator.status["PostgresClusterStatus"] == "Running", "what is not commentary is said at once"


@pytest.mark.parametrize(("others", "after_s"), [(0, 2.0), (49, 5.0), (500, 10.0)])
async def test_the_more_clusters_are_made_the_less_is_told_of_their_members(others: int, after_s: float):
    async with rig() as operator:
        await with_the_first_member_alone(operator)
        operator.reconciler.teller.phases |= {("elsewhere", f"acid-{n}"): "Creating" for n in range(others)}
        operator.reconciler.teller.phases[("elsewhere", "acid-old")] = "Running"
        operator.reconciler.teller._told_at[KEY] = asyncio.get_running_loop().time() - after_s + 1.5
        operator.pod(1)
        result = await operator.one_pass()
        assert operator.writes() == []
        assert 0.0 < (result.again_in_s or 0.0) <= 1.5
        operator.reconciler.teller._told_at[KEY] -= 1.5
        await operator.one_pass()
        assert asked(operator) == [("patch", "postgresqls/status", NAME)]


async def test_a_pass_that_sets_the_finalizer_leaves_the_status_to_the_next_one():
    async with rig() as operator:
        operator.create()
        result = await operator.one_pass()
        assert "postgresqls/status" not in {resource for _, resource, _ in asked(operator)}
        assert result.again_in_s == SOON_S
        await operator.one_pass()
        assert operator.status["PostgresClusterStatus"] == "Creating"


# --- a manifest that cannot be acted on --------------------------------------------------------------------------------


async def test_an_invalid_manifest_is_said_with_every_mistake_and_the_cluster_stays():
    async with rig() as operator:
        await operator.running()
        before = everything(operator)
        change_spec(operator, volume={"size": "10 gigs"}, numberOfInstances=1, env=ENV, users={"foo": ["nonsense"]})
        await operator.passes()
        assert everything(operator) == before
        assert operator.status["PostgresClusterStatus"] == "UpdateFailed"
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "InvalidSpec")
        assert "spec.volume.size" in message
        assert "spec.users" in message
        assert ("Warning", "InvalidSpec") in operator.events()
        assert [member["name"] for member in operator.status["members"]] == ["acid-a-0", "acid-a-1", "acid-a-2"]
        operator.forget()
        await operator.one_pass()
        assert operator.writes() == []


async def test_a_first_manifest_that_is_invalid_makes_nothing():
    async with rig() as operator:
        operator.create(volume={"size": "10 gigs"})
        await operator.passes()
        assert {resource for _, resource, _ in asked(operator)} == {"postgresqls/status"}
        assert operator.status["PostgresClusterStatus"] == "CreateFailed"


async def test_a_secret_that_a_manifest_names_is_waited_for_and_its_values_reach_no_object():
    archive = {"provider": "s3", "bucket": "mine", "credentialsSecret": "store-keys"}
    async with rig() as operator:
        operator.create(archive=archive)
        await operator.passes()
        assert {resource for _, resource, _ in asked(operator)} == {"postgresqls/status"}
        assert "store-keys in namespace ns does not exist" in operator.condition("Degraded")[2]
        data = {"AWS_ACCESS_KEY_ID": "S0VZ", "AWS_SECRET_ACCESS_KEY": "SFVTSA=="}
        operator.kube.store.seed(SECRETS, {"metadata": {"name": "store-keys", "namespace": NAMESPACE}, "data": data})
        await operator.passes()
        (container,) = operator.read(STATEFUL_SETS, NAME)["spec"]["template"]["spec"]["containers"]
        entry = next(entry for entry in container["env"] if entry["name"] == "AWS_SECRET_ACCESS_KEY")
        assert entry["valueFrom"] == {"secretKeyRef": {"name": "store-keys", "key": "AWS_SECRET_ACCESS_KEY"}}
        assert "SFVTSA" not in str(container)
        assert "HUSH" not in str(container)


# --- interrupting somebody ---------------------------------------------------------------------------------------------


async def rolling(operator):
    """A cluster whose template is new, and whose pods are not yet."""
    await operator.running()
    change_spec(operator, env=ENV)
    await operator.one_pass()
    assert of_kind(operator, "pods") == [], "a pod made now would be made from the old template"
    operator.forget()


async def test_a_pod_is_announced_before_it_is_deleted_as_it_was_seen():
    async with rig() as operator:
        await rolling(operator)
        pod = operator.read(PODS, f"{NAME}-2")["metadata"]
        await operator.one_pass()
        disruptive = [w for w in asked(operator) if w[1] in ("postgresqls", "pods")]
        assert disruptive == [("patch", "postgresqls", NAME), ("delete", "pods", f"{NAME}-2")]
        (deletion,) = of_kind(operator, "pods")
        assert deletion.body["preconditions"] == {"uid": pod["uid"], "resourceVersion": pod["resourceVersion"]}
        intent = json.loads(operator.read(POSTGRESQLS)["metadata"]["annotations"][names.DISRUPTION])
        assert (intent["step"], intent["member"], intent["uid"]) == ("ReplacePod", f"{NAME}-2", pod["uid"])
        assert len(operator.kube.store.select(PODS, NAMESPACE, lambda _: True)) == 2


async def test_the_next_pod_waits_until_the_first_is_back():
    async with rig() as operator:
        await rolling(operator)
        for _ in range(4):
            await operator.one_pass()
        assert [name for verb, resource, name in asked(operator) if resource == "pods"] == [f"{NAME}-2"]


async def test_a_roll_goes_on_hands_over_and_takes_its_announcement_back():
    async with rig() as operator:
        await rolling(operator)
        await operator.one_pass()
        operator.revision("newer", operator.read(STATEFUL_SETS)["spec"]["template"])
        operator.pod(2, "newer")
        await operator.one_pass()
        operator.pod(1, "newer")
        operator.kube.store.seed(SECRETS, superuser_secret())
        await operator.one_pass()
        assert [command[:2] for command in operator.api.commands] == [(f"{NAME}-0", "/switchover")]
        assert operator.find(PODS, f"{NAME}-0") is not None, "a leader is never deleted"
        operator.pod(0, "newer")
        await operator.passes()
        assert names.DISRUPTION not in operator.read(POSTGRESQLS)["metadata"]["annotations"]
        assert operator.status["PostgresClusterStatus"] == "Running"


def superuser_secret():
    data = {"username": "cG9zdGdyZXM=", "password": "cHc="}
    name = f"postgres.{NAME}.credentials.postgresql.acid.zalan.do"
    labels = {"application": "spilo", "cluster-name": NAME}
    return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, "data": data}


async def test_a_roll_that_its_window_cuts_off_stands_still_and_takes_its_announcement_back():
    async with rig() as operator:
        await rolling(operator)
        await operator.one_pass()
        operator.revision("newer", operator.read(STATEFUL_SETS)["spec"]["template"])
        operator.pod(2, "newer")
        opens = dt.datetime.now(dt.UTC) + dt.timedelta(hours=12)
        change_spec(operator, maintenanceWindows=[f"{opens:%H:%M}-{opens:%H:%M}"])
        operator.forget()
        await operator.passes()
        assert of_kind(operator, "pods") == []
        assert names.DISRUPTION not in operator.read(POSTGRESQLS)["metadata"]["annotations"]
        status, _, message = operator.condition("RestartPending")
        assert (status, "the maintenance window opens at" in message) == ("True", True)
        assert operator.condition("Progressing")[:2] == ("False", "Held")


async def test_without_its_announcement_no_pod_is_deleted():
    async with rig() as operator:
        await rolling(operator)
        operator.kube.fail_next(409, "Conflict", verb="patch", resource="postgresqls")
        await operator.one_pass()
        assert of_kind(operator, "pods") == []


async def test_members_are_asked_directly_before_a_pod_is_deleted():
    async with rig() as operator:
        await rolling(operator)
        operator.api.silent.add(1)
        await operator.one_pass()
        assert of_kind(operator, "pods") == [], "a member that does not answer is not healthy"


async def test_a_step_that_another_operator_announced_is_waited_for():
    async with rig() as operator:
        await rolling(operator)
        pod = operator.read(PODS, f"{NAME}-1")["metadata"]
        at = operator.reconciler._clock().isoformat()
        theirs = {"step": "ReplacePod", "member": f"{NAME}-1", "uid": pod["uid"], "reason": "r", "at": at}
        metadata = operator.read(POSTGRESQLS)["metadata"]
        operator.change(
            POSTGRESQLS, NAME, {"metadata": {**metadata, "annotations": {names.DISRUPTION: json.dumps(theirs)}}}
        )
        await operator.one_pass()
        assert of_kind(operator, "pods") == []


async def test_a_pod_that_changed_since_the_live_look_is_not_deleted():
    async with rig() as operator:
        await rolling(operator)

        async def touch(request):
            if request.verb == "delete":
                live = deepcopy(operator.read(PODS, f"{NAME}-2"))
                live["metadata"]["labels"]["touched"] = "1"
                operator.kube.before = None
                operator.change(PODS, f"{NAME}-2", {"metadata": live["metadata"]})

        operator.kube.before = touch
        await operator.one_pass()
        assert operator.find(PODS, f"{NAME}-2") is not None


# --- failures ----------------------------------------------------------------------------------------------------------


async def test_a_step_that_is_refused_is_said_and_not_tried_again_at_once():
    async with rig() as operator:
        await operator.running()
        operator.kube.store.delete(SERVICES, KEY)
        operator.kube.fail_next(403, "Forbidden", verb="create", resource="services", times=9)
        result = await operator.one_pass()
        assert result.failed is not None
        assert operator.condition("Degraded")[:2] == ("True", "StepFailed")
        await operator.one_pass()
        assert len([w for w in asked(operator) if w[1] == "services"]) == 1


async def test_a_right_that_the_api_server_has_not_heard_of_yet_is_asked_for_soon_and_then_seldom():
    async with rig() as operator:
        await operator.running()
        delete(operator)
        operator.kube.fail_next(403, "Forbidden", verb="list", resource="pods", times=8)
        waits = [(await operator.one_pass()).again_in_s for _ in range(8)]
        assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
        assert "Forbidden" in operator.condition("Degraded")[2]
        await operator.one_pass()
        operator.kube.fail_next(403, "Forbidden", verb="list", resource="pods")
        assert (await operator.one_pass()).again_in_s == 1


# --- deletion ----------------------------------------------------------------------------------------------------------


async def test_a_resource_that_goes_without_our_finalizer_takes_nothing_with_it():
    async with rig() as operator:
        await operator.running()
        metadata = {**operator.read(POSTGRESQLS)["metadata"], "finalizers": ["others/finalizer"]}
        operator.change(POSTGRESQLS, NAME, {"metadata": metadata})
        delete(operator)
        before = everything(operator)
        for _ in range(3):
            await operator.one_pass()
        assert operator.writes() == []
        assert everything(operator) == before


async def test_a_resource_that_vanished_takes_nothing_with_it():
    async with rig() as operator:
        await operator.running()
        metadata = {**operator.read(POSTGRESQLS)["metadata"], "finalizers": []}
        operator.change(POSTGRESQLS, NAME, {"metadata": metadata})
        delete(operator)
        assert operator.find(POSTGRESQLS) is None
        for _ in range(3):
            await operator.one_pass()
        assert operator.writes() == []


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_deleted_cluster_goes_in_order_and_its_volumes_as_the_settings_say(keeps):
    async with rig(options={"enable_persistent_volume_claim_deletion": str(not keeps).lower()}) as operator:
        await operator.running()
        claim(operator)
        delete(operator)
        for _ in range(8):
            await operator.one_pass()
        gone = [(resource, name) for verb, resource, name in asked(operator) if verb == "delete"]
        kinds = list(dict.fromkeys(resource for resource, _ in gone))
        assert kinds[:2] == ["statefulsets", "pods"]
        assert {"secrets", "services", "configmaps"} <= set(kinds[2:])
        assert ("persistentvolumeclaims" in kinds) is not keeps
        assert operator.find(POSTGRESQLS) is None, "the finalizer goes at last"
        assert all(request.body["preconditions"]["uid"] for request in operator.writes() if request.verb == "delete")


async def test_a_deleted_cluster_goes_while_a_deployment_of_people_keeps_making_pods_with_its_labels():
    async with rig() as operator:
        await operator.running()
        kinds = ((STATEFUL_SETS, f"{NAME}-exporter"), (PODS, f"{NAME}-exporter-7c9f-x2x4z"))
        for kind, name in kinds:
            metadata = {"name": name, "namespace": NAMESPACE, "labels": LABELS}
            operator.kube.store.seed(kind, {"metadata": metadata, "spec": {"containers": []}})
        delete(operator)
        for _ in range(8):
            await operator.one_pass()
        assert operator.find(POSTGRESQLS) is None
        assert all(operator.find(kind, name) is not None for kind, name in kinds)
        assert operator.find(STATEFUL_SETS) is None
        assert operator.find(PODS, f"{NAME}-0") is None


async def test_late_caches_delete_nothing_of_a_later_resource_of_the_same_name():
    async with rig() as operator:
        await operator.running()
        delete(operator)
        await operator.caught_up()
        seen = deepcopy(operator.read(POSTGRESQLS))
        before = everything(operator)

        async def another(request):
            if request.verb == "get" and request.resource == "postgresqls":
                operator.kube.before = None
                metadata = {"name": NAME, "namespace": NAMESPACE, "finalizers": [names.FINALIZER]}
                operator.kube.store.seed(POSTGRESQLS, {"metadata": metadata, "spec": {}})

        operator.kube.before = another
        await operator.reconciler.run(KEY)
        assert operator.read(POSTGRESQLS)["metadata"]["uid"] != seen["metadata"]["uid"]
        assert everything(operator) == before


# --- credentials that the manifest spells out --------------------------------------------------------------------------

CLONE = {"cluster": "acid-b", "timestamp": "2026-01-01T00:00:00+00:00", "s3_wal_path": "s3://bucket/path"}


async def test_a_credential_that_the_manifest_changes_reaches_its_secret_and_is_read_once_per_version():
    async with rig() as operator:
        keys = {"s3_access_key_id": "KEY-1", "s3_secret_access_key": "HUSH-1"}
        await operator.running(clone={**CLONE, **keys})
        held = operator.read(SECRETS, f"{NAME}-environment")["data"]
        assert base64.b64decode(held["CLONE_AWS_SECRET_ACCESS_KEY"]) == b"HUSH-1"
        operator.change(POSTGRESQLS, NAME, {"spec": {"clone": {**CLONE, **keys, "s3_secret_access_key": "HUSH-2"}}})
        await operator.passes()
        held = operator.read(SECRETS, f"{NAME}-environment")["data"]
        assert base64.b64decode(held["CLONE_AWS_SECRET_ACCESS_KEY"]) == b"HUSH-2"
        assert base64.b64decode(held["CLONE_AWS_ACCESS_KEY_ID"]) == b"KEY-1"
        operator.forget()
        for _ in range(3):
            await operator.one_pass()
        assert not operator.kube.requests


# --- Secrets in other namespaces ---------------------------------------------------------------------------------------


async def test_a_deleted_cluster_takes_its_own_secrets_of_other_namespaces_with_it_and_no_others():
    def secret(name, namespace, annotations):
        metadata = {"name": name, "namespace": namespace, "labels": LABELS, "annotations": annotations}
        return {"metadata": metadata, "data": {"password": "eA=="}}

    theirs = f"svc.{NAME}.credentials.postgresql.acid.zalan.do"
    mine = f"apps.{theirs}"
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        operator.kube.store.seed(SECRETS, secret(mine, "apps", {names.CLUSTER: f"{NAMESPACE}/{NAME}"}))
        operator.kube.store.seed(SECRETS, secret(theirs, "apps", {}))
        operator.kube.store.seed(SECRETS, secret(f"other.{theirs}", "apps", {names.CLUSTER: f"apps/{NAME}"}))
        await operator.one_pass()
        delete(operator)
        for _ in range(8):
            await operator.one_pass()
        assert operator.find(POSTGRESQLS) is None
        left = [s["metadata"]["name"] for s in operator.kube.store.select(SECRETS, "apps", lambda _: True)]
        assert left == [f"other.{theirs}", theirs]


async def test_a_deleted_cluster_leaves_the_secret_of_its_namesake_in_the_namespace_of_its_role():
    name = f"apps.svc.{NAME}.credentials.postgresql.acid.zalan.do"
    options = {"enable_cross_namespace_secret": "true"}
    async with rig(namespaces=(NAMESPACE, "apps"), options=options) as operator:
        operator.kube.store.seed(POSTGRESQLS, {"metadata": {"name": NAME, "namespace": "apps"}, "spec": {}})
        metadata = {"name": name, "namespace": "apps", "labels": LABELS}  # made for that one's user of this name
        operator.kube.store.seed(SECRETS, {"metadata": metadata, "data": {"password": "eA=="}})
        await operator.running(users={"apps.svc": []})
        delete(operator)
        for _ in range(8):
            await operator.one_pass()
        assert operator.find(POSTGRESQLS) is None
        assert operator.kube.store.find(SECRETS, "apps", name) is not None
