"""The relay with real sockets: nothing is lost, reordered or kept back, and a cut is felt at once."""

import contextlib
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from howdah.local.relay import Pair, Relay
from steady import HANGS_S

TARGET = ("127.0.0.1", 1)


@pytest.fixture
def relay() -> Iterator[Relay]:
    found = Relay()
    found.start()
    yield found
    found.stop()


def connection() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=HANGS_S)
        far, _ = listener.accept()
    far.settimeout(HANGS_S)
    return near, far


def through(relay: Relay) -> tuple[socket.socket, socket.socket, Pair]:
    """A client and a server that speak through the relay."""
    client, from_client = connection()
    to_server, server = connection()
    return client, server, relay.add(from_client, to_server, TARGET)


def read_all(sock: socket.socket, pause_s: float = 0) -> bytes:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
        time.sleep(pause_s)
    return data


def fill(sock: socket.socket) -> None:
    """Send until nothing more is taken."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(b"x" * 65536)


def test_bytes_arrive_whole_and_in_order_although_the_reader_is_slow(relay: Relay) -> None:
    client, server, _ = through(relay)
    sent = os.urandom(8_000_000)
    writer = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
    writer.start()
    received = read_all(server, pause_s=0.0002)
    writer.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(sent).digest()


def test_one_direction_may_end_before_the_other(relay: Relay) -> None:
    client, server, pair = through(relay)
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"question"
    server.sendall(b"answer")
    server.close()
    assert read_all(client) == b"answer"
    deadline = time.monotonic() + HANGS_S
    while not pair.closed:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_cut_is_felt_as_a_reset_on_both_sides(relay: Relay) -> None:
    client, server, pair = through(relay)
    client.sendall(b"x")
    assert server.recv(10) == b"x"
    relay.cut(pair)
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(10)


def test_cut_pair_does_not_disturb_its_neighbour(relay: Relay) -> None:
    doomed, (client, server, _) = through(relay), through(relay)
    relay.cut(doomed[2])
    client.sendall(b"still here")
    assert server.recv(100) == b"still here"


def test_idle_relay_with_closed_and_stalled_sides_burns_no_cpu(relay: Relay) -> None:
    half_closed, stalled = through(relay), through(relay)
    half_closed[0].shutdown(socket.SHUT_WR)
    stalled[0].setblocking(False)
    fill(stalled[0])
    stalled[0].close()  # gone, while the other side has not taken its data yet
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.1
