"""One HTTP request to the API server, done properly: identity, bounded concurrency, time-outs, retries, errors as types.

Knows nothing of verbs' meaning; `client.py` does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from .access import Access, Proof
from .errors import ApiError, KubeError, ServerUnavailable, TooManyRequests, Unauthorized, Unreachable, api_error

Observer = Callable[[str, str, int, float], None]
"""Called after each attempt with (verb, resource, HTTP status or 0 for no answer, seconds)."""

READ_BUFFER_BYTES = 256 * 1024
RETRIES = 4
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
CONNECT_S = 5.0
"""For a connection: a name, a proxy and TLS. What was permitted before it is not sent later than that."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request; `what` names it in errors, `verb` and `resource` in metrics."""

    verb: str
    resource: str
    what: str
    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = False
    """Doing it twice is as good as once: it may be sent again after 503 or a cut connection."""
    once: bool = False
    """It is not sent again, whatever was answered: who asks looks at the world anew before that."""
    secret: bool = False
    """Errors about the content may quote a value, so the server's text is withheld."""
    permit: Callable[[], None] | None = field(default=None, repr=False)
    """Called each time right before it is sent; what it raises keeps it from being sent."""


class Transport:
    """A connection pool to one API server; belongs to the event loop that first uses it."""

    def __init__(
        self,
        access: Access,
        *,
        concurrency: int = 32,
        timeout_s: float = 30.0,
        observe: Observer | None = None,
        user_agent: str = "howdah",
    ) -> None:
        self._access = access
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._observe = observe
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; streams in use end with Unreachable."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def request(self, call: Call, *, timeout_s: float | None = None) -> bytes:
        """The body of the answer. The time-out counts everything: waiting for a slot, sending, retries."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        deadline = asyncio.get_running_loop().time() + limit_s
        try:
            async with asyncio.timeout_at(deadline):
                return await self._with_retries(call, deadline)
        except TimeoutError:
            raise Unreachable(f"{call.what}: no answer within {limit_s:g} s") from None

    async def _with_retries(self, call: Call, deadline: float) -> bytes:
        for attempt in range(RETRIES + 1):
            try:
                async with self._slots:
                    return await self._once(call)
            except KubeError as error:
                delay_s = retry_delay_s(error, call, attempt)
                if delay_s is None or asyncio.get_running_loop().time() + delay_s >= deadline:
                    raise
            await asyncio.sleep(delay_s)
        raise AssertionError("retry_delay_s ends the retries")

    async def _once(self, call: Call) -> bytes:
        started, status = time.perf_counter(), 0
        try:
            async with self._open(call) as response:
                body = await response.read()
                status = response.status
            if status >= 300:
                raise _refusal(call, response, body)
            return body
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(call, error) from None
        finally:
            if self._observe:
                self._observe(call.verb, call.resource, status, time.perf_counter() - started)

    @asynccontextmanager
    async def stream(
        self, call: Call, *, idle_s: float | None, connect_s: float | None = None
    ) -> AsyncIterator[aiohttp.StreamReader]:
        """The answer as a stream that takes no slot. `idle_s` without a byte ends it with Unreachable; None never does."""
        started, status = time.perf_counter(), 0
        try:
            async with asyncio.timeout(connect_s or self._timeout_s) as opening, self._open(call, idle_s) as response:
                status = response.status
                if status >= 300:
                    raise _refusal(call, response, await response.read())
                opening.reschedule(None)
                if self._observe:
                    self._observe(call.verb, call.resource, status, time.perf_counter() - started)
                yield response.content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if status and not isinstance(error, aiohttp.ClientError):
                raise  # it comes from the reader of the stream, not from us
            if self._observe and not status:
                self._observe(call.verb, call.resource, 0, time.perf_counter() - started)
            raise _unreachable(call, error) from None

    @asynccontextmanager
    async def websocket(self, call: Call, protocols: tuple[str, ...]) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A websocket on the call's path."""
        proof = await self._permitted_proof(call)
        try:
            async with self._live_session().ws_connect(
                self._url(call),
                protocols=protocols,
                headers=_headers(call, proof.token),
                ssl=proof.tls or True,
                server_hostname=self._access.server_name,
                max_msg_size=0,
                heartbeat=20.0,
            ) as socket:
                yield socket
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                self._access.credentials.reject()
            raise api_error(call.what, error.status, _phrase(error.status).encode()) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(call, error) from None

    @asynccontextmanager
    async def _open(self, call: Call, idle_s: float | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        proof = await self._permitted_proof(call)
        async with self._live_session().request(
            call.method,
            self._url(call),
            data=call.body,
            headers=_headers(call, proof.token),
            ssl=proof.tls or True,
            server_hostname=self._access.server_name,
            allow_redirects=False,  # a redirect would carry the token elsewhere
            timeout=_timeout(idle_s),
        ) as response:
            if response.status == 401:
                self._access.credentials.reject()
            yield response

    async def _permitted_proof(self, call: Call) -> Proof:
        """Who we are; and after all that may take long (a slot, a busy server, a program's credential) the permit is asked."""
        proof = await self._access.credentials.proof()
        if call.permit is not None:
            call.permit()
        return proof

    def _url(self, call: Call) -> URL:
        query = f"?{urlencode(call.params)}" if call.params else ""
        return URL(f"{self._access.server}{call.path}{query}", encoded=True)

    def _live_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),  # the slots are the limit
                read_bufsize=READ_BUFFER_BYTES,
                headers=(("Accept-Encoding", "identity"), ("User-Agent", self._user_agent), *self._access.headers),
                proxy=self._access.proxy,
                timeout=_timeout(),  # of a websocket, which has no other word for its connection
                auto_decompress=False,
            )
            # aiohttp would send GET, PUT and DELETE again by itself when a kept connection breaks: past `permit`, `once` and
            # `repeatable`, and an exec (a GET) would run its command twice. It has no public switch for that.
            self._session._retry_connection = False
        return self._session


