"""Two containers of one data directory: the second waits for the end of the first, whatever namespaces they live in."""

import os
import signal
import subprocess
import sys

from adapters.instance.world import until
from howdah.instance import claim
from lifetimes import ended_with_us
from steady import HANGS_S, pause

# Claims the folder, then becomes another program, as the instance becomes Patroni; that one has a child of its own.
HOLDER = """
import os, sys
from pathlib import Path
from howdah.instance.claim import claim
claim(Path(sys.argv[1]))
code = "import os, time; os.fork(); print('holds', flush=True); time.sleep(60)"
os.execv(sys.executable, [sys.executable, "-c", code])
"""


def holder(folder, log):
    return subprocess.Popen(
        ended_with_us(sys.executable, "-P", "-c", HOLDER, folder),
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
        process_group=0,
    )


def end(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(HANGS_S)


def test_a_second_container_waits_until_all_of_the_first_has_ended(tmp_path):
    folder, first_log, second_log = tmp_path / "pgroot", tmp_path / "first", tmp_path / "second"
    first = holder(folder, first_log)
    until(lambda: first_log.read_text().count("holds") == 2, why="the first has it")
    second = holder(folder, second_log)
    try:
        until(lambda: "another container still runs in" in second_log.read_text(), why="the second says that it waits")
        os.kill(first.pid, signal.SIGKILL)  # its child lives on, and holds the folder
        first.wait(HANGS_S)
        pause(0.5)
        assert "holds" not in second_log.read_text()
        os.killpg(first.pid, signal.SIGKILL)
        until(lambda: "holds" in second_log.read_text(), why="the second has it")
    finally:
        end(second)


def test_on_a_file_system_without_locks_it_goes_on(tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(claim.fcntl, "flock", refused)
    claim.claim(tmp_path)
    assert "nothing keeps a second container out of" in caplog.text
