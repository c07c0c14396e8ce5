"""The last words of `howdah local up`: the members, how to connect, what this machine offers, what to try next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.cli.arrival import streaming
from howdah.cli.connect import Endpoint, find_endpoint, psql_program
from howdah.cli.documents import Document
from howdah.cli.exits import Failed
from howdah.cli.operator_settings import OperatorSettings
from howdah.cli.output import coloured
from howdah.core.resolve import label_keys
from howdah.core.spilo.machine import Installation
from howdah.kube.client import Client, Object
from howdah.kube.errors import KubeError
from howdah.kube.informer import Key
from howdah.kube.resources import PODS
from howdah.local.up import Status, default_directory
from howdah.model import names

LEFT_OUT = "left out: "


async def generations(client: Client, asked: Iterable[Document], namespace: str) -> list[tuple[str, str, int]]:
    """(namespace, name, generation) of the clusters that were applied."""
    found = []
    for document in asked:
        place = document.namespace or namespace
        resource = await client.get(POSTGRESQLS, document.name, namespace=place)
        found.append((place, document.name, int(resource["metadata"].get("generation", 0))))
    return found


async def summary(
    client: Client, operator: OperatorSettings, clusters: Sequence[Key], status: Status, present: Sequence[Installation]
) -> list[str]:
    """What a person reads at the end."""
    lines = [""]
    endpoints = []
    for namespace, name in clusters:
        resource = await client.get(POSTGRESQLS, name, namespace=namespace)
        endpoint = await _endpoint(client, operator, resource)
        endpoints.append(endpoint)
        lines += [*await _members(client, operator, namespace, name), ""]
        lines += [*_how_to_connect(endpoint, status), ""]
    if endpoints:
        _write_passfile(endpoints, _passfile(status))
    lines += _machine(status, present)
    lines += [f"  {line}" for line in await _left_out(client, operator, clusters)]
    return [*lines, "", *_what_next(clusters, status)]


async def _endpoint(client: Client, operator: OperatorSettings, resource: Object) -> Endpoint:
    """The first database of the manifest, as its owner; the superuser's where that role cannot log in."""
    namespace, name = resource["metadata"]["namespace"], resource["metadata"]["name"]
    databases = sorted((resource["spec"].get("databases") or {}).items())
    for database, owner in databases[:1]:
        with suppress(Failed):
            return await find_endpoint(client, operator, namespace, name, owner, database)
    return await find_endpoint(client, operator, namespace, name, None, "postgres")


async def _members(client: Client, operator: OperatorSettings, namespace: str, name: str) -> list[str]:
    labels = names.selector_text(label_keys(operator.settings).selector(name))
    pods = (await client.list(PODS, namespace=namespace, labels=labels)).items
    replicas = await streaming(client, operator, namespace, name) or frozenset()
    lines = [coloured(name, "strong")]
    for pod in sorted(pods, key=lambda found: str(found["metadata"]["name"])):
        member = pod["metadata"]["name"]
        is_leader = (pod["metadata"].get("labels") or {}).get(operator.settings.pod_role_label) == names.LEADER_ROLE
        said = "leads, accepts writes" if is_leader else "streams" if member in replicas else "does not stream"
        lines.append(f"  {member}  {coloured(said, 'bad' if said == 'does not stream' else 'good')}")
    return lines


def _how_to_connect(endpoint: Endpoint, status: Status) -> list[str]:
    psql = shlex.join(
        [
            psql_program(endpoint.server_major),
            "-h",
            endpoint.host,
            "-p",
            str(endpoint.port),
            "-U",
            endpoint.user,
            "-d",
            endpoint.database,
        ]
    )
    who = shlex.join([endpoint.cluster, "-U", endpoint.user, "-d", endpoint.database])
    return [
        "Connect:",
        f"  PGPASSFILE={shlex.quote(str(_passfile(status)))} {psql}",
        f"  {endpoint.public_url}",
        coloured(f"  (the URL with its password: {_howdah()} url {who})", "quiet"),
    ]


def _passfile(status: Status) -> Path:
    return status.directory / "pgpass"


def _write_passfile(endpoints: Iterable[Endpoint], path: Path) -> None:
    """libpq wants it to be readable by its owner alone. It goes with the platform's folder."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{endpoint.passfile_line}\n" for endpoint in endpoints)


def _machine(status: Status, present: Sequence[Installation]) -> list[str]:
    majors = ", ".join(f"{one.major} ({one.bin_dir})" for one in present)
    return [
        "The Kubernetes API, for kubectl and howdah:",
        f"  export KUBECONFIG={shlex.quote(str(status.kubeconfig))}",
        "This machine:",
        f"  PostgreSQL {majors or 'none'}",
        f"  fencing by {status.fencing}",
    ]


async def _left_out(client: Client, operator: OperatorSettings, clusters: Sequence[Key]) -> list[str]:
    """What the instances had to leave out, as their logs say; each thing once."""
    found: dict[str, None] = {}
    for namespace, name in clusters:
        labels = names.selector_text(label_keys(operator.settings).selector(name))
        for pod in (await client.list(PODS, namespace=namespace, labels=labels)).items:
            for line in await _log(client, namespace, pod["metadata"]["name"]):
                _, mark, said = line.partition(LEFT_OUT)
                if mark:
                    found[f"{mark}{said}"] = None
    return list(found)


async def _log(client: Client, namespace: str, pod: str) -> list[str]:
    text = b""
    try:
        async with client.logs(pod, namespace=namespace, container=names.POSTGRES_CONTAINER) as chunks:
            async for chunk in chunks:
                text += chunk
    except KubeError:
        return []
    return text.decode(errors="replace").splitlines()


def _what_next(clusters: Sequence[Key], status: Status) -> list[str]:
    name = clusters[0][1] if clusters else "NAME"
    has_kubectl = shutil.which("kubectl") is not None
    pod = f"{name}-0"
    rows = [
        ("kubectl get pg", "the clusters") if has_kubectl else (f"{_howdah()} status", "the clusters"),
        (f"{_howdah()} status {name}", "members and conditions"),
        (f"{_howdah()} psql {name}", "psql as the superuser"),
        (f"{_howdah()} switchover {name}", "another member leads"),
        (f"kubectl delete pod {pod}", "take a member away, and see it come back")
        if has_kubectl
        else (f"{_howdah()} plan {name}", "what the operator would do now"),
        _removal(status),
    ]
    width = max(len(command) for command, _ in rows)
    return ["Try next:", *(f"  {command.ljust(width)}  {coloured(what, 'quiet')}" for command, what in rows)]


def _removal(status: Status) -> tuple[str, str]:
    if status.directory == default_directory("demo").resolve() and Path("Makefile").is_file():
        return "make demo-down", "remove all of it"
    is_default = status.directory == default_directory().resolve()
    where = "" if is_default else f" --dir {shlex.quote(str(status.directory))}"
    return f"{_howdah()} local down --remove{where}", "remove all of it"


def _howdah() -> str:
    """How the command was called; its path where the shell would not find it."""
    program = Path(sys.argv[0])
    found = shutil.which("howdah")
    if found is not None and Path(found).resolve() == program.resolve():
        return "howdah"
    return str(program) if program.name == "howdah" else f"{sys.executable} -m howdah.cli.main"
