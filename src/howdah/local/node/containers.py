"""One start of one container: launch the shim, write down who it is, wait for the proved end; or adopt it.

Not here: what to do with the result (`pod.py`), and how processes are held together (`fencing.py`).
"""

import array
import asyncio
import contextlib
import json
import marshal
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from howdah.local.files import write_whole
from howdah.local.node import fencing, processes
from howdah.local.node.death import until_dead
from howdah.local.node.fencing import Fence, Run
from howdah.local.node.processes import Identity

HELLO_TIMEOUT_S = 20.0
KILL_INTERVAL_S = 0.02
LOG_LIMIT_BYTES = 10_000_000
EXIT_BYTES = 256
KILLED = 137
_SOURCE = str(Path(__file__).resolve().parents[3])
_SHIM = f"import sys; sys.path.insert(0, {_SOURCE!r}); from howdah.local.node.shim import main; main()"


class StartError(Exception):
    """The shim did not come up; nothing of the container runs."""


@dataclass(frozen=True, slots=True)
class Program:
    """What a container runs. `folders` are those that only this pod's processes work in."""

    argv: Sequence[str]
    env: Mapping[str, str]
    working_folder: str
    folders: tuple[str, ...] = ()
    descriptors: int | None = None
    """How many it may have open unless it asks for more (the soft limit); `None`: as many as we."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a start ended; `code` is 128 + signal for a death by signal, as Kubernetes shows it."""

    code: int
    signal: int
    started: float
    finished: float


class Container:
    """A start that is running, or was when last seen. Make one with `start` or `adopt`."""

    def __init__(self, folder: Path, run: Run, attempt: int, started: float) -> None:
        self.folder = folder
        self.run = run
        self.attempt = attempt
        self.started = started
        self.fence: Fence = fencing.of_run(run)
        self._launcher: subprocess.Popen[bytes] | None = None

    def program(self) -> Program:
        """What was started, for `exec` into it."""
        spec = json.loads((self.folder / "spec.json").read_bytes())
        return Program(spec["argv"], spec["env"], spec["folder"], descriptors=spec.get("descriptors"))

    def send(self, number: int) -> None:
        """Send a signal to the shim, which passes it on to the main process."""
        descriptor = processes.open_pidfd(self.run.init)
        if descriptor is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            os.close(descriptor)

    async def ended(self) -> Exit:
        """Wait until every process of this start is proved dead."""
        await until_dead(self.run.init)
        await self._prove_dead()
        if self._launcher is not None:
            await _collect(self._launcher)
        return self._result()

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then after `grace_s` SIGKILL to everything; returns when death is proved."""
        if grace_s > 0:
            self.send(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await until_dead(self.run.init)
        await self._prove_dead()

    async def _prove_dead(self) -> None:
        while not self.fence.is_dead(self.run):
            self.fence.kill(self.run)
            await asyncio.sleep(KILL_INTERVAL_S)

    def _result(self) -> Exit:
        try:
            record = json.loads((self.folder / "exit.json").read_bytes())
            return Exit(record["exitCode"], record["signal"], self.started, record["finished"])
        except (OSError, ValueError):  # the shim was killed together with the rest
            return Exit(KILLED, signal.SIGKILL, self.started, time.time())


async def _collect(launcher: "subprocess.Popen[bytes]") -> None:
    # Only housekeeping: a launcher that somebody stopped must not keep the dead from being reported.
    with contextlib.suppress(subprocess.TimeoutExpired):
        await asyncio.to_thread(launcher.wait, 5)


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content).encode(), sync=False)


def log_path(folder: Path, attempt: int) -> Path:
    """The log of one start."""
    return folder / f"{attempt}.log"


def _keep_two_logs(folder: Path, attempt: int) -> None:
    for path in folder.glob("*.log*"):
        number = path.name.split(".")[0]
        if number.isdigit() and int(number) < attempt - 1:
            path.unlink(missing_ok=True)


async def start(fence: Fence, name: str, folder: Path, attempt: int, program: Program) -> Container:
    """Start a container; `name` is unique on this machine. Raises StartError, and then nothing runs.

    The record is on disk before the program starts: an agent that dies in between loses nothing.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours:
        with theirs:
            spec = _prepare(fence, name, folder, attempt, program)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            ours.setblocking(False)
            launcher = _launch(fence, folder, theirs.fileno())
        try:
            pid = await _hello(ours)
            run = _run_of(fence, name, pid, launcher.pid, program.folders)
            started = time.time()
            _write(folder / "run.json", {"run": asdict(run), "attempt": attempt, "started": started})
            await asyncio.get_running_loop().sock_sendall(ours, marshal.dumps(spec))
            ours.shutdown(socket.SHUT_WR)  # a spec that is cut short is no spec
        except (OSError, TimeoutError, StartError) as problem:
            # Without a spec the shim ends by itself when the socket closes.
            ours.close()
            await _collect(launcher)
            raise StartError(f"container {name} could not be started: {_said(folder) or problem}") from problem
    container = Container(folder, run, attempt, started)
    container._launcher = launcher
    return container


