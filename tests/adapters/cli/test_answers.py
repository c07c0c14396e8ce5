"""What the commands say of an operator and of clusters that they cannot wholly see is true."""

import datetime as dt
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS, RESOURCES
from howdah.cli.explain import Explained, explained, text
from howdah.cli.explain import _data as explanation
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.orphans import Orphan, find_orphans
from howdah.cli.plan import plan_of
from howdah.cli.plan import text as plan_text
from howdah.cli.status import detail
from howdah.cli.status import text as status_text
from howdah.controller.observe import utc_now
from howdah.kube import resources as r
from howdah.kube.client import Client
from howdah.kube.testing import FakeKubernetes
from howdah.kube.testing.faults import Fault, Request
from howdah.model import names

HERE = "apps"


class World:
    """A cluster, and the configuration and the Lease of an operator beside it."""

    def __init__(self, kube: FakeKubernetes, client: Client) -> None:
        self.kube, self.client = kube, client

    async def cluster(self, name: str, **annotations: str) -> None:
        said = {f"{names.GROUP}/{key}": value for key, value in annotations.items()}
        spec = {
            "teamId": "acid",
            "numberOfInstances": 1,
            "postgresql": {"version": "17"},
            "volume": {"size": "1Gi"},
        }
        metadata = {"name": name, "namespace": HERE, "annotations": said}
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}
        await self.client.create(POSTGRESQLS, body)

    async def operator(self, watched: str = "*") -> None:
        configuration = {
            "apiVersion": OPERATOR_CONFIGURATIONS.api_version,
            "kind": OPERATOR_CONFIGURATIONS.kind,
            "metadata": {"name": "pg", "namespace": "pgop"},
            "configuration": {"kubernetes": {"watched_namespace": watched}},
        }
        await self.client.create(OPERATOR_CONFIGURATIONS, configuration)
        spec = {
            "holderIdentity": "op-1_u",
            "leaseDurationSeconds": 15,
            "renewTime": dt.datetime.now(dt.UTC).isoformat(),
        }
        metadata = {"name": "howdah", "namespace": "pgop"}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        await self.client.create(r.LEASES, lease)

    def forbid(self, *plurals: str) -> None:
        """To list them in all namespaces."""

        def fits(request: Request) -> bool:
            return request.resource in plurals and request.verb == "list" and not request.namespace

        self.kube.faults.add(Fault(fits, 403, "Forbidden", times=1000))

    async def settings(self, **environment: str) -> OperatorSettings:
        return await find_settings(self.client, environment)

    async def explained(self, name: str, **environment: str) -> Explained:
        return await explained(self.client, await self.settings(**environment), HERE, name)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    resources = (*RESOURCES.values(), POSTGRES_TEAMS, OPERATOR_CONFIGURATIONS)
    async with FakeKubernetes(*resources) as kube, kube.client() as client:
        yield World(kube, client)


def line(lines: Any, beginning: str) -> str:
    return next(said for said in lines if said.strip().startswith(beginning))


async def test_a_configuration_that_may_not_be_seen_is_told_and_leaves_the_operator_unknown(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.operator()
    await world.cluster("acid-x")
    world.forbid("operatorconfigurations", "configmaps")
    found = await world.explained("acid-x")
    told = "listing operatorconfigurations and configmaps in all namespaces is not permitted"
    assert told in capsys.readouterr().err
    assert any(told in note for note in explanation(found)["plan"]["notes"])
    assert line(text(found), "operator:").startswith("operator: unknown")
    assert line(text(found), "next look:").endswith("if an operator acts on it")


async def test_a_configuration_that_is_named_is_not_looked_for(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.operator()
    await world.cluster("acid-x")
    world.forbid("operatorconfigurations", "configmaps")
    named = {"POSTGRES_OPERATOR_CONFIGURATION_OBJECT": "pg", "OPERATOR_NAMESPACE": "pgop"}
    assert line(text(await world.explained("acid-x", **named)), "operator:") == "operator: op-1 acts"
    assert capsys.readouterr().err == ""


async def test_a_configmap_is_doubted_where_what_would_come_before_it_may_not_be_seen(world: World) -> None:
    configmap = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "postgres-operator", "namespace": "old"}}
    await world.client.create(r.CONFIGMAPS, configmap)
    assert (await world.settings()).doubt is None
    world.forbid("operatorconfigurations")
    found = await world.settings()
    assert found.doubt is not None
    assert "is taken: ConfigMap old/postgres-operator" in found.doubt


