"""The node agent and what an earlier one left: nobody follows processes of which nobody knows what they hold."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.local.test_containers import until
from howdah.kube.client import Client
from howdah.kube.events import EventRecorder
from howdah.kube.resources import PODS
from howdah.kube.testing.server import FakeKubernetes
from howdah.local.controllers.caches import Caches
from howdah.local.node.addresses import Addresses
from howdah.local.node.agent import NodeAgent
from howdah.local.node.fencing import NamespaceFence
from howdah.local.node.pod import Node

NS = "default"


def node_in(folder: Path) -> Node:
    (folder / "node" / "pods").mkdir(parents=True)
    (folder / "run").mkdir()
    return Node(
        name="n", directory=folder, runtime=folder / "run", fence=NamespaceFence(), roles={}, needs={}, pod_env={}, capacity={},
        addresses=Addresses(folder / "addresses.json", "n"), server="", ca_file=folder / "ca",
    )  # fmt: skip


@contextlib.asynccontextmanager
async def working(kube: FakeKubernetes, node: Node) -> AsyncIterator[tuple[NodeAgent, Client]]:
    async with kube.client() as client:
        caches, events = Caches(client, (PODS,)), EventRecorder(client, "test")
        agent = NodeAgent(client, caches, node, events)
        tasks = [asyncio.create_task(work) for work in (caches.run(), events.run())]
        await caches.synced()
        tasks.append(asyncio.create_task(agent.run()))
        try:
            yield agent, client
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


def left_by(node: Node, uid: str, cgroup: Path, record: str) -> Path:
    """The folder of a pod without an object, whose control group (files of ours) is not empty."""
    cgroup.mkdir()
    (cgroup / "cgroup.events").write_text("populated 1\n")
    nobody = {"pid": 2**22, "started": 1, "boot": "another"}
    run = {
        "container": f"{uid}/main",
        "way": "cgroup",
        "init": nobody,
        "launcher": nobody,
        "folders": [],
        "cgroup": str(cgroup),
    }
    start = node.pods / uid / "containers" / "main"
    start.mkdir(parents=True)
    (start / "run.json").write_text(json.dumps({"run": run, "attempt": 0, "started": 1.0}))
    (node.pods / uid / "pod.json").write_text(record)
    return node.pods / uid


def pod(name: str, claim: str) -> dict[str, Any]:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    spec = {"nodeName": "n", "containers": [{"name": "main", "image": "x/y:1"}], "volumes": [volume]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NS}, "spec": spec}


KNOWN = json.dumps({"namespace": NS, "name": "a-0", "runtime": "/nowhere/x", "claims": ["data-a-0"]})
FORMER = json.dumps({"namespace": NS, "name": "a-0", "runtime": "/nowhere/x", "claims": [f"{NS}/data-a-0"]})


@pytest.mark.parametrize(("record", "others_wait"), [("", True), ("{}", True), (KNOWN, False), (FORMER, False)])
async def test_a_successor_waits_for_whatever_may_hold_its_volume(
    tmp_path: Path, record: str, others_wait: bool
) -> None:
    node, cgroup = node_in(tmp_path), tmp_path / "group"
    folder = left_by(node, "1-2-3", cgroup, record)
    async with FakeKubernetes() as kube, working(kube, node) as (agent, client):
        await client.create(PODS, pod("a-0", "data-a-0"))
        await client.create(PODS, pod("b-0", "data-b-0"))
        if not others_wait:
            await until(lambda: agent.find(NS, "b-0"), "the pod that has nothing to do with it")
        await asyncio.sleep(0.3)
        assert agent.is_in_use(NS, "data-a-0")
        assert agent.find(NS, "a-0") is None
        assert (agent.find(NS, "b-0") is None) is others_wait
        (cgroup / "cgroup.events").write_text("populated 0\n")
        await until(lambda: agent.find(NS, "a-0") and agent.find(NS, "b-0"), "the end of the wait")
        assert not folder.exists()


async def test_a_folder_of_which_nothing_was_ever_started_holds_nobody_up(tmp_path: Path) -> None:
    node = node_in(tmp_path)
    (node.pods / "1-2-3").mkdir()
    async with FakeKubernetes() as kube, working(kube, node) as (agent, client):
        await client.create(PODS, pod("a-0", "data-a-0"))
        await until(lambda: agent.find(NS, "a-0"), "the pod")
        await until(lambda: not (node.pods / "1-2-3").exists(), "the removal of the folder")
        assert not agent.is_in_use(NS, "data-b-0")


async def test_what_runs_is_taken_over_beside_what_nobody_knows(tmp_path: Path) -> None:
    node, cgroup = node_in(tmp_path), tmp_path / "group"
    async with FakeKubernetes() as kube:
        async with kube.client() as client:
            uid = (await client.create(PODS, pod("a-0", "data-a-0")))["metadata"]["uid"]
        left_by(node, "1-2-3", cgroup, "")
        left_by(node, uid, tmp_path / "its", KNOWN)
        async with working(kube, node) as (agent, _):
            await until(lambda: agent.find(NS, "a-0"), "the pod that runs")
            (cgroup / "cgroup.events").write_text("populated 0\n")


async def test_a_ghost_whose_record_cannot_be_read_at_this_moment_is_not_dead(tmp_path: Path) -> None:
    node, cgroup = node_in(tmp_path), tmp_path / "group"
    folder = left_by(node, "1-2-3", cgroup, KNOWN)
    record = folder / "containers" / "main" / "run.json"
    away = record.rename(tmp_path / "away")
    record.mkdir()  # to read it is an error
    async with FakeKubernetes() as kube, working(kube, node) as (agent, client):
        await client.create(PODS, pod("a-0", "data-a-0"))
        await asyncio.sleep(0.3)
        assert agent.find(NS, "a-0") is None
        assert agent.is_in_use(NS, "data-a-0")
        assert folder.exists()
        record.rmdir()
        away.rename(record)
        await asyncio.sleep(2.5)
        assert agent.find(NS, "a-0") is None
        (cgroup / "cgroup.events").write_text("populated 0\n")
        await until(lambda: agent.find(NS, "a-0"), "the end of the wait")
        assert not folder.exists()


async def test_a_pod_whose_record_cannot_be_read_at_this_moment_is_not_started_again(tmp_path: Path) -> None:
    node, cgroup = node_in(tmp_path), tmp_path / "group"
    async with FakeKubernetes() as kube:
        async with kube.client() as client:
            uid = (await client.create(PODS, pod("a-0", "data-a-0")))["metadata"]["uid"]
        record = left_by(node, uid, cgroup, KNOWN) / "containers" / "main" / "run.json"
        away = record.rename(tmp_path / "away")
        record.mkdir()
        async with working(kube, node) as (agent, client):
            await until(lambda: agent.find(NS, "a-0"), "the runner")
            await asyncio.sleep(0.5)
            found = await client.get(PODS, "a-0", namespace=NS)
            # The image has no role here: a try to start it would say so.
            assert "ErrImagePull" not in json.dumps(found.get("status") or {})
            record.rmdir()
            away.rename(record)

            def taken_over() -> bool:
                runner = agent.find(NS, "a-0")
                return runner is not None and runner.keepers[0].container is not None

            await until(taken_over, "the take-over")
