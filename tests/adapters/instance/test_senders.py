"""Whose WAL senders are ended while a server stops: a /proc of our own names real processes."""

import os
import signal
import socket
import subprocess

import pytest

from howdah.instance import senders
from lifetimes import ended_with_us
from steady import HANGS_S

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SILENT, SLOW, PROBING = ("01", 3), ("01", 2), ("04", 9)  # (timer, times): of 04 the window is closed, and answers come


class Machine:
    """Processes by title, each with a connection, and what the kernel tells of it."""

    def __init__(self, folder):
        self.folder, self.processes, self.rows = folder, [], {"tcp": HEAD, "tcp6": HEAD}
        (folder / "net").mkdir()
        self.postmaster = self.process("postgres")
        self.tell()

    def process(self, title, connection=None, table="tcp"):
        process = subprocess.Popen(ended_with_us("sleep", "600"))
        self.processes.append(process)
        place = self.folder / str(process.pid)
        (place / "fd").mkdir(parents=True)
        (place / "cmdline").write_text(title)
        (place / "fd" / "0").symlink_to("/dev/null")
        if connection is not None:
            timer, times = connection
            inode = 1000 + len(self.processes)
            (place / "fd" / "9").symlink_to(f"socket:[{inode}]")
            addresses = "0100007F:1538 0200007F:9999"
            self.rows[table] += (
                f"   0: {addresses} 01 00000010:00000000 {timer}:00000014 {times:08X}  101 0 {inode} 2 0 20 4 1\n"
            )
        return process

    def sender(self, connection=SILENT, table="tcp"):
        return self.process("postgres: a: walsender standby 10.0.0.2(1) streaming 0/1", connection, table)

    def tell(self):
        tasks = self.folder / str(self.postmaster.pid) / "task" / str(self.postmaster.pid)
        tasks.mkdir(parents=True, exist_ok=True)
        (tasks / "children").write_text(" ".join(str(child.pid) for child in self.processes[1:]))
        for table, rows in self.rows.items():
            (self.folder / "net" / table).write_text(rows)


@pytest.fixture
def machine(tmp_path):
    proc = tmp_path / "proc"
    proc.mkdir()
    found = Machine(proc)
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


@pytest.fixture
def looks(machine, tmp_path):
    """Looks at a server that says `status`, from where the API server is at `address`. Of one stop, if it is `the_same`."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()

    stops = []

    def looks(status="stopping", address=nobody, at_s=(0, 1, 2), the_same=False):
        lines = ["1", str(tmp_path), "1700000000", "5432", "/run", "*", " 5432 7", f"{status} "]
        (tmp_path / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        host, port = address
        environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": str(port)}
        if not the_same:
            stops.append(senders.Senders(tmp_path, environ, machine.folder))
        found = stops[-1]
        return [found.end_unreachable(machine.postmaster.pid, 100.0 + s) for s in at_s]

    return looks


def test_senders_whose_replica_acknowledges_nothing_end_while_a_server_that_is_cut_off_stops(machine, looks):
    gone = [machine.sender(table=table) for table in machine.rows]
    others = [
        machine.sender(SLOW),
        machine.sender(PROBING),
        machine.process("postgres: a: app app 10.0.0.5(1) idle", SILENT),
    ]
    machine.tell()
    assert looks() == [[], [], [process.pid for process in gone]]
    assert [process.wait(HANGS_S) for process in gone] == [-signal.SIGTERM] * 2
    assert [process.poll() for process in others] == [None] * 3


def test_a_planned_stop_waits_for_every_replica(machine, looks):
    sender = machine.sender()
    machine.tell()
    with socket.create_server(("127.0.0.1", 0)) as api_server:
        assert looks(address=api_server.getsockname()) == [[], [], []]
    assert looks(address=("", "")) == [[], [], []]  # no pod
    assert sender.poll() is None


def test_a_planned_stop_waits_for_every_replica_also_if_the_network_goes_for_a_moment(machine, looks):
    """The lock is given away when the server has ended, and the network may be back by then."""
    sender = machine.sender()
    machine.tell()
    with socket.create_server(("127.0.0.1", 0)) as api_server:
        address = api_server.getsockname()
        assert looks(address=address, at_s=(0,)) == [[]]
    assert looks(at_s=(1, 2, 3, 4), the_same=True) == [[]] * 4
    assert sender.poll() is None
    assert looks("ready", at_s=(5,), the_same=True) == [[]]
    assert looks(at_s=(6, 7, 8), the_same=True) == [[], [], [sender.pid]]  # another stop, cut off from its beginning


def test_a_replica_that_has_answered_meanwhile_is_waited_for_anew(machine, looks, tmp_path):
    looks(at_s=())  # the server says that it stops
    sender = machine.sender()
    machine.tell()
    silent = (machine.folder / "net" / "tcp").read_text()
    found = senders.Senders(
        tmp_path, {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}, machine.folder
    )
    ended = []
    for second, rows in enumerate((silent, silent, HEAD, silent, silent, silent)):
        (machine.folder / "net" / "tcp").write_text(rows)
        ended.append(bool(found.end_unreachable(machine.postmaster.pid, float(second))))
    assert ended == [False] * 5 + [True]
    assert sender.wait(HANGS_S) == -signal.SIGTERM


@pytest.mark.parametrize("status", ["ready", "standby", "starting"])
def test_a_server_that_runs_keeps_its_senders(machine, looks, status):
    sender = machine.sender()
    machine.tell()
    assert looks(status) == [[], [], []]
    assert sender.poll() is None


def test_what_cannot_be_read_ends_nobody(machine, looks):
    machine.sender()
    assert looks() == [[], [], []]  # the kernel tells of no children
    machine.tell()
    (machine.folder / "net" / "tcp").write_text(HEAD + "   0: something else\n")
    assert looks() == [[], [], []]
    (machine.folder / "net" / "tcp").unlink()
    assert looks() == [[], [], []]


def test_a_connection_that_is_answered_is_not_silent():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"something")
        inode = str(os.fstat(client.fileno()).st_ino)
        assert inode in set(senders.sockets(senders.PROC, os.getpid()))
        assert inode not in senders.silent_sockets(senders.PROC)
