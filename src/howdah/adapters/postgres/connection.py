"""One session with the leader, seldom with a replica: pinned settings, bounded time, and errors that hold no secret.

Everything that waits for PostgreSQL does so inside `connect`.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.postgres.session import OUR_OWN, as_options

SYSTEM = "postgres"

Session = AsyncConnection[TupleRow]


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to speak to, and for how long at most."""

    host: str
    """The leader's address, or with `is_replica_enough` any member's."""
    user: str
    password: str = field(repr=False)
    port: int = 5432
    ca_file: str | None = None
    """PEM file of the authorities that may sign the server's certificate; None: TLS if the server has it."""
    server_name: str | None = None
    """The name in the certificate (verify-full); None: any name that the authority signed (verify-ca)."""
    sends_clear_text: bool = False
    """Whoever answers over TLS gets the password in clear text if asked for it; without TLS there is no session."""
    system_identifier: int | None = None
    """The cluster's; another one is refused."""
    is_replica_enough: bool = False
    """A server in recovery is not refused: for reading what only it knows."""
    connect_timeout_s: int = 5
    lock_timeout_s: float = 5
    statement_timeout_s: float = 30
    session_timeout_s: float = 60


class AuthenticationFailed(ExternalError):  # noqa: N818  # a state that callers act on, not only a fault
    """The server does not take this user's password: the way back is the local socket."""


class NotWritable(ExternalError):  # noqa: N818  # likewise
    """The server is not the one that should be written to: in recovery, or of another cluster."""


@asynccontextmanager
async def connect(target: Target, database: str = "postgres") -> AsyncIterator[Session]:
    """A session with the right server, closed at the end, and cut when its time is over.

    Raises ExternalError, AuthenticationFailed or NotWritable; psycopg's own errors do not come out.
    """
    session = await _opened(target, database)
    deadline = asyncio.get_running_loop().call_later(target.session_timeout_s, _cut, session)
    try:
        await _refuse_the_wrong_server(session, target)
        yield session
    except psycopg.Error as error:
        if session.broken and deadline.when() <= asyncio.get_running_loop().time():
            message = f"{where(target, database)} did not finish in {target.session_timeout_s:g} s"
            raise ExternalError(SYSTEM, transient=True, message=message) from None
        raise external(error, where(target, database)) from None
    finally:
        deadline.cancel()
        await session.close()


