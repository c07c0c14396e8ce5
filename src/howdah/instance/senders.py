"""Replicas that a leader cannot reach while it stops. PostgreSQL waits until they have everything, Patroni for PostgreSQL.

When a node is cut off its leader stops for as long as that lasts, and for up to half a minute more, until TCP tries again. Only
then can it become a replica. So the WAL senders of those replicas end sooner: they have sent what they could, the leader
keeps its WAL, and whoever is promoted, Patroni compares who has most. A replica that is slow but answers is waited for.

Sources: Linux, `Documentation/networking/proc_net_tcp.rst`; https://www.postgresql.org/docs/current/server-shutdown.html
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
RETRANSMISSION_TIMER = "01"
UNANSWERED = 5  # doubling from 0.2 s: nothing was acknowledged for 6 s
STATUS_LINE = 7


def end_unreachable(data: Path, postmaster: int) -> list[int]:
    """Where this server stops: the pids of the WAL senders that were told to end."""
    return [pid for pid in unreachable(children(postmaster)) if _end(pid)] if is_stopping(data) else []


def is_stopping(data: Path) -> bool:
    """As the server says in `postmaster.pid`."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()[STATUS_LINE].strip() == "stopping"
    except (OSError, IndexError):
        return False


def children(pid: int) -> list[int]:
    """Nobody where the kernel cannot tell, or the process has ended."""
    try:
        return [int(child) for child in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title(pid: int) -> bytes:
    """What a process calls itself; nothing if it has ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def unreachable(processes: Iterable[int]) -> Iterator[int]:
    """The WAL senders among them whose peer acknowledges nothing."""
    silent = None
    for pid in processes:
        if b"walsender" in title(pid):
            silent = silent_sockets() if silent is None else silent
            if not silent.isdisjoint(sockets(pid)):
                yield pid


def silent_sockets() -> frozenset[str]:
    """Inodes of this network namespace's TCP connections of which nothing was acknowledged for a while."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = (PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:  # no IPv6
            continue
        for columns in map(str.split, rows):
            timer, retransmissions, inode = columns[5].partition(":")[0], int(columns[6], 16), columns[9]
            if timer == RETRANSMISSION_TIMER and retransmissions >= UNANSWERED:
                found.add(inode)
    return frozenset(found)


def sockets(pid: int) -> Iterator[str]:
    """Inodes of those that this process holds; none of a process of somebody else."""
    try:
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            kind, _, inode = str(descriptor.readlink()).partition(":")
            if kind == "socket":
                yield inode.strip("[]")
    except OSError:
        return


def _end(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        return False
    return True
