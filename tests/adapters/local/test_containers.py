"""Real processes under each way of fencing: nothing gets away, nothing alive is called dead."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adapters.local.conftest import DAEMONISER
from howdah.local.node import containers, execution, processes
from howdah.local.node.containers import Container, Program
from howdah.local.node.fencing import Fence
from steady import HANGS_S

PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
PATH = os.environ["PATH"]


def program(folder: Path, *argv: str) -> Program:
    return Program(argv, {"PATH": PATH, "TEST_MARK": str(folder)}, str(folder), (str(folder),))


def alive(folder: Path) -> set[int]:
    """Pids of what was started by a test, seen from outside and by another mark than the fence's."""
    return processes.marked("TEST_MARK", str(folder))


async def until(question: Callable[[], object], what: str, timeout_s: float = HANGS_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not question():
        assert time.monotonic() < deadline, f"waited {timeout_s} s for: {what}"
        await asyncio.sleep(0.02)


async def started_daemon(fence: Fence, folder: Path, seconds: float = 600) -> Container:
    container = await containers.start(
        fence, f"t/{folder}", folder / "c", 0, program(folder, PYTHON, "-c", DAEMONISER, str(seconds))
    )
    await until((folder / "daemon.started").exists, "the daemon")
    await until(lambda: len(alive(folder)) == 2, "main and daemon")
    return container


async def test_exit_code_and_log_of_both_streams_are_kept(fence: Fence, folder: Path) -> None:
    script = "echo out; echo err >&2; printf cut; exit 7"
    container = await containers.start(fence, f"t/{folder}", folder / "c", 3, program(folder, "sh", "-c", script))
    ended = await asyncio.wait_for(container.ended(), HANGS_S)
    lines = containers.log_path(folder / "c", 3).read_text().splitlines()
    assert (ended.code, ended.signal) == (7, 0)
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F err", "stdout F out", "stdout P cut"]


async def test_a_container_outlives_the_removal_of_its_full_log(fence: Fence, folder: Path) -> None:
    script = (
        "touch up; until test -e go; do sleep 0.02; done; yes | head -c 3000000; sleep 0.2; yes | head -c 9; exit 3"
    )
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sh", "-c", script))
    await until((folder / "up").exists, "the program")
    containers.log_path(folder / "c", 0).unlink()
    (folder / "go").touch()
    assert (await asyncio.wait_for(container.ended(), HANGS_S)).code == 3


async def test_start_and_end_are_noticed_at_once(fence: Fence, folder: Path) -> None:
    took_s = []
    for attempt in range(5):
        begin = time.monotonic()
        container = await containers.start(fence, f"t/{folder}", folder / "c", attempt, program(folder, "true"))
        await container.ended()
        took_s.append(time.monotonic() - begin)
    assert min(took_s) < 0.5  # alone it is 40 ms


async def test_program_that_does_not_exist_ends_with_128_and_says_why(fence: Fence, folder: Path) -> None:
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "/no/such"))
    assert (await container.ended()).code == 128
    assert "cannot start '/no/such'" in containers.log_path(folder / "c", 0).read_text()


async def test_sigterm_reaches_the_main_process(fence: Fence, folder: Path) -> None:
    script = 'trap "echo asked; exit 3" TERM; touch ready; while :; do sleep 0.05; done'
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sh", "-c", script))
    await until((folder / "ready").exists, "the trap")
    await container.stop(grace_s=10)
    assert (await container.ended()).code == 3


async def test_daemon_is_dead_when_the_main_process_has_ended(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder, seconds=0.5)
    assert (await asyncio.wait_for(container.ended(), HANGS_S)).code == 0
    assert alive(folder) == set()


async def test_deaf_program_is_killed_after_the_grace_period(fence: Fence, folder: Path) -> None:
    script = 'trap "" TERM; touch ready; while :; do sleep 0.05; done'
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sh", "-c", script))
    await until((folder / "ready").exists, "the trap")
    await container.stop(grace_s=0.2)
    assert (await container.ended()).code == 137
    assert alive(folder) == set()


async def test_killed_shim_is_called_dead_only_when_its_daemon_is(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder)
    os.kill(container.run.init.pid, signal.SIGKILL)
    ended = await asyncio.wait_for(container.ended(), HANGS_S)
    assert alive(folder) == set()
    assert ended.code == 137


async def test_killed_launcher_leaves_nothing_alive(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder)
    os.kill(container.run.launcher.pid, signal.SIGKILL)
    await asyncio.wait_for(container.ended(), HANGS_S)
    assert alive(folder) == set()


