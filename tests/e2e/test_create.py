"""From a manifest to a cluster: what the minimal example promises, by the service address and the Secrets' passwords."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable

import psycopg
import pytest

from e2e.clusters import PostgresCluster
from e2e.world import World

Named = Callable[[str], PostgresCluster]


async def test_minimal_manifest_becomes_a_leader_and_a_streaming_replica(cluster_named: Named, world: World) -> None:
    cluster = cluster_named("acid-minimal")
    await cluster.create()
    found = await cluster.settled()
    assert sorted(member["role"] for member in found["status"]["members"]) == ["leader", "replica"]
    assert found["status"]["postgresqlVersion"].startswith(f"{world.majors[-1]}.")
    assert await cluster.ask("select pg_is_in_recovery()") is False
    await cluster.reachable(role="replica")  # it streams, and may not have replayed yet that the database was made
    assert await cluster.ask("select pg_is_in_recovery()", role="replica") is True
    assert await cluster.ask("select count(*) from pg_stat_replication where state = 'streaming'", user="postgres") == 1

    assert await cluster.ask("select rolsuper and rolcreatedb from pg_roles where rolname = 'zalando'") is True
    assert await cluster.ask("select current_user", user="foo_user") == "foo_user"
    assert await cluster.ask("select not rolsuper and not rolcreatedb from pg_roles where rolname = 'foo_user'") is True
    owner = "select pg_get_userbyid(datdba) from pg_database where datname = '%s'"
    assert (await cluster.ask(owner % "foo"), await cluster.ask(owner % "bar")) == ("zalando", "bar_owner")


async def test_psql_connects_through_the_service_address(cluster_named: Named, world: World) -> None:
    cluster = cluster_named("acid-psql")
    await cluster.create(numberOfInstances=1)
    await cluster.settled()
    address = await cluster.address()

    async def asked(password: str) -> subprocess.CompletedProcess[str]:
        psql = world.psql(f"{cluster.name}-0", PGPASSWORD=password, PGCONNECT_TIMEOUT="5")
        argv = [*psql, "-XAt", "-h", address, "-U", "foo_user", "-d", "foo", "-c", "select 40 + 2"]
        return await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=30)

    done = await asked(await cluster.password("foo_user"))
    assert (done.stdout, done.returncode) == ("42\n", 0), done.stderr
    assert "authentication failed" in (await asked("wrong")).stderr


async def test_prepared_roles_may_what_their_names_say(cluster_named: Named) -> None:
    cluster = cluster_named("acid-prepared")
    prepared = {"bar": {"defaultUsers": True, "extensions": {"plpgsql": "pg_catalog"}, "schemas": {"data": {}}}}
    await cluster.create(numberOfInstances=1, preparedDatabases=prepared)
    await cluster.settled()
    bar = {"database": "bar"}
    await cluster.run("set role bar_owner; create table data.t (id int)", user="bar_owner_user", **bar)
    await cluster.run("insert into data.t values (7)", user="bar_writer_user", **bar)
    assert await cluster.ask("select id from data.t", user="bar_reader_user", **bar) == 7
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await cluster.run("insert into data.t values (8)", user="bar_reader_user", **bar)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await cluster.run("create table data.mine (id int)", user="bar_writer_user", **bar)


async def test_every_major_that_is_here_runs(cluster_named: Named, world: World) -> None:
    clusters = {major: cluster_named(f"acid-major-{major}") for major in world.majors}
    assert clusters
    for major, cluster in clusters.items():
        await cluster.create(numberOfInstances=1, postgresql={"version": major})
    for major, cluster in clusters.items():
        found = await cluster.settled()
        assert found["status"]["postgresqlVersion"].partition(".")[0] == major
        assert int(await cluster.ask("show server_version_num")) // 10000 == int(major)


async def test_missing_major_names_those_that_are_here(cluster_named: Named, world: World) -> None:
    missing = next(major for major in ("17", "14") if major not in world.majors)
    cluster = cluster_named("acid-missing")
    await cluster.create(numberOfInstances=1, postgresql={"version": missing})

    def says_it(resource: dict[str, object]) -> bool:
        return f"PostgreSQL {missing} is not installed" in str(resource.get("status"))

    found = await cluster.status_where("the missing major to be said", says_it)
    assert all(f"{major} (" in str(found["status"]) for major in world.majors)
    assert found["status"]["PostgresClusterStatus"] == "CreateFailed"
