"""Every kind of step against an API server: what it changes, and what it leaves alone when it comes late or twice."""

import asyncio
import base64
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from adapters.controller.rig import NAME, NAMESPACE, Rig, rig
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.apply import SERVICES_AT_ONCE
from howdah.controller.lead import NotLeading
from howdah.controller.observe import utc_now
from howdah.core import plan as p
from howdah.core.intent import intent_of
from howdah.core.objects.ownership import taken_over
from howdah.core.objects.secrets import secret
from howdah.kube.errors import Conflict, TooManyRequests
from howdah.kube.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    ROLE_BINDINGS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.kube.testing import Fault, fitting
from howdah.kube.testing.store import Writer
from howdah.model import names
from howdah.model.postgres.desired import PasswordOrigin
from steady import HANGS_S
from unit.core.clusters import cluster, situation, three

STALE = "1"
SUPERUSER_SECRET = "postgres.acid-a.credentials.postgresql.acid.zalan.do"


@pytest.fixture
async def operator() -> AsyncIterator[Rig]:
    async with rig() as made:
        made.create()
        yield made


def service(port: int = 5432, **labels: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {"ports": [{"name": "postgresql", "port": port, "protocol": "TCP"}]},
    }


def made(operator: Rig, resource, body, manager="howdah"):
    return operator.kube.store.create(resource, body, Writer(manager))


def uid_of(live):
    return live["metadata"]["uid"]


async def carried_out(operator, *steps, **of_target):
    return await operator.applier.carry_out(replace(operator.target(), **of_target), steps)


# --- what is new -------------------------------------------------------------------------------------------------------


async def test_what_exists_already_is_not_created_but_looked_at_again(operator):
    made(operator, SERVICES, service(team="ours"))
    outcome = await carried_out(operator, p.Create(reason="r", body=service(team="ours")))
    assert outcome.is_conflict
    assert operator.told == [], "a lost race is no failure"


@pytest.mark.parametrize("resource", [SERVICE_ACCOUNTS, ROLE_BINDINGS], ids=lambda r: r.kind)
async def test_what_another_cluster_of_the_namespace_has_just_made_for_all_of_them_stops_no_pass(operator, resource):
    body = {"apiVersion": resource.api_version, "kind": resource.kind}
    body["metadata"] = {"name": "postgres-pod", "namespace": NAMESPACE, "labels": {"application": "spilo"}}
    made(operator, resource, body)
    steps = p.Create(reason="r", body=body), p.Create(reason="r", body=service())
    outcome = await carried_out(operator, *steps)
    assert outcome.done == steps
    assert operator.find(SERVICES) is not None


async def test_an_object_of_somebody_else_is_not_taken_but_said(operator):
    made(operator, SERVICES, service(team="theirs"))
    outcome = await carried_out(operator, p.Create(reason="r", body=service(team="ours")))
    assert not outcome.is_conflict
    assert "is not this cluster's" in (outcome.error or "")
    assert operator.read(SERVICES)["metadata"]["labels"] == {"team": "theirs"}


async def test_a_wave_of_clusters_asks_for_few_service_addresses_at_once(operator):
    now, most = 0, 0

    async def slow(request):
        nonlocal now, most
        if request.resource == "services":
            now, most = now + 1, max(most, now + 1)
            await asyncio.sleep(0.01)
            now -= 1

    operator.kube.before = slow
    bodies = [service() for _ in range(40)]
    for number, body in enumerate(bodies):
        body["metadata"]["name"] = f"acid-{number}"
    outcomes = await asyncio.gather(*(carried_out(operator, p.Create(reason="r", body=body)) for body in bodies))
    assert all(outcome.done for outcome in outcomes)
    assert 1 < most <= SERVICES_AT_ONCE


def create_secret():
    request = next(request for request in cluster().secrets if request.username == "postgres")
    return p.CreateSecret(reason="r", body=secret(request), username="postgres")


