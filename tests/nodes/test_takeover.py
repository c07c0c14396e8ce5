"""The reference operator's clusters on real nodes are taken over, changed and given back while a client writes.

Their manifest is as complete as the reference's example: prepared databases, poolers, sidecar, init container, volumes, dumps.

v1.15.1 makes them from our instance image and with our pooler; it runs in the lane beside the nodes, as howdah does here, and
finds services by cluster DNS. No pod restarts, and no acknowledged write is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.side import operators
from bench.side.operators import Howdah, Operator, Reference, Running, started
from bench.side.plane import ROOT, SCRIPTS, USERS, Plane, program

from e2e.clusters import QUICK_PATRONI, PostgresCluster
from e2e.nodes_world import NodesWorld
from e2e.world import PATIENCE, until
from e2e.writing import lost, writing
from howdah import __version__
from howdah.kube.client import Client
from side.clusters import NAMESPACE, OF_THE_EXAMPLE, Snapshot, manifest

IMAGES = os.environ.get("HOWDAH_IMAGES", "localhost/howdah")
TAG = os.environ.get("HOWDAH_TAG", __version__)
DNS = "10.96.0.10"
NEWEST_OF_V1 = 17
QUIET_S = 8.0
WAITS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit()); signal.pause()"
LONGEST_PAUSE_S = 2.0  # of a client that nothing interrupts, on a machine that is busy

Json = dict[str, Any]


class InCluster(Reference):
    """The reference with the cluster's DNS, for it connects to databases by the names of services."""

    def start(self, plane: Plane, log: Path) -> tuple[tuple[str | Path, ...], dict[str, str]]:
        command, environment = super().start(plane, log)
        resolver = plane.directory / "run" / "resolv.conf"
        resolver.write_text(f"nameserver {DNS}\nsearch svc.cluster.local cluster.local\n")
        mounted = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh", *command), dict(
            environment
        )


HOWDAH, REFERENCE = Howdah(), InCluster(qps=100)


@pytest.fixture
def plane(world: NodesWorld) -> Iterator[Plane]:
    """The lane's control plane, with a namespace of its own for the test."""
    if program("postgres-operator") is None:
        pytest.skip("no real nodes with the reference: `make kube-build-reference` (Go)")
    kubectl = program("kubectl")
    assert kubectl is not None
    found = Plane(world.directory, os.getpid(), kubectl)
    for user in (HOWDAH.user, REFERENCE.user):
        subprocess.run(
            [SCRIPTS / "user.sh", world.directory, user, USERS[user]], check=True, timeout=30, capture_output=True
        )
    yield found
    found.kubectl("delete", "postgresql", "--all", "-n", NAMESPACE, "--ignore-not-found", "--wait=false")
    patch = '{"metadata":{"finalizers":null}}'
    for item in found.items("postgresql", NAMESPACE):
        found.kubectl("patch", "postgresql", item["metadata"]["name"], "-n", NAMESPACE, "--type=merge", "-p", patch)
    found.kubectl(
        "delete", "namespace", NAMESPACE, operators.NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout_s=150
    )


def configuration(*, use_configmaps: bool) -> Json:
    """As for simulated pods, but with databases, and images that the nodes have."""
    asked = operators.configuration(use_configmaps=use_configmaps, watched_namespace=NAMESPACE)
    asked["configuration"] |= {
        "docker_image": f"{IMAGES}/instance:{TAG}",
        "debug": {"enable_database_access": True, "debug_logging": True},
        "connection_pooler": {"connection_pooler_image": f"{IMAGES}/pooler:{TAG}"},
    }
    return asked


