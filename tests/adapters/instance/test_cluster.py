"""Two members for real, for each PostgreSQL that is here and in both of Patroni's modes."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import yaml

from adapters.instance.world import SUPERUSER_PASSWORD, World, network_of, until
from howdah.adapters.answers import new_session
from howdah.adapters.patroni import DeniedError, Endpoint, Patroni, RefusedError
from howdah.core.patroni.credentials import derived_credentials
from howdah.core.patroni.member import parse_leader
from howdah.instance import replica as replica_script
from howdah.instance.binaries import installations
from howdah.instance.claim import SERVERS
from lifetimes import ended_with_us
from steady import HANGS_S

MAJORS = [one.major for one in installations(os.environ["PATH"])]
MODES = ("configmaps", "endpoints")
# Each major, and both modes: the pairs are spread, for they do not depend on each other.
CASES = sorted(((major, MODES[index % 2]) for index, major in enumerate(MAJORS)), key=lambda case: case[1])
# Where services go by the role's label, not by the lock itself: first among the cases, for pytest goes by positions.
BY_LABEL = [case for case in CASES if case[1] == "configmaps"]

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("instance")]


def case_id(case):
    major, mode = case
    return f"{major}-{mode}"


@pytest.fixture(scope="module", params=CASES, ids=case_id)
def world(request, api):
    major, mode = request.param
    folder = Path(tempfile.mkdtemp(prefix="hi-", dir="/tmp"))  # short: sockets lie in it
    network = network_of(0)
    world = World(api, folder, f"m{major}-{os.getpid()}", major=major, mode=mode, network=network)
    try:
        first = world.add()
        until(lambda: world.is_writable(first), why=world.logs)
        second = world.add()
        until(lambda: world.streaming(first) == {second.name}, why=world.logs)
        yield world
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def leader(world):
    return until(lambda: (found := world.leader()) and world.is_writable(found) and found, why=world.logs)


@pytest.fixture
def replica(world, leader):
    (found,) = (member for member in world.members if member is not leader)
    until(lambda: world.streaming(leader) == {found.name}, why=world.logs)
    return found


@pytest.fixture
async def patroni():
    async with new_session() as session:
        yield Patroni(session)


def endpoint(member, *, authorized=True):
    credentials = derived_credentials("postgres", SUPERUSER_PASSWORD)
    known = {"username": credentials.username, "password": credentials.password} if authorized else {}
    return Endpoint(f"http://{member.address}:8008/patroni", **known)


def test_both_members_say_what_they_are(world, leader, replica):
    until(lambda: world.state(replica).state == "streaming", why=lambda: world.state(replica))
    assert world.state(leader).role == "primary"
    assert world.state(leader).state == "running"
    assert world.state(leader).api_url == f"http://{leader.address}:8008/patroni"
    assert world.config().is_initialized
    assert world.config().dynamic["failsafe_mode"] is True

    def labels():
        return [world.pod(member.name)["metadata"]["labels"].get("spilo-role") for member in (leader, replica)]

    until(lambda: labels() == ["master", "replica"], why=labels)
    assert "critical-operation" not in world.pod(leader.name)["metadata"]["labels"]


def test_the_replica_did_not_wait_for_a_slot(leader, replica):
    assert "replica has been created using basebackup_with_slot" in replica.log.read_text()
    slot = replica.name.replace("-", "_")
    assert leader.sql(f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'") == "t"


def test_a_slot_is_made_once_and_can_be_dropped(world, leader):
    bin_dir = next(Path(one.bin_dir) for one in installations(os.environ["PATH"]) if one.major == world.major)
    connection = f"host={leader.folder}/run/postgresql user=standby dbname=postgres"
    assert replica_script.make_slot(bin_dir, connection, "probe_0")
    assert replica_script.make_slot(bin_dir, connection, "probe_0")
    query = "SELECT count(restart_lsn) FROM pg_replication_slots WHERE slot_name = 'probe_0'"
    assert leader.sql(query) == "1"
    assert replica_script.drop_slot(bin_dir, connection, "probe_0")
    assert leader.sql(query) == "0"
    assert not replica_script.make_slot(bin_dir, "host=/nowhere", "probe_0")


@pytest.fixture
def copying(world, leader, tmp_path):
    """Starts the script that copies the leader for a member `copy-0`, as Patroni does it; into `tmp_path / "data"`."""
    bin_dir = next(one.bin_dir for one in installations(os.environ["PATH"]) if one.major == world.major)
    connection = f"host={leader.folder}/run/postgresql user=standby dbname=postgres"
    begun = []

    def start(data=tmp_path / "data"):
        script = [sys.executable, replica_script.__file__, f"--bin-dir={bin_dir}", "--member=copy-0"]
        process = subprocess.Popen(
            ended_with_us(*script, f"--datadir={data}", f"--connstring={connection}", "--role=replica")
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait(HANGS_S)
    leader.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'copy_0'")


@pytest.fixture
def ballast(leader):
    """What takes a second to be copied."""
    leader.sql("CREATE TABLE ballast AS SELECT repeat(md5(n::text), 60) FROM generate_series(1, 150000) n")
    leader.sql("ALTER TABLE ballast SET (autovacuum_enabled = off)")
    yield
    leader.sql("DROP TABLE ballast")


def slots(leader, name):
    return leader.sql(f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{name}'")


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
def test_a_copy_is_there_when_all_of_it_is_there_and_has_its_slot(leader, copying, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data.copying.1a" / "base").mkdir(parents=True)  # of a script that was killed
    assert copying().wait(HANGS_S) == 0
    assert (tmp_path / "data" / "global" / "pg_control").is_file()
    assert (tmp_path / "data" / "backup_label").is_file()
    assert [file.name for file in tmp_path.glob("data*")] == ["data"]
    assert slots(leader, "copy_0") == "1"


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
def test_a_copy_that_fails_leaves_no_slot(leader, copying, tmp_path):
    (tmp_path / "file").touch()
    assert copying(tmp_path / "file" / "data").wait(HANGS_S) != 0
    assert slots(leader, "copy_0") == "0"


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
def test_a_copy_that_is_called_off_leaves_nothing(leader, ballast, copying, tmp_path):
    process = copying()
    until(lambda: list(tmp_path.glob("*/base/*/PG_VERSION")), every_s=0.005, why="it copies")
    assert slots(leader, "copy_0") == "1"
    process.terminate()
    assert process.wait(HANGS_S) == replica_script.ASKED_TO_END
    assert not list(tmp_path.glob("data*"))
    assert slots(leader, "copy_0") == "0"


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
def test_a_replica_that_was_killed_while_it_copied_comes_back_by_itself(world, leader, replica, ballast):
    def has_begun():
        return list(replica.data.parent.glob("*/base/*/PG_VERSION"))

    replica.kill()
    shutil.rmtree(replica.data)
    replica.start()
    until(has_begun, every_s=0.005, why=world.logs)
    replica.kill()
    assert has_begun()
    assert not list(replica.data.parent.glob("*/global/pg_control")), "the copy was whole already"
    replica.start()
    until(lambda: world.streaming(leader) == {replica.name}, why=world.logs)
    assert sorted(file.name for file in replica.data.parent.glob("data*")) == ["data"]


def test_servers_keep_other_containers_out_by_a_lock_of_their_own(leader):
    with (leader.data.parent / SERVERS).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_server_is_the_one_asked_for(world, leader):
    assert leader.sql("SHOW server_version").split(".")[0] == str(world.major)
    assert leader.sql("SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'postgres'") == "UTF8"
    assert leader.sql("SHOW shared_buffers") == "32MB"
    assert leader.sql("SHOW listen_addresses") == leader.address


def test_group_roles_exist_and_nobody_logs_in_as_them(leader):
    query = (
        "SELECT rolname, rolcanlogin, rolcreatedb FROM pg_roles WHERE rolname !~ '^(pg_|postgres|standby)' ORDER BY 1"
    )
    assert leader.sql(query).split("\n") == ["admin|f|t", "cron_admin|f|f", "robot_zmon|f|f", "zalandos|f|f"]
    assert leader.sql("SELECT pg_has_role('admin', 'cron_admin', 'member')") == "t"
    schemas = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('user_management', 'zmon_utils', 'metric_helpers')"
    assert leader.sql(schemas) == "3"


def test_statements_after_initdb_can_run_again(leader):
    document = yaml.safe_load((leader.folder / "run" / "patroni.yaml").read_text())
    command = shlex.split(document["bootstrap"]["post_init"])
    leader.sql("ALTER ROLE robot_zmon LOGIN")
    connection = f"host={leader.folder}/run/postgresql user=postgres dbname=postgres"
    again = subprocess.run([*command, connection], capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert leader.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'robot_zmon'") == "f"


def test_passwords_are_in_no_environment_and_in_no_open_file(leader):
    assert (leader.folder / "run" / "patroni.yaml").stat().st_mode & 0o777 == 0o600
    assert leader.data.stat().st_mode & 0o077 == 0
    seen = 0
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            environ = entry.read_bytes()
            if f"POD_UID={leader.environment['POD_UID']}".encode() in environ:
                command = (entry.parent / "cmdline").read_bytes()
                if b"unshare" not in command:  # the starter, which stands for the container's runtime
                    seen += 1
                    assert SUPERUSER_PASSWORD.encode() not in environ, command
    assert seen >= 2  # Patroni and the postmaster
    assert SUPERUSER_PASSWORD not in leader.log.read_text()


async def test_commands_need_the_derived_credentials(leader, patroni):
    with pytest.raises(DeniedError):
        await patroni.patch_config(endpoint(leader, authorized=False), {"ttl": 31})
    assert (await patroni.patch_config(endpoint(leader), {"ttl": 31}))["ttl"] == 31
    assert "ttl" in await patroni.get_config(endpoint(leader, authorized=False))  # reading is free


async def test_patroni_is_read_and_says_no_in_its_own_words(world, leader, replica, patroni):
    status = await patroni.get_patroni(endpoint(leader))
    assert (status.role, status.state, status.server_version // 10000) == ("primary", "running", world.major)
    members = {member.name: member for member in (await patroni.get_cluster(endpoint(replica))).members}
    assert set(members) == {leader.name, replica.name}
    with pytest.raises(RefusedError, match="leader name does not match") as caught:
        await patroni.switchover(endpoint(leader), leader=replica.name, candidate=leader.name)
    assert caught.value.status == 412
    with pytest.raises(RefusedError) as caught:
        await patroni.restart(endpoint(replica))
    assert caught.value.status == 503


async def test_a_changed_parameter_waits_for_a_restart_that_can_be_asked_for(world, leader, replica, patroni):
    await patroni.patch_config(endpoint(leader), {"postgresql": {"parameters": {"max_prepared_transactions": 7}}})
    until(lambda: world.state(replica).pending_restart, why=lambda: world.state(replica))
    (change,) = world.state(replica).pending_changes
    assert (change.name, change.old, change.new) == ("max_prepared_transactions", "0", "7")
    for member in (replica, leader):
        await patroni.restart(endpoint(member))
    until(lambda: world.is_writable(leader), why=world.logs)
    assert leader.sql("SHOW max_prepared_transactions") == "7"


async def test_a_switchover_hands_over_and_the_old_leader_follows(world, leader, replica, patroni):
    leader.sql("CREATE TABLE IF NOT EXISTS kept (at text)")
    leader.sql("INSERT INTO kept VALUES ('before the switchover')")
    said = await patroni.switchover(endpoint(leader), leader=leader.name, candidate=replica.name)
    assert re.search("switched over", said)
    until(lambda: world.is_writable(replica), why=world.logs)
    assert replica.sql("SELECT at FROM kept") == "before the switchover"
    # Who leads could see to the other pods before it was promoted.
    assert "keep the label" not in replica.log.read_text()
    until(lambda: world.streaming(replica) == {leader.name}, why=world.logs)


def role_label(world, member):
    return world.pod(member.name)["metadata"]["labels"].get("spilo-role")


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
async def test_who_is_to_lead_leaves_the_replicas_before_the_lock_is_given_away(world, leader, replica, patroni):
    """Or not at all: on a machine that is busy the script may be late, and then it changes nothing any more."""
    for _ in range(6):
        until(lambda leader=leader: role_label(world, leader) == "master", why=world.logs)
        until(lambda replica=replica: role_label(world, replica) == "replica", why=world.logs)
        until(lambda leader=leader, replica=replica: world.streaming(leader) == {replica.name}, why=world.logs)
        asked = asyncio.create_task(patroni.switchover(endpoint(leader), leader=leader.name, candidate=replica.name))
        seen = []
        while not asked.done():
            await asyncio.sleep(0.01)
            labels = role_label(world, leader), role_label(world, replica)
            seen.append((*labels, parse_leader(world.patroni_object("leader")).name))
        assert re.search("switched over", asked.result())
        until(lambda replica=replica: role_label(world, replica) == "master", why=world.logs)
        until(lambda leader=leader: role_label(world, leader) == "replica", why=world.logs)
        if ("master", None, leader.name) in seen:
            return
        leader, replica = replica, leader
    pytest.fail("the script was late six times")


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
async def test_a_leader_that_restarts_keeps_its_label(world, leader):
    until(lambda: role_label(world, leader) == "master", why=world.logs)
    credentials = derived_credentials("postgres", SUPERUSER_PASSWORD)
    login = {"Authorization": aiohttp.encode_basic_auth(credentials.username, credentials.password)}
    seen = set()
    async with aiohttp.ClientSession(headers=login) as session:
        asked = asyncio.create_task(session.post(f"http://{leader.address}:8008/restart", json={}))
        while not asked.done():
            await asyncio.sleep(0.01)
            seen.add(role_label(world, leader))
        answer = await asked
        assert answer.status == 200, (await answer.text(), world.logs())
    until(lambda: world.is_writable(leader), why=world.logs)
    assert seen == {"master"}
    assert "before_stop.py" in leader.log.read_text()


@pytest.mark.parametrize("world", BY_LABEL, indirect=True, ids=case_id)
def test_a_leader_that_lost_its_label_takes_it_back(world, leader):
    """As the operator takes it off, when the leader comes back in the last moment."""
    until(lambda: role_label(world, leader) == "master", why=world.logs)
    patch = {"metadata": {"labels": {"spilo-role": None}}}
    path = f"/api/v1/namespaces/default/pods/{leader.name}"
    world.api.call("PATCH", path, patch, "application/merge-patch+json")
    assert role_label(world, leader) is None
    until(lambda: role_label(world, leader) == "master", why=world.logs)
    assert world.leader() is leader


def next_loop(world):
    """When the leader looks by itself at its server again."""
    renewed = datetime.fromisoformat(world.patroni_object("leader")["renewTime"])
    return renewed + timedelta(seconds=world.config().dynamic["loop_wait"])


def test_a_killed_postmaster_is_noticed_before_the_next_loop(world, leader, replica):
    leader.sql("CREATE TABLE IF NOT EXISTS crashed (at text)")
    leader.sql("INSERT INTO crashed VALUES ('before')")
    assert world.config().dynamic["loop_wait"] == 10
    until(lambda: (world.state(leader).state, world.state(replica).state) == ("running", "streaming"), why=world.logs)
    (postmaster,) = (
        pid for pid in leader.processes() if b"postgres\0-D\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    said = len(leader.log.read_text())
    until(lambda: next_loop(world) - datetime.now(UTC) > timedelta(seconds=7), why=world.logs)
    next_look = next_loop(world)
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: "starting primary after failure" in leader.log.read_text()[said:], why=leader.log.read_text)
    assert datetime.now(UTC) < next_look
    until(lambda: world.is_writable(leader), why=world.logs)
    assert leader.sql("SELECT at FROM crashed") == "before"
    assert "removed leader key" not in leader.log.read_text()[said:]


def test_a_killed_leader_starts_again_with_every_row(world, leader, replica):
    leader.sql("CREATE TABLE IF NOT EXISTS survived (n int)")
    leader.sql("INSERT INTO survived SELECT generate_series(1, 1000)")
    leader.kill()
    leader.start()
    # Who leads then is Patroni's business: both have all rows.
    after = until(lambda: next((m for m in world.members if world.is_writable(m)), None), why=world.logs)
    assert after.sql("SELECT count(*) FROM survived") == "1000"
    (other,) = (member.name for member in world.members if member is not after)
    until(lambda: world.streaming(after) == {other}, why=world.logs)


def test_a_terminated_leader_hands_over_at_once(world, leader, replica):
    until(lambda: replica.name in (parse_leader(world.patroni_object("leader")).failsafe or ()), why=world.logs)
    leader.terminate()
    assert not (leader.data / "postmaster.pid").exists()  # shut down, not killed
    until(lambda: world.is_writable(replica), timeout_s=27, why=world.logs)  # less than the ttl of 30 s
    leader.start()
    until(lambda: world.streaming(replica) == {leader.name}, why=world.logs)


async def test_a_replica_says_that_it_vouches_for_its_leader(world, leader, replica, patroni):
    assert not (await patroni.get_patroni(endpoint(replica))).failsafe_mode_is_active
    credentials = derived_credentials("postgres", SUPERUSER_PASSWORD)
    login = {"Authorization": aiohttp.encode_basic_auth(credentials.username, credentials.password)}
    asked = {"name": leader.name, "conn_url": "postgres://x", "api_url": "http://x", "slots": None}
    async with (
        aiohttp.ClientSession(headers=login) as session,
        session.post(f"http://{replica.address}:8008/failsafe", json=asked) as answer,
    ):
        assert (answer.status, await answer.text()) == (200, "Accepted")
    assert (await patroni.get_patroni(endpoint(replica))).failsafe_mode_is_active


def test_a_clone_is_refused_before_an_empty_database_stands_in_for_it_and_replicas_of_what_was_cloned_are_made(api):
    """The variables stay for ever: who has grown, or lost a volume, copies its leader."""
    folder = Path(tempfile.mkdtemp(prefix="hi-", dir="/tmp"))
    network = network_of(1)
    clone = {"CLONE_METHOD": "CLONE_WITH_WALE", "CLONE_SCOPE": "elsewhere"}
    world = World(api, folder, f"c{os.getpid()}", major=MAJORS[-1], mode="configmaps", network=network, **clone)
    try:
        first = world.add()
        until(lambda: first.process.poll() is not None, why=world.logs)
        assert (first.folder / "termination").exists(), world.logs()
        assert (first.folder / "termination").read_text().startswith("CLONE_METHOD asks for a clone or a standby")
        assert not world.config().is_initialized
        assert not (first.data / "PG_VERSION").exists()
        first.kill()
        variables = {name: first.environment.pop(name) for name in clone}
        first.start()
        until(lambda: world.is_writable(first), why=world.logs)
        second = world.add()
        assert variables.items() <= second.environment.items()
        until(lambda: world.streaming(first) == {second.name}, why=world.logs)
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.skipif(len(MAJORS) < 2, reason="only one PostgreSQL is here")
def test_a_new_member_that_is_told_a_higher_major_serves_the_data_that_it_gets(api):
    folder = Path(tempfile.mkdtemp(prefix="hi-", dir="/tmp"))
    network = network_of(2)
    # Some binaries have no TLS, which the contract's own lines ask for.
    lines = ["local all all trust", "host all all all scram-sha-256", "host replication standby all scram-sha-256"]
    plain = {"postgresql": {"pg_hba": lines, "parameters": {"shared_buffers": "32MB"}}}
    more = {"major": min(MAJORS), "mode": "configmaps", "network": network, "SPILO_CONFIGURATION": json.dumps(plain)}
    world = World(api, folder, f"o{os.getpid()}", **more)
    try:
        first = world.add()
        until(lambda: world.is_writable(first), why=world.logs)
        world.major = max(MAJORS)
        second = world.add()
        until(lambda: second.process.poll() is not None, why=world.logs)
        assert f"the leader's data are of PostgreSQL {min(MAJORS)}" in second.log.read_text()
        second.kill()
        second.start()  # as the node does it with a container that ended
        until(lambda: world.streaming(first) == {second.name}, why=world.logs)
        assert second.sql("SHOW server_version").split(".")[0] == str(min(MAJORS))
    finally:
        world.end()
        shutil.rmtree(folder, ignore_errors=True)