def _prepare(fence: Fence, name: str, folder: Path, attempt: int, program: Program) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _keep_two_logs(folder, attempt)
    # Blanks say nothing; the shim writes over them, for which a disk that is full by then has the room.
    (folder / "exit.json").write_bytes(b" " * EXIT_BYTES)
    (folder / "exit.json").chmod(0o600)
    spec = {
        "argv": list(program.argv),
        "env": {**program.env, fencing.MARK: name},
        "folder": program.working_folder,
        "log": str(log_path(folder, attempt)),
        "logLimitBytes": LOG_LIMIT_BYTES,
        "exit": str(folder / "exit.json"),
        "descriptors": program.descriptors,
        "namespace": fence.name == "namespace",
        "user": asdict(fence.user) if fence.user else None,
    }
    # For `exec` by a later agent.
    _write(folder / "spec.json", spec)
    return spec


def _launch(fence: Fence, folder: Path, control: int) -> "subprocess.Popen[bytes]":
    command = fence.launch([sys.executable, "-S", "-c", _SHIM])
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    with (folder / "shim.err").open("wb") as errors:
        return subprocess.Popen(
            command, stdin=control, stdout=errors, stderr=errors, start_new_session=True, cwd="/", env=env
        )


def _said(folder: Path) -> str:
    return (folder / "shim.err").read_text(errors="replace").strip()[-500:]


def _run_of(fence: Fence, name: str, pid: int, launcher_pid: int, folders: tuple[str, ...]) -> Run:
    init, launcher = processes.identity(pid), processes.identity(launcher_pid)
    if init is None or launcher is None:
        raise StartError("the shim died at once")
    return Run(name, fence.name, init, launcher, folders, fence.admit(name, pid))


async def _hello(control: socket.socket) -> int:
    """Wait for the shim's greeting; its pid as we see it, as attested by the kernel."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            await readable.wait()
    finally:
        loop.remove_reader(control)
    size = struct.calcsize("3i")
    data, extras, _, _ = control.recvmsg(16, socket.CMSG_SPACE(size))
    for level, kind, content in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return array.array("i", content[:size])[0]
    raise StartError("the shim ended before its greeting" if not data else "the shim's greeting has no sender")


def adopt(folder: Path) -> Container | None:
    """The start that the folder's record speaks of, alive or not; `None` when nothing was ever started.

    Raises OSError when that cannot be told: a record that cannot be read at this moment may be that of a database.
    """
    try:
        record = json.loads((folder / "run.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    raw = record["run"]
    who = {key: Identity(**raw[key]) for key in ("init", "launcher")}
    run = Run(**{**raw, **who, "folders": tuple(raw["folders"])})
    return Container(folder, run, record["attempt"], record["started"])
