"""Spilo's environment contract: the variables of the database container, parsed once into a typed request.

Every wrong value is reported, all at once, each with variable, value and what is expected; values of secrets are never
said. Variables for backups and log shipping are not read here yet: `unserved` names those that are set.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from howdah.core.spilo.stores import parse_store
from howdah.model.errors import InvalidSpec, Problem

T = TypeVar("T")

SOCKET_NAME_BYTES = len("/.s.PGSQL.65535")
MAX_SOCKET_DIRECTORY_BYTES = 107 - SOCKET_NAME_BYTES  # sun_path holds 108 with its end
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}")


@dataclass(frozen=True, slots=True)
class Login:
    """A role that Patroni itself uses."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Paths:
    """Where things live. `sockets` is short enough for a Unix socket."""

    home: str
    root: str
    data: str
    run: str
    sockets: str

    @property
    def certificates(self) -> str:
        """Where the instance writes certificates and keys that it was given as text or made itself."""
        return f"{self.run}/certs"

    @property
    def patroni_yaml(self) -> str:
        """What Patroni reads."""
        return f"{self.run}/patroni.yaml"


@dataclass(frozen=True, slots=True)
class Tls:
    """Server certificate: files, or texts to be written to files; both absent: a self-signed one."""

    certificate_file: str
    key_file: str
    ca_file: str | None = None
    crl_file: str | None = None
    certificate_is_given: bool = False
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)  # path → content


@dataclass(frozen=True, slots=True)
class Request:
    """What the container's environment asks for."""

    scope: str
    name: str
    namespace: str
    pod_ip: str
    paths: Paths
    superuser: Login
    standby: Login
    tls: Tls
    store: Mapping[str, Any]  # Patroni's section for its configuration store, as {"kubernetes": {...}}
    pg_port: int = 5432
    api_port: int = 8008
    version: int | None = None
    human_role: str = "zalandos"
    pam_oauth2: str | None = None
    allow_plain_connections: bool = False
    initdb_locale: str = "en_US"
    callback: str | None = None
    restapi_address: str | None = None
    postgres_address: str | None = None
    protects_restapi: bool = False
    restapi_tls: Mapping[str, str] = field(default_factory=dict)
    configuration: Mapping[str, Any] = field(default_factory=dict)  # SPILO_CONFIGURATION
    memory_limit_bytes: int | None = None
    seed: str | None = None  # the variable that asks for another bootstrap than an empty database
    unserved: tuple[str, ...] = ()

    @property
    def shares_loopback(self) -> bool:
        """Whether the pod's address is one of many on the loopback interface: then only that one may be listened on."""
        return ipaddress.ip_address(self.pod_ip).is_loopback


