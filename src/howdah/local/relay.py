"""Copies bytes between pairs of sockets in a thread of its own, and cuts pairs on demand.

A plain epoll loop: for small messages, which is what databases speak, it costs a fraction of asyncio's streams.
"""

import contextlib
import os
import select
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass, field

CHUNK_BYTES = 65536
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class _End:
    """One socket of a pair; `waiting` is what it could not take yet."""

    sock: socket.socket
    fd: int
    pair: "Pair"
    peer: "_End | None" = None
    waiting: bytes = b""
    reads: bool = True
    parked: bool = False
    mask: int = select.EPOLLIN


@dataclass(slots=True, eq=False)
class Pair:
    """A connection through the relay; `target` is for whoever decides which to cut."""

    target: tuple[str, int]
    ends: list[_End] = field(default_factory=list)
    closed: bool = False


def close_at_once(sock: socket.socket) -> None:
    """Reset the connection, so that the other side knows it is cut and not ended."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


class Relay:
    """Start it, `add` connected pairs, `cut` them. All methods may be called from another thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._ends: dict[int, _End] = {}
        self._orders: deque[tuple[bool, Pair]] = deque()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._stopped = False
        self.pairs: set[Pair] = set()

    def start(self) -> None:
        """Begin to copy."""
        self._thread.start()

    def stop(self) -> None:
        """Cut everything and end the thread."""
        self._stopped = True
        os.eventfd_write(self._wake, 1)
        self._thread.join(5)

    def add(self, client: socket.socket, server: socket.socket, target: tuple[str, int]) -> Pair:
        """Copy between two connected sockets from now on; they belong to the relay."""
        pair = Pair(target)
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair.ends = [_End(sock, sock.fileno(), pair) for sock in (client, server)]
        pair.ends[0].peer, pair.ends[1].peer = pair.ends[1], pair.ends[0]
        self.pairs.add(pair)
        self._order(True, pair)
        return pair

    def cut(self, pair: Pair) -> None:
        """End a connection at once."""
        self._order(False, pair)

    def _order(self, start: bool, pair: Pair) -> None:
        self._orders.append((start, pair))
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._stopped:
            for fd, events in self._epoll.poll():
                if fd == self._wake:
                    self._obey()
                elif (end := self._ends.get(fd)) is not None:
                    self._serve(end, events)
        for pair in list(self.pairs):
            self._close(pair)

    def _obey(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._orders:
            start, pair = self._orders.popleft()
            if not start:
                self._close(pair)
            elif not pair.closed:
                for end in pair.ends:
                    self._ends[end.fd] = end
                    self._epoll.register(end.fd, end.mask)

    def _serve(self, end: _End, events: int) -> None:
        try:
            if events & select.EPOLLERR:
                self._close(end.pair)
                return
            if events & select.EPOLLOUT:
                self._flush(end)
            if end.mask & select.EPOLLIN:
                self._copy(end)
            elif events & select.EPOLLHUP and not end.parked:
                # Not asked for, and would be told again and again until the other side has taken its data.
                end.parked = True
                self._epoll.unregister(end.fd)
        except OSError:
            self._close(end.pair)

    def _copy(self, end: _End) -> None:
        peer = end.peer
        assert peer is not None
        try:
            data = end.sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._end_of(end, peer)
            return
        try:
            sent = peer.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            # The slower side sets the pace: nothing more is read until it has taken this.
            peer.waiting = data[sent:]
            self._mask(end, end.mask & ~select.EPOLLIN)
            self._mask(peer, peer.mask | select.EPOLLOUT)

    def _flush(self, end: _End) -> None:
        peer = end.peer
        assert peer is not None
        sent = end.sock.send(end.waiting)
        end.waiting = end.waiting[sent:]
        if end.waiting:
            return
        self._mask(end, end.mask & ~select.EPOLLOUT)
        if peer.reads:
            self._mask(peer, peer.mask | select.EPOLLIN)

    def _end_of(self, end: _End, peer: _End) -> None:
        """One direction is over; the other may go on."""
        end.reads = False
        self._mask(end, end.mask & ~select.EPOLLIN)
        with contextlib.suppress(OSError):
            peer.sock.shutdown(socket.SHUT_WR)
        if not peer.reads:
            self._close(end.pair, gently=True)

    def _mask(self, end: _End, mask: int) -> None:
        if end.parked:
            end.parked, end.mask = False, mask
            self._epoll.register(end.fd, mask)
        elif mask != end.mask:
            end.mask = mask
            self._epoll.modify(end.fd, mask)

    def _close(self, pair: Pair, gently: bool = False) -> None:
        if pair.closed:
            return
        pair.closed = True
        self.pairs.discard(pair)
        for end in pair.ends:
            if self._ends.pop(end.fd, None) is not None:
                with contextlib.suppress(OSError):
                    self._epoll.unregister(end.fd)
            if gently:
                end.sock.close()
            else:
                close_at_once(end.sock)
