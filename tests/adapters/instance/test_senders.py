"""Whose WAL senders are ended while a server stops: a /proc of our own names real processes."""

import os
import signal
import socket
import subprocess

import pytest

from howdah.instance import senders

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
SILENT, SLOW, PROBING = ("01", 5), ("01", 4), ("04", 9)  # (timer, times): of 04 the window is closed, and answers come


class Machine:
    """Processes by title, each with a connection, and what the kernel tells of it."""

    def __init__(self, folder):
        self.folder, self.processes, self.rows = folder, [], {"tcp": HEAD, "tcp6": HEAD}
        (folder / "net").mkdir()
        self.postmaster = self.process("postgres")
        self.tell()

    def process(self, title, connection=None, table="tcp"):
        process = subprocess.Popen(["sleep", "60"])
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

    def tell(self):
        tasks = self.folder / str(self.postmaster.pid) / "task" / str(self.postmaster.pid)
        tasks.mkdir(parents=True, exist_ok=True)
        (tasks / "children").write_text(" ".join(str(child.pid) for child in self.processes[1:]))
        for table, rows in self.rows.items():
            (self.folder / "net" / table).write_text(rows)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    proc = tmp_path / "proc"
    proc.mkdir()
    monkeypatch.setattr(senders, "PROC", proc)
    found = Machine(proc)
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


@pytest.fixture
def data(tmp_path):
    def says(status):
        lines = ["1", str(tmp_path), "1700000000", "5432", "/run", "*", " 5432 7", f"{status} "]
        (tmp_path / "postmaster.pid").write_text("".join(f"{line}\n" for line in lines))
        return tmp_path

    return says


def test_senders_whose_replica_acknowledges_nothing_end_while_the_server_stops(machine, data):
    gone = [
        machine.process("postgres: a: walsender standby 10.0.0.2(1) streaming 0/1", SILENT, table)
        for table in machine.rows
    ]
    others = [
        machine.process("postgres: a: walsender standby 10.0.0.3(1) streaming 0/1", SLOW),
        machine.process("postgres: a: walsender standby 10.0.0.4(1) streaming 0/1", PROBING),
        machine.process("postgres: a: app app 10.0.0.5(1) idle", SILENT),
    ]
    machine.tell()
    assert senders.end_unreachable(data("stopping"), machine.postmaster.pid) == [process.pid for process in gone]
    assert [process.wait(5) for process in gone] == [-signal.SIGTERM] * 2
    assert [process.poll() for process in others] == [None] * 3


@pytest.mark.parametrize("status", ["ready", "standby", "starting"])
def test_a_server_that_runs_keeps_its_senders(machine, data, status):
    sender = machine.process("postgres: a: walsender standby 10.0.0.2(1) streaming 0/1", SILENT)
    machine.tell()
    assert senders.end_unreachable(data(status), machine.postmaster.pid) == []
    assert sender.poll() is None


def test_what_cannot_be_read_ends_nobody(machine, data, tmp_path):
    machine.process("postgres: a: walsender standby 10.0.0.2(1) streaming 0/1", SILENT)
    assert senders.end_unreachable(data("stopping"), machine.postmaster.pid) == []  # the kernel tells of no children
    machine.tell()
    (machine.folder / "net" / "tcp").unlink()
    assert senders.end_unreachable(data("stopping"), machine.postmaster.pid) == []
    assert senders.end_unreachable(tmp_path / "absent", machine.postmaster.pid) == []


def test_a_connection_that_is_answered_is_not_silent():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"something")
        inode = str(os.fstat(client.fileno()).st_ino)
        assert inode in set(senders.sockets(os.getpid()))
        assert inode not in senders.silent_sockets()
