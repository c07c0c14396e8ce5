"""A statement as data: where it is run and why. Composed in `core`, sent by the adapter."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from psycopg import sql
from psycopg.sql import Composed

from howdah.model.postgres.desired import PasswordSource


class Kind(StrEnum):
    """What a statement does, in the order in which they are applied; roles of people who left come before all."""

    RENAME_ROLE = "rename role"
    CREATE_ROLE = "create role"
    ALTER_ROLE = "alter role"
    PASSWORD = "set password"  # noqa: S105  # a name, not a password
    PARAMETER = "set role parameter"
    REVOKE_ROLE = "revoke role"
    GRANT_ROLE = "grant role"
    COMMENT_ROLE = "comment role"
    HAND_OVER = "hand over what a role owns"
    END_PRIVILEGES = "end the privileges of a role"
    DROP_ROLE = "drop role"
    CREATE_DATABASE = "create database"
    DATABASE_OWNER = "change database owner"
    DATABASE_LIMIT = "limit connections of database"
    CREATE_SCHEMA = "create schema"
    SCHEMA_USAGE = "grant schema usage"
    CREATE_EXTENSION = "create extension"
    MOVE_EXTENSION = "move extension"
    DEFAULT_PRIVILEGES = "set default privileges"
    LOOKUP = "set up password lookup"  # likewise
    CREATE_PUBLICATION = "create publication"
    ALTER_PUBLICATION = "alter publication"
    DROP_PUBLICATION = "drop publication"


@dataclass(frozen=True, slots=True)
class NewPassword:
    """Whose password is to be set, and where it is."""

    role: str
    source: PasswordSource


@dataclass(frozen=True, slots=True)
class Statement:
    """One step. With `password`, the applier appends ` PASSWORD '<verifier>'` to `sql`."""

    kind: Kind
    subject: str
    """The role that it changes, or the database that it changes or works in."""
    database: str
    """Where it is run: `postgres`, or the database that it is about."""
    sql: Composed
    reason: str
    """A sentence for people: what differs."""
    password: NewPassword | None = None
    also: Composed | None = None
    """Run behind it, in one transaction with it."""
    before: Composed | None = None
    """A query whose rows are statements. Each is run on its own before this one, which has the less to do for it."""
    otherwise: str = ""
    """What a person can do where others would wait for it longer than they should, as a sentence."""
    about: str = ""
    """The database that it makes or changes, or that has to be there for it, where it is run in another one."""

    @property
    def group(self) -> str:
        """The database with which it is sent: what is run for one waits for nothing of another."""
        return self.about or self.database


def by_database(statements: Iterable[Statement]) -> tuple[tuple[str, tuple[Statement, ...]], ...]:
    """The same statements, grouped by the database that they concern: groups and their statements in the order given."""
    found: dict[str, list[Statement]] = {}
    for statement in statements:
        found.setdefault(statement.group, []).append(statement)
    return tuple((name, tuple(group)) for name, group in found.items())


MAINTENANCE_DATABASE = "postgres"


def with_verifier(statement: sql.Composed, verifier: str) -> sql.Composed:
    """The whole statement of a role's password; to be sent and forgotten."""
    return statement + sql.SQL(" PASSWORD ") + sql.Literal(verifier)


def refusing(question: sql.Composed, sentence: str) -> sql.Composed:
    """A query that fails with `sentence` where `question` has rows. DO would need a language, which a database may lack."""
    query = "SELECT CAST(CASE WHEN EXISTS ({}) THEN {} END AS pg_catalog.bool)"
    return sql.SQL(query).format(question, sql.Literal(sentence))


def refusal(message: str) -> str | None:
    """The sentence of `refusing` in what the server said; None where it said something else."""
    match = _REFUSAL.fullmatch(message)
    return match[1] if match is not None else None


_REFUSAL = re.compile(r'invalid input syntax for type boolean: "(.*)"', re.DOTALL)


_UNSAMPLED = (("log_transaction_sample_rate", "0"),)
"""Decided for a transaction when it begins, so it has to be set before."""
_QUIET = (
    ("log_statement", "none"),
    ("log_min_duration_statement", "-1"),
    ("log_min_duration_sample", "-1"),
    ("log_min_error_statement", "panic"),
    ("debug_print_parse", "off"),
    ("debug_print_rewritten", "off"),
    ("debug_print_plan", "off"),
    ("track_activities", "off"),  # pg_stat_activity, which monitoring reads
    ("pg_stat_statements.track_utility", "off"),
    ("pg_stat_monitor.pgsm_track_utility", "off"),
)
"""What keeps a statement's text out of the server's log and statistics; a superuser may set them all.

Not pgaudit: who has it wants to read of each change of a role, and it leaves the password out by itself.
"""


def unsampled() -> str:
    """A query for the session, before `quiet` and the transaction."""
    return _set(_UNSAMPLED, is_local=False)


def quiet(*, is_local: bool) -> str:
    """A query, for the transaction or the session."""
    return _set(_QUIET, is_local=is_local)


def _set(settings: Iterable[tuple[str, str]], *, is_local: bool) -> str:
    """Sets those that the server has: which ones do depends on its version and on what it has loaded."""
    rows = ", ".join(f"('{name}'::text, '{value}'::text)" for name, value in settings)
    return (
        f"SELECT pg_catalog.set_config(name, value, {str(is_local).lower()}) FROM (VALUES {rows}) s(name, value) "  # noqa: S608
        "WHERE pg_catalog.current_setting(name, true) IS NOT NULL"
    )