def password(operator):
    return base64.b64decode(operator.read(SECRETS, SUPERUSER_SECRET)["data"]["password"]).decode()


async def test_a_new_secret_has_a_long_random_password(operator):
    assert (await carried_out(operator, create_secret())).failed is None
    first = password(operator)
    assert len(first) == 64
    assert first.isalnum()
    operator.kube.store.delete(SECRETS, (NAMESPACE, SUPERUSER_SECRET))
    await carried_out(operator, create_secret())
    assert password(operator) != first


async def test_the_password_of_a_secret_that_exists_stands(operator):
    await carried_out(operator, create_secret())
    before = operator.read(SECRETS, SUPERUSER_SECRET)
    outcome = await carried_out(operator, create_secret())
    assert outcome.is_conflict
    assert operator.read(SECRETS, SUPERUSER_SECRET) == before
    assert [request.verb for request in operator.writes()] == ["create", "create"], "it is never written otherwise"


async def test_no_step_nor_what_is_told_of_it_holds_a_password(operator):
    operator.kube.fail_next(422, "Invalid", verb="create", resource="secrets")
    failed = await carried_out(operator, create_secret())
    sent = operator.writes()[0].body["stringData"]["password"]
    await carried_out(operator, create_secret())
    for text in (repr(failed), repr(operator.told)):
        assert sent not in text
        assert password(operator) not in text


CLONED = {
    "clone": {
        "cluster": "acid-b",
        "timestamp": "2026-01-01T00:00:00+00:00",
        "s3_wal_path": "s3://bucket/path",
        "s3_access_key_id": "KEY-ID",
        "s3_secret_access_key": "SECRET-KEY",
    }
}


async def test_the_secret_of_spelled_out_credentials_is_made_once(operator):
    seen = situation(*three(), spec=CLONED)
    request = seen.cluster.environment_secret
    assert request is not None
    step = p.CreateEnvironmentSecret(reason="r", body=secret(request))
    assert (await carried_out(operator, step, situation=seen)).failed is None
    held = operator.read(SECRETS, "acid-a-environment")
    assert decoded(held) == dict(request.values)
    assert (await carried_out(operator, step, situation=seen)).is_conflict
    assert operator.read(SECRETS, "acid-a-environment") == held


def decoded(held):
    return {key: base64.b64decode(value).decode() for key, value in held["data"].items()}


async def test_of_that_secret_exactly_the_named_keys_get_the_values_asked_for(operator):
    seen = situation(*three(), spec=CLONED)
    body = {"metadata": {"name": "acid-a-environment", "namespace": NAMESPACE}}
    old = {"CLONE_AWS_ACCESS_KEY_ID": "OLD", "SCALYR_API_KEY": "NO LONGER", "THEIRS": "1"}
    live = made(operator, SECRETS, {**body, "stringData": old})
    step = p.UpdateEnvironmentSecret(
        reason="r",
        name="acid-a-environment",
        namespace=NAMESPACE,
        uid=uid_of(live),
        keys=("CLONE_AWS_ACCESS_KEY_ID", "SCALYR_API_KEY"),
    )
    assert (await carried_out(operator, replace(step, uid="another"), situation=seen)).is_conflict
    assert (await carried_out(operator, step, situation=seen)).failed is None
    held = decoded(operator.read(SECRETS, "acid-a-environment"))
    assert held == {"CLONE_AWS_ACCESS_KEY_ID": "KEY-ID", "THEIRS": "1"}
    assert "KEY-ID" not in repr(step)


# --- what exists -------------------------------------------------------------------------------------------------------


async def test_an_apply_changes_exactly_the_object_that_was_seen(operator):
    live = made(operator, SERVICES, service(5432))
    outcome = await carried_out(operator, p.Apply(reason="r", body=service(5433), uid=uid_of(live)))
    assert outcome.failed is None
    assert {port["port"] for port in operator.read(SERVICES)["spec"]["ports"]} >= {5433}


