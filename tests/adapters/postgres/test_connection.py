"""A session with the right server, in bounded time, and what is told when there is none."""

import asyncio
import dataclasses
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg import sql

from adapters.postgres.conftest import MAJORS, only
from adapters.postgres.servers import Server, start
from adapters.postgres.tls import admit, certificate, settings, with_tls
from howdah.adapters.postgres import AuthenticationFailed, Target, connect, observe, server_settings
from howdah.adapters.postgres.connection import NotWritable, authentication
from howdah.core.postgres.statements import repair_password_sql
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.postgres.catalogue import Interest
from howdah.model.postgres.passwords import scram_verifier
from steady import HANGS_S

NOTHING = Interest(frozenset(), frozenset())


async def test_a_session_is_pinned_against_what_roles_databases_and_files_say(server: Server) -> None:
    server.sql(
        "ALTER ROLE postgres SET search_path TO evil; ALTER ROLE postgres SET synchronous_commit TO remote_apply;"
        "ALTER DATABASE postgres SET statement_timeout TO 0; ALTER ROLE postgres SET default_transaction_read_only TO on;"
        "ALTER ROLE postgres SET wal_compression TO on"
    )
    names = (
        "search_path",
        "synchronous_commit",
        "lock_timeout",
        "statement_timeout",
        "wal_compression",
        "application_name",
    )
    try:
        async with connect(server.target) as session:
            cursor = await session.execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
            assert await cursor.fetchone() == ("pg_catalog", "local", "5s", "30s", "off", "howdah")
            await session.execute("CREATE TEMP TABLE writable ()")
    finally:
        server.sql("ALTER ROLE postgres RESET ALL; ALTER DATABASE postgres RESET ALL")


HARM = {
    "role": "app",
    "local_preload_libraries": "no_such_file",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "client_min_messages": "debug5",
    "idle_in_transaction_session_timeout": "1",
    "search_path": "evil",
    "default_transaction_read_only": "on",
}
HARM_SINCE = {14: {"idle_session_timeout": "5s"}, 17: {"transaction_timeout": "5s"}}


async def test_the_owner_of_a_database_decides_nothing_about_our_session_there(server: Server) -> None:
    server.sql("CREATE ROLE app LOGIN PASSWORD 'app'")
    server.sql("CREATE DATABASE appdb OWNER app")
    harm = HARM | {k: v for since, more in HARM_SINCE.items() if server.major >= since for k, v in more.items()}
    with server.session("appdb", "app", "app") as session:
        for name, value in harm.items():
            session.execute(
                sql.SQL("ALTER DATABASE appdb SET {} TO {}").format(sql.Identifier(name), sql.Literal(value))
            )
    async with connect(server.target, "appdb") as session:
        names = ("standard_conforming_strings", "default_transaction_isolation", "client_min_messages")
        timeouts = sorted(name for name in harm if name.endswith("timeout"))
        asked = ", ".join(f"current_setting('{name}')" for name in (*names, *timeouts))
        cursor = await session.execute(f"SELECT current_user::text, session_user::text, {asked}")
        said = await cursor.fetchone()
    assert said == ("postgres", "postgres", "on", "read committed", "warning", *("0" for _ in timeouts))
    seen = await observe(server.target, Interest(frozenset(), frozenset({"appdb"})))
    assert (set(seen.contents), seen.unread) == ({"appdb"}, {})


