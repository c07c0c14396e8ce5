"""Replicas that a leader cannot reach while it stops. PostgreSQL waits until they have everything, Patroni for PostgreSQL.

When a node is cut off its leader stops for as long as that lasts, and for up to half a minute more, until TCP tries again. Only
then can it become a replica. So the WAL senders of those replicas end sooner: the leader keeps its WAL, starts as a
replica, and is one of those whom Patroni compares. Not where the API server is or was reached while it stops: then the stop
is a planned one, the lock is given away after it, and a replica that is back in time must have everything. A replica that is
slow but answers is waited for.

Sources: Linux, `Documentation/networking/proc_net_tcp.rst`; https://www.postgresql.org/docs/current/server-shutdown.html
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
RETRANSMISSION_TIMER = "01"
RETRANSMISSIONS = 3
SILENT_S = 2.0  # by our own clock, for how soon and how often TCP repeats can be set
REACHED_WITHIN_S = 1.0
STATUS_LINE = 7
COLUMNS = 10


@dataclass(slots=True)
class Senders:
    """Looks of one data directory's server. `proc`: the kernel's, or a test's."""

    data: Path
    environ: Mapping[str, str]
    proc: Path = PROC
    _silent_since_s: dict[int, float] = field(default_factory=dict)
    _began_cut_off: bool | None = None  # the stop that is under way; None where there is none

    def end_unreachable(self, postmaster: int, now_s: float) -> list[int]:
        """The pids of the WAL senders that were told to end. To be called about once a second, with a monotonic clock."""
        if not is_stopping(self.data):
            self._began_cut_off = None
            return []
        if self._began_cut_off is None:
            self._began_cut_off = is_cut_off(self.environ)
            self._silent_since_s = {}
        if not self._began_cut_off:
            return []
        silent = unreachable(self.proc, postmaster)
        self._silent_since_s = {pid: self._silent_since_s.get(pid, now_s) for pid in silent}
        due = [pid for pid, since_s in self._silent_since_s.items() if now_s - since_s >= SILENT_S]
        return [pid for pid in due if _end(pid)] if due and is_cut_off(self.environ) else []


def is_stopping(data: Path) -> bool:
    """As the server says in `postmaster.pid`."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()[STATUS_LINE].strip() == "stopping"
    except (OSError, IndexError):
        return False


def is_cut_off(environ: Mapping[str, str]) -> bool:
    """Whether the API server cannot be connected to; no where the environment of a pod does not say where it is."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not port.isdigit():
        return False
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN_S).close()
    except OSError:
        return True
    return False


def children(pid: int, proc: Path = PROC) -> list[int]:
    """Nobody where the kernel cannot tell, or the process has ended."""
    try:
        return [int(child) for child in (proc / f"{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def title(pid: int, proc: Path = PROC) -> bytes:
    """What a process calls itself; nothing if it has ended."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return b""


def unreachable(proc: Path, postmaster: int) -> list[int]:
    """The WAL senders of this server whose peer acknowledges nothing."""
    senders = [pid for pid in children(postmaster, proc) if b"walsender" in title(pid, proc)]
    silent = silent_sockets(proc) if senders else frozenset()
    return [pid for pid in senders if not silent.isdisjoint(sockets(proc, pid))]


def silent_sockets(proc: Path) -> frozenset[str]:
    """Inodes of this network namespace's TCP connections in which something was repeated, and nothing acknowledged since."""
    return frozenset(_silent(_rows(proc)))


def _silent(rows: Iterable[list[str]]) -> Iterator[str]:
    for columns in rows:
        if len(columns) >= COLUMNS:
            timer, retransmissions, inode = columns[5].partition(":")[0], int(columns[6], 16), columns[9]
            if timer == RETRANSMISSION_TIMER and retransmissions >= RETRANSMISSIONS:
                yield inode


def _rows(proc: Path) -> Iterator[list[str]]:
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()
        except OSError:  # no IPv6
            continue
        yield from (line.split() for line in lines[1:])


def sockets(proc: Path, pid: int) -> Iterator[str]:
    """Inodes of those that this process holds; none of a process of somebody else."""
    try:
        descriptors = list((proc / str(pid) / "fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # it was closed meanwhile, and the others are there
            kind, _, inode = str(descriptor.readlink()).partition(":")
            if kind == "socket":
                yield inode.strip("[]")


def _end(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:
        return False
    return True