async def test_an_apply_makes_nothing_of_an_object_that_was_deleted(operator):
    outcome = await carried_out(operator, p.Apply(reason="r", body=service(), uid="uid-of-a-deleted-one"))
    assert outcome.is_conflict
    assert operator.find(SERVICES) is None


async def test_an_apply_leaves_a_later_object_of_the_same_name_alone(operator):
    before = made(operator, SERVICES, service(5432))
    outcome = await carried_out(operator, p.Apply(reason="r", body=service(5433), uid="uid-of-an-earlier-one"))
    assert outcome.is_conflict
    assert operator.read(SERVICES) == before


def take_over(live, version=None, uid=None):
    entries = taken_over(live["metadata"]["managedFields"])
    assert entries is not None
    metadata = live["metadata"]
    return p.TakeOver(
        reason="r",
        kind="Service",
        name=NAME,
        uid=uid or metadata["uid"],
        resource_version=version or metadata["resourceVersion"],
        managed_fields=entries,
    )


@pytest.mark.parametrize("manager", ["howdah", "postgres-operator"])
async def test_after_a_take_over_an_apply_removes_a_field_that_is_given_up(operator, manager):
    live = made(operator, SERVICES, service(team="kept", gone="x"), manager)
    apply = p.Apply(reason="r", body=service(team="kept"), uid=uid_of(live))
    assert (await carried_out(operator, take_over(live), apply)).failed is None
    assert operator.read(SERVICES)["metadata"]["labels"] == {"team": "kept"}


async def test_fields_of_an_object_that_changed_are_not_taken_over(operator):
    before = made(operator, SERVICES, service(), "postgres-operator")
    for step in (take_over(before, version=STALE), take_over(before, uid="another")):
        assert (await carried_out(operator, step)).is_conflict
        assert operator.read(SERVICES) == before


async def test_annotations_of_a_pod_are_merged(operator):
    operator.pod(0)
    live = operator.read(PODS, f"{NAME}-0")
    operator.change(PODS, f"{NAME}-0", {"metadata": {**live["metadata"], "annotations": {"theirs": "1", "gone": "1"}}})
    step = p.AnnotatePod(reason="r", name=f"{NAME}-0", uid=uid_of(live), annotations={"ours": "2", "gone": None})
    assert (await carried_out(operator, step)).failed is None
    assert operator.read(PODS, f"{NAME}-0")["metadata"]["annotations"] == {"theirs": "1", "ours": "2"}


async def test_a_later_pod_of_the_same_name_is_not_annotated(operator):
    operator.pod(0)
    step = p.AnnotatePod(reason="r", name=f"{NAME}-0", uid="uid-of-an-earlier-one", annotations={"ours": "2"})
    assert (await carried_out(operator, step)).is_conflict
    assert "ours" not in operator.read(PODS, f"{NAME}-0")["metadata"]["annotations"]


async def test_metadata_is_merged_and_what_others_wrote_stays(operator):
    theirs = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "uid-of-n"}
    mine = {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "name": NAME, "uid": "uid-of-a", "controller": True}
    metadata = {"name": f"{NAME}-leader", "namespace": NAMESPACE, "annotations": {"leader": "x"}}
    live = made(operator, CONFIGMAPS, {"metadata": {**metadata, "ownerReferences": [theirs]}}, "patroni")
    step = p.PatchMetadata(
        reason="r",
        kind="ConfigMap",
        name=f"{NAME}-leader",
        namespace=NAMESPACE,
        uid=uid_of(live),
        annotations={"owned-by": "me"},
        owner_references=(theirs, mine),
        resource_version=live["metadata"]["resourceVersion"],
    )
    assert (await carried_out(operator, replace(step, uid="another"))).is_conflict
    assert (await carried_out(operator, replace(step, resource_version=STALE))).is_conflict
    assert (await carried_out(operator, step)).failed is None
    found = operator.read(CONFIGMAPS, f"{NAME}-leader")["metadata"]
    assert found["annotations"] == {"leader": "x", "owned-by": "me"}
    assert found["ownerReferences"] == [theirs, mine]
    assert (await carried_out(operator, step)).is_conflict  # the list was seen in another version