class _Reader:
    """Reads variables and remembers every problem."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []

    def text(self, name: str, default: str = "") -> str:
        return self.environ.get(name) or default

    def required(self, name: str, expected: str) -> str:
        value = self.text(name)
        if not value:
            self.problems.append(Problem(name, "is not set", expected))
        return value

    def parsed(self, name: str, parse: Callable[[str], T], default: T, *, expected: str, is_secret: bool = False) -> T:
        value = self.text(name)
        if not value:
            return default
        try:
            return parse(value)
        except (ValueError, yaml.YAMLError):
            said = "its value" if is_secret else f'"{value}"'
            self.problems.append(Problem(name, f"{said} cannot be used", f"expected {expected}"))
            return default


def parse_environment(environ: Mapping[str, str]) -> Request:
    """The request; raises `InvalidSpec` with every problem, its paths being names of variables."""
    reader = _Reader(environ)
    paths = _paths(reader)
    request = Request(
        scope=reader.required("SCOPE", "set it to the cluster's name"),
        name=reader.required("HOSTNAME", "set it to the pod's name"),
        namespace=reader.text("POD_NAMESPACE", "default"),
        pod_ip=_pod_ip(reader),
        paths=paths,
        superuser=_login(reader, "SUPERUSER", "postgres", "zalando"),
        standby=_login(reader, "STANDBY", "standby", "standby"),
        tls=_tls(reader, paths),
        store=parse_store(environ, reader.problems),
        pg_port=reader.parsed("PGPORT", _port, 5432, expected="a port between 1 and 65535"),
        api_port=reader.parsed("APIPORT", _port, 8008, expected="a port between 1 and 65535"),
        version=reader.parsed("PGVERSION", _major, None, expected='a major version such as "18"'),
        human_role=reader.parsed("HUMAN_ROLE", _identifier, "zalandos", expected="a role name"),
        pam_oauth2=reader.text("PAM_OAUTH2") or None,
        allow_plain_connections=bool(reader.text("ALLOW_NOSSL")),
        initdb_locale=reader.text("INITDB_LOCALE", "en_US"),
        callback=reader.text("CALLBACK_SCRIPT") or None,
        restapi_address=reader.text("RESTAPI_CONNECT_ADDRESS") or None,
        postgres_address=reader.text("PG_CONNECT_ADDRESS") or None,
        protects_restapi=reader.parsed("HOWDAH_PATRONI_AUTH", _derived, default=False, expected="derived, or nothing"),
        restapi_tls=_restapi_tls(reader),
        configuration=_configuration(reader),
        memory_limit_bytes=reader.parsed(
            "HOWDAH_MEMORY_LIMIT_BYTES", _positive, None, expected="a positive number of bytes"
        ),
        seed=next((name for name in _SEEDS if reader.text(name)), None),
        unserved=tuple(sorted(name for name in environ if _UNSERVED.fullmatch(name) and environ[name])),
    )
    if reader.problems:
        raise InvalidSpec(reader.problems)
    return request


_SEEDS = ("CLONE_METHOD", "STANDBY_HOST", "STANDBY_WALE_S3_PREFIX", "STANDBY_WALE_GS_PREFIX", "STANDBY_METHOD")
_UNSERVED = re.compile(
    r"(WAL_(S3|GS|GCS|SWIFT)_BUCKET|WAL[EG]_(S3|GS|SWIFT|AZ|SSH)_PREFIX|LOG_S3_BUCKET|CRONTAB|PGBOUNCER_CONFIGURATION)"
)


def _paths(reader: _Reader) -> Paths:
    home = reader.text("PGHOME", "/home/postgres")
    root = reader.text("PGROOT", f"{home}/pgdata/pgroot")
    run = reader.text("RW_DIR", "/run")
    # In a container the socket folder has a fixed name that sidecars mount; elsewhere it lies in the pod's own folder.
    sockets = "/var/run/postgresql" if run == "/run" else f"{run}/postgresql"
    if len(sockets.encode()) > MAX_SOCKET_DIRECTORY_BYTES:
        limit = MAX_SOCKET_DIRECTORY_BYTES - len("/postgresql")
        reader.problems.append(
            Problem("RW_DIR", f'"{run}" is too long for a Unix socket', f"use at most {limit} bytes")
        )
    for name, value in (("PGROOT", root), ("RW_DIR", run), ("PGHOME", home)):
        if not value.startswith("/"):
            reader.problems.append(Problem(name, f'"{value}" is not an absolute path', "begin it with /"))
    return Paths(home=home, root=root, data=reader.text("PGDATA", f"{root}/data"), run=run, sockets=sockets)


def _pod_ip(reader: _Reader) -> str:
    value = reader.required("POD_IP", "set it to the pod's address")
    try:
        return str(ipaddress.ip_address(value)) if value else "0.0.0.0"  # noqa: S104  # a problem is raised before use
    except ValueError:
        reader.problems.append(Problem("POD_IP", f'"{value}" is not an IP address', "such as 10.2.3.4"))
        return "0.0.0.0"  # noqa: S104


def _login(reader: _Reader, role: str, username: str, password: str) -> Login:
    return Login(reader.text(f"PGUSER_{role}", username), reader.text(f"PGPASSWORD_{role}", password))


def _tls(reader: _Reader, paths: Paths) -> Tls:
    """Files named by `SSL_*_FILE`; a text in `SSL_*` is written to that file, or to one in the run folder."""
    texts: dict[str, str] = {}

    def file(variable: str, default: str) -> str | None:
        path = reader.text(f"{variable}_FILE")
        text = reader.text(variable)
        if text:
            path = path or f"{paths.certificates}/{default}"
            texts[path] = text
        return path or None

    certificate, key = file("SSL_CERTIFICATE", "server.crt"), file("SSL_PRIVATE_KEY", "server.key")
    if (certificate is None) != (key is None):
        given, missing = (
            ("SSL_CERTIFICATE", "SSL_PRIVATE_KEY") if certificate else ("SSL_PRIVATE_KEY", "SSL_CERTIFICATE")
        )
        problem = Problem(f"{missing}_FILE", "is not set", f"{given} needs it: set both or neither")
        reader.problems.append(problem)
    return Tls(
        certificate_file=certificate or f"{paths.certificates}/server.crt",
        key_file=key or f"{paths.certificates}/server.key",
        ca_file=file("SSL_CA", "ca.crt"),
        crl_file=file("SSL_CRL", "server.crl"),
        certificate_is_given=certificate is not None,
        texts=texts,
    )


def _restapi_tls(reader: _Reader) -> Mapping[str, str]:
    """Patroni's `restapi` keys for TLS: files only."""
    named = {
        "cafile": reader.text("SSL_RESTAPI_CA_FILE"),
        "certfile": reader.text("SSL_RESTAPI_CERTIFICATE_FILE"),
        "keyfile": reader.text("SSL_RESTAPI_PRIVATE_KEY_FILE"),
    }
    return {key: value for key, value in named.items() if value}


def _configuration(reader: _Reader) -> Mapping[str, Any]:
    name = "SPILO_CONFIGURATION" if reader.text("SPILO_CONFIGURATION") else "PATRONI_CONFIGURATION"
    return reader.parsed(name, _mapping, {}, expected="a YAML or JSON mapping", is_secret=True)


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)  # what the operator writes; a YAML parser is much slower
    except ValueError:
        value = yaml.safe_load(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return value


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65536:
        raise ValueError(text)
    return port


def _positive(text: str) -> int | None:
    value = int(text)
    if value <= 0:
        raise ValueError(text)
    return value


def _major(text: str) -> int | None:
    if re.fullmatch(r"[1-9][0-9]?", text) is None:
        raise ValueError(text)
    return int(text)


def _identifier(text: str) -> str:
    if IDENTIFIER.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _derived(text: str) -> bool:
    if text != "derived":
        raise ValueError(text)
    return True
