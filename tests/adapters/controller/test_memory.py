"""What a TLS connection of the operator costs in memory, with real sockets."""

from __future__ import annotations

import asyncio
import ssl
import tracemalloc
from asyncio.sslproto import SSLProtocol
from pathlib import Path

import pytest

from howdah.controller import memory
from howdah.local.apiserver.certificates import ensure_pki

CONNECTIONS = 20
BODY = b"x" * 2**20


async def held_kib(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    """What Python holds for one connection that has read a body, both of its ends together."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BODY)
        await writer.drain()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server) as listening:
        host, port = listening.sockets[0].getsockname()
        tracemalloc.start()
        try:
            before, writers = tracemalloc.get_traced_memory()[0], []
            for _ in range(CONNECTIONS):
                reader, writer = await asyncio.open_connection(host, port, ssl=client)
                writers.append(writer)
                assert await reader.readexactly(len(BODY)) == BODY
            return (tracemalloc.get_traced_memory()[0] - before) / CONNECTIONS / 1024
        finally:
            tracemalloc.stop()
            for writer in writers:
                writer.close()


async def test_a_tls_connection_holds_no_large_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = await asyncio.to_thread(ensure_pki, tmp_path / "pki", "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pki.certificate("server"), pki.key("server"))
    client = ssl.create_default_context(cafile=str(pki.certificate("ca")))
    monkeypatch.setattr(SSLProtocol, "max_size", SSLProtocol.max_size)
    memory.prepare()
    assert await held_kib(server, client) < 250  # 128 are the two buffers; without prepare() 512
