"""Where the operator's endpoints can be reached."""

import asyncio
import socket

import pytest
from prometheus_client import CollectorRegistry

from howdah.controller import api
from steady import HANGS_S


def has_address(host: str, family: socket.AddressFamily) -> bool:
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


LOOPBACK = {"127.0.0.1"} | ({"::1"} if has_address("::1", socket.AF_INET6) else set())


async def reachable(host: str) -> set[str]:
    """By which loopback addresses of this machine endpoints that listen on `host` are."""
    app = api.application(CollectorRegistry(), is_alive=lambda: None, is_ready=lambda: None)
    runner = await api.serve(app, host, 0)
    found = set()
    try:
        for address in LOOPBACK:
            try:
                reader, writer = await asyncio.open_connection(address, runner.addresses[0][1])
            except ConnectionRefusedError:
                continue
            writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
            async with asyncio.timeout(HANGS_S):
                assert (await reader.readline()).split()[1] == b"200"
            writer.close()
            found.add(address)
    finally:
        await runner.cleanup()
    return found


async def test_without_a_host_they_are_reached_by_every_family_of_addresses() -> None:
    assert await reachable("") == LOOPBACK


@pytest.mark.parametrize("host", sorted(LOOPBACK))
async def test_with_a_host_they_are_reached_there_only(host: str) -> None:
    assert await reachable(host) == {host}


async def test_a_taken_port_is_an_error() -> None:
    app = api.application(CollectorRegistry(), is_alive=lambda: None, is_ready=lambda: None)
    runner = await api.serve(app, "", 0)
    try:
        with pytest.raises(OSError, match="in use"):
            await api.serve(app, "", runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_who_takes_its_time_for_an_answer_does_not_hold_up_the_end() -> None:
    app = api.application(CollectorRegistry(), is_alive=lambda: "x" * 50_000_000, is_ready=lambda: None)
    runner = await api.serve(app, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    await asyncio.sleep(0.5)  # its buffers are full, and nobody reads
    async with asyncio.timeout(10 * api.SHUTDOWN_S):
        await runner.cleanup()
    writer.close()