def _timeout(idle_s: float | None = None) -> aiohttp.ClientTimeout:
    """`connect` counts all that a connection takes; `sock_connect` would count neither the name nor a proxy's answer."""
    return aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=idle_s)


def retry_delay_s(error: KubeError, call: Call, attempt: int) -> float | None:
    """How long to wait before the call is sent again; None: it is not.

    429 means that nothing was done, so any call may come again, and so does the first 401 (the credential was read anew).
    503 and a cut connection leave that open, so only repeatable calls do. A call that is made `once` never does.
    """
    if call.once or attempt >= RETRIES:
        return None
    if isinstance(error, Unauthorized):
        return 0.0 if attempt == 0 else None
    if isinstance(error, Unreachable):
        return 0.0 if call.repeatable and attempt == 0 else None
    again = isinstance(error, TooManyRequests) or (
        isinstance(error, ServerUnavailable) and error.status == 503 and call.repeatable
    )
    if not again:
        return None
    backoff_s: float = min(FIRST_DELAY_S * 2.0**attempt, LONGEST_DELAY_S) * random.uniform(0.5, 1.0)
    return max(backoff_s, error.retry_after_s or 0.0) if isinstance(error, ApiError) else backoff_s


def _headers(call: Call, token: str) -> dict[str, str]:
    return {**call.headers, "Authorization": f"Bearer {token}"} if token else dict(call.headers)


def _refusal(call: Call, response: aiohttp.ClientResponse, body: bytes) -> ApiError:
    after = response.headers.get("Retry-After", "")
    return api_error(
        call.what,
        response.status,
        body,
        retry_after_s=float(after) if after.isdigit() else None,
        withhold=call.secret,
    )


def _phrase(status: int) -> str:
    """What a status means; the body of a refused handshake is not kept."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "the server refuses a websocket"


def _unreachable(call: Call, error: Exception) -> Unreachable:
    # These errors know host, port and the operating system's reason; none of them holds headers.
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own text has the proxy's URL, with the password
        return Unreachable(f"{call.what}: the proxy answers {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return Unreachable(f"{call.what}: cannot connect to the proxy {error.host}:{error.port}: {error.os_error}")
    if isinstance(error, aiohttp.ConnectionTimeoutError):  # its own text has the URL, with a command's arguments
        return Unreachable(f"{call.what}: no connection within {CONNECT_S:g} s")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unreachable(f"{call.what}: cannot connect to {error.host}:{error.port}: {error.os_error}")
    return Unreachable(f"{call.what}: {error or type(error).__name__}")