@pytest.mark.parametrize(
    ("has_leave", "told_of"),
    [(False, f"annotate the resource with {names.CLEAR_TEXT_PASSWORD}=true"), (True, "has no TLS")],
)
async def test_a_server_that_asks_for_the_password_in_clear_text_gets_none(has_leave: bool, told_of: str) -> None:
    got = asyncio.get_running_loop().create_future()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (code := (await _packet(reader))[:4]) in (SSL_REQUEST, GSS_REQUEST):
            writer.write(b"N")
            if has_leave:
                break
        else:
            assert code == PROTOCOL_3
            writer.write(b"R" + struct.pack("!II", 8, CLEAR_TEXT_PASSWORD))
        got.set_result(await reader.read())
        writer.close()

    listening = await asyncio.start_server(impostor, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        target = Target("127.0.0.1", "postgres", "super secret", port, sends_clear_text=has_leave)
        with pytest.raises(ExternalError, match=told_of) as told:
            await observe(target, NOTHING)
    async with asyncio.timeout(HANGS_S):
        assert await got == b""
    assert not isinstance(told.value, AuthenticationFailed)
    assert not told.value.transient


SSL_REQUEST, GSS_REQUEST, PROTOCOL_3 = (struct.pack("!I", code) for code in (80877103, 80877104, 196608))
CLEAR_TEXT_PASSWORD = 3


async def _packet(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack("!I", await reader.readexactly(4))
    return await reader.readexactly(length - 4)


def test_a_libpq_that_cannot_refuse_clear_text_is_not_given_the_password() -> None:
    target = Target("127.0.0.1", "postgres", "super secret")
    with pytest.raises(ExternalError, match=r"libpq 15 .* psycopg\[binary\]"):
        authentication(target, 150010)
    assert authentication(target, 160000) == {"require_auth": "!password"}
    assert authentication(dataclasses.replace(target, ca_file="/ca.pem"), 150010) == {}
    assert authentication(dataclasses.replace(target, sends_clear_text=True), 150010) == {}


async def test_where_pg_hba_asks_for_clear_text_it_takes_a_persons_word_and_tls(tmp_path: Path) -> None:
    able = with_tls(MAJORS)
    own = certificate(tmp_path, "db.example")
    server = await asyncio.to_thread(start, able[0], MAJORS[able[0]], settings=settings(own))
    try:
        await asyncio.to_thread(admit, server, "host", "password")
        with pytest.raises(ExternalError, match=f"{names.CLEAR_TEXT_PASSWORD}=true") as told:
            await observe(server.target, NOTHING)
        assert not told.value.transient
        allowed = dataclasses.replace(server.target, sends_clear_text=True)
        async with connect(allowed) as session:
            cursor = await session.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            assert await cursor.fetchone() == (True,)
        with pytest.raises(AuthenticationFailed):
            await observe(dataclasses.replace(allowed, password="another"), NOTHING)
    finally:
        server.stop()


async def test_a_wrong_password_is_told_apart(server: Server) -> None:
    target = dataclasses.replace(server.target, password="not this one")
    with pytest.raises(AuthenticationFailed) as told:
        await observe(target, NOTHING)
    assert "not this one" not in str(told.value)
    assert not told.value.transient


async def test_no_password_at_all_is_not_taken_for_an_edited_one(server: Server) -> None:
    with pytest.raises(ExternalError) as refused:
        await observe(dataclasses.replace(server.target, password=""), NOTHING)
    assert not isinstance(refused.value, AuthenticationFailed)


async def test_the_local_socket_is_the_way_back_from_a_lost_password(server: Server) -> None:
    name = "lo'st\""
    server.sql(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD 'forgotten'").format(sql.Identifier(name)))
    script = repair_password_sql(name, scram_verifier("found :again", b"salt" * 4))
    psql = [str(MAJORS[server.major] / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres"]
    offset = len(server.log())
    subprocess.run(
        [*psql, "-h", str(server.folder), "-p", str(server.port)], input=script, text=True, check=True, timeout=HANGS_S
    )
    assert server.sql("SELECT current_user::text", user=name, password="found :again") == [(name,)]
    assert "SCRAM-SHA-256$" not in server.log()[offset:]


async def test_another_cluster_is_refused(server: Server) -> None:
    with pytest.raises(NotWritable, match="system identifier"):
        await observe(dataclasses.replace(server.target, system_identifier=42), NOTHING)


async def test_a_server_in_recovery_is_refused() -> None:
    major = min(MAJORS)
    standby = await asyncio.to_thread(start, major, MAJORS[major], in_recovery=True)
    try:
        with pytest.raises(NotWritable, match="in recovery") as told:
            await observe(standby.target, NOTHING)
        assert told.value.transient
    finally:
        standby.stop()


async def test_a_missing_database_and_a_closed_port_are_told(server: Server) -> None:
    with pytest.raises(ExternalError, match="does not exist"):
        async with connect(server.target, "no_such"):
            pass
    with pytest.raises(ExternalError) as told:
        await observe(dataclasses.replace(server.target, port=1), NOTHING)
    assert told.value.transient


async def test_a_statement_that_waits_too_long_is_cut_and_may_be_tried_again(server: Server) -> None:
    target = dataclasses.replace(server.target, statement_timeout_s=0.1)
    with pytest.raises(ExternalError, match="statement timeout") as told:
        async with connect(target) as session:
            await session.execute("SELECT pg_sleep(20)")
    assert told.value.transient


@asynccontextmanager
async def freezing_proxy(port: int) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A way to `port` that passes nothing on while its event is clear: a stopped process, a lost network."""
    flowing = asyncio.Event()
    flowing.set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await flowing.wait()
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await flowing.wait()
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        writers.extend((writer, to_writer))
        await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer), return_exceptions=True)

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield proxy.sockets[0].getsockname()[1], flowing
    finally:
        proxy.close()
        for writer in writers:
            writer.close()


@only(max(MAJORS))
async def test_a_frozen_server_costs_its_own_time_only(server: Server) -> None:
    """Frozen in a query, or before there is a session; the loop goes on meanwhile."""
    async with freezing_proxy(server.port) as (port, flowing):
        target = dataclasses.replace(server.target, port=port, session_timeout_s=2, connect_timeout_s=2)
        fewest_s = float("inf")
        for _ in range(3):  # a busy machine holds up some tries, a loop that is blocked all of them
            flowing.set()
            pauses = asyncio.create_task(longest_pause_s())
            with pytest.raises(ExternalError, match=r"did not finish in 2 s") as told:
                await frozen_query(target, flowing)
            pauses.cancel()
            assert told.value.transient
            fewest_s = min(fewest_s, await pauses)
            if fewest_s < 0.5:
                break
        assert fewest_s < 0.5
        began_s = asyncio.get_running_loop().time()
        with pytest.raises(ExternalError) as told:
            await observe(dataclasses.replace(target, session_timeout_s=60), NOTHING)
        assert told.value.transient
        assert asyncio.get_running_loop().time() - began_s < 30


async def frozen_query(target: Target, flowing: asyncio.Event) -> None:
    async with connect(target) as session:
        flowing.clear()
        await session.execute("SELECT 1")


async def longest_pause_s() -> float:
    """Between two turns of this task, until it is ended; by the wall's clock, for the loop's own stands while it is held up."""
    longest_s, seen_s = 0.0, time.monotonic()
    try:
        while True:
            await asyncio.sleep(0.01)
            longest_s, seen_s = max(longest_s, time.monotonic() - seen_s), time.monotonic()
    except asyncio.CancelledError:
        return longest_s


async def test_the_certificate_is_checked_where_an_authority_is_known(tmp_path: Path) -> None:
    able = with_tls(MAJORS)
    own, other = certificate(tmp_path, "db.example"), certificate(tmp_path, "other.example")
    server = await asyncio.to_thread(start, able[0], MAJORS[able[0]], settings=settings(own))
    try:
        plain = server.target
        trusting = dataclasses.replace(plain, ca_file=str(own))
        named = dataclasses.replace(trusting, server_name="db.example")
        for target in (plain, trusting, named):
            async with connect(target) as session:
                cursor = await session.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                assert await cursor.fetchone() == (True,)
        for target in (
            dataclasses.replace(trusting, ca_file=str(other)),
            dataclasses.replace(named, server_name="other.example"),
        ):
            with pytest.raises(ExternalError, match="certificate") as told:
                await observe(target, NOTHING)
            assert not told.value.transient
    finally:
        server.stop()


async def test_the_server_says_what_a_change_of_a_parameter_takes(server: Server) -> None:
    server.sql("ALTER SYSTEM SET max_connections TO 41")
    server.sql("ALTER SYSTEM SET work_mem TO '5MB'")
    server.sql("SELECT pg_reload_conf(), pg_sleep(0.3)")
    try:
        async with connect(server.target) as session:
            settings = await server_settings(session, ["max_connections", "Work_Mem", "DateStyle", "no_such"])
    finally:
        server.sql("ALTER SYSTEM RESET max_connections")
        server.sql("ALTER SYSTEM RESET work_mem")
        server.sql("SELECT pg_reload_conf()")
    assert settings["max_connections"].context == "postmaster"
    assert settings["max_connections"].pending_restart
    assert (settings["work_mem"].value, settings["work_mem"].unit) == ("5120", "kB")
    assert not settings["work_mem"].pending_restart
    assert set(settings) == {"max_connections", "work_mem", "datestyle"}
