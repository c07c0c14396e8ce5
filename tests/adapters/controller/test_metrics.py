"""Who of several operators tells of clusters: the one that leads, as long as it leads, so that no cluster counts twice."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import aiohttp
from prometheus_client import generate_latest

from adapters.controller.test_readiness import answer, operator, permissions, until
from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.adapters.patroni import Patroni
from howdah.controller.main import REAL, Operator, Options
from howdah.controller.metrics import Metrics
from howdah.kube.resources import LEASES
from howdah.kube.testing import FakeKubernetes
from howdah.kube.testing.store import Writer
from howdah.model.settings import settings_from_configmap
from steady import HANGS_S

OPTIONS = {"leader_lease_duration": "3s", "leader_renew_deadline": "2s", "leader_retry_period": "200ms"}
CLUSTER = {"metadata": {"name": "acid-a", "namespace": "team"}, "spec": {}}  # says too little, for good
FAILED = 'howdah_clusters{state="CreateFailed"} 1.0'


def installed(kube: FakeKubernetes) -> None:
    options = {"howdah": OPTIONS, "teams_api": {"enable_teams_api": False}}
    body = {"metadata": {"name": "main", "namespace": "ops"}, "configuration": options}
    kube.store.create(OPERATOR_CONFIGURATIONS, body, Writer())
    kube.store.create(POSTGRESQLS, CLUSTER, Writer())
    kube.permissions = permissions()


def held_by(holder: str) -> dict[str, object]:
    now = dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")
    return {"holderIdentity": holder, "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now}


def hand_over(kube: FakeKubernetes, holder: str) -> None:
    """Somebody else has the Lease now; or nobody."""
    spec = held_by(holder)
    kube.store.patch(LEASES, ("ops", "howdah"), lambda lease: {**lease, "spec": {**lease["spec"], **spec}}, Writer())


def clusters(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("howdah_clusters{")]


async def test_a_former_leader_tells_of_no_cluster_any_more_and_begins_anew_when_it_leads_again() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube:
        installed(kube)
        async with operator(kube, WATCHED_NAMESPACE="team") as url:
            await until(f"{url}/metrics", 200, FAILED)
            hand_over(kube, "another")
            await until(f"{url}/metrics", 200, "howdah_leading 0.0")
            assert clusters((await answer(f"{url}/metrics"))[1]) == []
            hand_over(kube, "")
            await until(f"{url}/metrics", 200, "howdah_leading 1.0")
            await until(f"{url}/metrics", 200, FAILED)
            assert clusters((await answer(f"{url}/metrics"))[1]) == [FAILED]


class Told:
    """An election whose outcome is told."""

    alive, last_error = True, None

    def __init__(self, gained: Callable[[], None], lost: Callable[[], None]) -> None:
        self.leads = False
        self._gained, self._lost = gained, lost

    def is_leading(self) -> bool:
        return self.leads

    def start(self) -> None:
        self.leads = True
        self._gained()

    def lose(self) -> None:
        self.leads = False
        self._lost()

    async def stop(self) -> None:
        self.leads = False


async def test_what_a_former_leader_knew_is_not_told_when_it_leads_again() -> None:
    """It is not told to look again here, so nothing but what it knew could say how the cluster is."""
    elections: list[Told] = []

    def elected(gained: Callable[[], None], lost: Callable[[], None]) -> Told:
        elections.append(Told(gained, lost))
        return elections[-1]

    metrics = Metrics()
    settings, _ = settings_from_configmap({"watched_namespace": "team", "enable_teams_api": "false"})
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube, kube.client() as client:
        installed(kube)
        one = Operator(client, Options(client.access, {}), settings, metrics, replace(REAL, election=elected))
        async with aiohttp.ClientSession() as session:
            stop = asyncio.Event()
            work = asyncio.create_task(one.work(Patroni(session), asyncio.create_task(stop.wait())))
            async with asyncio.timeout(HANGS_S):
                while FAILED not in told(metrics):
                    assert not work.done()
                    await asyncio.sleep(0.02)
            elections[0].lose()
            assert clusters(told(metrics)) == []
            elections[0].leads = True
            assert clusters(told(metrics)) == ['howdah_clusters{state="none"} 1.0']
            stop.set()
            await work


def told(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


async def test_a_standby_tells_of_no_cluster() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube:
        installed(kube)
        kube.store.create(
            LEASES, {"metadata": {"name": "howdah", "namespace": "ops"}, "spec": held_by("another")}, Writer()
        )
        async with operator(kube, WATCHED_NAMESPACE="team") as url:
            await until(f"{url}/readyz", 200, "ok")
            said = (await answer(f"{url}/metrics"))[1]
            assert "howdah_leading 0.0" in said
            assert clusters(said) == []
