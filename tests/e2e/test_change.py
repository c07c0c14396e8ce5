"""Changes of a running cluster, and what they may disturb: nothing, a reload, one restart, or one pod after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from e2e.clusters import PostgresCluster
from e2e.world import PATIENCE, World, condition, until
from e2e.writing import lost, writing
from howdah.kube.client import Client
from howdah.kube.errors import Invalid

Named = Callable[[str], PostgresCluster]
NAME = "acid-change"
STARTED = "select extract(epoch from pg_postmaster_start_time())"


@pytest.fixture(scope="module")
def made(world: World) -> Iterator[str]:
    """One cluster for all tests of this file; each leaves it settled."""

    async def begin() -> None:
        async with world.client() as client:
            cluster = PostgresCluster(world, client, NAME)
            await cluster.create()
            await cluster.settled()

    async def finish() -> None:
        async with world.client() as client:
            cluster = PostgresCluster(world, client, NAME)
            await cluster.delete()
            await cluster.gone()

    asyncio.run(begin())
    yield NAME
    asyncio.run(finish())


@pytest.fixture
async def cluster(world: World, made: str, client: Client) -> PostgresCluster:
    found = PostgresCluster(world, client, made)
    await found.settled()
    return found


@dataclass(slots=True)
class Watched:
    """The order in which pods were replaced, and who led, as seen from outside."""

    replaced: list[str] = field(default_factory=list)
    leaders: list[str] = field(default_factory=list)
    most_away: int = 0


@asynccontextmanager
async def watched(cluster: PostgresCluster) -> AsyncIterator[Watched]:
    """Look at the pods all the time while the block runs."""
    seen = Watched()
    first = await cluster.uids()

    async def look() -> None:
        known = dict(first)
        while True:
            pods = await cluster.pods()
            for pod in pods:
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                if known.get(name) != uid:
                    known[name] = uid
                    seen.replaced.append(name)
            going = sum("deletionTimestamp" in pod["metadata"] for pod in pods)
            seen.most_away = max(seen.most_away, len(first) - len(pods) + going)
            leader = await cluster.leader()
            if leader and seen.leaders[-1:] != [leader]:
                seen.leaders.append(leader)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.wait({task})


async def started(cluster: PostgresCluster) -> tuple[float, float]:
    """When PostgreSQL of the leader and of a replica started."""
    return (
        float(await cluster.ask(STARTED, user="postgres")),
        float(await cluster.ask(STARTED, user="postgres", role="replica")),
    )


async def test_reloadable_parameter_is_in_force_without_a_restart(cluster: PostgresCluster) -> None:
    uids, before = await cluster.uids(), await started(cluster)
    await cluster.change(postgresql={"parameters": {"log_min_duration_statement": "1234"}})
    await cluster.settled()
    for role in ("leader", "replica"):
        shown = "select current_setting('log_min_duration_statement')"

        async def in_force(role: str = role, shown: str = shown) -> bool:
            return bool(await cluster.ask(shown, user="postgres", role=role) == "1234ms")

        await until(in_force, f"the new value on the {role}", timeout_s=15)
    assert (await cluster.uids(), await started(cluster)) == (uids, before)


async def test_parameter_that_needs_a_restart_gets_one_and_no_new_pods(cluster: PostgresCluster) -> None:
    uids, before = await cluster.uids(), await started(cluster)
    await cluster.change(postgresql={"parameters": {"max_connections": "90"}})

    async def in_force() -> bool:
        try:
            return bool(await cluster.ask("show max_connections", user="postgres", role="replica") == "90")
        except psycopg.Error:
            return False

    await until(in_force, "the new value on the replica", timeout_s=40)
    found = await cluster.settled()
    assert condition(found, "RestartPending")["status"] == "False"
    assert await cluster.ask("show max_connections", user="postgres") == "90"
    after = await started(cluster)
    assert after[0] > before[0]
    assert after[1] > before[1]
    assert await cluster.uids() == uids


async def test_value_already_in_force_restarts_nothing(cluster: PostgresCluster) -> None:
    before = await started(cluster)
    same = {name: await cluster.ask(f"show {name}", user="postgres") for name in ("max_connections", "max_wal_senders")}
    await cluster.change(postgresql={"parameters": same})
    found = await cluster.settled()
    assert condition(found, "RestartPending")["status"] == "False"
    await asyncio.sleep(3)  # a loop of Patroni, in which a restart would become pending
    assert await started(cluster) == before
    assert condition(await cluster.resource(), "RestartPending")["status"] == "False"


async def test_scaling_out_adds_a_streaming_member_and_scaling_in_keeps_a_leader(cluster: PostgresCluster) -> None:
    await cluster.change(numberOfInstances=3)
    await cluster.settled()
    streaming = "select count(*) from pg_stat_replication where state = 'streaming'"
    assert await cluster.ask(streaming, user="postgres") == 2
    await cluster.switch_over(f"{NAME}-2")
    await cluster.status_where("the last member to lead", lambda r: r["status"].get("leader") == f"{NAME}-2")
    await cluster.settled()
    await cluster.change(numberOfInstances=2)
    found = await cluster.settled()
    assert found["status"]["leader"] in (f"{NAME}-0", f"{NAME}-1")
    assert sorted(await cluster.uids()) == [f"{NAME}-0", f"{NAME}-1"]
    assert await cluster.ask("select pg_is_in_recovery()") is False


async def test_scaling_in_to_one_member_goes_by_whom_patroni_lets_take_over(cluster: PostgresCluster) -> None:
    await cluster.change(numberOfInstances=3)
    await cluster.settled()
    await cluster.switch_over(f"{NAME}-2")
    await cluster.status_where("the last member to lead", lambda r: r["status"].get("leader") == f"{NAME}-2")
    await cluster.change(patroni={"synchronous_mode": True})
    await cluster.settled()
    async with writing(cluster) as writer:
        await cluster.change(numberOfInstances=1)  # whichever of the two others is the synchronous standby
        found = await cluster.settled(90)
    assert found["status"]["leader"] == f"{NAME}-0"
    assert list(await cluster.uids()) == [f"{NAME}-0"]
    assert await lost(cluster, writer) == []
    assert writer.acknowledged
    await cluster.change(numberOfInstances=2, patroni={"synchronous_mode": None})
    await cluster.settled()


async def test_roll_under_load_takes_replicas_first_the_leader_last_and_loses_nothing(
    cluster: PostgresCluster,
) -> None:
    await cluster.change(patroni={"synchronous_mode": True}, numberOfInstances=3)
    await cluster.settled()
    leader = await cluster.leader()
    async with writing(cluster) as writer, watched(cluster) as seen:
        await cluster.change(env=[{"name": "ROLLED", "value": "yes"}])
        await cluster.settled(90)
    assert sorted(seen.replaced) == sorted(await cluster.uids())
    assert seen.replaced[-1] == leader
    assert seen.most_away == 1
    assert len(seen.leaders) == 2, f"one switchover, not {seen.leaders}"
    assert await lost(cluster, writer) == []
    assert writer.acknowledged
    assert writer.longest_gap_s < 10 * PATIENCE
    await cluster.change(numberOfInstances=2, patroni={"synchronous_mode": None})
    await cluster.settled()


async def test_bad_image_stops_at_the_first_pod_and_a_reverted_manifest_heals_it(cluster: PostgresCluster) -> None:
    before, leader = await cluster.uids(), await cluster.leader()
    await cluster.change(dockerImage="example.org/no-such-database:1")

    def has_stopped(resource: dict[str, Any]) -> bool:
        return condition(resource, "Degraded").get("reason") == "Stopped"

    found = await cluster.status_where("the roll to stop", has_stopped)
    said = condition(found, "Degraded")["message"]
    assert "no-such-database" in said
    assert leader in said
    now = await cluster.uids()
    assert [name for name in before if now.get(name) != before[name]] == [n for n in before if n != leader]
    assert await cluster.ask("select pg_is_in_recovery()") is False
    await cluster.change(dockerImage=None)
    await cluster.settled()
    assert (await cluster.uids())[leader] == before[leader]


async def test_secret_edited_by_a_person_is_applied(cluster: PostgresCluster) -> None:
    uids = await cluster.uids()
    old = await cluster.password("foo_user")
    await cluster.set_password("foo_user", "changed by a person")
    await cluster.reachable(user="foo_user")
    assert await cluster.uids() == uids
    info = psycopg.conninfo.make_conninfo(await cluster.conninfo("foo_user"), password=old)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        await psycopg.AsyncConnection.connect(info)


@pytest.mark.parametrize("role", ["standby", "postgres"])
async def test_edited_password_of_a_system_role_is_applied_with_a_roll(cluster: PostgresCluster, role: str) -> None:
    before, password = await cluster.uids(), f"new password of {role}"
    await cluster.set_password(role, password)

    async def rolled() -> bool:
        now = await cluster.uids()
        return len(now) == len(before) and all(now[name] != before[name] for name in before)

    await until(rolled, "every pod to be replaced", timeout_s=60)
    found = await cluster.settled(60)
    assert condition(found, "CredentialsInSync")["status"] == "True"
    await cluster.reachable(user="postgres")
    matches = f"select rolpassword is not null from pg_authid where rolname = '{role}'"
    assert await cluster.ask(matches, user="postgres") is True
    assert await cluster.ask("select count(*) from pg_stat_replication where state = 'streaming'", user="postgres") == 1


async def test_invalid_manifest_says_every_mistake_and_leaves_the_cluster_as_it_was(cluster: PostgresCluster) -> None:
    before = await cluster.uids()
    with pytest.raises(Invalid):  # what the schema can say, it says at once
        await cluster.change(numberOfInstances="many")
    with pytest.raises(Invalid):  # or a rule in CEL
        await cluster.change(postgresql={"parameters": {"no parameter!": "1"}})
    wrong = {"no parameter!": "1", "nor this": "2"}
    await cluster.change(userOptions={"zalando": {"parameters": wrong}})

    def refused(resource: dict[str, Any]) -> bool:
        return condition(resource, "Degraded").get("reason") == "InvalidSpec"

    found = await cluster.status_where("the manifest to be refused", refused)
    said = condition(found, "Degraded")["message"]
    assert "no parameter!" in said
    assert "nor this" in said
    assert await cluster.uids() == before
    assert await cluster.ask("select 1") == 1
    await cluster.change(userOptions=None)
    await cluster.settled()
    assert await cluster.uids() == before


async def test_pause_holds_what_it_covers_and_no_longer_than_it_stands(cluster: PostgresCluster) -> None:
    before = await cluster.uids()
    await cluster.annotate(howdah_dev__pause="disruptive")
    await cluster.change(env=[{"name": "PAUSED", "value": "yes"}], users={"while_paused": []})

    def held(resource: dict[str, Any]) -> bool:
        return condition(resource, "RestartPending").get("status") == "True"

    await cluster.status_where("the roll to be held", held)
    await cluster.reachable(user="while_paused")  # what disturbs nobody is done
    assert await cluster.uids() == before
    await cluster.annotate(howdah_dev__pause=None)

    async def rolled() -> bool:
        now = await cluster.uids()
        return len(now) == len(before) and all(now[name] != before[name] for name in before)

    await until(rolled, "the held roll to go on", timeout_s=60)
    await cluster.settled()


async def test_quiet_cluster_is_left_alone(cluster: PostgresCluster) -> None:
    first = (await cluster.resource())["metadata"]["resourceVersion"]
    begin = time.monotonic()
    while time.monotonic() - begin < 5:
        assert (await cluster.resource())["metadata"]["resourceVersion"] == first
        await asyncio.sleep(0.2)
