"""What the kernel says about processes: identity, descendants, marks. Reads /proc and decides nothing.

A pid alone names nobody, because pids are reused; a pid with its start time and the boot it belongs to does.
Only the standard library is used: the shim, which must be small, imports this module too.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for ever: `started` is field 22 of /proc/PID/stat (clock ticks since boot)."""

    pid: int
    started: int
    boot: str


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/PID/stat that we use."""

    pid: int
    state: str
    parent: int
    started: int


def boot_id() -> str:
    """The id of this boot; a record of another boot speaks of processes that are all dead."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> Stat | None:
    """`None` when there is no such process. Raises OSError when that cannot be told, as without a free descriptor."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes().decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name may hold blanks and brackets: the fields begin after the last bracket.
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(pid, fields[0], int(fields[1]), int(fields[19]))


def identity(pid: int) -> Identity | None:
    """Who has this pid now; `None` when nobody does or when it is only a zombie. Raises OSError as `stat` does."""
    seen = stat(pid)
    if seen is None or seen.state in DEAD_STATES:
        return None
    return Identity(pid, seen.started, boot_id())


def is_alive(who: Identity) -> bool:
    """False only when this very process is proved dead (a zombie is: it will never run again).

    Raises OSError when the kernel does not answer: who cannot be seen is not dead.
    """
    if who.boot != boot_id():
        return False
    seen = stat(who.pid)
    return seen is not None and seen.started == who.started and seen.state not in DEAD_STATES


def open_pidfd(who: Identity) -> int | None:
    """A descriptor that becomes readable when this very process dies; `None` when it is dead already."""
    try:
        descriptor = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return None
    # The pid was taken before the check: if the check holds now, the descriptor is this process.
    try:
        alive = is_alive(who)
    except OSError:
        os.close(descriptor)
        raise
    if alive:
        return descriptor
    os.close(descriptor)
    return None


def all_pids() -> Iterator[int]:
    """Every pid that this process may see."""
    with os.scandir(PROC) as entries:
        for entry in entries:
            if entry.name.isdigit():
                yield int(entry.name)


def _shown(pid: int) -> Stat | None:
    """As `stat`; `None` also for others' processes on a machine that hides them (hidepid=1)."""
    try:
        return stat(pid)
    except PermissionError:
        return None


def descendants(roots: Iterable[int]) -> set[int]:
    """Living processes below `roots`, the roots not included. Raises OSError when the kernel does not answer."""
    stats = [seen for pid in all_pids() if (seen := _shown(pid))]
    children: dict[int, list[Stat]] = {}
    for seen in stats:
        children.setdefault(seen.parent, []).append(seen)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child.pid not in found:
                found.add(child.pid)
                waiting.append(child.pid)
    dead = {seen.pid for seen in stats if seen.state in DEAD_STATES}
    return found - dead


def environment(pid: int) -> bytes:
    """As the process was given it; empty where it has ended or is another user's."""
    try:
        return (PROC / str(pid) / "environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # gone, or another user's
        return b""


def _working_folder(pid: int) -> str:
    try:
        return str((PROC / str(pid) / "cwd").readlink())
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def marked(variable: str, value: str, folders: Iterable[str] = ()) -> set[int]:
    """Living processes that were given `variable=value`, or lost their environment and work in `folders`.

    A PostgreSQL backend writes its title over its environment, but stays in its data folder. A person's shell
    in that folder still has a PATH, and is left alone. Raises OSError when the kernel does not answer.
    """
    mark = f"\0{variable}={value}\0".encode()
    prefixes = tuple(folder.rstrip("/") + "/" for folder in folders)
    found = set()
    for pid in all_pids():
        if pid == os.getpid():
            continue
        given = b"\0" + environment(pid)
        lost = b"\0PATH=" not in given and (_working_folder(pid) + "/").startswith(prefixes)
        if mark in given or lost:
            seen = _shown(pid)
            if seen is not None and seen.state not in DEAD_STATES:
                found.add(pid)
    return found
