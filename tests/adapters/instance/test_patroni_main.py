"""The first process of a container, and the process that starts PostgreSQL; Patroni's own in `test_cluster`."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from lifetimes import ended_with_us
from steady import HANGS_S

STAND_IN = """
import os, signal, sys, time
from howdah.instance.patroni_main import HANDED_ON, reap_until_the_end_of

signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
child = os.fork()
if child:
    print(child, flush=True)
    sys.exit(reap_until_the_end_of(child))
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_ON)
time.sleep(60)
"""


@pytest.fixture
def first():
    """A first process whose child, `patroni`, sleeps and ends with code 7 when it is asked to."""
    process = subprocess.Popen(ended_with_us(sys.executable, "-P", "-c", STAND_IN), stdout=subprocess.PIPE, text=True)
    process.patroni = int(process.stdout.readline())
    yield process
    process.kill()
    process.communicate()


def test_signals_are_handed_on_and_the_exit_code_is_patronis(first):
    first.send_signal(signal.SIGTERM)  # also while it is blocked: at once after the fork
    assert first.wait(HANGS_S) == 7


def test_the_first_process_ends_with_a_patroni_that_is_killed(first):
    subprocess.run(["kill", "-KILL", str(first.patroni)], check=True)
    assert first.wait(HANGS_S) == 128 + signal.SIGKILL


def test_a_signal_that_came_before_patroni_ends_it():
    """The container's first program keeps back what comes while it becomes this one."""
    code = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); os.kill(os.getpid(), 15);"
        "os.execv(sys.executable, [sys.executable, '-P', '-m', 'howdah.instance.patroni_main', '/nonexistent'])"
    )
    process = subprocess.Popen(ended_with_us(sys.executable, "-P", "-c", code))
    assert process.wait(HANGS_S) == -signal.SIGTERM


def test_the_process_that_starts_postgres_loads_little():
    code = (
        "import runpy, sys; runpy.run_module('howdah.instance.patroni_main', run_name='__mp_main__', alter_sys=True);"
        "from patroni.postgresql.postmaster import pg_ctl_start; print('psycopg' in sys.modules, pg_ctl_start.__name__)"
    )
    said = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=HANGS_S, check=True
    )
    assert said.stdout.split() == ["False", "pg_ctl_start"]


IN_PLACE_OF_PATRONI = """
import sys
import patroni.__main__
from howdah.instance import patroni_main
{first}
def stand_in():
    {then}
patroni.__main__.main, sys.argv = stand_in, ["", "{folder}/none.yaml"]
patroni_main.run_patroni()
"""


def said_in_place_of_patroni(folder, first, then):
    """What is printed by `first` and, when Patroni would run, by `then`."""
    code = IN_PLACE_OF_PATRONI.format(folder=folder, first=first, then=then)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=HANGS_S, check=True
    )
    return done.stdout.split()


def test_patroni_looks_often_at_a_server_that_stops(tmp_path):
    first = (
        "import patroni.postgresql as p; stop = p.Postgresql._do_stop;"
        "assert 'STOP_POLLING_INTERVAL' in stop.__code__.co_names;"
        "say = lambda: print(p.STOP_POLLING_INTERVAL, stop.__globals__['STOP_POLLING_INTERVAL']); say()"
    )
    assert said_in_place_of_patroni(tmp_path, first, "say()") == ["1", "1", "0.1", "0.1"]


def test_patronis_tables_of_settings_are_not_read_by_the_slow_parser(tmp_path):
    first = "import yaml; yaml.SafeLoader = None"  # a table that cannot be read is left out
    then = "from patroni.postgresql.validator import parameters; print('max_connections' in parameters)"
    assert said_in_place_of_patroni(tmp_path, first, then) == ["True"]


def test_no_part_of_a_request_to_the_api_server_waits_for_an_acknowledgement(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(access(f"http://{host}:{port}")))
        first = f"import os, socket; os.environ['KUBECONFIG'] = '{kubeconfig}'"
        then = (
            "from patroni.dcs.kubernetes import CoreV1ApiProxy, k8s_config;"
            "k8s_config.load_kube_config(); api = CoreV1ApiProxy();"
            "api.configure_timeouts(loop_wait=10, retry_timeout=10, ttl=30);"
            "connection = api._api_client.pool_manager.connection_from_url(k8s_config.server)._get_conn();"
            "connection.connect(); print(*(connection.sock.getsockopt(*option) for option in"
            " ((socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE))))"
        )
        assert said_in_place_of_patroni(tmp_path, first, then) == ["1", "1"]


def access(server):
    """A kubeconfig without credentials."""
    return {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {}}],
    }