def _cut(session: Session) -> None:
    """Ends the connection under a waiting query; asking a frozen server to cancel would take long."""
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(session.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


async def _opened(target: Target, database: str) -> Session:
    try:
        async with asyncio.timeout(target.connect_timeout_s):
            return await AsyncConnection.connect(_conninfo(target, database), autocommit=True, prepare_threshold=None)
    except TimeoutError:
        message = f"{where(target, database)} took no connection in {target.connect_timeout_s} s"
        raise ExternalError(SYSTEM, transient=True, message=message) from None
    except psycopg.OperationalError as error:
        raise _connect_error(error, target, where(target, database)) from None


_KEEPALIVES = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""A server whose machine is gone is noticed after half a minute, also while a statement may take much longer."""


def _conninfo(target: Target, database: str) -> str:
    parameters: dict[str, Any] = {
        "dbname": database,
        "user": target.user,
        "password": target.password,
        "port": target.port,
        "application_name": "howdah",
        "connect_timeout": target.connect_timeout_s,
        "options": session_options(target),
        "client_encoding": "UTF8",
        "gssencmode": "disable",
        **_KEEPALIVES,
        **_address(target),
        **authentication(target, psycopg.pq.version()),
    }
    return make_conninfo("", **parameters)


LIBPQ_WITH_REQUIRE_AUTH = 160000
_CLEAR_TEXT = "!password"


def authentication(target: Target, libpq: int) -> dict[str, str]:
    """Without a person's word, who has not proved who it is gets no password in clear text.

    Raises ExternalError where libpq cannot refuse it.
    """
    if target.ca_file is not None or target.sends_clear_text:
        return {}
    if libpq < LIBPQ_WITH_REQUIRE_AUTH:
        message = f"libpq {libpq // 10000} cannot refuse to send a password in clear text: install psycopg[binary]"
        raise ExternalError(SYSTEM, transient=False, message=message)
    return {"require_auth": _CLEAR_TEXT}


def _address(target: Target) -> dict[str, str]:
    if target.ca_file is None:
        return {"host": target.host, "sslmode": "require" if target.sends_clear_text else "prefer"}
    if target.server_name is None:
        return {"host": target.host, "sslmode": "verify-ca", "sslrootcert": target.ca_file}
    # The name is checked against the certificate, the address is used: no DNS needed.
    return {
        "host": target.server_name,
        "hostaddr": target.host,
        "sslmode": "verify-full",
        "sslrootcert": target.ca_file,
    }


def session_options(target: Target) -> str:
    """Settings from the first moment on, as PGOPTIONS has them: stronger than those of the role, the database or the file.

    The owner of a database may set many of them for it. A name that a server of 9.6 does not know would end the session.
    """
    settings = {
        **OUR_OWN,
        "search_path": "pg_catalog",
        "synchronous_commit": "local",  # strict synchronous mode without a standby would hang for ever
        "default_transaction_read_only": "off",
        "lock_timeout": f"{target.lock_timeout_s * 1000:.0f}",
        "statement_timeout": f"{target.statement_timeout_s * 1000:.0f}",
        "wal_compression": "off",  # it saves 3 of a new database's 4 MB of WAL, and takes longer than the rest of making it
        "lc_messages": "C",
        "DateStyle": "ISO",
        "standard_conforming_strings": "on",
        "idle_in_transaction_session_timeout": "0",
    }
    return as_options(settings)


_SINCE = (("idle_session_timeout", 140000), ("transaction_timeout", 170000))
"""Likewise, as early as can be; in server_version_num."""


async def _refuse_the_wrong_server(session: Session, target: Target) -> None:
    version = session.info.server_version
    pins = [f", set_config('{name}', '0', false)" for name, since in _SINCE if version >= since]
    query = f"SELECT pg_is_in_recovery(), system_identifier{''.join(pins)} FROM pg_control_system()"  # noqa: S608 - constants
    cursor = await session.execute(query.encode())
    in_recovery, system_identifier, *_ = await cursor.fetchone() or (True, None)
    if in_recovery and not target.is_replica_enough:
        message = f"{target.host} is in recovery, so it is not the leader (any more)"
        raise NotWritable(SYSTEM, transient=True, message=message)
    if target.system_identifier not in (None, system_identifier):
        message = f"{target.host} has system identifier {system_identifier}, not {target.system_identifier}"
        raise NotWritable(SYSTEM, transient=False, message=message)


def where(target: Target, database: str) -> str:
    """The place of a session, for messages."""
    return f"{target.host}:{target.port}/{database}"


_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57", "58"})
"""Connection, conflict with another transaction, resources, shutdown and time-outs, the server's I/O."""
_TRANSIENT_STATES = frozenset({"25006", "55006", "55P03"})
"""Became read-only (demoted), object in use, lock not got."""
_REFUSED_TEXT = "password authentication failed"
_REFUSED_STATE = "28P01"


def external(error: psycopg.Error, place: str) -> ExternalError:
    """`error` as ours: the primary message only, since its other parts may quote the statement."""
    state = error.sqlstate
    message = f"{place}: {sentence(error)}"
    if state == _REFUSED_STATE:
        return AuthenticationFailed(SYSTEM, transient=False, message=message)
    if state is None:  # libpq: the connection broke
        return ExternalError(SYSTEM, transient=isinstance(error, psycopg.OperationalError), message=message)
    transient = state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES
    return ExternalError(SYSTEM, transient=transient, message=message)


def sentence(error: psycopg.Error) -> str:
    """What the server said, in one line and without the statement."""
    primary = error.diag.message_primary
    if primary is None:
        return " ".join(str(error).split())
    return f"{primary} ({error.sqlstate})"


_NO_TLS = "SSL was required"


def _connect_error(error: psycopg.OperationalError, target: Target, place: str) -> ExternalError:
    """A failed connection has no SQLSTATE: libpq tells only the text."""
    text = " ".join(str(error).split())
    if _CLEAR_TEXT in text:
        message = (
            f"{place} asks for the password in clear text, and whose server it is was not proved: nothing was sent; "
            f"have pg_hba.conf ask {target.user} for scram-sha-256 or md5, or annotate the resource with "
            f"{names.CLEAR_TEXT_PASSWORD}=true, so that it is sent over TLS to whoever answers there"
        )
        return ExternalError(SYSTEM, transient=False, message=message)
    if target.sends_clear_text and _NO_TLS in text:
        message = (
            f"{place} has no TLS, and annotation {names.CLEAR_TEXT_PASSWORD} lets nothing be sent without; remove it"
        )
        return ExternalError(SYSTEM, transient=False, message=message)
    # Refused by pg_hba, or no password at all, is no wrong password: nobody has edited a Secret.
    kind = AuthenticationFailed if _REFUSED_TEXT in text else ExternalError
    transient = kind is ExternalError and "certificate" not in text
    return kind(SYSTEM, transient=transient, message=f"{place}: {text}")
