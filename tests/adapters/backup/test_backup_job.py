"""The backup's container as the Job starts it: real servers, a real S3; what it writes restores into an empty server."""

import asyncio
import contextlib
import datetime as dt
import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapters.backup.stores import BUCKET, KEY, S3, SECRET, Answer, behind, s3
from adapters.postgres import tls
from adapters.postgres.servers import PASSWORD, Server, installations, start, start_replica
from howdah.core.backup.request import backup_request
from howdah.instance.backup.job import Ending, back_up
from howdah.kube.resources import PODS
from howdah.kube.testing import FakeKubernetes
from lifetimes import ended_with_us

MAJORS = installations()
NEWEST = max(MAJORS)
FOLDER = "spilo/acid-a/uid/logical_backups"
REPOSITORY = Path(__file__).parents[3]
PATIENCE_S = 60
"""A run takes seconds; this is for a busy machine."""

pytestmark = pytest.mark.timeout(PATIENCE_S + 60)


@pytest.fixture(scope="module")
def store() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture(scope="module", params=sorted({min(MAJORS), NEWEST}), ids=lambda major: f"pg{major}")
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """A server with data, and an empty one of the same major."""
    full, empty = (start(request.param, MAJORS[request.param]) for _ in range(2))
    yield full, empty
    full.stop()
    empty.stop()


@pytest.fixture(scope="module")
def newest() -> Iterator[Server]:
    server = start(NEWEST, MAJORS[NEWEST])
    yield server
    server.stop()


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    able = tls.with_tls(MAJORS)
    own = tls.certificate(tmp_path_factory.mktemp("tls"), "db.example")
    server = start(able[-1], MAJORS[able[-1]], settings={**tls.settings(own), "log_connections": "on"})
    yield server
    server.stop()


