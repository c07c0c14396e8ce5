"""A kind that may not be installed: its coming and going is seen while the operator runs, and nothing waits for it."""

import asyncio
import json

import pytest

from adapters.controller.rig import KEY, NAME, NAMESPACE, rig
from howdah.adapters.kubernetes import EVENT_STREAMS, POSTGRESQLS
from howdah.kube.resources import CONFIGMAPS, CUSTOM_RESOURCE_DEFINITIONS
from howdah.kube.testing import Fault, fitting
from howdah.model import names
from steady import HANGS_S

STREAMS = [{"applicationId": "app", "database": "shop", "tables": {"orders": {"eventType": "e"}}}]
LABELS = {"application": "spilo", "cluster-name": NAME}


def install(operator):
    operator.kube.store.seed(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": names.STREAM_DEFINITION}, "spec": {}})


async def running(operator):
    """A cluster with streams at rest: Patroni's configuration has what they need."""
    operator.create(streams=STREAMS)
    await operator.passes()
    operator.populate()
    dynamic = {"ttl": 30, "postgresql": {"parameters": {"wal_level": "logical"}}}
    config = f"{NAME}-config"
    metadata = operator.read(CONFIGMAPS, config)["metadata"]
    annotations = {**metadata["annotations"], "config": json.dumps(dynamic)}
    operator.change(CONFIGMAPS, config, {"metadata": {**metadata, "annotations": annotations}})
    await operator.passes()
    operator.forget()


async def until(condition):
    async with asyncio.timeout(HANGS_S):
        while not condition():
            await asyncio.sleep(0.01)


def degraded(operator):
    found = next(c for c in operator.status["conditions"] if c["type"] == "Degraded")
    return found["reason"]


async def test_without_the_kind_a_cluster_with_streams_runs_and_says_it():
    async with rig() as operator:
        await running(operator)
        assert operator.status["PostgresClusterStatus"] == "Running"
        assert degraded(operator) == "StreamsIncomplete"
        assert ("Warning", "ManifestWarning") in operator.events()


async def test_the_kind_is_taken_up_when_it_is_installed_and_let_go_when_it_is_removed():
    async with rig() as operator:
        await running(operator)
        operator.kube.store.seed(
            EVENT_STREAMS,
            {"metadata": {"name": f"{NAME}-abcde", "namespace": NAMESPACE, "labels": LABELS}, "spec": {}},
        )
        install(operator)
        await until(lambda: operator.watch.event_streams.is_served(NAMESPACE))
        assert [o.metadata.name for part in operator.watch.event_streams for o in part] == [f"{NAME}-abcde"]
        await operator.one_pass()
        assert degraded(operator) == "AsDesired"
        operator.kube.store.delete(CUSTOM_RESOURCE_DEFINITIONS, ("", names.STREAM_DEFINITION))
        await until(lambda: not operator.watch.event_streams.is_served(NAMESPACE))
        assert list(operator.watch.event_streams) == []
        await operator.one_pass()
        assert degraded(operator) == "StreamsIncomplete"


async def test_a_stream_that_cannot_be_read_ends_with_its_kind():
    async with rig() as operator:
        await running(operator)
        name = f"{NAME}-abcde"
        metadata = {"name": name, "namespace": NAMESPACE, "labels": LABELS}
        operator.kube.store.seed(EVENT_STREAMS, {"metadata": metadata, "spec": {}})
        odd = {"metadata": {**metadata, "uid": "u", "resourceVersion": "900", "finalizers": "odd"}}
        operator.kube.spoil(EVENT_STREAMS, NAMESPACE, name, json.dumps(odd).encode())
        install(operator)
        await until(lambda: operator.watch.unread_of(KEY))
        await operator.one_pass()
        status, reason, message = operator.condition("Degraded")
        assert (status, reason) == ("True", "Unreadable"), "and no more than its streams is left as it is"
        assert f"FabricEventStream {NAMESPACE}/{name} cannot be read" in message
        operator.kube.store.delete(CUSTOM_RESOURCE_DEFINITIONS, ("", names.STREAM_DEFINITION))
        await until(lambda: not operator.watch.unread_of(KEY))
        await operator.one_pass()
        assert degraded(operator) == "StreamsIncomplete"
        operator.kube.store.delete(EVENT_STREAMS, (NAMESPACE, name))
        install(operator)
        await until(lambda: operator.watch.event_streams.is_served(NAMESPACE))
        assert [len(part) for part in operator.watch.event_streams] == [0]


@pytest.mark.parametrize("resource", ["customresourcedefinitions", "fabriceventstreams"])
async def test_who_may_not_see_the_kind_is_not_held_up(resource):
    async with rig() as operator:
        operator.kube.fail_next(403, "Forbidden", verb="list", resource=resource, times=1000)
        install(operator)
        await running(operator)
        assert operator.status["PostgresClusterStatus"] == "Running"


async def test_a_cluster_is_looked_at_when_the_kind_comes():
    async with rig() as operator:
        operator.create(streams=STREAMS)
        await operator.caught_up()
        told = []
        operator.watch._notify = told.append
        install(operator)
        await until(lambda: KEY in told)
        assert operator.read(POSTGRESQLS)["metadata"]["name"] == NAME


async def test_the_kind_is_served_in_one_namespace_while_another_may_not_be_seen():
    async with rig(namespaces=("apps", NAMESPACE)) as operator:
        refused = Fault(fitting(resource="fabriceventstreams", namespace="apps"), 403, "Forbidden", times=10**9)
        operator.kube.faults.add(refused)
        told = []
        operator.create(streams=STREAMS)
        await operator.caught_up()
        operator.watch._notify = told.append
        install(operator)
        await until(lambda: operator.watch.event_streams.is_served(NAMESPACE) and KEY in told)
        assert not operator.watch.event_streams.is_served("apps")
