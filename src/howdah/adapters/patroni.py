"""Commands to a member's Patroni over its REST API; the state of a cluster is read from annotations, not from here.

https://patroni.readthedocs.io/en/latest/rest_api.html. Every call has a time-out and fails as one of three errors:
`UnreachableError` (nobody answered: for a command, whether it was carried out is unknown), `DeniedError` (credentials) and
`RefusedError` (Patroni says no, with its words). Who answers is whatever runs in a pod: how much is read of it, and how much
of that is repeated, has limits.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from howdah.adapters.answers import body_of
from howdah.model.errors import UNREADABLE, ExternalError

T = TypeVar("T")
Word = Annotated[str, msgspec.Meta(max_length=100)]  # it goes into conditions

READ_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 15.0
COMMAND_TIMEOUT_S = 60.0  # switchover and restart answer when they are done
CONNECT_TIMEOUT_S = 3.0  # an address whose packets are dropped does not take a command's whole time
LONGEST_ANSWER_BYTES = 1024 * 1024
LONGEST_QUOTE = 300
"""Characters of an answer that go into errors, and so into events and the log."""
_PASSING = frozenset({409, 412, 423, 429})  # and 5xx: the same request may succeed later


class PatroniError(ExternalError):
    """A REST call that failed."""


class UnreachableError(PatroniError):
    """No (complete) answer."""


class DeniedError(PatroniError):
    """The credentials are not accepted."""


class RefusedError(PatroniError):
    """Patroni answered no; `status` is HTTP's, `message` holds Patroni's words."""

    def __init__(self, system: str, *, status: int, message: str) -> None:
        """Whether it is transient follows from `status`."""
        self.status = status
        super().__init__(system, transient=status >= 500 or status in _PASSING, message=message)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one member's Patroni is and who we are there. `url` may have a path, which does not matter.

    `tls`: how an https endpoint is verified; None encrypts only, for Patroni's certificate is mostly self-signed.
    """

    url: str
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def base(self) -> str:
        """Scheme and address."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def __repr__(self) -> str:
        """Without the password."""
        return f"Endpoint({self.base})"


class PatroniVersion(msgspec.Struct, frozen=True):
    """Of `GET /patroni`."""

    version: Word | None = None
    name: Word | None = None


class Position(msgspec.Struct, frozen=True):
    """Bytes: of a leader `location`, of a replica the others; 0 and None for none."""

    location: int | None = None
    received_location: int | None = None
    replayed_location: int | None = None

    @property
    def furthest(self) -> int | None:
        """As Patroni compares members before a switchover."""
        return max(self.location or 0, self.received_location or 0, self.replayed_location or 0) or None


class NodeStatus(msgspec.Struct, frozen=True):
    """`GET /patroni`; `server_version` is PostgreSQL's number (180004), None while it does not run."""

    state: Word = "unknown"
    role: Word = "unknown"
    server_version: int | None = None
    timeline: int | None = None
    replication_state: Word | None = None
    xlog: Position | None = None
    pending_restart: bool = False
    failsafe_mode_is_active: bool = False  # of a replica: it vouched for the leader within the ttl
    patroni: PatroniVersion = PatroniVersion()


class ClusterMember(msgspec.Struct, frozen=True):
    """One of `GET /cluster`; `lag` is bytes, or a text such as `unknown`."""

    name: Word
    role: Word = "unknown"
    state: Word = "unknown"
    timeline: int | None = None
    lag: int | Word | None = None


class ClusterStatus(msgspec.Struct, frozen=True):
    """`GET /cluster`."""

    members: tuple[ClusterMember, ...] = ()


