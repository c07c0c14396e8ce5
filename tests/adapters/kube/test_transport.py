"""What the transport sends when a connection breaks: what was asked for, as often as it was asked for."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from howdah.kube.client import Client
from howdah.kube.credentials import Access
from howdah.kube.errors import Unreachable
from howdah.kube.resources import CONFIGMAPS, PODS
from howdah.kube.testing.server import NoCredentials

ANSWER = b'{"metadata":{"name":"a","namespace":"team"}}'


@asynccontextmanager
async def breaking(method: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """A client, and the requests that come to its server, which breaks a kept connection at each `method` of them."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if found := re.search(rb"content-length: (\d+)", head.lower()):
                    await reader.readexactly(int(found[1]))
                asked.append(head.split()[0].decode())
                if asked[-1] == method and len(asked) > 1:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with Client(Access(f"http://127.0.0.1:{port}", "team", NoCredentials())) as client:
            await client.get(PODS, "a", namespace="team")  # the connection is kept from now on
            yield client, asked
    finally:
        server.close()


async def test_a_deletion_on_a_broken_connection_is_sent_once() -> None:
    permits: list[bool] = []
    async with breaking("DELETE") as (client, asked):
        permitted = client.permitted_by(lambda: permits.append(True))
        with pytest.raises(Unreachable):
            await permitted.delete(PODS, "a", namespace="team", uid="u", once=True)
        assert asked == ["GET", "DELETE"]
    assert permits == [True]


async def test_a_replacement_on_a_broken_connection_is_sent_once_for_each_permit() -> None:
    permits: list[bool] = []
    async with breaking("PUT") as (client, asked):
        permitted = client.permitted_by(lambda: permits.append(True))
        with pytest.raises(Unreachable):
            await permitted.replace(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "team"}})
        assert asked.count("PUT") == len(permits)


async def test_a_command_in_a_pod_is_not_run_again_when_the_connection_breaks() -> None:
    async with breaking("GET") as (client, asked):
        with pytest.raises(Unreachable):
            await client.exec("a", namespace="team", container="postgres", argv=["date"])
        assert asked == ["GET", "GET"]
