"""What a server keeps over its starts because others know it by then: its port, and the range of service addresses.

What cannot be read, as after a write that a power cut tore, is found again where else it is written.
"""

from __future__ import annotations

import errno
import logging
import socket
from ipaddress import IPv4Network
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from howdah.local.files import write_whole
from howdah.local.listeners import holder_of

from .prepare import DEFAULT_SERVICE_RANGE

log = logging.getLogger(__name__)


def listener(directory: Path, address: str, port: int) -> socket.socket:
    """The listening socket. Its port, `port` or that of the last start, is kept: kubeconfigs name it.

    Raises SystemExit naming the process that holds the port.
    """
    wanted = port or _port(directory)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        found = socket.create_server((address, wanted), family=family, backlog=512)
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise
        holder = holder_of(address, wanted) or "somebody whom this user may not see"
        raise SystemExit(
            f"{address}:{wanted}, the port that every kubeconfig of {directory} names, is held by {holder}; end that"
        ) from problem
    write_whole(directory / "port", f"{found.getsockname()[1]}\n".encode())
    return found


def _port(directory: Path) -> int:
    """That of the last start; 0 before the first."""
    try:
        return int((directory / "port").read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        log.warning("%s/port cannot be read; the kubeconfig tells the port", directory)
    try:
        server = yaml.safe_load((directory / "kubeconfig").read_bytes())["clusters"][0]["cluster"]["server"]
        return urlsplit(server).port or 0
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValueError):
        return 0


def service_range(directory: Path, wanted: IPv4Network | None) -> IPv4Network:
    """The range of service addresses. That of the first start is kept and stays: services hold addresses of it.

    Raises SystemExit where it is no loopback range or has no room.
    """
    kept = _service_range(directory)
    found = kept or wanted or DEFAULT_SERVICE_RANGE
    if wanted is not None and wanted != found:
        log.warning("service addresses stay in %s, the range of the first start, not %s", found, wanted)
    if not found.is_loopback or found.num_addresses < 4:
        raise SystemExit(f"--service-range {found}: expected a part of 127.0.0.0/8 with at least 4 addresses")
    if kept is None:
        write_whole(directory / "service-range", f"{found}\n".encode())
    return found


def _service_range(directory: Path) -> IPv4Network | None:
    try:
        return IPv4Network((directory / "service-range").read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError:
        log.warning("%s/service-range cannot be read; it is made anew", directory)
        return None