@pytest.fixture
async def kube(tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes() as running:
        running.write_kubeconfig(tmp_path / "kubeconfig", "ns")
        yield running


def member(kube: FakeKubernetes, name: str, status: str = '{"role": "primary", "state": "running"}') -> None:
    ready = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {
        "name": name,
        "namespace": "ns",
        "labels": {"cluster-name": "acid-a"},
        "annotations": {"status": status},
    }
    kube.store.seed(PODS, {"metadata": metadata, "spec": {"containers": []}, "status": ready})


def environment(store: S3, server: Server, folder: Path, **changes: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(REPOSITORY / "src"),
        "KUBECONFIG": str(folder / "kubeconfig"),
        "TERMINATION_LOG": str(folder / "last-words"),
        "SCOPE": "acid-a",
        "CLUSTER_NAME_LABEL": "cluster-name",
        "POD_NAMESPACE": "ns",
        "PG_VERSION": str(server.major),
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGDATABASE": "postgres",
        "PGSSLMODE": "prefer",
        "PYTHONFAULTHANDLER": "1",
        "PGPASSWORD": PASSWORD,
        "LOGICAL_BACKUP_PROVIDER": "s3",
        "LOGICAL_BACKUP_S3_BUCKET": BUCKET,
        "LOGICAL_BACKUP_S3_BUCKET_PREFIX": "spilo",
        "LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX": "/uid",
        "LOGICAL_BACKUP_S3_REGION": "",
        "LOGICAL_BACKUP_S3_ENDPOINT": store.endpoint,
        "LOGICAL_BACKUP_CONNECT_RETRIES": "2",
        "LOGICAL_BACKUP_CONNECT_RETRY_DELAY": "0",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        **changes,
    }


async def run(store: S3, server: Server, folder: Path, **changes: str) -> tuple[int, str, str]:
    """Exit code, what it logs, what it leaves as its last words."""
    process = await started(environment(store, server, folder, **changes))
    return await end_of(process, folder)


async def started(environ: Mapping[str, str]) -> asyncio.subprocess.Process:
    command = ended_with_us(sys.executable, "-m", "howdah.instance.backup")
    return await asyncio.create_subprocess_exec(*command, env=environ, stderr=asyncio.subprocess.PIPE)


async def end_of(process: asyncio.subprocess.Process, folder: Path) -> tuple[int, str, str]:
    ending = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait({ending}, timeout=PATIENCE_S)
    if not done:
        process.send_signal(signal.SIGABRT)  # its stacks are what the assertion shows
        raise AssertionError((await ending)[1].decode())
    _, said = await ending
    words = folder / "last-words"
    assert process.returncode is not None
    return process.returncode, said.decode(), words.read_text() if words.exists() else ""


def dumps(store: S3) -> list[str]:
    return [key for key in store.objects() if key.startswith(FOLDER)]


def fill(server: Server) -> None:
    server.reset()
    server.sql("CREATE ROLE owner_of_shop LOGIN PASSWORD 'hush' CONNECTION LIMIT 7")
    server.sql("ALTER ROLE owner_of_shop SET work_mem TO '17MB'")
    server.sql("GRANT admin TO owner_of_shop")
    server.sql("CREATE DATABASE shop OWNER owner_of_shop")
    server.sql('CREATE DATABASE "odd name; --"')
    server.sql("CREATE TABLE orders (id int PRIMARY KEY, what text); GRANT SELECT ON orders TO robot_zmon", "shop")
    server.sql("INSERT INTO orders SELECT g, md5(g::text) FROM generate_series(1, 20000) g", "shop")
    server.sql("CREATE SEQUENCE numbers START 42", "shop")
    server.sql("CREATE TABLE t AS SELECT 'ümläut' AS x", "odd name; --")


def contents(server: Server) -> Mapping[str, Any]:
    return {
        "roles": server.sql(
            "SELECT a.rolname, a.rolcanlogin, a.rolconnlimit, a.rolpassword, r.rolconfig"
            "  FROM pg_authid a JOIN pg_roles r USING (rolname)"
            " WHERE a.rolname !~ '^pg_' ORDER BY 1"
        ),
        "memberships": server.sql(
            "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members WHERE roleid > 16383 ORDER BY 1, 2"
        ),
        "databases": server.sql("SELECT datname, datdba::regrole::text FROM pg_database ORDER BY 1"),
        "orders": server.sql("SELECT count(*), sum(id), md5(string_agg(what, ',' ORDER BY id)) FROM orders", "shop"),
        "owners": server.sql(
            "SELECT relname, relacl::text FROM pg_class WHERE relname IN ('orders', 'numbers') ORDER BY 1", "shop"
        ),
        "sequence": server.sql("SELECT last_value FROM numbers", "shop"),
        "odd": server.sql("SELECT x FROM t", "odd name; --"),
    }


def restore(key: str, store: S3, server: Server) -> None:
    """As the documentation says it."""
    for name in ("robot_zmon", "zalandos", "cron_admin", "admin", "standby"):
        server.sql(f"DROP ROLE IF EXISTS {name}")
    psql = MAJORS[server.major] / "psql"
    environ = {**os.environ, "PGPASSWORD": PASSWORD, "PGOPTIONS": "-c role=none -c local_preload_libraries="}
    place = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-d", "postgres"]
    subprocess.run(
        [psql, "-X", "-q", *place], input=gzip.decompress(store.read(key)), env=environ, check=True, timeout=100
    )


async def test_a_dump_restores_into_an_empty_server(
    pair: tuple[Server, Server], store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    full, empty = pair
    fill(full)
    member(kube, "acid-a-0")
    before, began = set(dumps(store)), int(time.time())
    code, said, _ = await run(store, full, tmp_path)
    assert code == 0, said
    (key,) = set(dumps(store)) - before
    assert began <= int(key.rpartition("/")[2].partition(".")[0]) <= time.time()
    restore(key, store, empty)
    assert contents(empty) == contents(full)
    assert PASSWORD not in said
    store.folder.joinpath(BUCKET, key).unlink()


async def test_what_is_too_old_goes_after_the_new_dump_is_there_and_nothing_else(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    member(kube, "acid-a-0")
    now = int(time.time())
    old, young = f"{FOLDER}/{now - 20 * 86400}.sql.gz", f"{FOLDER}/{now - 5 * 86400}.sql.gz"
    others = [f"{FOLDER}/notes.txt", f"{FOLDER}/kept/1.sql.gz", "spilo/acid-b/uid/logical_backups/1.sql.gz"]
    for key in (old, young, *others):
        store.write(key)
    code, said, _ = await run(store, newest, tmp_path, LOGICAL_BACKUP_S3_RETENTION_TIME="2 weeks")
    assert code == 0, said
    there = store.objects()
    assert old not in there
    assert {young, *others} <= set(there)
    for key in (young, *others):
        (store.folder / BUCKET / key).unlink()


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"PGPASSWORD": "wrong"}, 1, "pg_dumpall ended with code 1"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, 1, "SignatureDoesNotMatch"),
        ({"LOGICAL_BACKUP_S3_BUCKET": "nowhere"}, 1, "NoSuchBucket"),
        ({"PGPORT": "1"}, 1, "no member of ns/acid-a answered in 2 tries"),
        ({"PG_VERSION": "99"}, 1, "no pg_dumpall of PostgreSQL 99"),
        ({"LOGICAL_BACKUP_S3_RETENTION_TIME": "9999999999 days"}, 2, "longer than can be reckoned with"),
        ({"LOGICAL_BACKUP_S3_BUCKET": "", "SCOPE": ""}, 2, "LOGICAL_BACKUP_S3_BUCKET: is empty"),
    ],
)
async def test_a_run_that_fails_leaves_no_dump_deletes_none_and_says_why(
    changes: dict[str, str], code: int, words: str, newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    member(kube, "acid-a-0")
    ancient = f"{FOLDER}/1.sql.gz"
    store.write(ancient)
    before = dumps(store)
    found, said, last = await run(store, newest, tmp_path, **{"LOGICAL_BACKUP_S3_RETENTION_TIME": "1 day", **changes})
    assert found == code, said
    assert words in last
    assert dumps(store) == before
    assert PASSWORD not in said + last


async def test_a_dump_that_breaks_off_is_no_dump(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """The connection is cut when the roles have been written and the tables have not."""
    fill(newest)
    member(kube, "acid-a-0")
    before = dumps(store)
    with newest.session("shop") as session:
        session.execute("BEGIN; LOCK TABLE orders")
        running = asyncio.create_task(run(store, newest, tmp_path))
        await until_it_waits(newest, "SELECT pg_terminate_backend(pid)")
    code, said, _ = await running
    assert code == 1, said
    assert dumps(store) == before


async def until_it_waits(server: Server, then: str) -> None:
    """For a table that is locked."""
    async with asyncio.timeout(PATIENCE_S):
        while not server.sql(f"{then} FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            await asyncio.sleep(0.05)


async def test_a_run_that_is_ended_from_outside_leaves_no_part_of_a_dump(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """As when its node is drained: parts of an upload that nobody gives up are paid for, and not to be seen."""
    fill(newest)
    member(kube, "acid-a-0")
    before, given_up = dumps(store), []

    def says(method: str, path: str) -> Answer | None:
        if method == "DELETE" and "uploadId" in path:
            given_up.append(path)
        return None

    with behind(store, says) as seen, newest.session("shop") as session:
        session.execute("BEGIN; LOCK TABLE orders")
        process = await started(environment(seen, newest, tmp_path))
        await until_it_waits(newest, "SELECT pid")
        process.send_signal(signal.SIGTERM)
        code, said, last = await end_of(process, tmp_path)
    assert code == 1, said
    assert last == "ended from outside (SIGTERM)\n"
    assert dumps(store) == before
    assert given_up
    async with asyncio.timeout(PATIENCE_S):
        while newest.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'logical-backup'"):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("last", ["POST", "HEAD"], ids=["the upload is complete", "it is looked for"])
async def test_a_dump_that_the_store_took_is_a_success_though_the_run_is_ended_from_outside_then(
    last: str, newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """The signal comes before the answer: the library waits for that, and hears of no signal."""
    member(kube, "acid-a-0")
    ancient = f"{FOLDER}/1.sql.gz"
    store.write(ancient)
    before, processes = set(dumps(store)), []

    def ends(method: str, path: str) -> bool:
        if method == last and (last == "HEAD" or "uploadId" in path):
            processes[0].send_signal(signal.SIGTERM)
        return False

    with behind(store, loses=ends) as seen:
        processes.append(
            await started(environment(seen, newest, tmp_path, LOGICAL_BACKUP_S3_RETENTION_TIME="1 day")),
        )
        code, said, _ = await end_of(processes[0], tmp_path)
    assert code == 0, said
    assert "ended from outside (SIGTERM): the new dump is in the store" in said
    (key,) = set(dumps(store)) - before
    assert b"cluster dump complete" in gzip.decompress(store.read(key))
    assert ancient in dumps(store), "what can wait waits"
    forget_dumps(store)


def refusing(*methods: str) -> Callable[[str, str], Answer | None]:
    """As a policy does, but for uploads that are given up."""
    return lambda method, path: (403, {}) if method in methods and "uploadId" not in path else None


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (refusing("HEAD", "GET", "DELETE"), "does not say whether it is whole; nothing is deleted"),
        (refusing("GET"), "those that are too old are not all deleted"),
        (lambda method, path: (403, {}) if method == "POST" and "delete" in path else None, "not all deleted"),
    ],
    ids=["write-only", "no-list", "no-delete"],
)
async def test_a_dump_that_the_store_took_is_a_success_whatever_else_it_refuses(
    says: Callable[[str, str], Answer | None],
    words: str,
    newest: Server,
    store: S3,
    kube: FakeKubernetes,
    tmp_path: Path,
) -> None:
    member(kube, "acid-a-0")
    ancient = f"{FOLDER}/1.sql.gz"
    store.write(ancient)
    before = set(dumps(store))
    with behind(store, says) as strict:
        code, said, _ = await run(strict, newest, tmp_path, LOGICAL_BACKUP_S3_RETENTION_TIME="1 day")
    assert code == 0, said
    assert words in said
    assert before < set(dumps(store))
    forget_dumps(store)


async def test_a_dump_whose_last_answer_got_lost_is_there_and_a_success(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """The library asks again, and is told that there is no such upload."""
    member(kube, "acid-a-0")
    before = set(dumps(store))
    with behind(store, loses=lambda method, path: method == "POST" and "uploadId" in path) as unlucky:
        code, said, _ = await run(unlucky, newest, tmp_path)
    assert code == 0, said
    assert "the store did not confirm the upload" in said
    (key,) = set(dumps(store)) - before
    assert b"cluster dump complete" in gzip.decompress(store.read(key))
    forget_dumps(store)


@pytest.mark.parametrize(
    ("answer", "words"),
    [((200, {"Content-Length": "7"}), "7 are there"), ((404, {}), "there is no object")],
    ids=["other-size", "nothing"],
)
async def test_what_arrives_otherwise_than_it_was_sent_is_no_dump(
    answer: Answer, words: str, newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    member(kube, "acid-a-0")
    ancient = f"{FOLDER}/1.sql.gz"
    store.write(ancient)
    written = {"Last-Modified": "Thu, 26 Nov 2026 12:00:00 GMT", "ETag": '"x"'}
    status, headers = answer
    with behind(store, lambda method, _: (status, {**written, **headers}) if method == "HEAD" else None) as lying:
        code, _, last = await run(lying, newest, tmp_path, LOGICAL_BACKUP_S3_RETENTION_TIME="1 day")
    assert code == 1
    assert words in last
    assert ancient in dumps(store)
    if status == 200:
        assert dumps(store) == [ancient]
    forget_dumps(store)


def forget_dumps(store: S3) -> None:
    for key in dumps(store):
        (store.folder / BUCKET / key).unlink()


@pytest.mark.parametrize(("days", "is_kept"), [(0, False), (365, True), (-365, True)])
async def test_a_clock_that_is_wrong_deletes_nothing(
    days: int,
    is_kept: bool,
    newest: Server,
    store: S3,
    kube: FakeKubernetes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    member(kube, "acid-a-0")
    young, old = (f"{FOLDER}/{int(time.time()) - age * 86400}.sql.gz" for age in (5, 20))
    for key in (young, old):
        store.write(key)
    environ = environment(store, newest, tmp_path, LOGICAL_BACKUP_S3_RETENTION_TIME="2 weeks")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    off = dt.timedelta(days=days)
    await asyncio.to_thread(
        back_up, backup_request(environ), environ, clock=lambda: dt.datetime.now(dt.UTC) + off, ending=Ending()
    )
    assert young in dumps(store)
    assert (old in dumps(store)) is is_kept
    forget_dumps(store)


OF_AN_OWNER = (
    "role = owner_of_shop",
    "default_transaction_isolation = serializable",
    "local_preload_libraries = nowhere",
    "client_encoding = LATIN1",
    "client_min_messages = debug5",
    "search_path = nowhere",
    "statement_timeout = 1",
    "idle_in_transaction_session_timeout = 1",
)


async def test_whatever_its_owner_sets_for_a_database_all_of_it_is_dumped(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """From a replica, which refuses serializable transactions."""
    fill(newest)
    newest.sql("CREATE TABLE of_others AS SELECT '€ 5' AS price", "shop")
    for setting in OF_AN_OWNER:
        newest.sql(f"ALTER DATABASE shop SET {setting}", user="owner_of_shop", password="hush")
    replica = start_replica(newest, MAJORS[newest.major])
    try:
        member(kube, "acid-a-0")
        before = set(dumps(store))
        code, said, _ = await run(store, replica, tmp_path)
    finally:
        replica.stop()
    newest.sql("ALTER DATABASE shop RESET ALL")
    assert code == 0, said
    assert "DEBUG" not in said
    (key,) = set(dumps(store)) - before
    other = start(newest.major, MAJORS[newest.major])
    try:
        restore(key, store, other)
        other.sql("ALTER DATABASE shop RESET ALL")
        assert other.sql("SELECT price FROM of_others", "shop") == [("€ 5",)]
        assert contents(other)["orders"] == contents(newest)["orders"]
    finally:
        other.stop()
    forget_dumps(store)


async def test_a_database_that_admits_nobody_is_named(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    newest.reset()
    newest.sql("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    member(kube, "acid-a-0")
    code, said, _ = await run(store, newest, tmp_path)
    assert code == 0, said
    assert "sending parts of 16 MiB, 4 at once" in said
    assert "database closed admits no sessions: it is not in the dump" in said
    forget_dumps(store)


@contextlib.asynccontextmanager
async def asking_for_the_password() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Its port, and what it was told: whoever has a member's address asks for the password in the clear."""
    told: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int.from_bytes(await reader.readexactly(4))
                body = await reader.readexactly(length - 4)
                if int.from_bytes(body[:4]) not in (80877103, 80877104):  # questions for TLS and GSS
                    break
                writer.write(b"N")
            writer.write(b"R" + (8).to_bytes(4) + (3).to_bytes(4))
            told.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told


async def test_the_password_is_never_sent_to_who_asks_for_it(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    member(kube, "acid-a-0")
    async with asking_for_the_password() as (port, told):
        code, said, _ = await run(store, newest, tmp_path, PGPORT=str(port))
    assert code == 1, said
    assert told, "the job has asked for sessions"
    assert PASSWORD.encode() not in b"".join(told)


def sessions_of_the_job(server: Server, since: int) -> set[bool]:
    """Whether its sessions were encrypted, as the server's log says."""
    lines = [line for line in server.log()[since:].splitlines() if "connection authorized" in line]
    return {"SSL enabled" in line for line in lines if "application_name=logical-backup" in line}


@pytest.mark.parametrize(
    ("admitted", "asked", "is_encrypted"),
    [
        ("hostssl", "require", True),
        ("host", "require", True),
        ("hostssl", "prefer", True),
        ("hostnossl", "prefer", False),
    ],
)
async def test_the_dump_is_encrypted_as_asked(
    admitted: str,
    asked: str,
    is_encrypted: bool,
    with_tls: Server,
    store: S3,
    kube: FakeKubernetes,
    tmp_path: Path,
) -> None:
    tls.admit(with_tls, admitted)
    member(kube, "acid-a-0")
    since, own = len(with_tls.log()), f"/{admitted}-{asked}"
    code, said, _ = await run(store, with_tls, tmp_path, PGSSLMODE=asked, LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX=own)
    assert code == 0, said
    assert len([key for key in store.objects() if f"{own}/" in key]) == 1
    assert sessions_of_the_job(with_tls, since) == {is_encrypted}


async def test_a_dump_that_must_be_encrypted_never_goes_in_the_clear(
    with_tls: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    tls.admit(with_tls, "hostnossl")
    member(kube, "acid-a-0")
    before, since = dumps(store), len(with_tls.log())
    code, said, last = await run(store, with_tls, tmp_path, PGSSLMODE="require")
    assert code == 1, said
    assert "pg_dumpall ended with code 1" in last
    assert "no pg_hba.conf entry" in said
    assert dumps(store) == before
    assert sessions_of_the_job(with_tls, since) == set()


async def test_a_server_without_tls_is_dumped_where_the_platform_says_that_there_are_such(
    newest: Server, store: S3, kube: FakeKubernetes, tmp_path: Path
) -> None:
    """A PostgreSQL without TLS has tools without it, which refuse the word `require`."""
    member(kube, "acid-a-0")
    assert newest.sql("SHOW ssl") == [("off",)]
    asked = {"PGSSLMODE": "require", "LOGICAL_BACKUP_S3_BUCKET_SCOPE_SUFFIX": "/without-tls"}
    code, said, _ = await run(store, newest, tmp_path, **asked)
    assert code == 1, said
    assert "SSL" in said
    code, said, _ = await run(store, newest, tmp_path, **asked, HOWDAH_BACKUP_TLS="prefer")
    assert code == 0, said
    assert len([key for key in store.objects() if "/acid-a/without-tls/" in key]) == 1
