"""What the fake does as the real API server does it, checked where tests of others rely on it."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, Gone, Invalid, NotFound
from howdah.kube.informer import PartialObject
from howdah.kube.resources import (
    CONFIGMAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    PODS,
    SECRETS,
    STATEFUL_SETS,
    custom_resource,
)
from howdah.kube.testing import FakeKubernetes
from howdah.kube.watch import watch
from steady import HANGS_S


def named(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "team", **metadata}}


async def names(client: Client, resource: Any) -> list[str]:
    return [item.metadata.name for item in (await client.list(resource, type=PartialObject)).items]


async def test_finalizers_hold_an_object_until_the_last_is_gone(client: Client) -> None:
    await client.create(CONFIGMAPS, named("a", finalizers=["x.y/one", "x.y/two"]))
    await client.delete(CONFIGMAPS, "a", namespace="team")
    marked = await client.get(CONFIGMAPS, "a", namespace="team")
    assert marked["metadata"]["deletionTimestamp"]
    await client.delete(CONFIGMAPS, "a", namespace="team")
    again = await client.get(CONFIGMAPS, "a", namespace="team")
    assert again["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]
    await client.merge_patch(CONFIGMAPS, "a", {"metadata": {"finalizers": None}}, namespace="team")
    assert await names(client, CONFIGMAPS) == []


async def test_a_pod_on_a_node_waits_for_its_kubelet(client: Client) -> None:
    await client.create(PODS, {**named("a"), "spec": {"nodeName": "n1"}})
    await client.create(PODS, {**named("b"), "spec": {}})
    for name in ("a", "b"):
        await client.delete(PODS, name, namespace="team")
    assert await names(client, PODS) == ["a"]
    await client.delete(PODS, "a", namespace="team", grace_period_s=0)
    assert await names(client, PODS) == []


@pytest.mark.parametrize(("propagation", "left"), [("Background", []), ("Foreground", []), ("Orphan", ["owned"])])
async def test_owned_objects_follow_their_owner_unless_orphaned(
    client: Client, propagation: str, left: list[str]
) -> None:
    owner = await client.create(STATEFUL_SETS, {**named("owner"), "spec": {}})
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "owner", "uid": owner["metadata"]["uid"]}
    await client.create(SECRETS, named("owned", ownerReferences=[reference]))
    await client.delete(STATEFUL_SETS, "owner", namespace="team", propagation=propagation)
    assert await names(client, SECRETS) == left
    if left:
        kept = await client.get(SECRETS, "owned", namespace="team")
        assert not kept["metadata"].get("ownerReferences")


async def test_generation_counts_changes_of_the_spec_only(client: Client) -> None:
    await client.create(STATEFUL_SETS, {**named("a"), "spec": {"replicas": 1}})
    for patch in ({"metadata": {"labels": {"x": "y"}}}, {"spec": {"replicas": 2}}, {"spec": {"replicas": 2}}):
        after = await client.merge_patch(STATEFUL_SETS, "a", patch, namespace="team")
    assert after["metadata"]["generation"] == 2


async def test_a_watch_shows_leaving_and_entering_a_selection(client: Client) -> None:
    version = (await client.list(CONFIGMAPS)).resource_version
    await client.create(CONFIGMAPS, named("a"))
    for label in ("pg", "pg2", None):
        await client.merge_patch(CONFIGMAPS, "a", {"metadata": {"labels": {"app": label}}}, namespace="team")
    kinds: list[str] = []
    async with (
        aclosing(watch(client, CONFIGMAPS, version, labels="app in (pg,pg2)")) as events,
        asyncio.timeout(HANGS_S),
    ):
        async for event in events:
            kinds.append(event.type)
            if len(kinds) == 3:
                break
    assert kinds == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_forgotten_version_is_gone(kube: FakeKubernetes, client: Client) -> None:
    version = (await client.list(CONFIGMAPS)).resource_version
    kube.expire()
    with pytest.raises(Gone):
        await anext(watch(client, CONFIGMAPS, version))


async def test_items_of_built_in_lists_do_not_say_what_they_are(client: Client) -> None:
    await client.create(CONFIGMAPS, named("a"))
    [item] = (await client.list(CONFIGMAPS)).items
    assert "kind" not in item
    assert "apiVersion" not in item


async def test_a_definition_makes_its_resource_known(client: Client) -> None:
    things = custom_resource("x.y/v1", "Thing", "things")
    with pytest.raises(NotFound):
        await client.list(things)
    spec = {
        "group": "x.y",
        "names": {"plural": "things", "kind": "Thing"},
        "scope": "Namespaced",
        "versions": [{"name": "v1"}],
    }
    await client.create(CUSTOM_RESOURCE_DEFINITIONS, {"metadata": {"name": "things.x.y"}, "spec": spec})
    await client.create(things, named("a"))
    assert await names(client, things) == ["a"]


async def test_names_are_generated(client: Client) -> None:
    made = await client.create(CONFIGMAPS, {"metadata": {"generateName": "a-", "namespace": "team"}})
    assert made["metadata"]["name"].startswith("a-")
    with pytest.raises(Invalid, match=r"metadata\.name"):
        await client.create(CONFIGMAPS, {"metadata": {"namespace": "team"}})


async def test_a_fault_after_the_effect_leaves_the_effect(kube: FakeKubernetes, client: Client) -> None:
    kube.fail_next(403, "Forbidden", verb="create", after_effect=True)
    with pytest.raises(Forbidden):
        await client.create(CONFIGMAPS, named("a"))
    assert await names(client, CONFIGMAPS) == ["a"]
    assert kube.faults.pending == 0


async def test_writes_are_recorded_and_reads_and_dry_runs_are_not(kube: FakeKubernetes, client: Client) -> None:
    await client.create(CONFIGMAPS, named("a"), dry_run=True)
    await client.create(CONFIGMAPS, named("a"))
    await client.list(CONFIGMAPS)
    await client.apply(CONFIGMAPS, named("a"), force=True)
    assert [(r.verb, r.resource, r.namespace, r.name, r.status) for r in kube.writes()] == [
        ("create", "configmaps", "team", "", 201),
        ("apply", "configmaps", "team", "a", 200),
    ]
