"""Patroni's state in Endpoints (`kubernetes_use_configmaps: false`): the whole life of a cluster."""

from __future__ import annotations

from collections.abc import Callable

from e2e.clusters import PostgresCluster, RefusedError
from e2e.world import until
from e2e.writing import lost, writing
from howdah.kube.errors import NotFound
from howdah.kube.resources import CONFIGMAPS, ENDPOINTS


async def test_cluster_in_endpoints_mode_lives_a_whole_life(in_endpoints: Callable[[str], PostgresCluster]) -> None:
    cluster = in_endpoints("acid-endpoints")
    await cluster.create(patroni={"synchronous_mode": True})
    await cluster.settled()
    place = {"namespace": cluster.namespace}
    leader = (await cluster.client.get(ENDPOINTS, cluster.name, **place))["metadata"]["annotations"]["leader"]
    assert leader == await cluster.leader()
    assert [item["metadata"]["name"] for item in (await cluster.client.list(CONFIGMAPS, **place)).items if
            item["metadata"]["name"].startswith(cluster.name)] == []  # fmt: skip

    async with writing(cluster) as writer:
        candidate = (await cluster.replicas())[0]

        async def handed_over() -> bool:
            try:
                await cluster.switch_over(candidate)
            except RefusedError as error:  # until Patroni has chosen its synchronous standby
                raise OSError(str(error)) from error
            return True

        await until(handed_over, "the switchover", timeout_s=15, every_s=0.5)
        await cluster.status_where("the candidate to lead", lambda r: r["status"].get("leader") == candidate)
        await cluster.settled()
        before = await cluster.uids()
        await cluster.change(env=[{"name": "ROLLED", "value": "yes"}])

        async def rolled() -> bool:
            now = await cluster.uids()
            return len(now) == 2 and all(now[name] != before[name] for name in before)

        await until(rolled, "every pod to be replaced", timeout_s=60)
        await cluster.settled()
    assert writer.acknowledged
    assert await lost(cluster, writer) == []

    await cluster.delete()
    await cluster.gone()
    for suffix in ("", "-config", "-sync", "-failover", "-repl"):

        async def gone(name: str = f"{cluster.name}{suffix}") -> bool:
            try:
                await cluster.client.get(ENDPOINTS, name, **place)
            except NotFound:
                return True
            return False

        await until(gone, f"Endpoints {cluster.name}{suffix} to be gone", timeout_s=10)