async def test_stopped_processes_count_as_alive_and_go_on(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder)
    stopped = [container.run.init.pid, *alive(folder)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert not container.fence.is_dead(container.run)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(0.1)
    assert not container.fence.is_dead(container.run)
    await asyncio.wait_for(container.stop(grace_s=0), HANGS_S)
    assert alive(folder) == set()


async def test_stopped_container_can_be_killed(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder)
    for pid in (container.run.init.pid, container.run.launcher.pid, *alive(folder)):
        os.kill(pid, signal.SIGSTOP)
    await asyncio.wait_for(container.stop(grace_s=0.1), HANGS_S)
    assert alive(folder) == set()


async def test_another_agent_adopts_a_running_container_by_its_record(fence: Fence, folder: Path) -> None:
    first = await started_daemon(fence, folder)
    adopted = containers.adopt(folder / "c")
    assert adopted is not None
    assert (adopted.run, adopted.started) == (first.run, first.started)
    assert not adopted.fence.is_dead(adopted.run)
    await adopted.stop(grace_s=0)
    assert (await adopted.ended()).code == 137
    assert (await first.ended()).code == 137


@contextlib.contextmanager
def free_descriptors(count: int) -> Iterator[None]:
    """So many may be opened, and no more."""
    spare = [os.dup(0) for _ in range(count + 1)]
    for descriptor in spare:
        os.close(descriptor)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare[count], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_what_cannot_be_read_is_neither_dead_nor_never_started(fence: Fence, folder: Path) -> None:
    container = await started_daemon(fence, folder)
    with free_descriptors(0):
        with pytest.raises(OSError, match="Too many open files"):
            containers.adopt(folder / "c")
        with pytest.raises(OSError, match="Too many open files"):
            processes.stat(container.run.init.pid)
        with pytest.raises(OSError, match="Too many open files"):
            container.fence.is_dead(container.run)
    with (
        free_descriptors(1),
        pytest.raises(OSError, match="Too many open files"),
    ):  # the list needs one, its entries one
        processes.marked("TEST_MARK", str(folder))
    await container.stop(grace_s=0)
    assert alive(folder) == set()


async def test_programs_have_the_limit_of_descriptors_that_they_are_given(fence: Fence, folder: Path) -> None:
    given = replace(program(folder, "sh", "-c", "ulimit -Sn; ulimit -Hn; sleep 600"), descriptors=99)
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, given)
    log = containers.log_path(folder / "c", 0)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = ["99", str(hard) if hard != resource.RLIM_INFINITY else "unlimited"]
    await until(lambda: log.exists() and log.read_text().count("\n") == 2, "its two limits")
    assert [line.split()[-1] for line in log.read_text().splitlines()] == wanted
    asked = await execution.run(container, ["sh", "-c", "ulimit -Sn; ulimit -Hn"], HANGS_S)
    assert asked == (0, "\n".join(wanted) + "\n")
    await container.stop(grace_s=0)


WITHOUT_ROOM = """
import errno, os, sys
from pathlib import Path
from howdah.local.node import containers, shim
from howdah.local.node.fencing import NamespaceFence
folder = Path(sys.argv[1]) / "c"
containers._prepare(NamespaceFence(), "t", folder, 0, containers.Program(("true",), {}, "/"))
filling = os.open(folder / "filling", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filling, bytes(512))
except OSError as problem:
    assert problem.errno == errno.ENOSPC
shim._write_exit(str(folder / "exit.json"), 3 << 8)
ended = containers.Container(folder, containers.Run("t", "namespace", None, None), 0, 0.0)._result()
print(ended.code)
"""


def test_an_end_on_a_full_disk_is_known(folder: Path) -> None:
    mounted = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(folder)]
    done = subprocess.run(
        [*mounted, sys.executable, "-c", WITHOUT_ROOM, str(folder)], capture_output=True, timeout=HANGS_S, check=False
    )
    assert (done.stdout, done.stderr) == (b"3\n", b"")


async def test_record_of_another_boot_is_proof_of_death(fence: Fence, folder: Path) -> None:
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "sleep", "600"))
    path = folder / "c" / "run.json"
    path.write_text(path.read_text().replace(processes.boot_id(), "another-boot"))
    adopted = containers.adopt(folder / "c")
    assert adopted is not None
    # A control group is asked itself: after a reboot it does not exist.
    assert adopted.fence.is_dead(adopted.run) == (fence.name != "cgroup")
    await container.stop(grace_s=0)
    await container.ended()


async def test_nothing_starts_for_an_agent_that_dies_before_the_record(fence: Fence, folder: Path) -> None:
    containers._prepare(fence, "t/early", folder / "c", 0, program(folder, "touch", "started"))
    import socket

    ours, theirs = socket.socketpair()
    launcher = containers._launch(fence, folder / "c", theirs.fileno())
    theirs.close()
    assert ours.recv(16) == b"hello"
    ours.close()
    await asyncio.to_thread(launcher.wait, HANGS_S)
    assert not (folder / "started").exists()


async def test_container_program_is_never_uid_0(fence: Fence, folder: Path) -> None:
    container = await containers.start(fence, f"t/{folder}", folder / "c", 0, program(folder, "id", "-u"))
    await container.ended()
    uid = containers.log_path(folder / "c", 0).read_text().split()[-1]
    assert uid != "0"
