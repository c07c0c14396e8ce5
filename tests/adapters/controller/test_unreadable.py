"""Objects that cannot be read, as a tenant may make them: they harm their own cluster, and nobody else's."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.controller.rig import KEY, LABELS, NAME, NAMESPACE, rig
from adapters.controller.test_reconcile import ENV, change_spec
from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS, RESOURCES
from howdah.controller.watch import Scope, Watch
from howdah.kube.resources import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.kube.testing import FakeKubernetes, Fault, fitting
from steady import HANGS_S

DEEP = "[" * 5000 + "]" * 5000  # an API server keeps up to ten thousand
SCOPE = Scope((None,), {"application": "spilo"}, "cluster-name", "account", "binding")


@asynccontextmanager
async def watching(
    kube: FakeKubernetes, notify: Callable[[tuple[str, str]], None] | None = None
) -> AsyncIterator[tuple[Watch, list[tuple[str, str]]]]:
    """A watch of all namespaces that ends the test when it ends, and whom it told of."""
    told: list[tuple[str, str]] = []
    async with kube.client() as client:
        watch = Watch(client, SCOPE, notify or told.append)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(watch.run())
            await asyncio.wait_for(watch.synced(), HANGS_S)
            yield watch, told
            task.cancel()


async def until(holds):
    async with asyncio.timeout(HANGS_S):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def kube():
    async with FakeKubernetes(*RESOURCES.values(), POSTGRES_TEAMS, OPERATOR_CONFIGURATIONS) as server:
        yield server


def resource(name, namespace=NAMESPACE):
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"teamId": "acid"}}


def pod(number, **annotations):
    name = f"{NAME}-{number}"
    return {"metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS, "annotations": annotations}}


def spoiled(name, namespace=NAMESPACE, version=900):
    """A resource as an API server sends it whose definition keeps what it does not know."""
    metadata = f'{{"name":"{name}","namespace":"{namespace}","uid":"u","resourceVersion":"{version}"}}'
    return f'{{"metadata":{metadata},"spec":{{"mine":{DEEP}}}}}'.encode()


async def test_an_annotation_that_nobody_can_read_ends_nothing(kube):
    kube.store.seed(PODS, pod(0, status='{"role":' + DEEP + "}"), pod(1, status='{"role":"replica"}'))
    async with watching(kube) as (_, told), kube.client() as client:
        told.clear()
        for number in (0, 1):
            await client.merge_patch(
                PODS, f"{NAME}-{number}", {"metadata": {"labels": {"a": "b"}}}, namespace=NAMESPACE
            )
        await until(lambda: told == [KEY] * 2)


async def test_who_looks_at_all_clusters_goes_on_after_a_bug_at_one(kube):
    kube.store.seed(POSTGRESQLS, resource("a"), resource("b"))
    told: list[tuple[str, str]] = []

    def notify(key):
        told.append(key)
        if key == (NAMESPACE, "a") and told.count(key) == 2:
            raise ZeroDivisionError

    async with watching(kube, notify):
        told.clear()
        told.append((NAMESPACE, "a"))
        kube.faults.add(Fault(fitting(resource="services"), 403, "Forbidden", times=10**9))
        kube.cut_watches()
        await until(lambda: (NAMESPACE, "b") in told)


async def test_a_manifest_that_nobody_can_read_hides_no_other(kube):
    kube.store.seed(POSTGRESQLS, resource("a"), resource("b"), resource("c"))
    kube.spoil(POSTGRESQLS, NAMESPACE, "b", spoiled("b"))
    async with watching(kube) as (watch, told):
        assert sorted(watch.cluster_keys()) == [(NAMESPACE, "a"), (NAMESPACE, "c")]
        kube.spoil(POSTGRESQLS, NAMESPACE, "c", spoiled("c"))
        kube.store.seed(POSTGRESQLS, resource("c"))
        kube.store.seed(POSTGRESQLS, resource("d"))
        await until(lambda: (NAMESPACE, "d") in told)
        assert watch.clusters[0].counts.lists == 1


# --- what becomes of the cluster -----------------------------------------------------------------------------------------


def shown(kind, resource_version=900, name=NAME, labels=LABELS, **parts):
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": "u",
        "resourceVersion": str(resource_version),
        "labels": labels,
    }
    return json.dumps({"kind": kind, "metadata": metadata, **parts}).encode()


def spoil(operator, resource, name, text):
    """Somebody writes it, and from then on it cannot be read; None: it can again."""
    operator.kube.spoil(resource, NAMESPACE, name, text)
    operator.change(resource, name, {"metadata": {"annotations": {"note": str(text is None)}}})


def gauge(operator):
    return operator.reconciler._metrics.registry.get_sample_value("howdah_malformed_objects")


CLAIM = f"pgdata-{NAME}-0"
ODD = {"spec": {"resources": "odd"}}


def seed(operator, resource, name):
    operator.kube.store.seed(resource, {"metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS}})


def keep_a_claim(kube):
    kube.store.seed(PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": CLAIM, "namespace": NAMESPACE, "labels": LABELS}})
    kube.spoil(PERSISTENT_VOLUME_CLAIMS, NAMESPACE, CLAIM, shown("PersistentVolumeClaim", name=CLAIM, **ODD))


async def test_a_claim_that_cannot_be_read_is_not_one_that_is_not_there():
    async with rig(beforehand=keep_a_claim) as operator:
        operator.create()
        await until(lambda: operator.watch.resource(KEY) is not None)
        await operator.reconciler.run(KEY)
        assert operator.find(STATEFUL_SETS) is None
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "Stopped")
        assert message.startswith(f"PersistentVolumeClaim {NAMESPACE}/{CLAIM} cannot be read: Expected `object`")
        assert gauge(operator) == 1
        spoil(operator, PERSISTENT_VOLUME_CLAIMS, CLAIM, None)
        await until(lambda: gauge(operator) == 0)
        await operator.passes()
        assert operator.condition("Degraded")[2].startswith("volumes of an earlier cluster of this name are there")


async def test_a_manifest_that_cannot_be_read_any_more_leaves_its_cluster_as_it_is_and_says_so():
    async with rig() as operator:
        await operator.running()
        change_spec(operator, env=ENV)
        await operator.caught_up()
        spoil(operator, POSTGRESQLS, NAME, spoiled(NAME))
        await until(lambda: operator.watch.unread_of(KEY))
        result = await operator.reconciler.run(KEY)
        assert result.again_in_s >= 30, "nothing can be written to it that needs the version that it has now"
        await operator.recorder.flush()
        assert ("Warning", "Unreadable") in operator.events()
        assert [r for r in operator.writes() if r.resource != "postgresqls/status" or r.status != 409] == []
        assert operator.watch.unread_of((NAMESPACE, "acid-b")) == ()
        assert operator.watch.is_there(KEY)


async def test_of_a_kind_on_which_nothing_depends_only_the_unreadable_ones_are_left_alone():
    async with rig() as operator:
        await operator.running()
        spoil(operator, SERVICES, NAME, shown("Service").replace(b'"uid"', b'"generation": "odd", "uid"'))
        await until(lambda: operator.watch.unread_of(KEY))
        change_spec(operator, env=ENV)
        await until(lambda: b'"LANG"' in bytes(operator.watch.resource(KEY).spec))
        await operator.reconciler.run(KEY)
        assert any(request.resource == "statefulsets" for request in operator.writes())
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "Unreadable"), "nobody was denied anything"
        assert f"Service {NAMESPACE}/{NAME} cannot be read" in message


async def test_what_all_clusters_of_a_namespace_share_holds_up_none_of_them():
    async with rig() as operator:
        await operator.running()
        odd = shown("ServiceAccount", name="postgres-pod").replace(b'"uid"', b'"generation": "odd", "uid"')
        spoil(operator, SERVICE_ACCOUNTS, "postgres-pod", odd)
        await until(lambda: operator.watch.unread_of(KEY))
        change_spec(operator, env=ENV)
        await until(lambda: b'"LANG"' in bytes(operator.watch.resource(KEY).spec))
        await operator.reconciler.run(KEY)
        assert [request.resource for request in operator.writes() if request.resource == "serviceaccounts"] == []
        assert any(request.resource == "statefulsets" for request in operator.writes())
        assert operator.condition("Degraded")[:2] == ("True", "Unreadable")
        await operator.client.delete(POSTGRESQLS, NAME, namespace=NAMESPACE)
        await until(lambda: operator.watch.resource(KEY).meta.deletion_timestamp)
        await operator.reconciler.run(KEY)
        await until(lambda: operator.find(STATEFUL_SETS) is None)


async def test_what_people_made_with_a_clusters_labels_holds_nobody_up():
    async with rig() as operator:
        await operator.running()
        seed(operator, PERSISTENT_VOLUME_CLAIMS, "notes")
        spoil(operator, PERSISTENT_VOLUME_CLAIMS, "notes", shown("PersistentVolumeClaim", name="notes", **ODD))
        await until(lambda: gauge(operator) == 1)
        assert operator.watch.unread_of(KEY) == ()


async def test_what_does_not_even_say_whose_it_is_holds_up_the_clusters_of_its_namespace():
    async with rig(namespaces=(NAMESPACE, "apps")) as operator:
        await operator.running()
        seed(operator, CONFIGMAPS, "odd")
        spoil(operator, CONFIGMAPS, "odd", shown("ConfigMap", name="odd", labels={"application": 1}))
        await until(lambda: operator.watch.unread_of(KEY))
        assert operator.watch.unread_of(("apps", NAME)) == ()


async def test_who_cannot_be_read_is_looked_at_at_once(kube):
    kube.store.seed(PODS, pod(0))
    async with watching(kube) as (_, told), kube.client() as client:
        told.clear()
        kube.spoil(PODS, NAMESPACE, f"{NAME}-0", shown("Pod", name=f"{NAME}-0", spec="odd"))
        await client.merge_patch(PODS, f"{NAME}-0", {"metadata": {"labels": {"a": "b"}}}, namespace=NAMESPACE)
        await until(lambda: told == [KEY])


async def test_a_team_that_cannot_be_read_is_counted():
    def deep(kube):
        kube.store.seed(POSTGRES_TEAMS, resource("deep"))
        kube.spoil(POSTGRES_TEAMS, NAMESPACE, "deep", spoiled("deep"))

    options = {"enable_postgres_team_crd": "true", "enable_database_access": "true"}
    async with rig(beforehand=deep, options=options) as operator:
        assert gauge(operator) == 1


async def test_the_end_of_what_could_never_be_read_is_looked_at_at_once(kube):
    name = f"{NAME}-pooler"
    kube.store.seed(DEPLOYMENTS, {"metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS}})
    kube.spoil(
        DEPLOYMENTS, NAMESPACE, name, shown("Deployment", name=name).replace(b'"uid"', b'"generation": "odd", "uid"')
    )
    async with watching(kube) as (watch, told), kube.client() as client:
        assert [one.kind for one in watch.unread_of(KEY)] == ["Deployment"]
        told.clear()
        await client.delete(DEPLOYMENTS, name, namespace=NAMESPACE)
        await until(lambda: told == [KEY])
        assert watch.unread_of(KEY) == ()


async def test_the_end_of_what_may_be_anybodys_is_looked_at_by_all_of_its_namespace(kube):
    a, b, elsewhere = (NAMESPACE, "a"), (NAMESPACE, "b"), ("apps", "a")
    kube.store.seed(POSTGRESQLS, *(resource(name, namespace) for namespace, name in (a, b, elsewhere)))
    kube.store.seed(CONFIGMAPS, {"metadata": {"name": "odd", "namespace": NAMESPACE, "labels": LABELS}})
    kube.spoil(CONFIGMAPS, NAMESPACE, "odd", shown("ConfigMap", name="odd", labels={"application": 1}))
    async with watching(kube) as (watch, told), kube.client() as client:
        assert [len(watch.unread_of(key)) for key in (a, b, elsewhere)] == [1, 1, 0]
        told.clear()
        await client.delete(CONFIGMAPS, "odd", namespace=NAMESPACE)
        await until(lambda: sorted(told) == [a, b])
        assert watch.unread_of(a) == ()


def calls_in(work: Callable[[], object]) -> int:
    """How many functions run, whatever the machine does meanwhile."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


async def test_a_pass_looks_at_no_unreadable_object_of_others(kube):
    for number in range(10_000):
        name, labels = f"odd-{number}", {"application": "spilo", "cluster-name": f"b-{number % 100}"}
        metadata = {"name": name, "namespace": "b", "uid": "u", "resourceVersion": "900", "labels": labels}
        kube.store.seed(CONFIGMAPS, {"metadata": metadata})
        kube.spoil(CONFIGMAPS, "b", name, json.dumps({"metadata": {**metadata, "annotations": "odd"}}).encode())
    async with watching(kube) as (watch, _):
        assert watch.malformed() == 10_000
        assert len(watch.unread_of(("b", "b-7"))) == 100
        assert calls_in(lambda: watch.unread_of(KEY)) < 100
