"""What we write and read back is no difference: our objects through a real API server, the embedded one or a named one.

`HOWDAH_TEST_KUBECONFIG=FILE` asks another server than the embedded one.
"""

import asyncio
import os
import uuid
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from adapters.apiserver.client import Server
from golden.rendering import HERE as GOLDEN
from howdah.core.alignment import differences
from howdah.core.objects.build import build
from howdah.core.objects.diff import compare, given_up, template_differences
from howdah.core.objects.ownership import KEPT_ANNOTATIONS, taken_over, unintended_but_kept
from howdah.core.resolve import resolve
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import (
    ENDPOINTS,
    NAMESPACES,
    POD_DISRUPTION_BUDGETS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
)
from howdah.model.names import FIELD_MANAGER
from howdah.model.observed import Live
from howdah.model.settings import settings_from_configmap

KINDS = {
    resource.kind: resource
    for resource in (ENDPOINTS, POD_DISRUPTION_BUDGETS, ROLE_BINDINGS, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS)
}
Json = dict[str, Any]
SECOND_S = 1.05  # managedFields count whole ones


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if given := os.environ.get("HOWDAH_TEST_KUBECONFIG"):
        yield Path(given)
        return
    server = Server(tmp_path_factory.mktemp("api") / "state")
    server.start()
    yield server.kubeconfig
    server.stop()


def _objects(case: str, namespace: str, **changed: Any) -> tuple[Json, ...]:
    manifest = yaml.safe_load((GOLDEN / case / "manifest.yaml").read_text())
    manifest["metadata"] |= {"namespace": namespace, "uid": "4b1a7a2e-0000-4000-8000-000000000009"}
    manifest["spec"] |= changed
    options = GOLDEN / case / "configmap.yaml"
    data = yaml.safe_load(options.read_text())["data"] if options.exists() else {}
    settings, _ = settings_from_configmap({**data, "enable_owner_references": "false"})
    return build(resolve(manifest, settings))


CASES = ("minimal", "everything", "endpoints-load-balancer", "standby")


