"""From events to keys: which changes on the server are work, and for which cluster."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator

import pytest

from adapters.controller.rig import KEY, LABELS, NAME, NAMESPACE
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.observe import from_caches, utc_now
from howdah.controller.watch import Scope, Watch
from howdah.core.patroni.member import CALLS_AFTER_S
from howdah.core.permissions import Installation, roles
from howdah.kube.informer import BLINK_S
from howdah.kube.resources import (
    CONFIGMAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINTS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICES,
)
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.store import Writer
from steady import HANGS_S

POOLER = f"{NAME}-pooler"
HEARTBEAT = {"role": "replica", "state": "running", "replication_state": "streaming", "xlog_location": 1, "timeline": 1}
READY = {"type": "Ready", "status": "True"}
LOCK = {"leader": f"{NAME}-0", "renewTime": "2126-01-01T00:00:00+00:00", "ttl": "30", "optime": "1"}


def labelled(name=NAME, **annotations):
    return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS, "annotations": annotations}}


def of_pooler(name=POOLER, **more):
    labels = {**LABELS, "application": "db-connection-pooler", "connection-pooler": POOLER}
    return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": labels}, **more}


def terminated():
    state = {"terminated": {"exitCode": 0}}
    return {"containerStatuses": [{"name": "postgres", "state": state}]}


def beat(number, ready="True"):
    """What a kubelet writes of its node, every few minutes."""
    when = f"2026-01-01T00:{number:02}:00Z"
    kinds = {"MemoryPressure": "False", "Ready": ready}
    conditions = [{"type": kind, "status": status, "lastHeartbeatTime": when} for kind, status in kinds.items()]
    return {"conditions": conditions, "images": [{"names": [f"image-{number}"]}]}


class World:
    """A server with one cluster, a watch on it, and what it was told."""

    def __init__(self, kube: FakeKubernetes) -> None:
        self.kube = kube
        self.told: list[tuple[str, str]] = []
        self.told_soon: list[tuple[str, str]] = []
        self.client = kube.client(timeout_s=5)
        scope = Scope((NAMESPACE,), {"application": "spilo"}, "cluster-name", "postgres-pod", "postgres-pod")
        self.watch = Watch(self.client, scope, self.told.append, self.told_soon.append)
        kube.store.seed(POSTGRESQLS, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {"a": 1}})
        pod = {
            **labelled(f"{NAME}-0", status=json.dumps(HEARTBEAT)),
            "spec": {"nodeName": "n0"},
            "status": terminated(),
        }
        kube.store.seed(PODS, pod)
        for node in ("n0", "n1"):
            kube.store.seed(NODES, {"metadata": {"name": node}, "spec": {}, "status": beat(0)})
        kube.store.seed(PODS, {**labelled(f"{NAME}-2"), "spec": {}, "status": {"phase": "Pending"}})
        kube.store.seed(PERSISTENT_VOLUME_CLAIMS, {**labelled(f"pgdata-{NAME}-2"), "spec": {}})
        kube.store.seed(ENDPOINTS, labelled(f"{NAME}-repl"))
        kube.store.seed(CONFIGMAPS, labelled(f"{NAME}-leader", **LOCK))
        kube.store.seed(SERVICES, {**labelled(), "spec": {"type": "ClusterIP"}})
        kube.store.seed(SECRETS, labelled("password"))
        kube.store.seed(DEPLOYMENTS, of_pooler(status={"availableReplicas": 1, "readyReplicas": 1}))
        kube.store.seed(SERVICES, of_pooler())
        kube.store.seed(SECRETS, of_pooler(f"{POOLER}-u"))

    def annotate(self, resource, name, **annotations):
        def change(live):
            held = {**(live["metadata"].get("annotations") or {}), **annotations}
            return {**live, "metadata": {**live["metadata"], "annotations": held}}

        self.kube.store.patch(resource, (NAMESPACE, name), change, Writer("somebody"))

    def patch_status(self, resource, name, **status):
        def change(live):
            return {**live, "status": {**(live.get("status") or {}), **status}}

        self.kube.store.patch(resource, (NAMESPACE, name), change, Writer("somebody", subresource="status"))

    async def keys_after(self, change):
        """What is told at once of a change, after more than the time that an event needs."""
        self.told.clear()
        self.told_soon.clear()
        change(self)
        await asyncio.sleep(0.15)
        return list(dict.fromkeys(self.told))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with FakeKubernetes(POSTGRESQLS) as kube:
        made = World(kube)
        task = asyncio.create_task(made.watch.run())
        async with asyncio.timeout(HANGS_S):
            await made.watch.synced()
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await made.client.close()


def beats(**changes):
    return json.dumps({**HEARTBEAT, **changes})


@pytest.mark.parametrize(
    ("claim", "change", "is_work"),
    [
        ("a member moves on", lambda w: w.annotate(PODS, f"{NAME}-0", status=beats(xlog_location=2)), False),
        (
            "a member stops streaming",
            lambda w: w.annotate(PODS, f"{NAME}-0", status=beats(replication_state=None)),
            True,
        ),
        ("a member leads", lambda w: w.annotate(PODS, f"{NAME}-0", status=beats(role="primary")), True),
        ("a restart is pending", lambda w: w.annotate(PODS, f"{NAME}-0", status=beats(pending_restart=True)), True),
        ("somebody marks a pod", lambda w: w.annotate(PODS, f"{NAME}-0", mark="1"), True),
        (
            "the lock is renewed",
            lambda w: w.annotate(CONFIGMAPS, f"{NAME}-leader", renewTime="later", optime="2"),
            False,
        ),
        ("another holds the lock", lambda w: w.annotate(CONFIGMAPS, f"{NAME}-leader", leader=f"{NAME}-1"), True),
        ("a password is edited", lambda w: w.annotate(SECRETS, "password", edited="1"), True),
        ("a pooler has lost a pod", lambda w: w.patch_status(DEPLOYMENTS, POOLER, availableReplicas=0), True),
        (
            "a pooler's status is written again",
            lambda w: w.patch_status(DEPLOYMENTS, POOLER, readyReplicas=0),
            False,
        ),
        ("a pooler's list of users is edited", lambda w: w.annotate(SECRETS, f"{POOLER}-u", edited="1"), True),
        ("a pod of a pooler", lambda w: w.kube.store.seed(PODS, of_pooler(f"{POOLER}-1")), False),
        ("a service goes", lambda w: w.kube.store.delete(SERVICES, KEY), True),
        (
            "a pod that is not Ready goes",
            lambda w: w.kube.store.delete(PODS, (NAMESPACE, f"{NAME}-2"), grace_s=0),
            True,
        ),
        ("a pod is Ready", lambda w: w.patch_status(PODS, f"{NAME}-2", conditions=[READY]), True),
        ("a Patroni reports", lambda w: w.annotate(PODS, f"{NAME}-2", status=beats(role="uninitialized")), True),
        (
            "a claim goes",
            lambda w: w.kube.store.delete(PERSISTENT_VOLUME_CLAIMS, (NAMESPACE, f"pgdata-{NAME}-2"), grace_s=0),
            True,
        ),
        (
            "the endpoints controller has seen a pod change",
            lambda w: w.annotate(
                ENDPOINTS, f"{NAME}-repl", **{"endpoints.kubernetes.io/last-change-trigger-time": "1"}
            ),
            False,
        ),
        (
            "a pod of nobody's",
            lambda w: w.kube.store.seed(PODS, {"metadata": {"name": "x", "namespace": NAMESPACE}}),
            False,
        ),
        ("the resource is annotated", lambda w: w.annotate(POSTGRESQLS, NAME, a="1"), True),
        ("we announce a step", lambda w: w.annotate(POSTGRESQLS, NAME, **{"howdah.dev/disruption": "{}"}), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_only_what_a_decision_uses_is_work(world, claim, change, is_work):
    assert await world.keys_after(change) == ([KEY] if is_work else []), claim
    assert world.told_soon == []


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.kube.store.seed(PODS, labelled(f"{NAME}-1")),
        lambda w: w.patch_status(PODS, f"{NAME}-2", phase="Running", podIP="10.0.0.1"),
        lambda w: w.kube.store.seed(PERSISTENT_VOLUME_CLAIMS, labelled(f"pgdata-{NAME}-1")),
        lambda w: w.patch_status(PERSISTENT_VOLUME_CLAIMS, f"pgdata-{NAME}-2", phase="Bound"),
        lambda w: w.kube.store.seed(CONTROLLER_REVISIONS, {**labelled("revision"), "data": {}}),
    ],
    ids=["a new pod", "a pod that is not Ready starts", "a new claim", "a claim is bound", "a new revision"],
)
async def test_what_nobody_waits_for_is_work_that_may_wait_a_moment(world, change):
    assert await world.keys_after(change) == []
    assert set(world.told_soon) == {KEY}


async def test_how_a_pod_ended_is_remembered_when_it_is_gone(world):
    await world.keys_after(lambda w: w.kube.store.delete(PODS, (NAMESPACE, f"{NAME}-0"), grace_s=0))
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed is not None
    assert [pod.name for pod in observed.pods] == [f"{NAME}-2"]
    assert [departed.name for departed in observed.departed] == [f"{NAME}-0"]


async def test_pods_of_poolers_are_no_members_also_without_a_label_of_applications(world):
    body = labelled(f"{NAME}-pooler-1")
    body["metadata"]["labels"] = {**LABELS, "connection-pooler": POOLER}
    assert await world.keys_after(lambda w: w.kube.store.seed(PODS, body)) == []
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed is not None
    assert [pod.name for pod in observed.pods] == [f"{NAME}-0", f"{NAME}-2"]


async def test_a_cluster_without_a_resource_is_not_observed(world):
    await world.keys_after(lambda w: w.kube.store.delete(POSTGRESQLS, KEY))
    assert from_caches(world.watch, KEY, utc_now()) is None
    assert world.watch.cluster_keys() == ()


async def test_everything_of_a_cluster_is_observed_and_nothing_of_another(world):
    other = labelled("acid-b-0")
    other["metadata"]["labels"] = {**LABELS, "cluster-name": "acid-b"}
    await world.keys_after(lambda w: w.kube.store.seed(PODS, other))
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed is not None
    assert [pod.name for pod in observed.pods] == [f"{NAME}-0", f"{NAME}-2"]
    assert set(observed.objects) == {("Service", NAME), ("Service", POOLER), ("Deployment", POOLER)}
    assert set(observed.secrets) == {(NAMESPACE, "password"), (NAMESPACE, f"{POOLER}-u")}
    assert set(observed.patroni) == {("ConfigMap", f"{NAME}-leader"), ("Endpoints", f"{NAME}-repl")}


# --- locks -------------------------------------------------------------------------------------------------------------


def renew(**said):
    """By a holder whose clock is ahead, so that nothing follows from its times."""
    renewed = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    return lambda world: world.annotate(CONFIGMAPS, f"{NAME}-leader", **{"renewTime": renewed, "ttl": "1", **said})


async def first_told(world):
    """When something is told next, on the loop's clock."""
    world.told.clear()
    async with asyncio.timeout(HANGS_S):  # a stream that broke comes back after up to `LONGEST_DELAY_S`
        while not world.told:
            await asyncio.sleep(0.005)
    return asyncio.get_running_loop().time()