async def test_annotations_need_no_version_for_a_leader_renews_its_lock_all_the_time(operator):
    metadata = {"name": f"{NAME}-leader", "namespace": NAMESPACE, "annotations": {"leader": "x"}}
    live = made(operator, CONFIGMAPS, {"metadata": metadata}, "patroni")
    operator.change(CONFIGMAPS, f"{NAME}-leader", {"metadata": {"annotations": {"leader": "y"}}})
    step = p.PatchMetadata(
        reason="r",
        kind="ConfigMap",
        name=f"{NAME}-leader",
        namespace=NAMESPACE,
        uid=uid_of(live),
        annotations={"owned-by": "me"},
    )
    assert (await carried_out(operator, step)).failed is None
    found = operator.read(CONFIGMAPS, f"{NAME}-leader")["metadata"]["annotations"]
    assert found == {"leader": "y", "owned-by": "me"}


async def test_a_claim_grows_only_if_it_is_the_one_that_was_seen(operator):
    name = f"pgdata-{NAME}-0"
    body = {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"resources": {"requests": {"storage": "1Gi"}}},
    }
    live = made(operator, PERSISTENT_VOLUME_CLAIMS, body)
    step = p.GrowClaim(reason="r", name=name, uid=uid_of(live), storage="2Gi")
    assert (await carried_out(operator, replace(step, uid="another"))).is_conflict
    assert (await carried_out(operator, step)).failed is None
    assert operator.read(PERSISTENT_VOLUME_CLAIMS, name)["spec"]["resources"]["requests"] == {"storage": "2Gi"}


async def test_finalizers_are_set_only_on_the_version_that_was_seen(operator):
    version = operator.read(POSTGRESQLS)["metadata"]["resourceVersion"]
    step = p.SetFinalizers(reason="r", finalizers=(names.FINALIZER,), resource_version=STALE)
    assert (await carried_out(operator, step)).is_conflict
    assert "finalizers" not in operator.read(POSTGRESQLS)["metadata"]
    assert (await carried_out(operator, replace(step, resource_version=version))).failed is None
    assert operator.read(POSTGRESQLS)["metadata"]["finalizers"] == [names.FINALIZER]


# --- what goes ---------------------------------------------------------------------------------------------------------


async def test_a_deletion_names_the_object_that_was_seen(operator):
    live = made(operator, SERVICES, service())
    step = p.Delete(reason="r", kind="Service", name=NAME, uid="another")
    assert (await carried_out(operator, step)).is_conflict
    assert operator.find(SERVICES) is not None
    assert (await carried_out(operator, replace(step, uid=uid_of(live)))).failed is None
    assert operator.find(SERVICES) is None
    assert (await carried_out(operator, step)).failed is None, "what is gone is gone"


def replace_pod(operator, **changes):
    metadata = operator.read(PODS, f"{NAME}-1")["metadata"]
    exact = {"name": metadata["name"], "uid": metadata["uid"], "resource_version": metadata["resourceVersion"]}
    return p.ReplacePod(reason="r", **{**exact, **changes})


async def test_a_pod_is_replaced_by_deleting_exactly_what_was_seen(operator):
    operator.pod(1)
    step = replace_pod(operator)
    assert (await carried_out(operator, step)).failed is None
    assert operator.find(PODS, f"{NAME}-1") is None
    (request,) = operator.writes()
    assert request.body["preconditions"] == {"uid": step.uid, "resourceVersion": step.resource_version}


@pytest.mark.parametrize("change", [{"uid": "another"}, {"resource_version": STALE}], ids=["another pod", "it changed"])
async def test_a_pod_that_is_not_as_it_was_seen_is_left_alone(operator, change):
    operator.pod(1)
    assert (await carried_out(operator, replace_pod(operator, **change))).is_conflict
    assert operator.find(PODS, f"{NAME}-1") is not None


