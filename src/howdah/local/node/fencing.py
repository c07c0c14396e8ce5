"""Three ways to hold a container's processes together, to kill all of them, and to prove that they are dead.

A container is dead only when that is proved; "unknown" is alive. What the machine allows decides the way:

- namespace: a PID namespace whose first process is the shim. Proof: it is dead; the kernel killed and
  collected all others before.
- cgroup: a control group (v2) per container. Proof: the kernel says that it is empty.
- scan: the shim as subreaper, a mark in the environment, its folders. Proof: the shim is dead, and
  nobody in /proc carries the mark or works in the folders.
"""

import contextlib
import grp
import os
import pwd
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from howdah.local.node import processes
from howdah.local.node.processes import Identity

SWITCH = "HOWDAH_FENCING"
MARK = "HOWDAH_CONTAINER"
PROBE_TIMEOUT_S = 5
CGROUP_REMOVAL_S = 2
# PostgreSQL refuses uid 0 and a uid without a passwd entry: inside, root is seen as this user.
NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Run:
    """One start of one container, as written down before anything ran."""

    container: str
    way: str
    init: Identity
    launcher: Identity
    folders: tuple[str, ...] = ()
    cgroup: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """Whom the container's program runs as, where it can't run as we do."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


class Fence(Protocol):
    """One way. `user` is None when programs run with our own uid (or are shown `nobody`)."""

    name: str
    user: User | None

    def launch(self, shim: list[str]) -> list[str]:
        """The command that starts the shim."""
        ...

    def admit(self, container: str, pid: int) -> str:
        """Take the shim in before it starts anything; the cgroup's path, if any."""
        ...

    def kill(self, run: Run) -> None:
        """Send SIGKILL to everything that is known to belong to the run; repeat until `is_dead`."""
        ...

    def is_dead(self, run: Run) -> bool:
        """True only when nothing of the run can be alive."""
        ...

    def enter(self, run: Run, argv: list[str]) -> list[str]:
        """The command that runs argv beside the container's processes."""
        ...


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _kill_identity(who: Identity) -> None:
    descriptor = processes.open_pidfd(who)
    if descriptor is None:
        return
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def _unshare() -> list[str]:
    inside = NOBODY if os.getuid() == 0 else os.getuid()
    group = NOBODY if os.getuid() == 0 else os.getgid()
    mapping = [f"--map-user={inside}", f"--map-group={group}"]
    return ["unshare", "-U", "-p", "-f", "--kill-child", "--mount-proc", *mapping, "--"]


class NamespaceFence:
    """A user and PID namespace; the kernel itself kills everything when its first process ends."""

    name = "namespace"
    user: User | None = None

    def launch(self, shim: list[str]) -> list[str]:
        return _unshare() + shim

    def admit(self, container: str, pid: int) -> str:
        return ""

    def kill(self, run: Run) -> None:
        _kill_identity(run.init)
        _kill_identity(run.launcher)

    def is_dead(self, run: Run) -> bool:
        # A PID namespace's first process becomes a zombie only after all others have been collected.
        return not processes.is_alive(run.init)

    def enter(self, run: Run, argv: list[str]) -> list[str]:
        return [
            "nsenter",
            f"--target={run.init.pid}",
            "-U",
            "-m",
            "-p",
            "--preserve-credentials",
            "--",
            *argv,
        ]


class CgroupFence:
    """A control group per container. The shim lives in it, so that an empty group proves everything."""

    name = "cgroup"

    def __init__(self, parent: Path, user: User | None) -> None:
        self._parent = parent
        self.user = user

    def launch(self, shim: list[str]) -> list[str]:
        return shim

    def admit(self, container: str, pid: int) -> str:
        group = self._parent / container.replace("/", "_")
        group.mkdir(parents=True, exist_ok=True)
        (group / "cgroup.procs").write_text(str(pid))
        return str(group)

    def kill(self, run: Run) -> None:
        with contextlib.suppress(FileNotFoundError):
            (Path(run.cgroup) / "cgroup.kill").write_text("1")

    def is_dead(self, run: Run) -> bool:
        try:
            populated = "populated 1" in (Path(run.cgroup) / "cgroup.events").read_text()
        except FileNotFoundError:
            return True  # a group can be removed only when it is empty
        if not populated:
            with contextlib.suppress(OSError):
                Path(run.cgroup).rmdir()
        return not populated

    def enter(self, run: Run, argv: list[str]) -> list[str]:
        # The shell puts itself into the group and becomes the program.
        return [
            "/bin/sh",
            "-c",
            'echo $$ > "$0/cgroup.procs" && exec "$@"',
            run.cgroup,
            *_as_user(self.user, argv),
        ]


