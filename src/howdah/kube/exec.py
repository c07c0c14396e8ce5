"""Run a command in a container over a websocket, and collect what it says and how it ended.

Protocols v5 and v4 of https://kubernetes.io/docs/reference/using-api/ (`channel.k8s.io`): each binary message starts with
the number of its channel. Not here: terminals, port forwarding, attach.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec

from .errors import UNREADABLE, ApiError, KubeError, Unreachable, api_error
from .resources import PODS
from .transport import Call, Transport

V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, CLOSE = 0, 1, 2, 3, 255
STDIN_CHUNK_BYTES = 32 * 1024
MOST_OUTPUT_BYTES = 16 * 1024 * 1024


class ExecError(KubeError):
    """The command could not be run, or its end is unknown; an exit code other than 0 is no error."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended."""

    exit_code: int
    stdout: bytes
    stderr: bytes


async def run_in_pod(
    transport: Transport,
    pod: str,
    namespace: str,
    container: str,
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout_s: float = 60.0,
    permit: Callable[[], None] | None = None,
) -> ExecResult:
    """Run `argv` and wait for its end. Raises ExecError, Unreachable, NotFound and the like, and what `permit` raises.

    The command is not stopped by a time-out: Kubernetes has no way to. `stdin` is closed after its last byte where the
    server speaks v5 (1.30 and later); with v4 the end of the input cannot be told, so a command that reads to the end hangs.
    """
    what = f"exec pods {namespace}/{pod} {argv[0]}"  # further arguments may hold a secret
    path, params = PODS.path(namespace, pod, "exec"), _params(container, argv, stdin)
    call = Call("exec", "pods/exec", what, "GET", path, params, permit=permit)
    try:
        async with asyncio.timeout(timeout_s), transport.websocket(call, (V5, V4)) as socket:
            # At the same time: a command that answers while it reads would else wait for us, and we for it.
            sending = asyncio.create_task(_send_input(socket, stdin))
            try:
                return await _collect(socket, what)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)  # a command need not read all of its input
    except TimeoutError:
        raise Unreachable(f"{what}: not ended within {timeout_s:g} s") from None
    except (ConnectionError, aiohttp.ClientConnectionError) as error:
        raise Unreachable(f"{what}: {error or type(error).__name__}") from None


def _params(container: str, argv: Sequence[str], stdin: bytes | None) -> tuple[tuple[str, str], ...]:
    return (
        ("container", container),
        *(("command", argument) for argument in argv),
        *((("stdin", "true"),) if stdin is not None else ()),
        ("stdout", "true"),
        ("stderr", "true"),
    )


async def _send_input(socket: aiohttp.ClientWebSocketResponse, stdin: bytes | None) -> None:
    if stdin is None:
        return
    for start in range(0, len(stdin), STDIN_CHUNK_BYTES):
        await socket.send_bytes(bytes([STDIN]) + stdin[start : start + STDIN_CHUNK_BYTES])
    if socket.protocol == V5:
        await socket.send_bytes(bytes([CLOSE, STDIN]))


async def _collect(socket: aiohttp.ClientWebSocketResponse, what: str) -> ExecResult:
    output: dict[int, bytearray] = {STDOUT: bytearray(), STDERR: bytearray(), STATUS: bytearray()}
    async for channel, data in _frames(socket):
        if channel in output:
            output[channel] += data
        if sum(map(len, output.values())) > MOST_OUTPUT_BYTES:
            raise ExecError(f"{what}: more than {MOST_OUTPUT_BYTES} bytes of output; redirect it into a file")
    if not output[STATUS]:
        raise Unreachable(f"{what}: the connection ended before the command; its end is unknown")
    code = exit_code(bytes(output[STATUS]), what)
    return ExecResult(code, bytes(output[STDOUT]), bytes(output[STDERR]))


async def _frames(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[tuple[int, bytes]]:
    async for message in socket:
        if message.type is aiohttp.WSMsgType.BINARY and message.data:
            yield message.data[0], message.data[1:]


class _Cause(msgspec.Struct):
    reason: str | None = None
    message: str | None = None


class _Details(msgspec.Struct):
    causes: list[_Cause] | None = None


class _Status(msgspec.Struct):
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    code: int | None = None
    details: _Details | None = None


def exit_code(status: bytes, what: str) -> int:
    """The exit code in the status channel's last word; raises ExecError or ApiError where the command never ran."""
    try:
        said: Any = msgspec.json.decode(status, type=_Status)
    except UNREADABLE:
        raise ExecError(f"{what}: the server's status is not JSON") from None
    if said.status == "Success":
        return 0
    causes = said.details.causes if said.details and said.details.causes else []
    for cause in causes:
        if cause.reason == "ExitCode" and (cause.message or "").isdigit():
            return int(cause.message)
    if said.code and said.code != 500:
        refusal: ApiError = api_error(what, said.code, status)
        raise refusal
    raise ExecError(f"{what}: {said.message or said.reason or 'failed'}")
