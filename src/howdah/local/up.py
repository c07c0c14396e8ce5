"""Set a local platform up, look at it, take it down again so that nothing is left.

The platform itself is a set of processes under a detached supervisor (`supervisor.py`); these functions only begin and
end it, may be called at any time, also twice, and also after any crash.
"""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.kube.resources import NODES
from howdah.local import code, configuration, interpreter, removal, supervisor
from howdah.local.configuration import Command, Platform
from howdah.local.files import write_whole
from howdah.local.node import fencing, processes
from howdah.local.place import PlatformError, check_for_up, is_void, made_here, recorded, spellings

UP_TIMEOUT_S = 30.0
POLL_S = 0.03
OUTDATED_POLL_S = 0.1
GRACE_S = 30.0
STOP_S = 10.0
REMOVAL_GRACE_S = 0.3  # what is removed needs no good order

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process of the platform; `pid` is None while it does not run."""

    name: str
    pid: int | None
    restarts: int
    since: float


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a platform without asking its API."""

    directory: Path
    kubeconfig: Path
    is_up: bool
    processes: tuple[ProcessStatus, ...]
    fencing: str


def default_directory(name: str = "local") -> Path:
    """Where the platform of this name lives if nobody says otherwise, beside those of other names."""
    if fencing.needs_another_user():
        return Path("/var/lib/howdah") / name
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "howdah" / name


async def up(platform: Platform, on_progress: Progress = lambda _: None, *, timeout_s: float = UP_TIMEOUT_S) -> Status:
    """Start the platform, or bring a running one to this configuration; returns when its API and its node answer.

    Raises PlatformError, and then says which log to read.
    """
    directory = await asyncio.to_thread(_made, platform.directory)
    platform = replace(platform, directory=directory)
    await asyncio.to_thread(check_for_up, directory)  # before anything is written into somebody's folder
    async with _alone(directory):
        await asyncio.to_thread(check_for_up, directory)
        fence = fencing.choose(f"howdah-{platform.identity}")
        on_progress(f"fencing: {fence.name}" + (f", containers run as {fence.user.name}" if fence.user else ""))
        if fence.user is not None:
            platform = _for_user(platform, fence.user, on_progress)
        configuration.make_runtime(platform, fence.user is not None)
        configuration.save(platform)
        write_whole(directory / "fencing", fence.name.encode())
        await _start_supervisor(platform, on_progress, timeout_s)
        await _until_ready(platform, on_progress, timeout_s)
    return status(directory)


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory.resolve()


def _for_user(platform: Platform, user: fencing.User, on_progress: Progress) -> Platform:
    """Containers run as another user, who must reach the data and the programs."""
    directory = platform.directory
    # The platform opens its folder, but not one of somebody else's.
    is_ours = directory.stat().st_uid == os.getuid()
    closed = fencing.closed_to_others(directory.parent if is_ours else directory)
    if closed is not None:
        raise PlatformError(
            f"containers run as user {user.name}, who cannot pass through {closed}; "
            f"choose another folder, such as /var/lib/howdah/local"
        )
    python = interpreter.usable_by(user, on_progress)
    if python == sys.executable:
        return platform
    roles = {
        role: tuple(python if word == sys.executable else word for word in argv)
        for role, argv in platform.roles.items()
    }
    return replace(platform, roles=roles)


async def _start_supervisor(platform: Platform, on_progress: Progress, timeout_s: float) -> None:
    """Start it, or have a running one read its configuration; one of other code is replaced. Pods notice nothing."""
    directory, of_code = platform.directory, code.fingerprint()
    command = supervisor.own_command(directory, of_code)
    start = supervisor.start_of(command, of_code)
    current, others = await asyncio.to_thread(supervisor.split, directory, "supervisor", start)
    await supervisor.stop(others, STOP_S)
    if current:
        os.kill(current[0].pid, signal.SIGHUP)
    else:
        _launch_supervisor(directory, command, start)
    await _until_started_anew(platform, of_code, on_progress, timeout_s)


async def _until_started_anew(platform: Platform, of_code: str, on_progress: Progress, timeout_s: float) -> None:
    """What is of other code or another command than now, or not wanted any more, must not answer for what follows it."""
    deadline = time.monotonic() + timeout_s
    told = False
    while names := await asyncio.to_thread(supervisor.outdated, platform, of_code):
        if not told:
            on_progress(f"starting anew or ending, for code or configuration have changed: {', '.join(names)}")
            told = True
        if time.monotonic() > deadline:
            raise PlatformError(
                f"{', '.join(names)}: not started anew or ended within {timeout_s:g} s; read {platform.directory}/log/*.log"
            )
        await asyncio.sleep(OUTDATED_POLL_S)


def _launch_supervisor(directory: Path, command: Command, start: str) -> None:
    (directory / "log").mkdir(mode=0o700, exist_ok=True)
    marks = {supervisor.MARK: supervisor.mark(directory, "supervisor"), supervisor.START: start}
    with (directory / "log" / "supervisor.log").open("ab") as log:
        subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **marks},
            cwd=directory,
            start_new_session=True,
        )


async def _until_ready(platform: Platform, on_progress: Progress, timeout_s: float) -> None:
    begin = time.monotonic()
    steps = (("API server", _api_answers), ("node", _node_answers))
    for what, question in steps:
        while not await question(platform):
            if time.monotonic() - begin > timeout_s:
                log = platform.directory / "log"
                raise PlatformError(f"the {what} did not come up within {timeout_s:g} s; read {log}/*.log")
            await asyncio.sleep(POLL_S)
        on_progress(f"{what} ready after {time.monotonic() - begin:.1f} s")


