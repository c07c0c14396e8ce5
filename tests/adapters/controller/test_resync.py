"""However short the time between full passes is said to be, the operator has time for other things."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.controller.main import SHORTEST_RESYNC_S, Operator, Options
from howdah.controller.metrics import Metrics
from howdah.kube.testing import FakeKubernetes
from howdah.model.settings import default_settings
from howdah.model.units import Duration
from steady import HANGS_S

NAMESPACE = "own"
MANIFEST = {
    "metadata": {"name": "acid-a", "namespace": NAMESPACE},
    "spec": {"teamId": "acid", "numberOfInstances": 1, "postgresql": {"version": "18"}, "volume": {"size": "1Gi"}},
}


def passes(metrics: Metrics) -> int:
    samples = (sample for family in metrics.registry.collect() for sample in family.samples)
    return sum(int(sample.value) for sample in samples if sample.name == "howdah_pass_duration_seconds_count")


async def test_a_resync_period_of_nothing_is_no_hot_loop() -> None:
    settings = replace(default_settings()[0], resync_period=Duration(0), enable_database_access=False)
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube, kube.client() as client:
        kube.store.seed(POSTGRESQLS, MANIFEST)
        environment = {"WATCHED_NAMESPACE": NAMESPACE, "OPERATOR_NAMESPACE": NAMESPACE}
        options = Options(
            kube.access(NAMESPACE), environment, observe_only=True, listen_host="127.0.0.1", listen_port=0
        )
        metrics = Metrics()
        stop, never = asyncio.Event(), asyncio.create_task(asyncio.Event().wait())
        running = asyncio.create_task(Operator(client, options, settings, metrics).run(stop, never))
        async with asyncio.timeout(HANGS_S):
            while passes(metrics) < 1:
                await asyncio.sleep(0.02)
            before = passes(metrics)
            await asyncio.sleep(3 * SHORTEST_RESYNC_S)
            assert 1 <= passes(metrics) - before <= 10
            stop.set()
            await running