def scale_in(live, **changes):
    metadata = live["metadata"]
    place = {key: metadata[key] for key in ("name", "namespace")}
    step = p.ScaleIn(
        reason="r",
        body={"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": place, "spec": {"replicas": 2}},
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        leader=f"{NAME}-0",
        object_kind="ConfigMap",
        object_name=f"{NAME}-leader",
    )
    return replace(step, **changes)


def three_replicas(operator):
    """The StatefulSet, with a leader."""
    operator.kube.store.seed(CONFIGMAPS, leader_object(f"{NAME}-0"))
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return made(operator, STATEFUL_SETS, {"metadata": metadata, "spec": {"replicas": 3}})


def leader_object(leader):
    metadata = {"name": f"{NAME}-leader", "namespace": NAMESPACE, "annotations": {"leader": leader, "ttl": "30"}}
    return {"metadata": metadata}


async def test_members_go_if_all_is_as_it_was_seen(operator):
    live = three_replicas(operator)
    assert (await carried_out(operator, scale_in(live))).failed is None
    assert operator.read(STATEFUL_SETS)["spec"]["replicas"] == 2


@pytest.mark.parametrize("change", [{"uid": "another"}, {"resource_version": STALE}, {"leader": f"{NAME}-1"}])
async def test_no_member_goes_if_something_is_not_as_it_was_seen(operator, change):
    live = three_replicas(operator)
    assert (await carried_out(operator, scale_in(live, **change))).is_conflict
    assert operator.read(STATEFUL_SETS)["spec"]["replicas"] == 3


async def test_where_every_member_goes_it_does_not_matter_who_leads(operator):
    live = three_replicas(operator)
    assert (await carried_out(operator, scale_in(live, leader=None, object_name="none"))).failed is None


def roll_pooler(live, **changes):
    seen = {"uid": uid_of(live), "resource_version": live["metadata"]["resourceVersion"]}
    metadata = {"name": NAME, "namespace": NAMESPACE}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 4}}
    return p.RollPooler(reason="r", body=body, **{**seen, **changes})


def replace_pooler(live, **changes):
    seen = {"uid": uid_of(live), "resource_version": live["metadata"]["resourceVersion"]}
    return p.ReplacePooler(reason="r", kind="Deployment", name=NAME, **{**seen, **changes})


@pytest.mark.parametrize("step", [roll_pooler, replace_pooler])
async def test_the_pods_of_a_pooler_go_only_if_its_deployment_is_as_it_was_seen(operator, step):
    metadata = {"name": NAME, "namespace": NAMESPACE}
    live = made(operator, DEPLOYMENTS, {"metadata": metadata, "spec": {"replicas": 3}})
    for changed in ({"uid": "another"}, {"resource_version": STALE}):
        assert (await carried_out(operator, step(live, **changed))).is_conflict
        assert operator.read(DEPLOYMENTS) == live
    assert (await carried_out(operator, step(live))).failed is None
    assert operator.find(DEPLOYMENTS) != live


@pytest.mark.parametrize("step", [scale_in, roll_pooler, replace_pooler, replace_pod])
async def test_what_interrupts_somebody_is_not_repeated_where_the_server_is_busy(operator, step):
    operator.pod(1)
    live = three_replicas(operator)
    if step in (roll_pooler, replace_pooler):
        live = made(operator, DEPLOYMENTS, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {}})
    operator.forget()
    operator.kube.faults.add(Fault(fitting("write"), status=429, reason="TooManyRequests", times=1))
    outcome = await carried_out(operator, step(operator) if step is replace_pod else step(live))
    assert outcome.failed is not None
    assert [request.status for request in operator.writes()] == [429]