async def _api_answers(platform: Platform) -> bool:
    if not await asyncio.to_thread(platform.kubeconfig.exists):
        return False
    try:
        async with Client(load_access(str(platform.kubeconfig))) as client:
            await client.get_raw("/version", timeout_s=2)
    except (KubeError, OSError):
        return False
    return True


async def _node_answers(platform: Platform) -> bool:
    try:
        async with Client(load_access(str(platform.kubeconfig))) as client:
            nodes = await client.list(NODES, timeout_s=2)
        _, writer = await asyncio.open_unix_connection(str(platform.node_socket))
        writer.close()
    except (KubeError, OSError):
        return False
    return bool(nodes.items)


async def down(directory: Path, *, remove: bool = True, on_progress: Progress = lambda _: None) -> None:
    """End everything of the platform, pods first. With `remove` its data goes, too: nothing is left.

    Without `remove` the pods are asked to end in good order, and `up` starts them again.
    """
    directory = await asyncio.to_thread(directory.resolve)
    if not await asyncio.to_thread(directory.is_dir):
        return
    await asyncio.to_thread(made_here, directory)
    if await asyncio.to_thread(is_void, directory):
        on_progress(f"{directory} holds no platform, and nothing of one")
        return
    async with _alone(directory):
        platform = await asyncio.to_thread(made_here, directory)
        await asyncio.to_thread(_with_configuration, platform)
        places = await asyncio.to_thread(spellings, directory)
        found = {*supervisor.commands(platform)}.union(
            *[await asyncio.to_thread(supervisor.names, place) for place in places]
        )
        names = sorted(found - {"supervisor", "apiserver", "services"})
        # Nobody may start anything any more; Patroni needs the API to end in good order.
        grace_s = REMOVAL_GRACE_S if remove else STOP_S
        await _stop(places, ["supervisor", *names], grace_s, on_progress)
        await _stop_pods(directory, 0 if remove else GRACE_S, on_progress)
        await _stop(places, ["services", "apiserver"], grace_s, on_progress)
        stays = await asyncio.to_thread(_clear, platform, places, remove)
    if stays:
        on_progress(f"all of the platform is removed; not its own, and left in {directory}: {', '.join(stays)}")
    else:
        on_progress("nothing is left" if remove else "stopped; its data is kept")


def _with_configuration(platform: Platform) -> None:
    """Data whose configuration was lost gets one: its processes, which tell that it is a platform's, are about to end."""
    if removal.in_the_way(platform.directory):
        with suppress(OSError):
            configuration.save(platform)


def _configured(directory: Path) -> Platform:
    try:
        return configuration.load(directory)
    except (OSError, ValueError, KeyError):
        return Platform(directory, {})


async def _stop(places: Iterable[Path], names: list[str], grace_s: float, on_progress: Progress) -> None:
    both = [(place, name) for place in places for name in names]
    found = [who for place, name in both for who in await asyncio.to_thread(supervisor.running, place, name)]
    if found:
        on_progress(f"ending {', '.join(names)}")
    await supervisor.stop(found, grace_s)
    for place, name in both:
        left = await asyncio.to_thread(processes.marked, supervisor.MARK, supervisor.mark(place, name))
        who = [one for pid in left if (one := processes.identity(pid)) is not None]
        await supervisor.stop(who, grace_s)


async def _stop_pods(directory: Path, grace_s: float, on_progress: Progress) -> None:
    found = await asyncio.to_thread(lambda: list(recorded(directory)))
    if found:
        on_progress(f"ending {len(found)} containers")
    await asyncio.gather(*(container.stop(grace_s) for container in found))


def _clear(platform: Platform, places: Iterable[Path], remove: bool) -> list[str]:
    """Remove what is needed only while it runs, and with `remove` the rest. Returns names of what is not ours.

    Raises PlatformError for what could not be removed.
    """
    for place in places:
        named = replace(platform, directory=place)
        configuration.remove_runtime(named)
        fencing.remove_cgroup(f"howdah-{named.identity}")
    if not remove:
        return []
    failed, stays = removal.remove(platform.directory)
    if failed:
        raise PlatformError(
            f"all processes have ended, but this could not be removed: {'; '.join(failed)}; "
            f"when that is mended, run this again"
        )
    return stays


@asynccontextmanager
async def _alone(directory: Path) -> AsyncIterator[None]:
    """One `up` or `down` at a time."""
    with _held(directory / removal.LOCK):
        yield


@contextmanager
def _held(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PlatformError(f"{path.parent}: another `up` or `down` is at work; try again when it has ended") from None
    finally:
        os.close(descriptor)


def status(directory: Path) -> Status:
    """What runs. A folder without a platform is a platform that is down."""
    directory = directory.resolve()
    platform = _configured(directory)
    known: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError):  # it is only for people
        known = json.loads((directory / "processes.json").read_bytes())
    found = []
    places = spellings(directory)
    for name in ("supervisor", *supervisor.commands(platform)):
        alive = [who for place in places for who in supervisor.running(place, name)]
        noted = known.get(name, {})
        found.append(
            ProcessStatus(name, alive[0].pid if alive else None, int(noted.get("restarts", 0)), noted.get("since", 0.0))
        )
    way = (directory / "fencing").read_text() if (directory / "fencing").exists() else ""
    return Status(directory, platform.kubeconfig, all(entry.pid for entry in found), tuple(found), way)


def logs(directory: Path, process: str, *, lines: int = 100) -> list[str]:
    """The last lines of a process's log. Raises PlatformError naming the logs that are there."""
    folder = directory.resolve() / "log"
    path = folder / f"{process}.log"
    if path.parent != folder or not path.is_file():
        present = ", ".join(sorted(found.stem for found in folder.glob("*.log"))) or "none"
        raise PlatformError(f"no log of {process!r} in {folder}; there are: {present}")
    return path.read_text(errors="replace").splitlines()[-lines:]
