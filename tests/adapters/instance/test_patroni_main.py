"""The first process of a container, and the process that starts PostgreSQL; Patroni's own in `test_cluster`."""

import signal
import subprocess
import sys

import pytest

from lifetimes import ended_with_us

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
    assert first.wait(10) == 7


def test_the_first_process_ends_with_a_patroni_that_is_killed(first):
    subprocess.run(["kill", "-KILL", str(first.patroni)], check=True)
    assert first.wait(10) == 128 + signal.SIGKILL


def test_the_process_that_starts_postgres_loads_little():
    code = (
        "import runpy, sys; runpy.run_module('howdah.instance.patroni_main', run_name='__mp_main__', alter_sys=True);"
        "from patroni.postgresql.postmaster import pg_ctl_start; print('psycopg' in sys.modules, pg_ctl_start.__name__)"
    )
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout.split() == ["False", "pg_ctl_start"]


def test_patroni_looks_often_at_a_server_that_stops(tmp_path):
    code = (
        "import sys, patroni.__main__, patroni.postgresql as p; from howdah.instance import patroni_main;"
        "stop = p.Postgresql._do_stop; assert 'STOP_POLLING_INTERVAL' in stop.__code__.co_names;"
        "say = lambda: print(p.STOP_POLLING_INTERVAL, stop.__globals__['STOP_POLLING_INTERVAL']);"
        f"say(); patroni.__main__.main = say; sys.argv = ['', '{tmp_path}/none.yaml']; patroni_main.run_patroni()"
    )
    said = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert said.stdout.split() == ["1", "1", "0.1", "0.1"]
