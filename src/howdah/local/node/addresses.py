"""The addresses of this platform's pods: a /24 of 127.0.0.0/8 that nobody else uses, one address per pod name.

A pod keeps its address while it lives, over restarts of everything. 127.0.0.1, 127.0.0.53 and the services' 127.96.0.0/11
are never touched: blocks come from 127.32.0.0/11.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import structlog

from howdah.local import listeners
from howdah.local.files import write_whole

_FIRST = int(IPv4Address("127.32.0.0"))
_BLOCKS = 32 * 256
_END = _FIRST + (_BLOCKS << 8)

_log = structlog.get_logger("node")


class NoAddressError(OSError):
    """Every address of the block is taken."""


def choose_block(name: str, taken: Iterable[str]) -> IPv4Network:
    """The block that the platform's name leads to, or the next one on which nobody listens."""
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    used = {int(IPv4Address(address)) >> 8 for address in taken}
    for step in range(_BLOCKS):
        base = _FIRST + ((start + step) % _BLOCKS << 8)
        if base >> 8 not in used:
            return IPv4Network((base, 24))
    raise NoAddressError("no free block of pod addresses in 127.32.0.0/11")


class Addresses:
    """The book of addresses, kept in a file. One that is unreadable is made again from what pods show (`remember`)."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._given: dict[str, str] = {}
        try:
            book = json.loads(path.read_bytes())
            self._block, self._given = IPv4Network(book["block"]), dict(book["given"])
            self._is_lost = False
        except (FileNotFoundError, ValueError, KeyError, TypeError) as problem:
            if not isinstance(problem, FileNotFoundError):
                _log.warning("the book of addresses is unreadable", path=str(path), problem=repr(problem))
            self._block = choose_block(name, listeners.addresses())
            self._is_lost = True

    @property
    def block(self) -> str:
        """The block in CIDR form."""
        return str(self._block)

    def remember(self, shown: Mapping[str, str]) -> None:
        """`shown`: pod → the address in its status. What the book lacks of them is entered; what it has, counts."""
        ours = {pod: address for pod, address in shown.items() if _FIRST <= int(IPv4Address(address)) < _END}
        if self._is_lost and ours:
            self._block = IPv4Network((int(IPv4Address(min(ours.values()))) & ~0xFF, 24))
        self._is_lost = False
        before = dict(self._given)
        for pod, address in ours.items():
            if IPv4Address(address) in self._block and address not in self._given.values():
                self._given.setdefault(pod, address)
        if self._given != before:
            with contextlib.suppress(OSError):  # whoever starts next remembers it as well
                self._save(self._given)

    def take(self, pod: str) -> str:
        """The pod's address; the same one as long as it is not given back. `pod` is NAMESPACE/NAME.

        Raises OSError when it cannot be written down, and then it is not taken.
        """
        if pod not in self._given:
            unusable = set(self._given.values()) | listeners.addresses()
            free = (str(host) for host in self._block.hosts() if str(host) not in unusable)
            address = next(free, None)
            if address is None:
                raise NoAddressError(f"all addresses of {self._block} are taken: this platform holds at most 254 pods")
            given = {**self._given, pod: address}
            self._save(given)
            self._given = given
        return self._given[pod]

    def give_back(self, pod: str) -> None:
        """The pod is proved dead."""
        if self._given.pop(pod, None) is not None:
            with contextlib.suppress(OSError):  # on a full disk the file follows with the next change
                self._save(self._given)

    def _save(self, given: Mapping[str, str]) -> None:
        # After a power cut, which may cost the file, nobody has an address but in its status.
        write_whole(self._path, json.dumps({"block": str(self._block), "given": dict(given)}).encode(), sync=False)
