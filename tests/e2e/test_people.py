"""Roles from beside the manifest, on a real cluster: a shared password, members of a team, and who left it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from adapters.teams.server import TOKEN, FakeTeams, teams_api
from e2e.clusters import CONNECT_TIMEOUT_S, PostgresCluster
from e2e.world import ENDPOINTS_NAMESPACE, until
from howdah.adapters.kubernetes import POSTGRES_TEAMS
from howdah.kube.client import Client
from howdah.kube.resources import CONFIGMAPS, SECRETS
from lifetimes import ended_with_us

pytestmark = pytest.mark.local_platform("the teams API of this test listens on loopback")
CHANGED_S = 45  # the operator looks at its configuration every 30 seconds


def encoded(values: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


@asynccontextmanager
async def configured(client: Client) -> AsyncIterator[FakeTeams]:
    """The operator of this namespace with infrastructure roles and a teams API; as before at the end."""
    secrets = {
        "infra": {"user1": "robot_e2e", "password1": "shared", "inrole1": "robot_zmon"},
        "token": {"read-only-token-type": "Bearer", "read-only-token-secret": TOKEN},
    }
    async with teams_api({"acid": ["anna"]}) as api:
        options = {
            "infrastructure_roles_secret_name": "infra",
            "enable_teams_api": "true",
            "teams_api_url": api.url,
            "oauth_token_secret_name": "token",
            "enable_postgres_team_crd": "true",
            "enable_team_member_deprecation": "true",
        }
        for name, values in secrets.items():
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded(values)}
            await client.create(SECRETS, body, namespace=ENDPOINTS_NAMESPACE)
        await client.merge_patch(CONFIGMAPS, "operator", {"data": options}, namespace=ENDPOINTS_NAMESPACE)
        try:
            yield api
        finally:
            gone = {"data": dict.fromkeys(options)}
            await client.merge_patch(CONFIGMAPS, "operator", gone, namespace=ENDPOINTS_NAMESPACE)
            for name in secrets:
                await client.delete(SECRETS, name, namespace=ENDPOINTS_NAMESPACE)


async def logs_in(cluster: PostgresCluster, user: str, password: str) -> bool:
    host = await cluster.address()
    try:
        connection = await psycopg.AsyncConnection.connect(
            host=host, user=user, password=password, dbname="postgres", connect_timeout=CONNECT_TIMEOUT_S
        )
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


async def logins(cluster: PostgresCluster) -> dict[str, bool]:
    """The roles of people, and whether they may log in."""
    found = await cluster.ask(
        "select coalesce(json_object_agg(rolname, rolcanlogin), '{}') from pg_roles"
        " where pg_has_role(oid, 'zalandos', 'member') and not rolsuper and rolname <> 'zalandos'",
        user="postgres",
        database="postgres",
    )
    return dict(found)


async def plan(cluster: PostgresCluster) -> dict[str, Any]:
    """As a person asks for it who says which operator is meant."""
    access = cluster.world.platform.kubeconfig  # type: ignore[attr-defined]  # this test is the local platform's
    where = ("--kubeconfig", str(access), "-n", cluster.namespace, "-o", "json")
    named = {"CONFIG_MAP_NAME": f"{ENDPOINTS_NAMESPACE}/operator", "OPERATOR_NAMESPACE": ENDPOINTS_NAMESPACE}
    process = await asyncio.create_subprocess_exec(
        *ended_with_us(sys.executable, "-m", "howdah.cli.main", "plan", cluster.name, *where),
        env={**os.environ, **named},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, wrong) == (0, b"")
    found: dict[str, Any] = json.loads(said)[0]
    return found


async def test_shared_roles_and_people_follow_their_sources(
    client: Client, in_endpoints: Callable[[str], PostgresCluster]
) -> None:
    async with configured(client) as api:
        cluster = in_endpoints("acid-people")
        await cluster.create(numberOfInstances=1)
        await cluster.settled()

        async def shared() -> bool:
            return await logs_in(cluster, "robot_e2e", "shared")

        await until(shared, "the infrastructure role to log in", timeout_s=CHANGED_S)

        async def anna() -> bool:
            return await logins(cluster) == {"anna": True}

        await until(anna, "the member of the team to have a role", timeout_s=CHANGED_S)

        patch = {"data": encoded({"password1": "another"})}
        await client.merge_patch(SECRETS, "infra", patch, namespace=ENDPOINTS_NAMESPACE)

        async def another() -> bool:
            return await logs_in(cluster, "robot_e2e", "another")

        await until(another, "the changed password to reach the server", timeout_s=20)
        assert not await shared()

        api.teams["acid"] = ["anna", "gina"]  # the operator holds its answer for minutes; who asks for a plan asks anew
        planned = await plan(cluster)
        assert any("gina" in detail for step in planned["steps"] for detail in (step["reason"], *step["details"]))
        assert not any("anna" in step["reason"] for step in planned["steps"])
        assert planned["warnings"] == []
        api.teams["acid"] = ["anna"]

        spec = {"additionalTeams": {"acid": ["friends"]}, "additionalMembers": {"friends": ["fred"]}}
        team = {"apiVersion": "acid.zalan.do/v1", "kind": "PostgresTeam", "metadata": {"name": "more"}, "spec": spec}
        api.teams["friends"] = []
        await client.create(POSTGRES_TEAMS, team, namespace=ENDPOINTS_NAMESPACE)

        async def fred() -> bool:
            return await logins(cluster) == {"anna": True, "fred": True}

        await until(fred, "the member of an additional team to have a role", timeout_s=20)

        api.status = 503
        await client.delete(POSTGRES_TEAMS, "more", namespace=ENDPOINTS_NAMESPACE)

        async def left() -> bool:
            return await logins(cluster) == {"anna": True, "fred_deleted": False}

        await until(left, "the member who left to have no login", timeout_s=20)
        assert (await cluster.settled())["status"]["PostgresClusterStatus"] == "Running"
