"""The environment of a pooler's container, which is the contract of its image, and `pgbouncer.ini` made from it.

Roles log in with their own passwords: PgBouncer asks the database for their verifiers (`auth_query`) as its own role.
CONNECTION_POOLER_MIN_SIZE is not used, as in the reference's image: it would keep connections open that nobody needs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from psycopg import sql

from howdah.model.errors import InvalidSpec, Problem

Tls = Literal["require", "prefer"]
Version = tuple[int, int]

FIRST_WITH_AUTH_DATABASE: Version = (1, 19)
FIRST_WITH_PREPARED_STATEMENTS: Version = (1, 21)
PREPARED_STATEMENTS = 200
LOGIN_RETRY_S = 1
"""PgBouncer waits 15 s after a login that failed, as during each switchover."""

_MODES = ("session", "transaction", "statement")
_NUMBERS: Mapping[str, int] = {
    "PGPORT": 5432,
    "CONNECTION_POOLER_PORT": 5432,
    "CONNECTION_POOLER_DEFAULT_SIZE": 20,
    "CONNECTION_POOLER_RESERVE_SIZE": 0,
    "CONNECTION_POOLER_MAX_CLIENT_CONN": 10000,
    "CONNECTION_POOLER_MAX_DB_CONN": 0,
}
"""Variables with a number, and what holds where one is not set."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What the container is asked for. `tls`: whether both sides must use it, or do where the other side can."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    schema: str
    listen_port: int
    mode: str
    pool_size: int
    reserve_size: int
    max_clients: int
    max_connections: int
    stats_users: tuple[str, ...]
    certificate: str | None
    key: str | None
    authority: str | None
    tls: Tls


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it runs: `host` is the database's as it can be reached from here, `folder` holds the files made here."""

    version: Version
    listen_address: str
    folder: str
    host: str
    certificate: str
    key: str


def parse(variables: Mapping[str, str]) -> Environment:
    """Raises InvalidSpec with every wrong variable."""
    problems: list[Problem] = []
    text = {name: _required(name, variables, problems) for name in ("PGHOST", "PGUSER", "PGPASSWORD", "PGSCHEMA")}
    number = {name: _number(name, variables, problems) for name in _NUMBERS}
    mode = _word("CONNECTION_POOLER_MODE", variables, _MODES, "transaction", problems)
    certificate = variables.get("CONNECTION_POOLER_CLIENT_TLS_CRT")
    key = variables.get("CONNECTION_POOLER_CLIENT_TLS_KEY")
    if bool(certificate) != bool(key):
        problems.append(Problem("CONNECTION_POOLER_CLIENT_TLS_KEY", "certificate and key go together", "set both"))
    tls = _word("HOWDAH_POOLER_TLS", variables, get_args(Tls), "require", problems)
    if problems:
        raise InvalidSpec(problems)
    return Environment(
        host=text["PGHOST"],
        port=number["PGPORT"],
        user=text["PGUSER"],
        password=text["PGPASSWORD"],
        schema=text["PGSCHEMA"].lower(),  # PostgreSQL's rule for a name without quotes
        listen_port=number["CONNECTION_POOLER_PORT"],
        mode=mode,
        # A pool without connections would let its clients wait for ever.
        pool_size=max(1, number["CONNECTION_POOLER_DEFAULT_SIZE"]),
        reserve_size=number["CONNECTION_POOLER_RESERVE_SIZE"],
        max_clients=number["CONNECTION_POOLER_MAX_CLIENT_CONN"],
        max_connections=number["CONNECTION_POOLER_MAX_DB_CONN"],
        stats_users=tuple(filter(None, (variables.get("INFRASTRUCTURE_ROLES") or "").split(","))),
        certificate=certificate or None,
        key=key or None,
        authority=variables.get("CONNECTION_POOLER_CLIENT_CA_FILE") or None,
        tls="prefer" if tls == "prefer" else "require",
    )


def _required(name: str, variables: Mapping[str, str], problems: list[Problem]) -> str:
    value = variables.get(name, "")
    if not value:
        problems.append(Problem(name, "is not set", "set it"))
    elif "\n" in value:
        problems.append(Problem(name, "has a line break, which PgBouncer's files cannot hold", "change it"))
    return value


def _number(name: str, variables: Mapping[str, str], problems: list[Problem]) -> int:
    value = variables.get(name) or str(_NUMBERS[name])
    if not (value.isascii() and value.isdigit()):
        problems.append(Problem(name, f'"{value}" is not a number', f"write one, such as {_NUMBERS[name]}"))
        return 0
    return int(value)


def _word(
    name: str, variables: Mapping[str, str], known: tuple[str, ...], otherwise: str, problems: list[Problem]
) -> str:
    value = variables.get(name) or otherwise
    if value not in known:
        problems.append(Problem(name, f'"{value}" is not known', f"write one of {', '.join(known)}"))
    return value


def configuration(asked: Environment, machine: Machine) -> str:
    """`pgbouncer.ini`; the passwords are in the list of users beside it."""
    lines = ["[databases]", f"* = {_connection(asked, machine)}", "", "[pgbouncer]"]
    return "\n".join((*lines, *(f"{name} = {value}" for name, value in _options(asked, machine)), ""))


def _connection(asked: Environment, machine: Machine) -> str:
    parts = {"host": machine.host, "port": str(asked.port), "auth_user": asked.user}
    return " ".join(f"{name}='{value.replace(chr(39), chr(39) * 2)}'" for name, value in parts.items())


def _options(asked: Environment, machine: Machine) -> Iterator[tuple[str, object]]:
    lookup = sql.Identifier(asked.schema, "user_lookup").as_string(None)
    yield "listen_addr", machine.listen_address
    yield "listen_port", asked.listen_port
    yield "unix_socket_dir", machine.folder
    yield "auth_type", "md5"  # and SCRAM, where the verifier is one
    yield "auth_file", f"{machine.folder}/users"
    # A function that finds nobody answers with one empty row.
    yield "auth_query", f"SELECT uname, phash FROM {lookup}($1) WHERE uname IS NOT NULL"  # noqa: S608  # quoted
    if machine.version >= FIRST_WITH_AUTH_DATABASE:
        yield "auth_dbname", "postgres"
    yield "admin_users", asked.user
    yield "stats_users", ",".join(asked.stats_users)
    yield "pool_mode", asked.mode
    yield "default_pool_size", asked.pool_size
    yield "reserve_pool_size", asked.reserve_size
    yield "max_client_conn", asked.max_clients
    yield "max_db_connections", asked.max_connections
    if machine.version >= FIRST_WITH_PREPARED_STATEMENTS:
        yield "max_prepared_statements", PREPARED_STATEMENTS
    yield "ignore_startup_parameters", "extra_float_digits,options"
    yield "server_login_retry", LOGIN_RETRY_S
    yield "server_tls_sslmode", asked.tls
    # Who gives a certificate wants it used.
    yield "client_tls_sslmode", "require" if asked.certificate else asked.tls
    yield "client_tls_cert_file", asked.certificate or machine.certificate
    yield "client_tls_key_file", asked.key or machine.key
    if asked.authority:
        yield "client_tls_ca_file", asked.authority
    yield "log_stats", 0
