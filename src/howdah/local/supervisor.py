"""Keeps the platform's processes alive. They outlive it: a new supervisor takes over those that run.

`python -m howdah.local.supervisor --dir DIR`. SIGHUP reads the configuration anew; SIGTERM ends the supervisor alone.
A process that was started from other code or by another command is not taken over but started anew.
"""

import argparse
import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from howdah.local import code, configuration, log
from howdah.local.configuration import Command, Platform
from howdah.local.files import write_whole
from howdah.local.node import processes
from howdah.local.node.death import until_dead
from howdah.local.node.processes import Identity

MARK = "HOWDAH_PROCESS"
START = "HOWDAH_START"
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
GOOD_RUN_S = 30.0
LOG_LIMIT_BYTES = 10_000_000
HOUSE_INTERVAL_S = 5.0
STOP_S = 10.0

_log = structlog.get_logger("supervisor")


def mark(directory: Path, name: str) -> str:
    """What the environment of a process of the platform carries."""
    return f"{directory}:{name}"


def start_of(command: Command, of_code: str) -> str:
    """What a process was started from, in short: its command, and the code of this package. Its environment carries it."""
    text = json.dumps([of_code, command.argv, dict(command.env)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def own_command(directory: Path, of_code: str) -> Command:
    """How the supervisor itself is started."""
    return Command((sys.executable, "-m", "howdah.local.supervisor", "--dir", str(directory), "--code", of_code))


def commands(platform: Platform) -> dict[str, Command]:
    """Every process of the platform; the order is that of their start."""
    directory = str(platform.directory)
    module = (sys.executable, "-m")
    own = {
        "apiserver": Command(
            (
                *(*module, "howdah.local.apiserver", "--dir", directory),
                *("--node-socket", str(platform.node_socket), "--service-range", platform.service_range),
            )
        ),
        "platform": Command((*module, "howdah.local.platform", "--dir", directory)),
        "services": Command((*module, "howdah.local.services", "--dir", directory)),
    }
    access = {"KUBECONFIG": str(platform.kubeconfig)}
    extra = {name: Command(found.argv, access | dict(found.env)) for name, found in platform.processes.items()}
    return own | extra


def running(directory: Path, name: str) -> list[Identity]:
    """Living processes that were started under this name, without their children."""
    pids = processes.marked(MARK, mark(directory, name))
    found = [seen for pid in pids if (seen := processes.stat(pid)) and seen.parent not in pids]
    return [who for seen in found if (who := processes.identity(seen.pid)) is not None]


def names(directory: Path) -> set[str]:
    """Names under which anything of this folder runs, wanted or not. Pods have other environments."""
    prefix = f"{MARK}={mark(directory, '')}".encode()
    found: set[bytes] = set()
    for pid in processes.all_pids():
        if pid == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is somebody else's
            entries = processes.environment(pid).split(b"\0")
            found.update(entry.removeprefix(prefix) for entry in entries if entry.startswith(prefix))
    # Another folder's path may begin like this one's, with a colon after it.
    return {name.decode(errors="replace") for name in found if not set(name) & set(b"/:")}


def unwanted(directory: Path, wanted: Collection[str]) -> list[str]:
    """Names of what runs and is not wanted: a former configuration's."""
    return sorted(names(directory) - {"supervisor", *wanted})


def split(directory: Path, name: str, start: str) -> tuple[list[Identity], list[Identity]]:
    """Of the living processes of this name those that were started from this, and the others."""
    found = running(directory, name)
    current = processes.marked(START, start) if found else set()
    return [who for who in found if who.pid in current], [who for who in found if who.pid not in current]


def outdated(platform: Platform, of_code: str) -> list[str]:
    """Names of processes that run and were started from something else than is wanted now, or are not wanted."""
    wanted = commands(platform)
    others = [name for name in wanted if split(platform.directory, name, start_of(wanted[name], of_code))[1]]
    return [*others, *unwanted(platform.directory, wanted)]


@dataclass(slots=True)
class _Kept:
    """One process over its starts."""

    command: Command
    task: asyncio.Task[None] | None = None
    who: Identity | None = None
    restarts: int = 0
    since: float = field(default_factory=time.time)

    @property
    def is_done(self) -> bool:
        """Whether nobody starts it again any more, which only a bug of ours can bring about."""
        return self.task is not None and self.task.done()


class Supervisor:
    """Run `run()` until cancelled."""

    def __init__(self, directory: Path, of_code: str) -> None:
        self._directory = directory
        self._code = of_code
        self._kept: dict[str, _Kept] = {}
        self._reload = asyncio.Event()

    async def run(self) -> None:
        """Keep everything alive."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        (self._directory / "log").mkdir(mode=0o700, exist_ok=True)
        housekeeping = asyncio.create_task(self._keep_house())
        try:
            while True:
                wanted = self._wanted()
                if wanted is None:
                    await self._follow({name: kept.command for name, kept in self._kept.items()})
                else:
                    await self._end_unwanted(wanted)
                    await self._follow(wanted)
                await self._reload.wait()
                self._reload.clear()
        finally:
            housekeeping.cancel()

    def _wanted(self) -> Mapping[str, Command] | None:
        try:
            return commands(configuration.load(self._directory))
        except (OSError, ValueError, KeyError) as problem:
            _log.warning("configuration not read; what runs is kept", problem=str(problem))
            return None

    async def _end_unwanted(self, wanted: Mapping[str, Command]) -> None:
        """What a former supervisor kept and nobody wants any more: it might hold a Lease for ever."""
        for name in await asyncio.to_thread(unwanted, self._directory, {*wanted, *self._kept}):
            _log.warning("process ended, for it is not wanted", name=name)
            await stop(await asyncio.to_thread(running, self._directory, name), STOP_S)

    async def _follow(self, wanted: Mapping[str, Command]) -> None:
        for name in [name for name, kept in self._kept.items() if wanted.get(name) != kept.command or kept.is_done]:
            await self._give_up(name)
        for name, command in wanted.items():
            if name not in self._kept:
                kept = self._kept[name] = _Kept(command)
                kept.task = asyncio.create_task(self._keep(name, kept))

    async def _give_up(self, name: str) -> None:
        kept = self._kept.pop(name)
        if kept.task is not None:
            kept.task.cancel()
        await stop(running(self._directory, name), STOP_S)

    async def _keep(self, name: str, kept: _Kept) -> None:
        """Start it again whenever it has ended. Nothing that this machine refuses may end that: a full disk is freed."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            ended: dict[str, object]
            try:
                ended = {"code": await self._until_ended(name, kept)}
            except OSError as problem:
                ended = {"problem": str(problem)}
            ran_s = time.monotonic() - began
            pause_s = FIRST_PAUSE_S if ran_s > GOOD_RUN_S else min(pause_s * 2, LONGEST_PAUSE_S)
            _log.warning("process ended", name=name, **ended, ran_s=round(ran_s, 1), again_in_s=pause_s)
            kept.who, kept.restarts = None, kept.restarts + 1
            self._write_status()
            await asyncio.sleep(pause_s)

    async def _until_ended(self, name: str, kept: _Kept) -> int | None:
        """Take over what runs, or start it, and wait for its end; the exit code, where it is a child of ours."""
        launched: subprocess.Popen[bytes] | None = None
        kept.who = await self._take_over(name, kept.command)
        if kept.who is None:
            launched = await asyncio.to_thread(self._launch, name, kept.command)
            kept.who = processes.identity(launched.pid)
        kept.since = time.time()
        self._write_status()
        if kept.who is not None:
            await until_dead(kept.who)
        return await asyncio.to_thread(launched.wait) if launched is not None else None

    async def _take_over(self, name: str, command: Command) -> Identity | None:
        start = start_of(command, self._code)
        current, others = await asyncio.to_thread(split, self._directory, name, start)
        await stop([*others, *current[1:]], STOP_S)
        return current[0] if current else None

    def _launch(self, name: str, command: Command) -> "subprocess.Popen[bytes]":
        marks = {MARK: mark(self._directory, name), START: start_of(command, self._code)}
        with (self._directory / "log" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **command.env, **marks},
                cwd=self._directory,
                start_new_session=True,
            )

    def _write_status(self) -> None:
        content = {
            name: {"pid": kept.who.pid if kept.who else None, "restarts": kept.restarts, "since": kept.since}
            for name, kept in self._kept.items()
        }
        with contextlib.suppress(OSError):  # for people only
            write_whole(self._directory / "processes.json", json.dumps(content).encode())

    async def _keep_house(self) -> None:
        """Logs stay small, and nobody cleans our sockets away."""
        held: int | None = None
        while True:
            if held is None:
                with contextlib.suppress(OSError):  # who cleans at this moment has it: another time
                    held = configuration.hold_runtime()
            await asyncio.sleep(HOUSE_INTERVAL_S)
            await asyncio.to_thread(trim_logs, self._directory / "log")


def trim_logs(folder: Path) -> None:
    """Put full logs aside; their writers append, and so go on at the beginning of an emptied file."""
    for path in folder.glob("*.log"):
        with contextlib.suppress(OSError):
            if path.stat().st_size > LOG_LIMIT_BYTES:
                shutil.copyfile(path, path.with_name(path.name + ".1"))
                os.truncate(path, 0)


async def stop(found: list[Identity], grace_s: float) -> None:
    """SIGTERM, then SIGKILL; returns when all are dead."""
    for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 30.0)):
        for who in found:
            if (descriptor := processes.open_pidfd(who)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
                    # A stopped process hears only of SIGKILL, unless it goes on.
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
                os.close(descriptor)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asyncio.gather(*(until_dead(who) for who in found))
                return


def lock(directory: Path) -> int | None:
    """The lock of the platform's one supervisor; `None` when somebody has it."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


async def _run_until_told(directory: Path, of_code: str) -> None:
    work = asyncio.create_task(Supervisor(directory, of_code).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Keeps the processes of a local platform alive.")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the platform, made by `up`")
    parser.add_argument("--code", help="which code of the package this is (default: as found)")
    options = parser.parse_args()
    directory = options.dir.resolve()
    if lock(directory) is None:
        sys.exit(f"{directory} has a supervisor already")
    log.configure()
    asyncio.run(_run_until_told(directory, options.code or code.fingerprint()))


if __name__ == "__main__":
    main()
