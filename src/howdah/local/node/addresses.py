"""The addresses of this platform's pods: a /24 of 127.0.0.0/8 that nobody else uses, one address per pod name.

A pod keeps its address while it lives, over restarts of everything. 127.0.0.1, 127.0.0.53 and the services' 127.96.0.0/11
are never touched: blocks come from 127.32.0.0/11.
"""

import hashlib
import json
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from howdah.local import listeners

_FIRST = int(IPv4Address("127.32.0.0"))
_BLOCKS = 32 * 256


class NoAddressError(Exception):
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
    """The book of addresses, kept in a file."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        if path.exists():
            book = json.loads(path.read_bytes())
            self._block = IPv4Network(book["block"])
            self._given: dict[str, str] = book["given"]
        else:
            self._block = choose_block(name, listeners.addresses())
            self._given = {}
            self._save()

    @property
    def block(self) -> str:
        """The block in CIDR form."""
        return str(self._block)

    def take(self, pod: str) -> str:
        """The pod's address; the same one as long as it is not given back. `pod` is NAMESPACE/NAME."""
        if pod not in self._given:
            unusable = set(self._given.values()) | listeners.addresses()
            free = (str(host) for host in self._block.hosts() if str(host) not in unusable)
            address = next(free, None)
            if address is None:
                raise NoAddressError(f"all addresses of {self._block} are taken: this platform holds at most 254 pods")
            self._given[pod] = address
            self._save()
        return self._given[pod]

    def give_back(self, pod: str) -> None:
        """The pod is proved dead."""
        if self._given.pop(pod, None) is not None:
            self._save()

    def _save(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({"block": str(self._block), "given": self._given}))
        temporary.replace(self._path)