@pytest.mark.parametrize("case", CASES)
async def test_what_is_written_and_read_back_does_not_differ(case: str, kubeconfig: Path) -> None:
    namespace = f"{case}-{uuid.uuid4().hex[:6]}"
    async with Client(load_access(str(kubeconfig)), field_manager=FIELD_MANAGER) as client:
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})
        for body in _objects(case, namespace):
            resource, name = KINDS[body["kind"]], body["metadata"]["name"]
            await client.create(resource, body)
            live = await client.get(resource, name, namespace=namespace)
            assert compare(body, live) == ()
            assert given_up(_entries(live), body, live, manager=FIELD_MANAGER) == ()

            moved = await _own(client, live)
            applied = await client.apply(resource, _with_uid(body, moved))
            assert applied["metadata"].get("generation") == live["metadata"].get("generation")
            assert compare(body, applied) == ()
            assert given_up(_entries(applied), body, applied, manager=FIELD_MANAGER) == ()
            await asyncio.sleep(SECOND_S if body["kind"] == "StatefulSet" else 0)  # a later time alone is no change
            again = await client.apply(resource, _with_uid(body, applied))
            assert again["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]


async def test_what_is_left_out_later_is_given_up_and_goes(kubeconfig: Path) -> None:
    namespace = f"given-up-{uuid.uuid4().hex[:6]}"
    fuller = _objects("everything", namespace)[-1]
    leaner = _objects(
        "everything", namespace, sidecars=[], tolerations=[], podPriorityClassName="", podAnnotations={}, env=[]
    )[-1]
    async with Client(load_access(str(kubeconfig)), field_manager=FIELD_MANAGER) as client:
        await client.create(NAMESPACES, {"metadata": {"name": namespace}})
        live = await _own(client, await client.create(STATEFUL_SETS, fuller))
        left = given_up(_entries(live), leaner, live, manager=FIELD_MANAGER)
        assert left == (
            "spec.template.metadata.annotations[example.org/scrape]",
            "spec.template.spec.containers[exporter]",
            "spec.template.spec.containers[postgres].env[NODE_NAME]",
            "spec.template.spec.priorityClassName",
            "spec.template.spec.tolerations",
        )
        applied = await client.apply(STATEFUL_SETS, _with_uid(leaner, live))
        assert compare(leaner, applied) == ()
        assert given_up(_entries(applied), leaner, applied, manager=FIELD_MANAGER) == ()
        # Pods of the old template have what is gone; those of the new one have not.
        before, now = live["spec"]["template"], applied["spec"]["template"]
        intended = leaner["spec"]["template"]
        assert len(template_differences(intended, before, standing=now)) == 5
        assert template_differences(intended, now) == ()


async def test_of_what_only_the_reference_wrote_the_idle_timeout_and_what_others_wrote_too_stay(
    kubeconfig: Path,
) -> None:
    namespace = f"taken-over-{uuid.uuid4().hex[:6]}"
    bodies = _objects("endpoints-load-balancer", namespace)
    body = next(b for b in bodies if b["kind"] == "Service" and b["spec"]["type"] == "LoadBalancer")
    name, (idle,) = body["metadata"]["name"], KEPT_ANNOTATIONS
    before = dict(body["metadata"].get("annotations") or {})
    theirs = {
        **body,
        "metadata": {**body["metadata"], "annotations": {**before, idle: "3600", "of-v1": "x", "both": "x"}},
    }
    access = load_access(str(kubeconfig))
    async with Client(access, field_manager="postgres-operator") as reference, Client(access) as ours:
        await ours.create(NAMESPACES, {"metadata": {"name": namespace}})
        await reference.create(SERVICES, theirs)
        metadata = {"name": name, "namespace": namespace, "annotations": {"both": "x"}}
        both = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
        live = await ours.apply(SERVICES, both, field_manager="cloud")
        surplus = [d.path for d in differences(body, _decoded(live))]
        assert surplus == ["metadata.annotations.both", "metadata.annotations.of-v1"]
        live = await _own(ours, live, leaving=unintended_but_kept(body))
        for _ in range(2):
            live = await ours.apply(SERVICES, _with_uid(body, live), field_manager=FIELD_MANAGER, force=True)
            assert live["metadata"]["annotations"] == {**before, idle: "3600", "both": "x"}
            assert differences(body, _decoded(live)) == ()
        # A person's word wins, and that it is taken back is followed, too.
        asked = {**body, "metadata": {**body["metadata"], "annotations": {**before, idle: "60"}}}
        live = await ours.apply(SERVICES, _with_uid(asked, live), field_manager=FIELD_MANAGER, force=True)
        assert live["metadata"]["annotations"][idle] == "60"
        live = await ours.apply(SERVICES, _with_uid(body, live), field_manager=FIELD_MANAGER, force=True)
        assert live["metadata"]["annotations"] == {**before, "both": "x"}


def _decoded(body: Json) -> Live:
    return msgspec.json.decode(msgspec.json.encode(body), type=Live)


async def _own(client: Client, live: Json, leaving: frozenset[str] = frozenset()) -> Json:
    entries = taken_over(_entries(live), leaving=leaving)
    if entries is None:  # an account that says nothing but its name has no fields to own
        return live
    patch = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": [deepcopy(entry) for entry in entries]},
    ]
    metadata = live["metadata"]
    return await client.json_patch(KINDS[live["kind"]], metadata["name"], patch, namespace=metadata["namespace"])


def _entries(live: Json) -> list[Json]:
    found: list[Json] = live["metadata"].get("managedFields") or []
    return found


def _with_uid(body: Json, live: Json) -> Json:
    return {**body, "metadata": {**body["metadata"], "uid": live["metadata"]["uid"]}}
