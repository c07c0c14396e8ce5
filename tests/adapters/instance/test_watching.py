"""The thread that wakes Patroni: real processes stand for postmasters, a real HTTP server for Patroni's REST API."""

import base64
import contextlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.instance.world import until
from howdah.instance import tls, watching
from lifetimes import ended_with_us
from steady import HANGS_S, pause


@pytest.fixture
def start():
    """Processes that live until they are killed."""
    started = []

    def one() -> subprocess.Popen:
        started.append(subprocess.Popen(ended_with_us("sleep", "600")))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def watch(tmp_path, monkeypatch):
    """Starts the thread for the data directory `tmp_path`, with what is asked of Patroni."""
    threads = []

    def run(*asked):
        with contextlib.suppress(SystemExit):
            watching.watch(tmp_path, *asked)

    def begin(*asked):
        threads.append(threading.Thread(target=run, args=asked, daemon=True))
        threads[-1].start()

    yield begin
    monkeypatch.setattr(watching, "postmaster", lambda _: sys.exit())
    for thread in threads:
        thread.join(HANGS_S)
        assert not thread.is_alive()


@pytest.fixture
def woken(watch, monkeypatch):
    """An entry for each time that Patroni was woken for the data directory `tmp_path`."""
    calls = []
    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    monkeypatch.setattr(watching, "AGAIN_S", 0.2)
    monkeypatch.setattr(watching, "LEFT_BEHIND_S", 0.5)
    watch(lambda: calls.append("wake"))
    return calls


@pytest.fixture
def said(watch, monkeypatch):
    """What Patroni is asked for the data directory `tmp_path`, in order."""
    calls = []
    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    monkeypatch.setattr(watching, "SOON_S", 0.1)
    monkeypatch.setattr(watching, "AGAIN_S", 0.2)
    watch(lambda: calls.append("wake"), lambda: calls.append("hear anew"))
    return calls


def name(folder, pid, segment=""):
    lines = [str(pid), str(folder), "1700000000", "5432", "/run", "*", segment, "ready"]
    (folder / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))


def end(process):
    process.kill()
    process.wait()


@pytest.mark.parametrize("pidfd", [True, False])
def test_patroni_is_woken_once_for_each_postmaster_that_dies(start, woken, tmp_path, monkeypatch, pidfd):
    if not pidfd:
        monkeypatch.setattr(os, "pidfd_open", lambda pid: (_ for _ in ()).throw(OSError(38, "not implemented")))
    for already in (0, 1):
        server = start()
        name(tmp_path, server.pid)
        pause(0.3)
        assert len(woken) == already
        end(server)
        until(lambda already=already: len(woken) > already, why="woken")
    pause(0.5)
    assert len(woken) == 2


def test_patroni_is_tidied_up_while_its_server_runs(start, watch, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "SOON_S", 0.02)
    monkeypatch.setattr(watching, "AGAIN_S", 0.02)
    monkeypatch.setattr(watching, "LOOKS_PER_TIDYING", 5)
    calls = []
    name(tmp_path, start().pid)
    watch(lambda: None, lambda: None, lambda: calls.append(watching.give_memory_back()))
    until(lambda: len(calls) > 1, why="tidied")


def test_a_clean_stop_wakes_nobody(start, woken, tmp_path):
    server = start()
    name(tmp_path, server.pid)
    pause(0.3)
    (tmp_path / "postmaster.pid").unlink()
    end(server)
    pause(0.5)
    assert woken == []


def test_a_postmaster_that_was_dead_already_wakes_nobody(start, woken, tmp_path):
    server = start()
    end(server)
    name(tmp_path, server.pid)
    pause(0.5)
    assert woken == []


def test_the_pid_of_a_server_of_earlier_days_hides_no_later_one(start, woken, tmp_path):
    name(tmp_path, os.getpid())  # somebody else has it now
    pause(0.3)
    server = start()
    name(tmp_path, server.pid)
    pause(0.5)
    end(server)
    until(lambda: woken, why="woken")


def test_patroni_is_not_woken_while_a_process_holds_the_dead_servers_memory(start, woken, tmp_path, monkeypatch):
    table = tmp_path / "shm"
    monkeypatch.setattr(watching.holds_memory, "__defaults__", (table,))
    table.write_text("key shmid perms size cpid lpid nattch\n 5432 7 600 56 1 1 1\n 5433 8 600 56 1 1 0\n")
    server = start()
    name(tmp_path, server.pid, "     5432         7")
    pause(0.1)
    end(server)
    pause(0.3)
    assert woken == []
    table.write_text("key shmid perms size cpid lpid nattch\n 5433 8 600 56 1 1 0\n")
    until(lambda: woken, why="woken")


def replica(folder, *, receiver):
    """A server in recovery, with or without a process by which it receives WAL; both end with the test."""
    (folder / "standby.signal").touch()
    code = f"exec -a 'postgres: a: {receiver} streaming 0/1' sleep 600 & exec sleep 600"
    server = subprocess.Popen(ended_with_us("bash", "-c", code), start_new_session=True)
    child = f"/proc/{server.pid}/task/{server.pid}/children"
    title = f"postgres: a: {receiver}".encode()
    until(lambda: any(title in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in Path(child).read_text().split()))
    name(folder, server.pid)
    return server