async def test_nor_is_its_announcement(operator):
    seen = operator.read(POSTGRESQLS)["metadata"]["resourceVersion"]
    operator.kube.faults.add(Fault(fitting("patch", "postgresqls"), status=429, reason="TooManyRequests"))
    operator.pod(1)
    with pytest.raises(TooManyRequests):
        await operator.applier.announce(operator.target(), intent_of(replace_pod(operator), utc_now()), seen)


async def test_who_loses_the_lead_while_a_server_is_busy_does_not_write_after_that(operator):
    operator.kube.faults.add(
        Fault(fitting("create", "services"), status=429, reason="TooManyRequests", retry_after_s=1)
    )
    task = asyncio.create_task(carried_out(operator, p.Create(reason="r", body=service())))
    async with asyncio.timeout(5):
        while not operator.writes():
            await asyncio.sleep(0.01)
    operator.leads.append(False)
    with pytest.raises(NotLeading):
        await task
    assert operator.find(SERVICES) is None


async def test_a_pod_that_is_gone_already_means_looking_again(operator):
    operator.pod(1)
    step = replace_pod(operator)
    await carried_out(operator, step)
    assert (await carried_out(operator, step)).is_conflict


async def test_a_dead_leaders_lock_is_released_only_if_nobody_renewed_it(operator):
    metadata = {
        "name": f"{NAME}-leader",
        "namespace": NAMESPACE,
        "annotations": {"leader": "a", "renewTime": "x", "ttl": "30"},
    }
    live = made(operator, CONFIGMAPS, {"metadata": metadata}, "patroni")
    name, version = f"{NAME}-leader", live["metadata"]["resourceVersion"]
    release = {"reason": "r", "object_kind": "ConfigMap", "name": name, "uid": uid_of(live), "leader": "a"}
    assert (await carried_out(operator, p.ReleaseLeader(**release, resource_version=STALE))).is_conflict
    assert operator.read(CONFIGMAPS, name) == live
    assert (await carried_out(operator, p.ReleaseLeader(**release, resource_version=version))).failed is None
    assert operator.read(CONFIGMAPS, name)["metadata"]["annotations"] == {"ttl": "30"}


async def test_members_are_called_to_elect_only_if_the_lock_is_as_it_was_seen(operator):
    metadata = {"name": f"{NAME}-leader", "namespace": NAMESPACE, "annotations": {"leader": "a", "renewTime": "x"}}
    live = made(operator, CONFIGMAPS, {"metadata": metadata}, "patroni")
    name, version = f"{NAME}-leader", live["metadata"]["resourceVersion"]
    call = {"reason": "r", "object_kind": "ConfigMap", "name": name, "uid": uid_of(live), "mark": "x/1"}
    assert (await carried_out(operator, p.CallElection(**call, resource_version=STALE))).is_conflict
    assert operator.read(CONFIGMAPS, name) == live
    assert (await carried_out(operator, p.CallElection(**call, resource_version=version))).failed is None
    said = operator.read(CONFIGMAPS, name)["metadata"]["annotations"]
    assert said == {"leader": "a", "renewTime": "x", "howdah.dev/lock-expired": "x/1"}


@pytest.mark.parametrize(
    ("claim", "change", "is_unlabelled"),
    [
        ("nobody holds the lock but the one that was seen", {}, True),
        ("it was renewed", {"renewTime": "y"}, False),
        ("another one holds it", {"leader": "b"}, False),
    ],
)
async def test_a_silent_leader_loses_its_label_only_if_its_lock_is_as_it_was_seen(
    operator, claim, change, is_unlabelled
):
    said = {"leader": "a", "renewTime": "x", **change}
    made(operator, CONFIGMAPS, {"metadata": {"name": "lock", "namespace": NAMESPACE, "annotations": said}})
    labels = {"spilo-role": "master", "mine": "stays"}
    pod = made(operator, PODS, {"metadata": {"name": "a", "namespace": NAMESPACE, "labels": labels}})
    where = {"object_kind": "ConfigMap", "object_name": "lock", "leader": "a", "renewed": "x"}
    step = {"reason": "r", "name": "a", "label": "spilo-role", "uid": uid_of(pod), **where}
    assert (await carried_out(operator, p.UnlabelLeader(**step, resource_version=STALE))).is_conflict
    version = pod["metadata"]["resourceVersion"]
    outcome = await carried_out(operator, p.UnlabelLeader(**step, resource_version=version))
    assert outcome.is_conflict is not is_unlabelled, claim
    assert operator.read(PODS, "a")["metadata"]["labels"] == ({"mine": "stays"} if is_unlabelled else labels)


