"""Two real operator processes and one Lease: what they ask while the leader lives, and who leads after its death."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.core.permissions import Installation, roles
from howdah.kube.resources import LEASES
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.store import Writer
from lifetimes import ended_with_us
from steady import HANGS_S

DURATION_S, RENEW_S = 6, 2
OPTIONS = {"leader_lease_duration": "6s", "leader_renew_deadline": "4s", "leader_retry_period": "500ms"}


@asynccontextmanager
async def operator(kube: FakeKubernetes, name: str, folder: Path) -> AsyncIterator[Process]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    kube.write_kubeconfig(folder / "kubeconfig", "ops")
    environment = {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "OPERATOR_NAMESPACE": "ops",
        "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "main",
        "POD_NAME": name,
    }
    argv = ended_with_us(sys.executable, "-m", "howdah.cli.main", "operator", "--listen", f"127.0.0.1:{port}")
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def holder(kube: FakeKubernetes) -> str:
    lease = kube.store.find(LEASES, "ops", "howdah") or {"spec": {}}
    return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]


async def until_holder(kube: FakeKubernetes, name: str) -> dt.datetime:
    """When the Lease was renewed last before it had this holder."""
    renewed = dt.datetime.now(dt.UTC)
    async with asyncio.timeout(HANGS_S):
        while holder(kube) != name:
            if lease := kube.store.find(LEASES, "ops", "howdah"):
                renewed = dt.datetime.fromisoformat(lease["spec"]["renewTime"])
            await asyncio.sleep(0.02)
    return renewed


def asked(kube: FakeKubernetes) -> list[str]:
    return [request.verb for request in kube.requests if request.resource == "leases"]


async def test_the_other_process_leads_after_a_kill_and_asks_nothing_before(tmp_path: Path) -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube:
        granted = roles(Installation("howdah", "ops", configuration="main"))
        kube.permissions = Permissions(granted, account="howdah", namespace="ops")
        body = {"metadata": {"name": "main", "namespace": "ops"}, "configuration": {"howdah": OPTIONS}}
        kube.store.create(OPERATOR_CONFIGURATIONS, body, Writer())
        async with operator(kube, "a", tmp_path) as a:
            await until_holder(kube, "a")
            async with operator(kube, "b", tmp_path):
                while "watch" not in asked(kube):
                    await asyncio.sleep(0.02)
                before, began_s = len(asked(kube)), time.monotonic()
                await asyncio.sleep(5 * RENEW_S)
                a_second = (len(asked(kube)) - before) / (time.monotonic() - began_s)
                assert 0 < a_second < 1.0  # two that ask each retry period: 4.0; one that renews: 0.5
                a.kill()
                renewed = await until_holder(kube, "b")
                assert dt.datetime.now(dt.UTC) - renewed >= dt.timedelta(seconds=DURATION_S)
