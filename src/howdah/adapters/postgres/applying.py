"""Statements to the server, in order, each on its own; one that the server refuses does not hold up the others."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable, QueryCanceled

from howdah.adapters.postgres.checking import Password
from howdah.adapters.postgres.connection import SYSTEM, Session, Target, connect, external, where
from howdah.model.errors import ExternalError
from howdah.model.permit import Permit
from howdah.model.postgres.desired import PasswordSource
from howdah.model.postgres.passwords import SALT_BYTES, Method, new_verifier
from howdah.model.postgres.statements import Kind, NewPassword, Statement, quiet, refusal, unsampled, with_verifier

SLOW_TIMEOUT_S = 1800.0
BRIEF_TIMEOUT_S = 1.0
TIMEOUTS_S: Mapping[Kind, float] = {
    Kind.CREATE_DATABASE: SLOW_TIMEOUT_S,  # may copy a large template
    Kind.CREATE_EXTENSION: SLOW_TIMEOUT_S,  # runs its scripts
    Kind.HAND_OVER: BRIEF_TIMEOUT_S,  # shuts every table that it has come to
    Kind.END_PRIVILEGES: BRIEF_TIMEOUT_S,  # keeps everybody from making anything
}
"""How long a statement may take, where that is not the session's to say: what takes long, and what others wait for."""
SLOW = frozenset(kind for kind, timeout_s in TIMEOUTS_S.items() if timeout_s == SLOW_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class Failure:
    """A statement that did not work, and why; a later pass tries again."""

    statement: Statement
    error: ExternalError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the statements."""

    done: tuple[Statement, ...]
    failed: tuple[Failure, ...]


async def apply(
    target: Target,
    statements: Sequence[Statement],
    passwords: Mapping[PasswordSource, Password],
    *,
    method: Method = "scram-sha-256",
    permit: Permit,
) -> Outcome:
    """Runs the statements over one connection for each database, in the order given.

    Raises ExternalError when there is no connection or it breaks; a refused statement is in the outcome. `permit` is
    asked right before each statement, and again before a transaction is committed; what it raises ends all that is left.
    """
    done: list[Statement] = []
    failed: list[Failure] = []
    for database in dict.fromkeys(statement.database for statement in statements):
        if database in _not_created(failed):
            continue
        mine = [statement for statement in statements if statement.database == database]
        async with connect(_patient(target, mine), database) as session:
            for statement in mine:
                if statement.about in _not_created(failed):
                    continue
                error = await _tried(session, statement, passwords, method, permit, where(target, database))
                if error is None:
                    done.append(statement)
                else:
                    failed.append(Failure(statement, error))
    return Outcome(tuple(done), tuple(failed))


def _patient(target: Target, statements: Sequence[Statement]) -> Target:
    """One slow statement makes a long session; how long each may take is set for itself."""
    if all(statement.kind not in SLOW for statement in statements):
        return target
    return replace(target, session_timeout_s=max(target.session_timeout_s, SLOW_TIMEOUT_S))


def _not_created(failed: Sequence[Failure]) -> frozenset[str]:
    return frozenset(failure.statement.subject for failure in failed if failure.statement.kind is Kind.CREATE_DATABASE)


async def _tried(
    session: Session,
    statement: Statement,
    passwords: Mapping[PasswordSource, Password],
    method: Method,
    permit: Permit,
    place: str,
) -> ExternalError | None:
    """None, or why the server refused; a broken connection is raised."""
    try:
        if statement.before is not None:
            await _run_each(session, statement.before, permit)
        if (timeout_s := TIMEOUTS_S.get(statement.kind)) is not None:
            await _run_within(timeout_s, session, statement, permit)
            return None
        if statement.password is None:
            await _run(session, statement.sql, statement.also, permit)
            return None
        password = passwords.get(statement.password.source)
        if password is None or not password.value:
            return _no_password(statement.password)
        verifier = await _verifier(statement.password.role, password, method)
        await _run_quietly(session, with_verifier(statement.sql, verifier), statement.also, permit)
    except psycopg.Error as error:
        if session.broken:
            raise
        return _explained(error, statement, place)
    return None


def _explained(error: psycopg.Error, statement: Statement, place: str) -> ExternalError:
    if (said := refusal(error.diag.message_primary or "")) is not None:
        return ExternalError(SYSTEM, transient=True, message=f"{place}: {said}")
    found = external(error, place)
    if statement.otherwise and isinstance(error, (LockNotAvailable, QueryCanceled)):
        found = ExternalError(SYSTEM, transient=True, message=f"{found.message}: {statement.otherwise}")
    return found


def _no_password(wanted: NewPassword) -> ExternalError:
    source = wanted.source
    message = f'no password for role "{wanted.role}": none in the Secret of "{source.user}" in {source.namespace}'
    return ExternalError(SYSTEM, transient=False, message=message)


async def _verifier(role: str, password: Password, method: Method) -> str:
    salt = secrets.token_bytes(SALT_BYTES)
    return await asyncio.to_thread(new_verifier, password.value, role, salt, method)


async def _run(session: Session, statement: sql.Composed, also: sql.Composed | None, permit: Permit) -> None:
    if also is None:  # CREATE DATABASE takes no transaction
        permit()
        await session.execute(statement)
        return
    async with session.transaction():
        permit()
        await session.execute(statement)
        await session.execute(also)
        permit()


async def _run_each(session: Session, query: sql.Composed, permit: Permit) -> None:
    """The rows of `query`, each a transaction of its own."""
    cursor = await session.execute(query)
    for (text,) in await cursor.fetchall():
        permit()
        await session.execute(text.encode())


async def _run_within(timeout_s: float, session: Session, statement: Statement, permit: Permit) -> None:
    """Set for the session: in a string of several statements each has as long, but before PostgreSQL 13 only by that."""
    await session.execute(f"SET statement_timeout = {timeout_s * 1000:.0f}".encode())
    try:
        await _run(session, statement.sql, statement.also, permit)
    finally:
        if not session.broken:
            await session.execute("RESET statement_timeout")


async def _run_quietly(session: Session, statement: sql.Composed, also: sql.Composed | None, permit: Permit) -> None:
    """In a transaction of its own that keeps the text out of the server's log and statistics."""
    await session.execute(_UNSAMPLED)
    async with session.transaction():
        await session.execute(_QUIET)
        permit()
        await session.execute(statement)
        if also is not None:
            await session.execute(also)
        permit()


_UNSAMPLED, _QUIET = unsampled().encode(), quiet(is_local=True).encode()
