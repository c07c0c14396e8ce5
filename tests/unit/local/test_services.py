"""Where a service address leads, and which addresses a platform uses."""

import errno
import os
import socket
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from howdah.local.configuration import Platform
from howdah.local.node.addresses import choose_block
from howdah.local.services import Port, ports_of, targets_of, why_closed


def service(address: str, *ports: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"clusterIP": address, "ports": list(ports)}}


@pytest.mark.parametrize(
    ("found", "ports"),
    [
        (service("127.96.0.1", {"name": "pg", "port": 5432}), {Port("127.96.0.1", 5432): "pg"}),
        (service("127.96.0.1", {"port": 5432}), {Port("127.96.0.1", 5432): ""}),
        (service("None", {"port": 5432}), {}),
        (service("", {"port": 5432}), {}),
        (service("10.0.0.1", {"port": 5432}), {}),
        (service("127.96.0.1", {"port": 53, "protocol": "UDP"}), {}),
        (service("127.96.0.1", {"port": 5432}, deletionTimestamp="now"), {}),
    ],
)
def test_listening_ports_of_a_service(found: dict[str, Any], ports: dict[Port, str]) -> None:
    assert ports_of(found) == ports


def subset(*addresses: str, **ports: int) -> dict[str, Any]:
    return {
        "addresses": [{"ip": address} for address in addresses],
        "notReadyAddresses": [{"ip": "127.32.0.99"}],
        "ports": [{"name": name, "port": number} for name, number in ports.items()],
    }


@pytest.mark.parametrize(
    ("subsets", "name", "targets"),
    [
        (None, "pg", ()),
        ([subset("127.32.0.1", pg=5432)], "pg", (("127.32.0.1", 5432),)),
        ([subset("127.32.0.1", other=5432)], "pg", (("127.32.0.1", 5432),)),
        ([subset("127.32.0.1", other=1, more=2)], "pg", ()),
        ([subset("127.32.0.2", pg=2), subset("127.32.0.1", pg=1)], "pg", (("127.32.0.1", 1), ("127.32.0.2", 2))),
        ([subset(pg=5432)], "pg", ()),
    ],
)
def test_only_ready_addresses_are_targets(subsets: Any, name: str, targets: Any) -> None:
    assert targets_of({"subsets": subsets}, name) == targets


def test_pod_block_is_stable_and_gives_way_to_listeners() -> None:
    first = choose_block("name", [])
    assert first == choose_block("name", ["127.0.0.1", "10.0.0.1"])
    second = choose_block("name", [str(first[7])])
    assert second != first
    assert all(block.subnet_of(IPv4Network("127.32.0.0/11")) for block in (first, second))


def test_service_range_belongs_to_the_platform_and_meets_no_pod() -> None:
    ranges = {Platform(Path(f"/p/{number}"), {}).service_range for number in range(50)}
    assert len(ranges) > 10
    assert all(IPv4Network(found).subnet_of(IPv4Network("127.96.0.0/11")) for found in ranges)


def test_a_port_that_a_user_may_not_open_is_not_said_to_be_taken():
    reason, message = why_closed(Port("127.0.0.1", 80), PermissionError(errno.EACCES, "Permission denied"))
    assert reason == "AddressForbidden"
    assert message.startswith("127.0.0.1:80 cannot be opened (Permission denied): an ordinary user")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = Port("127.0.0.1", holder.getsockname()[1])
        reason, message = why_closed(taken, OSError(errno.EADDRINUSE, "Address already in use"))
    assert reason == "AddressTaken"
    assert f"pid {os.getpid()} (" in message
