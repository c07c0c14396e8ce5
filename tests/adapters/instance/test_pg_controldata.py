"""The program that stands in for pg_controldata: what it says of a server that stops, and when."""

import subprocess
import time
from pathlib import Path

import pytest

from howdah.instance import configure
from lifetimes import ended_with_us

PROGRAM = Path(configure.__file__).parent / "pg_controldata.sh"
STATE = "Database cluster state:               "


@pytest.fixture
def data(tmp_path):
    """A data directory, and a real program that says what the file `state` holds."""
    real = tmp_path / "pg_controldata"
    real.write_text(
        f'#!/bin/sh\n[ "$*" = "{tmp_path}/data dir" ] || exit 3\necho "Catalog version: 1"\ncat {tmp_path}/state\n'
    )
    real.chmod(0o755)
    folder = tmp_path / "data dir"
    folder.mkdir()
    return folder


def is_in(data, state):
    (data.parent / "state").write_text(f"{STATE}{state}\n")


def server(data, *, ends_after_s, says="stopping"):
    """A process that the data directory names, which has shut its data down when it ends."""
    process = subprocess.Popen(ended_with_us("sleep", str(ends_after_s)))
    (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n1\n5432\n/tmp\n*\n  1  2\n{says}   \n")
    return process


def ask(data):
    """(the state, seconds)"""
    begun = time.monotonic()
    done = subprocess.run(
        [PROGRAM, data],
        env={"HOWDAH_PG_BIN_DIR": str(data.parent)},
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    first, state = done.stdout.splitlines()
    assert first == "Catalog version: 1"
    return state.removeprefix(STATE), time.monotonic() - begun


@pytest.mark.parametrize(("before", "said"), [("in production", "in production"), ("shut down", "shutting down")])
def test_the_end_of_a_server_that_stops_is_waited_for(data, before, said):
    is_in(data, before)
    process = server(data, ends_after_s=0.3)
    asking = subprocess.Popen(
        ended_with_us(PROGRAM, data), env={"HOWDAH_PG_BIN_DIR": str(data.parent)}, stdout=subprocess.PIPE, text=True
    )
    process.wait(5)
    is_in(data, "shut down")
    assert asking.communicate(timeout=5)[0].splitlines()[1] == STATE + said
    assert ask(data)[0] == "shut down"  # when it has ended


def test_of_a_server_that_takes_longer_the_truth_is_told_after_less_than_a_second(data):
    is_in(data, "shut down")
    process = server(data, ends_after_s=20)
    said, took = ask(data)
    assert said == "shut down"
    assert took > 0.8
    process.kill()
    process.wait(5)


@pytest.mark.parametrize("says", ["ready", "standby", "starting"])
def test_nobody_waits_for_a_server_that_runs(data, says):
    is_in(data, "in production")
    process = server(data, ends_after_s=20, says=says)
    said, took = ask(data)
    assert said == "in production"
    assert took < 0.8
    process.kill()
    process.wait(5)


def test_without_a_server_it_is_the_real_one(data):
    is_in(data, "shut down in recovery")
    assert ask(data)[0] == "shut down in recovery"
