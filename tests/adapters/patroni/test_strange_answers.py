"""Whatever runs in a pod answers as Patroni: no answer of it fills the operator's memory, its log, or a minute of its time."""

import asyncio
import contextlib
import socket
import zlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from howdah.adapters.answers import new_session
from howdah.adapters.patroni import (
    LONGEST_ANSWER_BYTES,
    LONGEST_QUOTE,
    DeniedError,
    Endpoint,
    Patroni,
    RefusedError,
    UnreachableError,
)
from steady import HANGS_S

MIB = 1024 * 1024


@pytest.fixture
async def patroni() -> AsyncIterator[Patroni]:
    async with new_session() as session:
        yield Patroni(session)


class Stranger:
    """Answers every request with the same bytes, and knows how many of them were taken."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.request = b""
        self.taken_bytes = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for part in self.parts:
                writer.write(part)
                await writer.drain()
                self.taken_bytes += len(part)
        writer.close()


@contextlib.asynccontextmanager
async def listening(stranger: Stranger) -> AsyncIterator[Endpoint]:
    server = await asyncio.start_server(stranger.answer, "127.0.0.1", 0)
    async with server:
        yield Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


async def test_an_answer_is_not_asked_for_packed_and_one_that_is_stays_so(patroni: Patroni) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join([packer.compress(b"0" * MIB) for _ in range(64)]) + packer.flush()
    stranger = Stranger(answer(bomb, headers="Content-Encoding: gzip\r\n"))
    async with listening(stranger) as endpoint:
        with pytest.raises(UnreachableError, match="packed"):
            await patroni.get_patroni(endpoint)
    assert b"Accept-Encoding: identity\r\n" in stranger.request


async def test_an_endless_answer_is_read_up_to_a_limit(patroni: Patroni) -> None:
    stranger = Stranger(b"HTTP/1.1 200 OK\r\n\r\n", *[b" " * MIB] * 64)
    async with listening(stranger) as endpoint:
        with pytest.raises(UnreachableError, match="too long"):
            await patroni.get_config(endpoint)
    assert stranger.taken_bytes < 32 * MIB  # buffers on the way take some


async def test_an_answer_up_to_the_limit_is_read(patroni: Patroni) -> None:
    body = b'{"ttl": 30}'.ljust(LONGEST_ANSWER_BYTES)
    async with listening(Stranger(answer(body))) as endpoint:
        assert await patroni.get_config(endpoint) == {"ttl": 30}


@pytest.mark.parametrize(("status", "kind"), [("412 Precondition Failed", RefusedError), ("401 Who", DeniedError)])
async def test_of_a_long_refusal_the_beginning_is_quoted(patroni: Patroni, status: str, kind: type[Exception]) -> None:
    body = b"leader name does not match " + b"x" * 100_000
    async with listening(Stranger(answer(body, status=status))) as endpoint:
        with pytest.raises(kind, match="leader name does not match") as refused:
            await patroni.switchover(endpoint, leader="a", candidate="b")
    assert len(str(refused.value)) < LONGEST_QUOTE + 100


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 10_000,
        b'{"state": "' + b"y" * 10_000 + b'"}',
        b'{"state": "\xff"}',
        b'{"timeline": ' + b"1" * 5000 + b"}",
        b'{"anything": ' + b"[" * 100_000,
        b'{"xlog": ' + b'{"a":' * 100_000,
    ],
)
async def test_nonsense_is_told_in_short(patroni: Patroni, body: bytes) -> None:
    async with listening(Stranger(answer(body))) as endpoint:
        with pytest.raises(UnreachableError, match="answered nonsense") as refused:
            await patroni.get_patroni(endpoint)
    assert len(str(refused.value)) < LONGEST_QUOTE + 100


async def test_what_is_no_http_is_told_in_short(patroni: Patroni) -> None:
    async with listening(Stranger(b"z" * 100_000 + b"\r\n\r\n")) as endpoint:
        with pytest.raises(UnreachableError) as refused:
            await patroni.get_patroni(endpoint)
    assert len(str(refused.value)) < LONGEST_QUOTE + 100


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address that takes no connection and refuses none: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield "{}:{}".format(*listener.getsockname())


async def test_an_address_that_drops_packets_does_not_take_the_time_of_a_command(
    patroni: Patroni, silent_address: str
) -> None:
    with pytest.raises(UnreachableError, match="no connection in 3 s"):
        await patroni.switchover(Endpoint(f"http://{silent_address}"), leader="a", candidate="b")


async def test_members_that_hang_keep_no_command_for_later() -> None:
    """It was permitted when it was given: where all connections are taken it fails, and is not sent when one is free."""
    asked: list[bytes] = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        await asyncio.sleep(HANGS_S)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server, new_session(connector=aiohttp.TCPConnector(limit=1)) as session:
        patroni, place = Patroni(session), Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        look = asyncio.create_task(patroni.get_patroni(place))
        while not asked:
            await asyncio.sleep(0.01)
        with pytest.raises(UnreachableError, match="no connection in 3 s"):
            await patroni.switchover(place, leader="a", candidate="b")
        with pytest.raises(UnreachableError):
            await look
        await asyncio.sleep(0.1)
        assert asked == [b"GET /patroni HTTP/1.1\r\n"]
