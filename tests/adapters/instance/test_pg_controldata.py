"""The program that stands in for pg_controldata: what it says of a server that stops, and when."""

import subprocess
import threading
import time
from pathlib import Path

import pytest

from howdah.instance import configure
from lifetimes import ended_with_us
from steady import HANGS_S, quickest

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


def server(data, *, ends_after_s):
    """A process that the data directory names, which has shut its data down when it ends."""
    process = subprocess.Popen(ended_with_us("sleep", str(ends_after_s)))
    (data / "postmaster.pid").write_text(f"{process.pid}\n{data}\n1\n5432\n/tmp\n*\n  1  2\nstopping\n")
    return process


def ask(data):
    """(the state, seconds)"""
    begun = time.monotonic()
    done = subprocess.run(
        [PROGRAM, data],
        env={"HOWDAH_PG_BIN_DIR": str(data.parent)},
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=True,
    )
    first, state = done.stdout.splitlines()
    assert first == "Catalog version: 1"
    return state.removeprefix(STATE), time.monotonic() - begun


def test_the_end_of_a_server_that_has_shut_down_is_waited_for(data):
    """On a machine that is busy the server may have ended before anybody looks, or end too late: then another one stops."""
    is_in(data, "shut down")
    for _ in range(5):
        process = server(data, ends_after_s=0.3)
        reaping = threading.Thread(target=process.wait, args=(HANGS_S,))  # nobody else does it
        reaping.start()
        said = ask(data)[0]
        reaping.join()
        assert ask(data)[0] == "shut down"  # when it has ended
        if said == "shutting down":
            return
    pytest.fail("the end of none of five servers was waited for")


def test_of_a_server_that_takes_longer_the_truth_is_told_after_less_than_a_second(data):
    is_in(data, "shut down")
    process = server(data, ends_after_s=600)
    said, took = ask(data)
    assert said == "shut down"
    assert took > 0.8
    process.kill()
    process.wait(HANGS_S)


@pytest.mark.parametrize("state", ["in production", "shutting down", "shut down in recovery", "in archive recovery"])
def test_nobody_waits_before_a_server_has_shut_down(data, state):
    """Patroni counts its looks, of a tenth of a second each, as the time that a stop takes."""
    is_in(data, state)
    process = server(data, ends_after_s=600)
    said = set()

    def took_s():
        answer, seconds = ask(data)
        said.add(answer)
        return seconds

    assert quickest(took_s, limit_s=0.8) < 0.8
    assert said == {state}
    process.kill()
    process.wait(HANGS_S)


def test_without_a_server_it_is_the_real_one(data):
    is_in(data, "shut down in recovery")
    assert ask(data)[0] == "shut down in recovery"