class ScanFence:
    """No help from the kernel: descendants of the shim, bearers of the mark, who works in the folders."""

    name = "scan"

    def __init__(self, user: User | None) -> None:
        self.user = user

    def launch(self, shim: list[str]) -> list[str]:
        return shim

    def admit(self, container: str, pid: int) -> str:
        return ""

    def _members(self, run: Run) -> set[int]:
        members = processes.marked(MARK, run.container, run.folders)
        if processes.is_alive(run.init):
            members |= processes.descendants([run.init.pid])
        return members - {run.init.pid}

    def kill(self, run: Run) -> None:
        members = self._members(run)
        for pid in members:
            _signal(pid, signal.SIGKILL)
        # The living shim collects the orphans and so keeps them in sight: it goes last.
        if not members:
            _kill_identity(run.init)

    def is_dead(self, run: Run) -> bool:
        if run.init.boot != processes.boot_id():
            return True
        # Twice: a process may fork between the reading of its parent's entry and its own.
        return not processes.is_alive(run.init) and not self._members(run) and not self._members(run)

    def enter(self, run: Run, argv: list[str]) -> list[str]:
        return _as_user(self.user, argv)


def _as_user(user: User | None, argv: list[str]) -> list[str]:
    if user is None:
        return argv
    return ["setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups", "--", *argv]


def container_user() -> User | None:
    """Whom programs run as without a user namespace: ourselves, but never root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            groups = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if name in group.gr_mem)}
            return User(name, entry.pw_uid, entry.pw_gid, tuple(sorted(groups)))
    raise RuntimeError(
        "root needs an unprivileged user for PostgreSQL: neither `postgres` nor `nobody` is in /etc/passwd"
    )


def closed_to_others(path: Path) -> Path | None:
    """The first folder on the way to `path`, itself included, that other users cannot pass through."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir() or not folder.stat().st_mode & 0o001:
            return folder
    return None


def open_path(search_path: str) -> str:
    """The folders of a PATH that other users can look into: programs fail over an entry that they may not read."""
    return os.pathsep.join(
        folder for folder in search_path.split(os.pathsep) if folder and closed_to_others(Path(folder)) is None
    )


def namespaces_work() -> bool:
    """Whether this user may make user and PID namespaces here."""
    try:
        done = subprocess.run([*_unshare(), "true"], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _cgroup_folder(name: str) -> Path | None:
    """Where a control group of ours would be: below the one that we are in."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
        own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        root = next(Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    except (OSError, StopIteration):
        return None
    return root / own.removeprefix("0::").lstrip("/") / name


def writable_cgroup(name: str) -> Path | None:
    """A folder for our control groups where we may make some that can be killed as a whole; else `None`."""
    group = _cgroup_folder(name)
    if group is None:
        return None
    try:
        group.mkdir(exist_ok=True)
        probe = group / "probe"
        probe.mkdir(exist_ok=True)
        usable = (probe / "cgroup.kill").exists() and os.access(probe / "cgroup.procs", os.W_OK)
        probe.rmdir()
        # Moving a process in needs the right to write where it comes from, too.
        usable = usable and os.access(group.parent / "cgroup.procs", os.W_OK)
        if not usable:
            group.rmdir()
    except OSError:
        return None
    return group if usable else None


def remove_cgroup(name: str) -> None:
    """Remove our control groups, whose processes are dead; the kernel may need a moment to see that they are empty."""
    group = _cgroup_folder(name)
    deadline = time.monotonic() + CGROUP_REMOVAL_S
    while group is not None and group.is_dir() and time.monotonic() < deadline:
        try:
            for child in [child for child in group.iterdir() if child.is_dir()]:
                child.rmdir()
            group.rmdir()
        except OSError:
            time.sleep(0.02)


def needs_another_user() -> bool:
    """Whether containers cannot run with our own uid here: root without user namespaces."""
    if os.getuid() != 0:
        return False
    return os.environ.get(SWITCH, "") in ("cgroup", "scan") or not namespaces_work()


def choose(name: str) -> Fence:
    """The best way of this machine, or the one that HOWDAH_FENCING asks for. `name` tells platforms apart."""
    asked = os.environ.get(SWITCH, "")
    if asked not in ("", "namespace", "cgroup", "scan"):
        raise RuntimeError(f"{SWITCH}={asked}: expected namespace, cgroup or scan")
    if asked in ("", "namespace") and namespaces_work():
        return NamespaceFence()
    if asked in ("", "cgroup") and (group := writable_cgroup(name)) is not None:
        return CgroupFence(group, container_user())
    if asked in ("", "scan"):
        return ScanFence(container_user())
    raise RuntimeError(
        f"{SWITCH}={asked}: this machine does not allow it; leave the variable out to get what it allows"
    )


def of_run(run: Run) -> Fence:
    """The way in which a recorded run was started, which may not be today's."""
    if run.way == "namespace":
        return NamespaceFence()
    if run.way == "cgroup":
        return CgroupFence(Path(run.cgroup).parent, container_user())
    return ScanFence(container_user())