async def test_an_operator_that_acts_looks_at_once(world: World) -> None:
    await world.operator()
    await world.cluster("acid-x")
    lines = list(text(await world.explained("acid-x")))
    assert line(lines, "operator:") == "operator: op-1 acts"
    assert line(lines, "next look:") == "next look: at once"
    assert not [said for said in lines if "note:" in said]


async def test_without_an_operator_no_look_is_promised(world: World) -> None:
    await world.operator()
    await world.client.delete(r.LEASES, "howdah", namespace="pgop")
    await world.cluster("acid-x")
    assert line(text(await world.explained("acid-x")), "next look:") == "next look: when an operator acts on it"


@pytest.mark.parametrize(
    ("watched", "environment"), [("pgop, other", {}), ("", {}), ("*", {"WATCHED_NAMESPACE": "pgop,other"})]
)
async def test_a_namespace_that_is_not_watched_is_told_by_every_command(
    world: World, watched: str, environment: Mapping[str, str]
) -> None:
    await world.operator(watched)
    await world.cluster("acid-x")
    found = await world.explained("acid-x", **environment)
    operator = await world.settings(**environment)
    lines = list(text(found))
    assert line(lines, "operator:") == "operator: op-1 acts, but not in namespace apps"
    assert line(lines, "next look:") == "next look: when an operator acts on it"
    planned = plan_text(await plan_of(world.client, operator, HERE, "acid-x"))
    status = status_text(await detail(world.client, operator, HERE, "acid-x"), utc_now())
    for said in (lines, planned, status):
        assert "by its configuration the operator watches pgop" in line(said, "note:")
    assert any("not namespace apps" in note for note in explanation(found)["plan"]["notes"])


async def test_a_resource_of_another_operator_is_told(world: World) -> None:
    await world.operator()
    await world.cluster("acid-x", controller="second")
    lines = list(text(await world.explained("acid-x")))
    assert line(lines, "operator:").startswith("operator: unknown: there is no Lease howdah-second in namespace pgop")
    assert "gives it to the operator with CONTROLLER_ID second" in line(lines, "note:")
    assert line(lines, "next look:") == "next look: at once, if an operator acts on it"
    lines = list(text(await world.explained("acid-x", CONTROLLER_ID="second")))
    assert not [said for said in lines if "note:" in said]


LABELS = {"application": "spilo", "cluster-name": "gone"}


async def test_the_job_of_logical_backups_that_is_left_over_is_an_orphan(world: World) -> None:
    for application, name in (("spilo-logical-backup", "logical-backup-gone"), ("spilo", "other")):
        metadata = {"name": name, "namespace": HERE, "labels": {**LABELS, "application": application}}
        await world.client.create(
            r.CRON_JOBS, {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": {}}
        )
    found = await find_orphans(world.client, {"application": "spilo"}, "cluster-name", None)
    assert found == [
        Orphan(HERE, "gone", "CronJob", "logical-backup-gone"),
        Orphan(HERE, "gone", "CronJob", "other"),
    ]


async def test_a_cluster_that_is_made_meanwhile_is_no_orphan(world: World) -> None:
    """It is made as soon as the first list was answered, with a volume that each later list shows."""
    claim = {"name": "pgdata-acid-x-0", "namespace": HERE, "labels": {**LABELS, "cluster-name": "acid-x"}}
    body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim, "spec": {}}
    listed: list[str] = []

    async def before(request: Request) -> None:
        if request.verb != "list":
            return
        listed.append(request.resource)
        if request.resource == "persistentvolumeclaims":
            await world.cluster("acid-x")
            await world.client.create(r.PERSISTENT_VOLUME_CLAIMS, body)

    world.kube.before = before
    assert await find_orphans(world.client, {"application": "spilo"}, "cluster-name", None) == []
    assert listed[-1] == "postgresqls"