@pytest.mark.parametrize(("receiver", "calls"), [("walreceiver", 0), ("checkpointer", watching.LONELY_CALLS)])
def test_patroni_is_woken_for_a_while_when_a_replica_receives_nothing(woken, tmp_path, monkeypatch, receiver, calls):
    monkeypatch.setattr(watching, "AGAIN_S", 0.05)
    server = replica(tmp_path, receiver=receiver)
    try:
        until(lambda: len(woken) >= calls, why="woken")
        pause(0.05 * 10)
        assert len(woken) == calls
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def leads_and_stops(server, folder):
    name(folder, server.pid)
    pause(0.5)
    (folder / "postmaster.pid").unlink()
    end(server)


@contextlib.contextmanager
def receives_nothing(folder):
    """A replica without a WAL receiver, while the block runs."""
    server = replica(folder, receiver="checkpointer")
    try:
        yield
    finally:
        os.killpg(server.pid, 9)
        server.wait()


def test_a_former_leader_that_receives_nothing_hears_anew_once_before_patroni_gives_up(start, said, tmp_path):
    leads_and_stops(start(), tmp_path)
    with receives_nothing(tmp_path):
        until(lambda: said.count("wake") > 3, why="woken")
    assert said[:3] == ["wake", "hear anew", "wake"]
    assert said.count("hear anew") == 1


def test_one_that_is_cut_off_hears_anew_at_once(start, said, tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(port))
    leads_and_stops(start(), tmp_path)
    with receives_nothing(tmp_path):
        until(lambda: said.count("wake") > 2, why="woken")
    assert said[:2] == ["hear anew", "wake"]
    assert said.count("hear anew") == 1


def test_unreachable_replicas_are_looked_for_as_long_as_there_is_a_server(start, watch, tmp_path, monkeypatch):
    asked = []

    def fails(_, postmaster, now_s):
        asked.append((postmaster, now_s))
        raise ValueError("what the kernel says is not understood")

    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    monkeypatch.setattr(watching, "AGAIN_S", 0.02)
    monkeypatch.setattr(watching.Senders, "end_unreachable", fails)
    watch(lambda: None)
    server = start()
    name(tmp_path, server.pid)
    until(lambda: len(asked) > 2, why="asked, also after it failed")
    assert {postmaster for postmaster, _ in asked} == {server.pid}


def test_a_replica_that_never_led_goes_on_with_what_it_hears(said, tmp_path):
    with receives_nothing(tmp_path):
        until(lambda: said.count("wake") > 2, why="woken")
    assert "hear anew" not in said


PATRONIS_WATCHES = """
import threading
from patroni.dcs.kubernetes import ObjectCache
from howdah.instance import watching

ObjectCache.__init__ = lambda self, name: threading.Thread.__init__(self, name=name, daemon=True)
ObjectCache.run = lambda self: over.wait()
ObjectCache.kill_stream = lambda self: print(self.name)
over = threading.Event()
for name in "pods", "kinds":
    ObjectCache(name).start()
watching.begin_watches_anew()
"""


def test_what_is_begun_anew_are_patronis_watches():
    said = subprocess.run(
        [sys.executable, "-P", "-c", PATRONIS_WATCHES], capture_output=True, text=True, timeout=HANGS_S, check=True
    )
    assert sorted(said.stdout.split()) == ["kinds", "pods"]


class Answers(http.server.BaseHTTPRequestHandler):
    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def rest_api():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.status = [], 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_the_request_changes_nothing_and_carries_the_credentials(rest_api):
    address = f"127.0.0.1:{rest_api.server_port}"
    watching.wake({"connect_address": address})
    watching.wake({"connect_address": address, "authentication": {"username": "postgres", "password": "s:cret"}})
    basic = f"Basic {base64.b64encode(b'postgres:s:cret').decode()}"
    assert rest_api.asked == [("/config", None, {"howdah": None}), ("/config", basic, {"howdah": None})]


def test_a_refusal_is_an_error_that_is_told(rest_api):
    rest_api.status = 503
    with pytest.raises(OSError, match="503"):
        watching.wake({"connect_address": f"127.0.0.1:{rest_api.server_port}"})


@pytest.mark.parametrize("verify_client", ["none", "required"])
def test_tls_is_spoken_where_it_is_on(rest_api, tmp_path, verify_client):
    files = {"certfile": tmp_path / "crt", "keyfile": tmp_path / "key"}
    tls.write_self_signed(files["certfile"], files["keyfile"], name="member", now=datetime.now(UTC))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files["certfile"])
    context.load_cert_chain(files["certfile"], files["keyfile"])
    context.verify_mode = ssl.CERT_REQUIRED if verify_client == "required" else ssl.CERT_NONE
    rest_api.socket = context.wrap_socket(rest_api.socket, server_side=True)
    given = {key: str(path) for key, path in files.items()}
    watching.wake({"connect_address": f"127.0.0.1:{rest_api.server_port}", "verify_client": verify_client, **given})
    assert len(rest_api.asked) == 1


def test_the_thread_finds_server_and_rest_api_in_patronis_file(start, rest_api, tmp_path):
    server = start()
    name(tmp_path, server.pid)
    restapi = {"connect_address": f"127.0.0.1:{rest_api.server_port}"}
    (tmp_path / "yaml").write_text(json.dumps({"postgresql": {"data_dir": str(tmp_path)}, "restapi": restapi}))
    watching.begin(tmp_path / "yaml")
    pause(0.5)
    end(server)
    until(lambda: rest_api.asked, why="woken")


def test_a_thread_that_cannot_work_says_so_and_ends(tmp_path, caplog):
    thread = watching.begin(tmp_path / "no.yaml")
    thread.join(HANGS_S)
    assert not thread.is_alive()
    assert "noticed by Patroni's own loop only" in caplog.text