async def test_a_lock_that_nobody_renews_is_work_at_the_moment_at_which_members_are_called(world):
    await world.keys_after(renew())
    for _ in range(3):  # whatever a look once a second would see
        await asyncio.sleep(0.3)
        renew()(world)
    renewed_s = asyncio.get_running_loop().time()
    first, second = [await first_told(world) - renewed_s for _ in range(2)]
    assert first == pytest.approx(1 + CALLS_AFTER_S[0], abs=0.09)
    assert second == pytest.approx(1 + CALLS_AFTER_S[1], abs=0.09)
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed.unrenewed_s[("ConfigMap", f"{NAME}-leader")] > 1.5


async def test_a_renewal_that_ends_a_silence_is_work(world):
    await world.keys_after(renew())
    await asyncio.sleep(1 + CALLS_AFTER_S[1] + 0.1)  # two calls, and the first sweep, which tells of every cluster
    assert await world.keys_after(renew()) == [KEY]
    assert await world.keys_after(renew()) == []


async def test_a_lock_that_is_gone_or_released_is_no_work(world):
    await world.keys_after(renew())

    def released(live):
        return {**live, "metadata": {**live["metadata"], "annotations": {"ttl": "1"}}}

    somebody = Writer("somebody")
    await world.keys_after(lambda w: w.kube.store.patch(CONFIGMAPS, (NAMESPACE, f"{NAME}-leader"), released, somebody))
    await world.keys_after(lambda w: w.kube.store.seed(CONFIGMAPS, labelled("other", **LOCK)))
    await world.keys_after(lambda w: w.kube.store.delete(CONFIGMAPS, (NAMESPACE, "other")))
    await asyncio.sleep(1)  # until the first sweep, which tells of every cluster
    world.told.clear()
    await asyncio.sleep(1)
    assert world.told == []


