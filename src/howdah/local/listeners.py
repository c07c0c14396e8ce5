"""Who listens where on this machine, as /proc tells."""

import contextlib
from ipaddress import IPv4Address
from pathlib import Path

LISTEN = "0A"


def _sockets() -> list[tuple[str, int, str]]:
    """(address, port, inode) of every listening TCP socket (IPv4)."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == LISTEN:
            address, _, port = fields[1].partition(":")
            text = str(IPv4Address(int.from_bytes(bytes.fromhex(address), "little")))
            found.append((text, int(port, 16), fields[9]))
    return found


def addresses() -> set[str]:
    """Addresses on which somebody listens."""
    return {address for address, _, _ in _sockets()}


def holder_of(address: str, port: int) -> str | None:
    """The process that holds a port, `pid 12 (command)`; one that listens on all addresses holds it, too."""
    everywhere = "0.0.0.0"  # noqa: S104 - read, not bound
    inodes = {inode for found, number, inode in _sockets() if number == port and found in (address, everywhere)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(_target(descriptor) in wanted for descriptor in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                return f"pid {process.name} ({command.strip()[:200]})"
    return f"another user's process on {address}:{port}" if inodes else None


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile: the process goes on, and so does the search in it
        return ""
