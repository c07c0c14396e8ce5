"""A process that lacks a right which it cannot work without: alive, not ready, and saying which; ready once it has it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.controller.main import Options, run
from howdah.core.permissions import GRANTS, Grant, Installation, roles
from howdah.kube.testing import FakeKubernetes, Permissions
from howdah.kube.testing.store import Writer


def permissions(without: tuple[str, str] | None = None, watched: tuple[str, ...] | None = None) -> Permissions:
    """Those of the table; `without` a resource's verb, or in these namespaces only."""

    def left(grant: Grant) -> Grant:
        if without is None or grant.resource != without[0]:
            return grant
        return replace(grant, verbs=tuple(verb for verb in grant.verbs if verb != without[1]))

    made = roles(Installation("howdah", "ops", watched, configuration="main"), map(left, GRANTS))
    return Permissions(made, account="howdah", namespace="ops")


@contextlib.asynccontextmanager
async def operator(kube: FakeKubernetes, **variables: str) -> AsyncIterator[str]:
    """Runs it; the address of its endpoints."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    environment = {"OPERATOR_NAMESPACE": "ops", "POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "main", **variables}
    options = Options(kube.access("ops"), environment, listen_host="127.0.0.1", listen_port=port)
    task = asyncio.create_task(run(options))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def answer(url: str) -> tuple[int, str]:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as found:
            return found.status, await found.text()
    except aiohttp.ClientError:
        return 0, ""


async def until(url: str, status: int, text: str) -> None:
    said = (0, "")
    for _ in range(300):
        said = await answer(url)
        if said[0] == status and text in said[1]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{url} says {said}, expected {status} with {text!r}")


NEEDED = (
    ("operatorconfigurations", "get"),
    ("leases", "get"),
    ("leases", "create"),
    ("postgresqls", "list"),
    ("postgresqls", "watch"),
)


@pytest.mark.parametrize(("resource", "verb"), NEEDED)
async def test_what_it_cannot_work_without_is_told_by_readyz(resource: str, verb: str) -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube:
        body = {"metadata": {"name": "main", "namespace": "ops"}, "configuration": {}}
        kube.store.create(OPERATOR_CONFIGURATIONS, body, Writer())
        kube.permissions = permissions(without=(resource, verb))
        async with operator(kube) as url:
            await until(f"{url}/readyz", 503, f'cannot {verb} resource "{resource}"')
            assert await answer(f"{url}/healthz") == (200, "ok\n")
            kube.permissions = permissions()
            await until(f"{url}/readyz", 200, "ok")


async def test_it_is_ready_while_one_of_its_namespaces_may_be_seen_and_metrics_name_those_that_may_not() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube:
        body = {"metadata": {"name": "main", "namespace": "ops"}, "configuration": {}}
        kube.store.create(OPERATOR_CONFIGURATIONS, body, Writer())
        kube.permissions = permissions(watched=("team",))
        async with operator(kube, WATCHED_NAMESPACE="team,apps") as url:
            await until(f"{url}/readyz", 200, "ok")
            await until(f"{url}/metrics", 200, 'howdah_denied{kind="postgresql",watched_namespace="apps"} 1.0')
            assert 'watched_namespace="team"' not in (await answer(f"{url}/metrics"))[1]
            kube.permissions = permissions(watched=())
            kube.cut_watches()
            await until(f"{url}/readyz", 503, "cannot see clusters")