async def test_while_the_server_is_away_no_lock_grows_silent(world):
    await world.keys_after(renew(ttl="2"))
    await world.kube.stop()
    await asyncio.sleep(BLINK_S + 0.5)
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed.unrenewed_s[("ConfigMap", f"{NAME}-leader")] == 0.0
    await world.kube.start()
    back_s = asyncio.get_running_loop().time()
    assert await first_told(world) - back_s > 2 + CALLS_AFTER_S[0]


# --- nodes -------------------------------------------------------------------------------------------------------------


def change_node(name, **parts):
    by = Writer("kubelet", subresource="status") if "status" in parts else Writer("somebody")
    return lambda world: world.kube.store.patch(NODES, ("", name), lambda live: {**live, **parts}, by)


async def test_a_heartbeat_of_a_node_is_no_work(world):
    assert await world.keys_after(change_node("n0", status=beat(5))) == []


@pytest.mark.parametrize("parts", [{"spec": {"unschedulable": True}}, {"status": beat(5, "Unknown")}])
async def test_a_node_that_changes_is_work_for_the_clusters_on_it(world, parts):
    assert await world.keys_after(change_node("n0", **parts)) == [KEY]
    assert await world.keys_after(change_node("n1", **parts)) == []


async def test_a_cluster_is_seen_with_the_nodes_of_its_pods(world):
    await world.keys_after(change_node("n0", spec={"unschedulable": True}))
    observed = from_caches(world.watch, KEY, utc_now())
    assert {name: (node.spec.unschedulable, node.is_ready) for name, node in observed.nodes.items()} == {
        "n0": (True, True)
    }
    assert observed.nodes_unseen is None


async def test_nodes_that_may_not_be_seen_are_not_waited_for_and_not_believed_any_more(world):
    world.kube.permissions = Permissions(
        roles(Installation(watched=(NAMESPACE,))), account="howdah", namespace="howdah"
    )
    world.kube.cut_watches()
    await world.keys_after(lambda _: None)
    async with asyncio.timeout(HANGS_S):
        while world.watch.nodes.unseen is None:
            await asyncio.sleep(0.02)
    observed = from_caches(world.watch, KEY, utc_now())
    assert observed.nodes == {}
    assert "leaders are not moved off cordoned nodes: " in observed.nodes_unseen
    await asyncio.wait_for(world.watch.nodes.looked(), HANGS_S)
