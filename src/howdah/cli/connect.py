"""How to reach a cluster's leader: address from its service, password from the role's Secret; `url` and `psql`."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import quote

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.exits import Exit, Failed
from howdah.cli.operator_settings import OperatorSettings, find_settings
from howdah.cli.options import Connection
from howdah.cli.output import say
from howdah.core.postgres.rotation import is_dated
from howdah.core.resolve import label_keys
from howdah.instance.binaries import installations
from howdah.kube.client import Client, Object
from howdah.kube.errors import NotFound
from howdah.kube.resources import PODS, SECRETS, SERVICES
from howdah.model import names

REACHABLE_S = 2.0
EXEC_TIMEOUT_S = 600.0
PROBE_TIMEOUT_S = 5.0
CHOOSY_FROM_MAJOR = 16
"""Of a psql that can be told by which methods alone it may prove who it is (`PGREQUIREAUTH`)."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One role's way to the leader."""

    namespace: str
    cluster: str
    host: str
    port: int
    user: str
    database: str
    server_major: int
    password: str = field(repr=False)
    is_published: bool = False  # the address is a load balancer's

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the address is one of the local platform's."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def precautions(self) -> dict[str, str]:
        """What libpq asks of the server where the person says nothing else: whoever answers there may be another one.

        A server that is sent no password in clear text learns nothing, and by SCRAM an impostor cannot even let us in.
        """
        if self.is_on_this_machine:
            return {"PGREQUIREAUTH": "!password"}
        return {"PGREQUIREAUTH": "scram-sha-256", "PGSSLMODE": "require"}

    @property
    def in_its_container(self) -> tuple[str, ...]:
        """A psql beside the server, whose socket asks for no password.

        Variables as in `environment`, for psql's own words go before these: of `-d` and a name it ignores the name.
        """
        return ("env", f"PGUSER={self.user}", f"PGDATABASE={self.database}", "psql")

    @property
    def url(self) -> str:
        """With the password."""
        return self._url(f"{quote(self.user, safe='')}:{quote(self.password, safe='')}")

    @property
    def public_url(self) -> str:
        """Without the password."""
        return self._url(quote(self.user, safe=""))

    def _url(self, who: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{who}@{host}:{self.port}/{quote(self.database, safe='')}"

    @property
    def environment(self) -> dict[str, str]:
        """As libpq reads it: a password in arguments is seen by everybody on the machine."""
        return {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.database,
            "PGPASSWORD": self.password,
        }

    @property
    def passfile_line(self) -> str:
        """https://www.postgresql.org/docs/current/libpq-pgpass.html"""
        parts = (self.host, str(self.port), "*", self.user, self.password)
        return ":".join(part.replace("\\", "\\\\").replace(":", "\\:") for part in parts)


def print_url(connection: Connection, name: str, user: str | None, database: str) -> None:
    """The URL, with the password: the one command that shows it."""

    async def work(client: Client, namespace: str) -> Endpoint:
        return await find_endpoint(client, await find_settings(client), namespace, name, user, database)

    say(connection.run(work).url)


async def find_endpoint(
    client: Client, operator: OperatorSettings, namespace: str, name: str, user: str | None, database: str
) -> Endpoint:
    """Raises NotFound without such a cluster, Failed where it cannot be reached yet or has no such role."""
    resource = await client.get(POSTGRESQLS, name, namespace=namespace)
    role = user or operator.settings.super_username
    service, (login, password) = await asyncio.gather(
        _leader_service(client, namespace, name), find_login(client, operator, namespace, name, role)
    )
    return Endpoint(
        namespace=namespace,
        cluster=name,
        host=_address(service),
        port=_port(service),
        user=login,
        database=database,
        server_major=_major(resource),
        password=password,
        is_published=_published(service) is not None,
    )


def _major(resource: Object) -> int:
    """Of the servers that run, else the one that is asked for; 0 is not known."""
    running = (resource.get("status") or {}).get("postgresqlVersion")
    asked = (resource["spec"].get("postgresql") or {}).get("version")
    major = str(running or asked or "").partition(".")[0]
    return int(major) if major.isdigit() else 0


async def _leader_service(client: Client, namespace: str, name: str) -> Object:
    try:
        return await client.get(SERVICES, name, namespace=namespace)
    except NotFound:
        raise Failed(
            f"{namespace}/{name} has no service yet; `howdah explain {name}` says why", Exit.NOT_READY
        ) from None


def _address(service: Object) -> str:
    """The load balancer's where there is one, else the service's."""
    return str(_published(service) or service["spec"]["clusterIP"])


def _published(service: Object) -> str | None:
    ingress = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or [{}]
    return ingress[0].get("hostname") or ingress[0].get("ip") or None


def _port(service: Object) -> int:
    ports = service["spec"].get("ports") or ()
    named = (p["port"] for p in ports if p.get("name") == names.POSTGRES_PORT_NAME)
    return int(next(named, ports[0]["port"] if ports else names.POSTGRES_PORT))


async def find_login(
    client: Client, operator: OperatorSettings, namespace: str, name: str, role: str
) -> tuple[str, str]:
    """Login and password of the role's Secret; the login has a date where passwords are rotated.

    Raises Failed naming the roles that have a Secret.
    """
    labels = names.selector_text(label_keys(operator.settings).selector(name))
    secrets = (await client.list(SECRETS, namespace=namespace, labels=labels)).items
    found = {_text(secret, "username"): _text(secret, "password") for secret in secrets}
    of_role = names.credentials_secret(operator.settings.secret_name_template, role, name)
    rotated = (_text(secret, "username") for secret in secrets if secret["metadata"]["name"] == of_role)
    login = role if found.get(role) else next((user for user in rotated if is_dated(user, role)), role)
    if not found.get(login):
        known = ", ".join(sorted(user for user in found if user)) or "none yet"
        raise Failed(f"{namespace}/{name} has no Secret of role {role}; roles with one: {known}", Exit.NOT_FOUND)
    return login, found[login]


def _text(secret: Object, key: str) -> str:
    return base64.b64decode((secret.get("data") or {}).get(key, "")).decode()


def run_psql(connection: Connection, name: str, user: str | None, database: str, arguments: Sequence[str]) -> NoReturn:
    """Become psql where the service can be reached from here, and trusted; else run it in the leader's container."""

    async def work(client: Client, namespace: str) -> tuple[Endpoint, str | None, str]:
        operator = await find_settings(client)
        endpoint = await find_endpoint(client, operator, namespace, name, user, database)
        if (psql := direct_program(endpoint)) is not None and await is_reachable(endpoint):
            return endpoint, psql, ""
        return endpoint, None, await _leader_pod(client, operator, namespace, name)

    endpoint, psql, pod = connection.run(work)
    if psql is not None:
        said = {**endpoint.precautions, **os.environ, **endpoint.environment}
        os.execve(psql, [psql, *arguments], said)  # noqa: S606
    if sys.stdin.isatty():
        _kubectl_exec(connection, pod, (*endpoint.in_its_container, *arguments))
    sys.exit(_exec_in_pod(connection, pod, (*endpoint.in_its_container, *arguments)))


def direct_program(endpoint: Endpoint) -> str | None:
    """The psql that may be given the password for this address; None where the server's container is the way.

    The address of a service inside a cluster is nobody's here: in the network that this machine is in, it may be that of
    another host. A load balancer's is public, so psql has to insist on SCRAM there, which older ones cannot.
    """
    if endpoint.is_on_this_machine:
        return psql_program(endpoint.server_major)
    if not endpoint.is_published:
        return None
    try:
        program = psql_program(endpoint.server_major)
    except Failed:
        return None
    return program if _psql_major(program) >= CHOOSY_FROM_MAJOR else None


async def is_reachable(endpoint: Endpoint) -> bool:
    """Whether something listens at the service's address, as seen from here."""
    try:
        async with asyncio.timeout(REACHABLE_S):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _leader_pod(client: Client, operator: OperatorSettings, namespace: str, name: str) -> str:
    selector = {
        **label_keys(operator.settings).selector(name),
        operator.settings.pod_role_label: names.LEADER_ROLE,
    }
    labels = names.selector_text(selector)
    pods = (await client.list(PODS, namespace=namespace, labels=labels)).items
    if not pods:
        raise Failed(f"{namespace}/{name} has no leader now; `howdah explain {name}` says why", Exit.NOT_READY)
    return str(pods[0]["metadata"]["name"])


def psql_program(server_major: int) -> str:
    """The path of a psql that knows the server: of PATH, else of an installation of this machine.

    An older psql connects, and then fails at every backslash command that reads a catalogue which has changed.
    """
    path = os.environ.get("PATH", "")
    found = shutil.which("psql")
    if found is not None and _psql_major(found) >= server_major:
        return found
    present = installations(path)
    fitting = [one for one in present if one.major >= server_major] or list(present[-1:])
    if fitting:
        return f"{fitting[0].bin_dir}/psql"
    if found is not None:
        return found
    raise Failed("psql is not on this machine: neither in PATH nor in /usr/lib/postgresql/*/bin; install it")


def _psql_major(program: str) -> int:
    """0 where it does not say."""
    try:
        said = subprocess.run(  # noqa: S603 - of PATH
            [program, "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    numbers = re.findall(r"\d+", said)
    return int(numbers[0]) if numbers else 0


def _kubectl_exec(connection: Connection, pod: str, argv: Sequence[str]) -> NoReturn:
    """A terminal needs kubectl's."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise Failed(
            "the server is asked inside its container from here, and there is no kubectl to open a terminal by"
        )
    place = [
        *(("--kubeconfig", str(connection.kubeconfig)) if connection.kubeconfig else ()),
        *(("--context", connection.context) if connection.context else ()),
        *(("--namespace", connection.namespace) if connection.namespace else ()),
    ]
    command = [kubectl, "exec", "-it", *place, pod, "-c", names.POSTGRES_CONTAINER, "--", *argv]
    sys.exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - the person's own command


def _exec_in_pod(connection: Connection, pod: str, argv: Sequence[str]) -> int:
    given = sys.stdin.buffer.read()

    async def work(client: Client, namespace: str) -> int:
        done = await client.exec(
            pod,
            namespace=namespace,
            container=names.POSTGRES_CONTAINER,
            argv=argv,
            stdin=given,
            timeout_s=EXEC_TIMEOUT_S,
        )
        sys.stdout.buffer.write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
        return done.exit_code

    return connection.run(work)
