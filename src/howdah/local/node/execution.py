"""Run a further command beside a container's processes: for probes, for `preStop`, and for people (`kubectl exec`).

The command sees what the container sees: namespaces or group, user, environment, folder. It dies with the container,
because it carries the same mark.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import struct
import termios
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import WSMsgType, web

from howdah.local.node.containers import Container, Program

V5 = "v5.channel.k8s.io"
PROTOCOLS = (V5, "v4.channel.k8s.io")
STDIN, STDOUT_CHANNEL, STDERR_CHANNEL, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
CHUNK_BYTES = 32768


def _command(container: Container, argv: Sequence[str], program: Program) -> list[str]:
    # Entering a mount namespace leads to its root: the folder is chosen inside.
    limit = "" if program.descriptors is None else f"ulimit -Sn {program.descriptors}; "
    inside = ["/bin/sh", "-c", f'{limit}cd "$0" && exec "$@"', program.working_folder, *argv]
    return container.fence.enter(container.run, inside)


async def spawn(container: Container, argv: Sequence[str], **streams: Any) -> Process:
    """Start the command; `streams` are stdin, stdout, stderr and preexec_fn as for a subprocess."""
    program = container.program()
    command = _command(container, argv, program)
    return await asyncio.create_subprocess_exec(
        *command, env=dict(program.env), cwd="/", start_new_session="preexec_fn" not in streams, **streams
    )


def kill(process: Process) -> None:
    """End the command and what shares its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def run(container: Container, argv: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Exit code and output. Raises TimeoutError, and then the command is dead."""
    process = await spawn(container, argv, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT)
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            kill(process)
    return process.returncode or 0, output.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """What `kubectl exec` asks for."""

    argv: tuple[str, ...]
    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


def exit_status(code: int) -> bytes:
    """The last message on the status channel."""
    if code == 0:
        return json.dumps({"metadata": {}, "status": "Success"}).encode()
    return json.dumps(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
            "code": 500,
        }
    ).encode()


async def serve(socket: web.WebSocketResponse, container: Container, asked: ExecRequest) -> None:
    """Connect a command with a websocket until the command ends or the other side goes away."""
    session = await (_with_terminal if asked.tty else _with_pipes)(container, asked)
    receiving = asyncio.create_task(_receive(socket, session))
    sending = [asyncio.create_task(_send(socket, channel, reader)) for channel, reader in session.outputs.items()]
    ended = asyncio.create_task(session.process.wait())
    try:
        await asyncio.wait({receiving, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            return
        # What a daemonised child keeps open is not waited for.
        await asyncio.wait(sending, timeout=1)
        code = session.process.returncode or 0
        status = exit_status(code if code >= 0 else 128 - code)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await socket.send_bytes(bytes([STATUS]) + status)
    finally:
        if session.process.returncode is None:
            kill(session.process)
        for task in (receiving, ended, *sending):
            task.cancel()
        session.close()


@dataclass(slots=True)
class _Session:
    process: Process
    outputs: dict[int, asyncio.StreamReader]
    terminal: int | None = None

    async def write(self, data: bytes) -> None:
        if self.terminal is not None:
            os.write(self.terminal, data)
        elif self.process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self.process.stdin.write(data)
                await self.process.stdin.drain()

    def end_of_input(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def resize(self, message: bytes) -> None:
        size = json.loads(message)
        if self.terminal is not None:
            packed = struct.pack("HHHH", size["Height"], size["Width"], 0, 0)
            fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, packed)

    def close(self) -> None:
        if self.terminal is not None:
            os.close(self.terminal)


async def _with_pipes(container: Container, asked: ExecRequest) -> _Session:
    process = await spawn(
        container, asked.argv, stdin=PIPE if asked.stdin else asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE
    )
    outputs = {}
    if asked.stdout and process.stdout:
        outputs[STDOUT_CHANNEL] = process.stdout
    if asked.stderr and process.stderr:
        outputs[STDERR_CHANNEL] = process.stderr
    return _Session(process, outputs)


async def _with_terminal(container: Container, asked: ExecRequest) -> _Session:
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = await spawn(container, asked.argv, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal)
    os.close(theirs)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    copy = os.fdopen(os.dup(ours), "rb", buffering=0)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), copy)
    return _Session(process, {STDOUT_CHANNEL: reader}, ours)


async def _send(socket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    # A terminal whose other end is closed reads as an error, which is its end.
    with contextlib.suppress(OSError, RuntimeError):
        while data := await reader.read(CHUNK_BYTES):
            await socket.send_bytes(bytes([channel]) + data)


async def _receive(socket: web.WebSocketResponse, session: _Session) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN:
            await session.write(data)
        elif channel == RESIZE:
            session.resize(data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]):
            session.end_of_input()
