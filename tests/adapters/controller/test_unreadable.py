"""Objects that cannot be read, as a tenant may make them: they harm their own cluster, and nobody else's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.controller.rig import KEY, LABELS, NAME, NAMESPACE
from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS, RESOURCES
from howdah.controller.watch import Scope, Watch
from howdah.kube.resources import PODS
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
        kube.send_raw(b'{"type":"MODIFIED","object":' + spoiled("c") + b"}")
        kube.store.seed(POSTGRESQLS, resource("d"))
        await until(lambda: (NAMESPACE, "d") in told)
        assert watch.clusters[0].counts.lists == 1
