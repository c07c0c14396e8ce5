"""Two containers of one data directory: the second waits for the end of the first, whatever namespaces they live in."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.instance.test_start import PRESENT, local
from adapters.instance.world import AS_NOBODY, SOURCE, until
from howdah.instance import claim
from howdah.instance.configure import EXIT_OCCUPIED
from lifetimes import ended_with_us
from steady import HANGS_S, pause

STAND_IN = Path(claim.__file__).parent / "postgres.sh"

# Claims the folder, then becomes another program, as the instance becomes Patroni; that one has a child of its own.
HOLDER = """
import os, sys
from pathlib import Path
from howdah.instance.claim import claim
claim(Path(sys.argv[1]))
code = "import os, time; os.fork(); print('holds', flush=True); time.sleep(60)"
os.execv(sys.executable, [sys.executable, "-c", code])
"""


# As Patroni starts it: with none of its own files, and as no child of its. The server has a process that ignores its end.
SERVER = """
import os, subprocess, sys
from pathlib import Path
from howdah.instance.claim import SERVERS, claim
folder, stand_in = Path(sys.argv[1]), sys.argv[2]
claim(folder)
(folder / "postgres").write_text("#!/bin/sh\\nsleep 60 & echo $! $$ serves $*; wait")
(folder / "postgres").chmod(0o755)
env = {"PATH": os.environ["PATH"], "HOWDAH_PG_BIN_DIR": str(folder), "HOWDAH_SERVERS_LOCK": str(folder / SERVERS)}
server = subprocess.Popen([stand_in, "-D", "a b"], close_fds=True, env=env, start_new_session=True)
server.wait()
"""


def holder(folder, log, code=HOLDER):
    return subprocess.Popen(
        ended_with_us(sys.executable, "-P", "-c", code, folder, STAND_IN),
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


def test_a_second_container_waits_until_every_process_of_a_server_of_the_first_has_ended(tmp_path):
    """Where the first process and Patroni are gone: one process of the server may hang in the kernel."""
    folder, first_log, second_log = tmp_path / "pgroot", tmp_path / "first", tmp_path / "second"
    first = holder(folder, first_log, SERVER)
    until(lambda: "serves -D a b" in first_log.read_text(), why=first_log.read_text)
    hangs, server = map(int, first_log.read_text().split()[:2])
    second = holder(folder, second_log)
    try:
        until(lambda: "another container still runs in" in second_log.read_text(), why="the second says that it waits")
        end(first)
        os.kill(server, signal.SIGKILL)
        pause(0.5)
        assert "holds" not in second_log.read_text()
        os.kill(hangs, signal.SIGKILL)
        until(lambda: "holds" in second_log.read_text(), why="the second has it")
    finally:
        end(second)
        for pid in (hangs, server):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_no_server_is_started_in_what_another_container_has_claimed(tmp_path):
    with (tmp_path / claim.SERVERS).open("w") as file:
        claim.fcntl.flock(file, claim.fcntl.LOCK_EX)
        env = {"PATH": os.environ["PATH"], "HOWDAH_PG_BIN_DIR": "/bin", "HOWDAH_SERVERS_LOCK": file.name}
        done = subprocess.run([STAND_IN], env=env, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert (done.returncode, "no server is started" in done.stderr) == (EXIT_OCCUPIED, True)


@pytest.mark.parametrize("flock", ["missing", "of another kind"])
def test_a_server_is_started_where_no_lock_can_be_had(tmp_path, flock):
    """As `claim` goes on there."""
    (tmp_path / "postgres").write_text("#!/bin/sh\necho serves $*")
    (tmp_path / "postgres").chmod(0o755)
    if flock == "of another kind":
        (tmp_path / "flock").write_text("#!/bin/sh\necho unknown option >&2; exit 1")
        (tmp_path / "flock").chmod(0o755)
    env = {"PATH": str(tmp_path), "HOWDAH_PG_BIN_DIR": str(tmp_path), "HOWDAH_SERVERS_LOCK": str(tmp_path / "servers")}
    done = subprocess.run([STAND_IN, "-D", "a"], env=env, capture_output=True, text=True, timeout=HANGS_S, check=False)
    assert (done.returncode, done.stdout) == (0, "serves -D a\n")


@pytest.fixture
def waiting(tmp_path):
    """Starts an instance, the first process of its PID namespace, whose folder another container has."""
    environment = local(tmp_path, PGVERSION=str(PRESENT[0].major), TERMINATION_LOG=str(tmp_path / "said"))
    begun = [holder(tmp_path / "pgroot", tmp_path / "first")]
    until(lambda: (tmp_path / "first").read_text().count("holds") == 2, why="the first has it")

    def start(**patience):
        code = f"from howdah.instance.main import main; main(**{patience})"
        as_nobody = AS_NOBODY if os.geteuid() == 0 else ()
        process = subprocess.Popen(
            ended_with_us(*as_nobody, sys.executable, "-P", "-c", code),
            env={**environment, "PATH": os.environ["PATH"], "PYTHONPATH": SOURCE},
            stderr=(tmp_path / "second").open("ab"),
            process_group=0,
        )
        begun.append(process)
        until(lambda: "waiting for its end" in (tmp_path / "second").read_text(), why="it waits")
        return process

    yield start
    for process in begun:
        with contextlib.suppress(ProcessLookupError):
            end(process)


def test_who_waits_ends_when_it_is_asked_to(waiting):
    process = waiting()
    main = process.pid
    if os.geteuid() == 0:  # unshare does not forward signals; the first process is its child
        main = int(Path(f"/proc/{main}/task/{main}/children").read_text().split()[0])
    os.kill(main, signal.SIGTERM)
    assert process.wait(HANGS_S) == 128 + signal.SIGTERM


def test_who_waits_in_vain_says_so_where_kubernetes_looks(waiting, tmp_path):
    assert waiting(patience_s=1).wait(HANGS_S) == EXIT_OCCUPIED
    said = (tmp_path / "said").read_text()
    assert said == f"another container still runs in {tmp_path}/pgroot, and has not ended within 1 seconds\n"


def test_on_a_file_system_without_locks_it_goes_on(tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(claim.fcntl, "flock", refused)
    claim.claim(tmp_path)
    assert "nothing keeps a second container out of" in caplog.text