class Patroni:
    """All members' REST APIs, over one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """The session is one of `answers.new_session()`, and stays the caller's."""
        self._session = session

    async def get_patroni(self, endpoint: Endpoint) -> NodeStatus:
        """The member's own state."""
        # A member that is not running answers 503 with the same body.
        return _decode(await self._call(endpoint, "GET", "/patroni", READ_TIMEOUT_S, also=503), NodeStatus, endpoint)

    async def get_cluster(self, endpoint: Endpoint) -> ClusterStatus:
        """All members as this one sees them."""
        return _decode(await self._call(endpoint, "GET", "/cluster", READ_TIMEOUT_S), ClusterStatus, endpoint)

    async def get_config(self, endpoint: Endpoint) -> dict[str, Any]:
        """The dynamic configuration."""
        return _decode(await self._call(endpoint, "GET", "/config", READ_TIMEOUT_S), dict[str, Any], endpoint)

    async def patch_config(self, endpoint: Endpoint, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into the dynamic configuration (None removes a key); the answer is the new one."""
        answer = await self._call(endpoint, "PATCH", "/config", WRITE_TIMEOUT_S, patch)
        return _decode(answer, dict[str, Any], endpoint)

    async def switchover(self, endpoint: Endpoint, *, leader: str, candidate: str, scheduled_at: str = "") -> str:
        """Hand over; refused (412) where `leader` does not lead. Patroni's words.

        `scheduled_at`: `YYYY-MM-DDTHH:MM+00`, or empty for now.
        """
        body = {"leader": leader, "member": candidate}  # "member" is what all versions of Patroni take
        if scheduled_at:
            body["scheduled_at"] = scheduled_at
        return _text(await self._call(endpoint, "POST", "/switchover", COMMAND_TIMEOUT_S, body))

    async def restart(self, endpoint: Endpoint, *, only_pending: bool = True) -> str:
        """Restart PostgreSQL of this member; `only_pending`: refused (503) where no restart is pending."""
        body = {"restart_pending": True} if only_pending else {}
        return _text(await self._call(endpoint, "POST", "/restart", COMMAND_TIMEOUT_S, body))

    async def _call(
        self,
        endpoint: Endpoint,
        verb: str,
        path: str,
        timeout_s: float,
        body: Mapping[str, Any] | None = None,
        *,
        also: int = 200,
    ) -> bytes:
        system = f"Patroni at {endpoint.base}"
        headers = {"Content-Type": "application/json"}
        if endpoint.username is not None and endpoint.password is not None:
            headers["Authorization"] = aiohttp.encode_basic_auth(endpoint.username, endpoint.password)
        try:
            async with self._session.request(
                verb,
                endpoint.base + path,
                data=msgspec.json.encode(body) if body is not None else None,
                headers=headers,
                ssl=endpoint.tls or False,
                timeout=_timeout(timeout_s, is_command=body is not None),
                allow_redirects=False,  # credentials go to this address only
            ) as answer:
                content = await body_of(system, answer, longest_bytes=LONGEST_ANSWER_BYTES)
        except (TimeoutError, aiohttp.ClientError, ExternalError) as error:
            message = f"{verb} {path}: {_why_unreachable(error, timeout_s)}"
            raise UnreachableError(system, transient=True, message=message) from error
        if answer.status in (401, 403):
            raise DeniedError(system, transient=False, message=f"{verb} {path}: {answer.status} {_text(content)}")
        if not (200 <= answer.status < 300 or answer.status == also):
            raise RefusedError(system, status=answer.status, message=f"{verb} {path}: {answer.status} {_text(content)}")
        return content


def _timeout(total_s: float, *, is_command: bool) -> aiohttp.ClientTimeout:
    """A command was permitted a moment ago: it waits for a connection no longer than one takes, whoever holds them all."""
    connect_s = CONNECT_TIMEOUT_S if is_command else None
    return aiohttp.ClientTimeout(total=total_s, connect=connect_s, sock_connect=CONNECT_TIMEOUT_S)


def _why_unreachable(error: Exception, timeout_s: float) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection in {CONNECT_TIMEOUT_S:g} s"
        case TimeoutError():
            return f"no answer in {timeout_s:g} s"
        case ExternalError():
            return error.message
        case _:
            return _cut(str(error))  # it may quote what was answered


def _decode(content: bytes, type_: type[T], endpoint: Endpoint) -> T:
    try:
        return msgspec.json.decode(content, type=type_)
    except UNREADABLE as error:
        message = f"answered nonsense: {_cut(str(error))}"
        raise UnreachableError(f"Patroni at {endpoint.base}", transient=True, message=message) from error


def _text(content: bytes) -> str:
    return _cut(content.decode(errors="replace").strip())


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"
