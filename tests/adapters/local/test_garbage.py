"""The garbage collector: what was let go while it looked away stays. A lost race here would stop a running database."""

import asyncio
import contextlib
from typing import Any

import pytest

from howdah.kube.errors import NotFound
from howdah.kube.resources import PODS
from howdah.kube.testing.faults import Request
from howdah.kube.testing.server import FakeKubernetes
from howdah.local.controllers.garbage import GarbageCollector
from steady import HANGS_S

NS = "default"


def owned_pod(name: str) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "gone", "uid": "1-2-3", "controller": True}
    metadata = {"name": name, "namespace": NS, "ownerReferences": [owner]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}}


@contextlib.asynccontextmanager
async def collecting(kube: FakeKubernetes) -> Any:
    async with kube.client() as client:
        task = asyncio.create_task(GarbageCollector(client).run())
        try:
            yield client
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.mark.parametrize("moment", [("get", "statefulsets"), ("get", "pods"), ("delete", "pods")])
async def test_a_pod_let_go_while_the_collector_decides_stays(moment: tuple[str, str]) -> None:
    async with FakeKubernetes() as kube, collecting(kube) as client:
        reached = asyncio.Event()

        async def let_go(request: Request) -> None:
            if (request.verb, request.resource) == moment and not reached.is_set():
                reached.set()
                patch = {"metadata": {"ownerReferences": None}}
                await client.merge_patch(PODS, "or-0", patch, namespace=NS)

        kube.before = let_go
        await client.create(PODS, owned_pod("or-0"))
        await asyncio.wait_for(reached.wait(), HANGS_S)
        # A second orphan is collected after the first was decided: one worker's answer is not awaited by a sleep.
        await client.create(PODS, owned_pod("or-1"))
        async with asyncio.timeout(HANGS_S):
            with contextlib.suppress(NotFound):
                while True:
                    await client.get(PODS, "or-1", namespace=NS)
                    await asyncio.sleep(0.01)
        assert not (await client.get(PODS, "or-0", namespace=NS))["metadata"].get("ownerReferences")