# --- commands to Patroni -----------------------------------------------------------------------------------------------


async def with_superuser(operator):
    """The superuser's Secret as the server would keep it, and the pods whose Patroni is asked."""
    data = {"username": base64.b64encode(b"postgres").decode(), "password": base64.b64encode(b"pw").decode()}
    made(operator, SECRETS, {"metadata": {"name": SUPERUSER_SECRET, "namespace": NAMESPACE}, "data": data})
    seen = situation(*three())
    at = {name: replace(member, api_url=operator.api.url(int(name[-1]))) for name, member in seen.members.items()}
    pods = tuple(addressed(pod, "127.0.0.1") for pod in seen.observed.pods)
    return replace(seen, members=at, observed=replace(seen.observed, pods=pods))


def addressed(pod, address):
    return msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, pod_ip=address))


async def test_commands_go_to_the_patroni_of_the_member_that_they_are_about(operator):
    seen = await with_superuser(operator)
    steps = (
        p.PatchDynamicConfiguration(reason="r", patch={"ttl": 40}),
        p.RestartMember(reason="r", name="acid-a-2", uid="u"),
        p.Switchover(reason="r", leader="acid-a-0", candidate="acid-a-1"),
    )
    assert (await carried_out(operator, *steps, situation=seen)).failed is None
    assert operator.api.commands == [
        ("acid-a-0", "/config", {"ttl": 40}),
        ("acid-a-2", "/restart", {"restart_pending": True}),
        ("acid-a-0", "/switchover", {"leader": "acid-a-0", "member": "acid-a-1"}),
    ]


async def test_credentials_go_to_no_other_address_than_that_of_the_pod(operator):
    seen = await with_superuser(operator)
    elsewhere = tuple(addressed(pod, "10.0.0.9") for pod in seen.observed.pods)
    step = p.RestartMember(reason="r", name="acid-a-2", uid="u")
    outcome = await carried_out(
        operator, step, situation=replace(seen, observed=replace(seen.observed, pods=elsewhere))
    )
    assert outcome.failed is step
    assert operator.api.commands == []


async def test_a_member_that_has_not_said_where_it_is_is_not_commanded(operator):
    seen = replace(await with_superuser(operator), members={})
    step = p.RestartMember(reason="r", name="acid-a-2", uid="u")
    assert (await carried_out(operator, step, situation=seen)).is_conflict
    assert operator.api.commands == []


# --- the announcement --------------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
INTENT = intent_of(p.ReplacePod(reason="r", name="acid-a-1", uid="u", resource_version="1"), NOW)


async def test_nothing_is_announced_on_a_resource_that_changed(operator):
    with pytest.raises(Conflict):
        await operator.applier.announce(operator.target(), INTENT, STALE)
    assert names.DISRUPTION not in operator.read(POSTGRESQLS)["metadata"]["annotations"]


async def test_of_two_operators_that_decided_from_the_same_look_one_announces(operator):
    version = operator.read(POSTGRESQLS)["metadata"]["resourceVersion"]
    await operator.applier.announce(operator.target(), INTENT, version)
    with pytest.raises(Conflict):
        await operator.applier.announce(operator.target(), INTENT, version)