def complete(name: str, major: str) -> Json:
    """What the reference's complete example has, with images that the nodes have."""
    beside = {"image": f"{IMAGES}/operator:{TAG}"}
    return manifest(
        name,
        **OF_THE_EXAMPLE,
        enableConnectionPooler=True,
        enableReplicaConnectionPooler=True,
        logicalBackupSchedule="0 0 1 1 *",
        patroni={
            **QUICK_PATRONI,
            "failsafe_mode": False,
            "initdb": {"encoding": "UTF8", "data-checksums": "true"},
            "maximum_lag_on_failover": 33554432,
            "slots": {"permanent": {"type": "physical"}},
        },
        postgresql={"version": major, "parameters": {"shared_buffers": "32MB", "log_statement": "ddl"}},
        resources={"requests": {"cpu": "10m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "500Mi"}},
        initContainers=[{"name": "date", **beside, "command": ["python3", "-c", "print('first')"]}],
        sidecars=[
            {
                "name": "beside",
                **beside,
                "command": ["python3", "-c", WAITS],
                "env": [{"name": "USEFUL", "value": "yes"}],
            }
        ],
    )


async def planned(plane: Plane) -> str:
    """`howdah plan`, as a person calls it before the take-over."""
    env = {"PYTHONPATH": str(ROOT / "src"), "OPERATOR_NAMESPACE": operators.NAMESPACE}
    env["POSTGRES_OPERATOR_CONFIGURATION_OBJECT"] = operators.CONFIGURATION
    command = (sys.executable, "-m", "howdah.cli.main", "plan", "-n", NAMESPACE, "--kubeconfig", plane.kubeconfig)
    return await asyncio.to_thread(lambda: plane.run(*command, **env))


@contextlib.asynccontextmanager
async def at_work(plane: Plane, operator: Operator) -> AsyncIterator[Running]:
    """The operator, until the block ends; its log stays in the lane's folder."""
    with contextlib.ExitStack() as stack:
        running = await asyncio.to_thread(stack.enter_context, started(plane, operator))
        try:
            yield running
        finally:
            await asyncio.to_thread(stack.close)


async def decided(operator: Operator, running: Running) -> None:
    """It has looked at the cluster, and then had time to do what it wants to."""

    async def question() -> bool:
        return await asyncio.to_thread(operator.passes, running) >= 1

    await until(question, lambda: f"a pass of {operator.user}: {running.said()[-2000:]}", timeout_s=90)
    await asyncio.sleep(QUIET_S)


async def phase(plane: Plane, name: str) -> str:
    path = "jsonpath={.status.PostgresClusterStatus}"
    return await asyncio.to_thread(plane.kubectl, "get", "postgresql", name, "-n", NAMESPACE, "-o", path)


async def seen(plane: Plane) -> Snapshot:
    """Beside the client that writes, not before it."""
    return await asyncio.to_thread(Snapshot.of, plane)


@pytest.mark.parametrize("mode", ["configmaps", "endpoints"])
async def test_taken_over_changed_and_given_back_under_a_writing_client(
    world: NodesWorld, plane: Plane, client: Client, mode: str
) -> None:
    operators.prepare(plane, configuration(use_configmaps=mode == "configmaps"), NAMESPACE)
    name = f"acid-{mode}"
    cluster = PostgresCluster(world, client, name, NAMESPACE)
    body = complete(name, max(major for major in world.majors if int(major) <= NEWEST_OF_V1))
    async with at_work(plane, REFERENCE) as running:
        await asyncio.to_thread(plane.apply, [body])

        async def made() -> bool:
            running.check()
            return await phase(plane, name) == "Running"

        await until(made, lambda: f"the reference's cluster: {running.said()[-4000:]}", timeout_s=240)
        await cluster.reachable(timeout_s=60)
        await cluster.reachable(timeout_s=90, role="pooler")
    before = await seen(plane)
    said = await planned(plane)
    assert f"{NAMESPACE}/{name}: " in said
    assert "spec.maxUnavailable: patch, no pod is touched" in said, said
    done, _, held = said.partition("held: ")
    assert not re.search(r": (roll|replace),", done), said
    assert "howdah.dev/adopt=true" in held, "poolers are rolled when a person says so"
    async with writing(cluster) as writer:
        await asyncio.sleep(2)
        writer.restart_clock()
        async with at_work(plane, HOWDAH) as running:
            await decided(HOWDAH, running)
            taken = await seen(plane)
            assert not before.changes(taken), "\n".join(before.changes(taken))
            assert await phase(plane, name) == "Running", running.said()[-3000:]
        async with at_work(plane, REFERENCE) as running:
            await decided(REFERENCE, running)
            back = await seen(plane)
            assert not taken.changes(back), "\n".join(taken.changes(back))
            assert "performing rolling update" not in running.said()
        assert writer.longest_gap_s < LONGEST_PAUSE_S * PATIENCE, writer.troubles
        assert not writer.troubles
        async with at_work(plane, HOWDAH) as running:
            await decided(HOWDAH, running)
            await cluster.annotate(howdah_dev__adopt="true")
            await cluster.change(env=[{"name": "MY_ENV", "value": "one"}, {"name": "ROLLED", "value": "yes"}])

            async def rolled() -> bool:
                now = await seen(plane)
                members = {pod: who for pod, who in before.pods.items() if pod in (f"{name}-0", f"{name}-1")}
                return all(pod in now.pods and now.pods[pod] != who for pod, who in members.items())

            await until(rolled, lambda: f"the roll; {running.said()[-3000:]}", timeout_s=180)
            await cluster.settled(120)
            assert await lost(cluster, writer) == []
            await cluster.reachable(timeout_s=60, role="pooler")
    async with at_work(plane, HOWDAH):
        await cluster.delete()
        await cluster.gone(timeout_s=90)
