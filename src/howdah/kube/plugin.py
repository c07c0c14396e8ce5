"""A credential printed by a program that a kubeconfig names (`aws eks get-token` and the like), kept until it expires.

Format: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from .access import Proof
from .errors import UNREADABLE, CredentialError
from .tls import KeptContext, Tls, word

TIMEOUT_S, LOGIN_TIMEOUT_S = 30.0, 300.0
"""For a program; for one beside which a person sits, who may have to log in."""
EARLY_S, EARLY_PART = 60.0, 0.1
"""A credential is renewed so long before it expires, or by this part of its life, whichever is less."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 15.0
"""Between runs of a program that fails, or whose credentials are of no use."""
SOON_S = 60.0
"""A credential that is refused so soon was of no use."""
_READ_MOST, _SAID_MOST = 2000, 200
_SECRET = re.compile(r"(?=\S*\d)(?=\S*[a-z])(?=\S*[A-Z])[\w+/=.~-]{24,}|[0-9a-fA-F]{32,}")
"""What looks like a key or a token, and like no address or path."""
_SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Program:
    """`users[].user.exec`, checked; `where` names file and entry."""

    where: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = "client.authentication.k8s.io/v1"
    needs_terminal: bool = False
    """It cannot do without a person (`interactiveMode: Always`)."""
    takes_terminal: bool = True
    """It is given the terminal where there is one."""
    hint: str = "check it"
    cluster: Mapping[str, Any] | None = None
    """What it is told of the server, if it asks."""


@dataclass(frozen=True, slots=True)
class _Printed:
    """What a program printed; `expires` is wall-clock time, infinite where it says none: until the server answers 401."""

    token: str = field(repr=False)
    certificate: bytes
    key: bytes = field(repr=False)
    expires: float


@dataclass(frozen=True, slots=True)
class _Held:
    proof: Proof
    renewed_from: float
    expires: float


class PluginCredentials:
    """One run of the program at a time serves every call; none waits for it while the credential before is valid.

    A program that fails, or whose credential is refused or over, is run again at once, and then after growing pauses.
    """

    def __init__(self, tls: Tls, program: Program) -> None:
        self._tls, self._program = tls, program
        self._context = KeptContext()
        self._running = threading.Lock()
        self._held: _Held | None = None
        self._failure = ""
        self._rejected = False
        self._pause_s, self._ran = 0.0, float("-inf")

    async def proof(self) -> Proof:
        held = self._held
        if held is not None and not self._is_due(held):
            return held.proof
        return await asyncio.to_thread(self._fresh)

    def reject(self) -> None:
        self._rejected = True

    def _is_due(self, held: _Held) -> bool:
        return self._rejected or time.time() >= held.renewed_from

    def _fresh(self) -> Proof:
        held = self._held
        if not self._running.acquire(blocking=held is None or self._rejected or time.time() >= held.expires):
            assert held is not None
            return held.proof
        try:
            if (self._held is None or self._is_due(self._held)) and time.monotonic() >= self._ran + self._pause_s:
                self._renew()
            return self._best()
        finally:
            self._running.release()

    def _best(self) -> Proof:
        """The newest, also where it is over by our clock: the server's counts. Raises why there is none of use."""
        held = self._held
        if held is not None and not (self._failure and (self._rejected or time.time() >= held.expires)):
            return held.proof
        raise CredentialError(self._failure)

    def _renew(self) -> None:
        began, is_refused = time.monotonic(), self._rejected
        try:
            self._held, self._failure, self._rejected = self._run(), "", False
        except CredentialError as error:
            self._failure = str(error)
        is_useless = (
            self._failure
            or (is_refused and began - self._ran < SOON_S)
            or (self._held is not None and self._held.renewed_from < time.time() + FIRST_PAUSE_S)
        )
        self._pause_s = min(max(FIRST_PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S) if is_useless else 0.0
        self._ran = time.monotonic()

    def _run(self) -> _Held:
        printed = _printed(self._program, _output(self._program))
        tls = self._tls
        if printed.certificate:
            tls = replace(tls, certificate=printed.certificate, key=printed.key, certificate_file=None, key_file=None)
        left_s = printed.expires - time.time()
        early_s = min(EARLY_S, EARLY_PART * left_s) if left_s > 0 else 0.0
        return _Held(Proof(printed.token, self._context.of(tls)), printed.expires - early_s, printed.expires)


def _output(program: Program) -> bytes:
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    if program.needs_terminal and not has_terminal:
        raise CredentialError(f"{program.where}: interactiveMode is Always, and there is no terminal to log in at")
    is_interactive = has_terminal and program.takes_terminal
    spec = {"interactive": is_interactive, **({"cluster": program.cluster} if program.cluster else {})}
    info = msgspec.json.encode({"apiVersion": program.api_version, "kind": "ExecCredential", "spec": spec}).decode()
    said = f"{program.where}: credential plugin {program.command!r}"
    try:
        ended = subprocess.run(  # noqa: S603 - the user's own kubeconfig names the program
            [program.command, *program.arguments],
            env={**os.environ, **program.environment, "KUBERNETES_EXEC_INFO": info},
            stdin=None if is_interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if is_interactive else subprocess.PIPE,
            timeout=LOGIN_TIMEOUT_S if is_interactive else TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CredentialError(f"{said} took too long{_last_words(program, error.stderr)}; {program.hint}") from None
    except (OSError, ValueError):  # not there, not to be run, or a NUL in an argument
        raise CredentialError(f"{said} cannot be started; {program.hint}") from None
    if ended.returncode:
        raise CredentialError(f"{said} ended with exit code {ended.returncode}{_last_words(program, ended.stderr)}")
    return ended.stdout


def _last_words(program: Program, stderr: bytes | None) -> str:
    """The last line of what it complained about, mostly what to do; without anything that looks like a credential."""
    lines = (stderr or b"").decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    shown = "".join(letter if letter.isprintable() else " " for letter in last[:_READ_MOST]).strip()
    for value in program.environment.values():
        if len(value) >= _SHORTEST_SECRET:
            shown = shown.replace(value, "…")
    shown = _SECRET.sub("…", shown)
    return f": {shown[:_SAID_MOST]}" if shown else ""


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: str | None = None


class _ExecCredential(msgspec.Struct):
    status: _Status


def _printed(program: Program, output: bytes) -> _Printed:
    said = f"{program.where}: credential plugin {program.command!r}"
    try:
        status = msgspec.json.decode(output, type=_ExecCredential).status
    except UNREADABLE:
        status = _Status()
    if not status.token and not status.client_certificate_data:
        raise CredentialError(f"{said} did not print an ExecCredential with token or certificate")
    return _Printed(
        token=word((status.token or "").encode(), f"the token of {said}"),
        certificate=(status.client_certificate_data or "").encode(),
        key=(status.client_key_data or "").encode(),
        expires=_timestamp(status.expiration_timestamp, said),
    )


def _timestamp(text: str | None, said: str) -> float:
    if not text:
        return float("inf")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise CredentialError(f"{said} printed an expirationTimestamp that is no time, such as 2026-01-31T12:00:00Z")
    return moment.timestamp()