async def test_nothing_is_announced_on_a_later_resource_of_the_same_name(operator):
    version = operator.read(POSTGRESQLS)["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await operator.applier.announce(replace(operator.target(), uid="another"), INTENT, version)


# --- several steps -----------------------------------------------------------------------------------------------------


def create_services(*ports):
    def body(port):
        found = service(port)
        return {**found, "metadata": {**found["metadata"], "name": f"{NAME}-{port}"}}

    return tuple(p.Create(reason="r", body=body(port)) for port in ports)


def create_accounts(*names):
    def body(name):
        return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}

    return tuple(p.Create(reason="r", body=body(name)) for name in names)


async def test_what_another_cluster_has_made_since_the_decision_is_not_asked_for(operator):
    (account,) = create_accounts("postgres-pod")
    assert (await carried_out(operator, account)).done == (account,)
    async with asyncio.timeout(HANGS_S):
        while not operator.watch.sees_shared("ServiceAccount", NAMESPACE):
            await asyncio.sleep(0.01)
    asked = len(operator.writes())
    assert (await carried_out(operator, account)).done == (account,)
    assert len(operator.writes()) == asked == 1


async def test_steps_end_at_the_first_that_fails(operator):
    operator.kube.fail_next(403, "Forbidden", verb="create", name="")
    first, second, third = create_accounts("a", "b", "c")
    outcome = await carried_out(operator, first, second, third)
    assert (outcome.done, outcome.failed, outcome.is_conflict) == ((), first, False)
    assert outcome.error is not None
    assert len(operator.writes()) == 1
    assert [(step, bool(error)) for step, error in operator.told] == [(first, True)]


async def test_a_kind_that_stands_alone_holds_up_no_other_when_it_fails(operator):
    operator.kube.fail_next(403, "Forbidden", verb="create", resource="services", times=2)
    one, other = create_services(1, 2)
    (account,) = create_accounts("a")
    outcome = await carried_out(operator, one, other, account)
    assert (outcome.done, outcome.failed, outcome.is_conflict) == ((account,), one, False)
    assert [step for step, _ in outcome.failures] == [one, other]


async def test_what_cannot_be_made_for_want_of_its_namespace_fails_and_says_what_to_do(operator):
    operator.kube.absent_namespaces.add(NAMESPACE)
    outcome = await carried_out(operator, *create_accounts("a"))
    assert (outcome.done, outcome.is_conflict) == ((), False)
    assert f'namespaces "{NAMESPACE}" not found; create namespace {NAMESPACE}' in (outcome.error or "")


@pytest.mark.parametrize("kind", [p.CreateSecret, p.CopySecret])
async def test_a_secret_of_a_far_namespace_that_does_not_exist_holds_up_nothing(operator, kind):
    operator.kube.absent_namespaces.add("typo")
    far = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "far", "namespace": "typo"}}
    if kind is p.CreateSecret:
        step = p.CreateSecret(reason="r", body=far, username="typo.svc", is_far=True)
    else:
        origin = PasswordOrigin(NAMESPACE, "shared", "password")
        data = {"password": base64.b64encode(b"x").decode()}
        operator.kube.store.seed(SECRETS, {"metadata": {"name": "shared", "namespace": NAMESPACE}, "data": data})
        step = p.CopySecret(reason="r", body=far, username="typo.svc", origin=origin)
    (account,) = create_accounts("a")
    outcome = await carried_out(operator, step, account)
    assert (outcome.done, outcome.failed, outcome.is_conflict) == ((account,), step, False)


async def test_who_does_not_lead_writes_nothing(operator):
    operator.leads.append(False)
    with pytest.raises(NotLeading):
        await carried_out(operator, *create_services(1, 2))
    assert operator.writes() == []


async def test_who_loses_the_lead_between_two_steps_does_not_do_the_second(operator):
    async def lose(_):
        operator.leads.append(False)

    operator.kube.before = lose
    with pytest.raises(NotLeading):
        await carried_out(operator, *create_services(1, 2))
    assert [request.body["metadata"]["name"] for request in operator.writes()] == [f"{NAME}-1"]
