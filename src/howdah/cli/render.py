"""`howdah crds` and `howdah render`: the objects that would be made, as documents; nothing is asked or changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from howdah.cli.documents import Document, clusters, read_documents, references_in, settings_in
from howdah.cli.exits import Exit, Failed
from howdah.cli.options import Connection
from howdah.cli.output import JSON, YAML, check_format, print_documents, print_problems, say
from howdah.core.objects.build import build
from howdah.core.objects.secrets import secret
from howdah.core.request.asked import References
from howdah.core.resolve import UnresolvedSpec, resolve
from howdah.kube.client import Client
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.crds import all_crds
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.settings import Settings

FORMATS = (YAML, JSON)
MADE_AT_CREATION = "<made at creation, random>"
MADE_FROM_OTHERS = "<made from the Secrets of its roles>"
TAKEN_FROM_MANIFEST = "<taken from the manifest or the configuration>"


def print_crds(output: str, categories: Sequence[str]) -> None:
    """As `kubectl apply -f -` reads them."""
    check_format(output, FORMATS)
    print_documents(all_crds(categories), output)


def apply_crds(connection: Connection, categories: Sequence[str]) -> None:
    """Server-side apply as the operator does at its start, so that both own the same fields."""

    async def work(client: Client, namespace: str) -> None:
        del namespace
        for crd in all_crds(categories):
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, force=True)
            say(f"{crd['metadata']['name']} is up to date")

    connection.run(work)


def print_objects(files: Sequence[Path], namespace: str | None, output: str) -> None:
    """Raises Failed (2) after every problem of every manifest was printed."""
    check_format(output, FORMATS)
    documents = read_documents(files)
    asked = clusters(documents)
    if not asked:
        raise Failed("no postgresql resource in the files given", Exit.INVALID)
    settings = _settings(documents)
    rendered: list[Mapping[str, Any]] = []
    faults = 0
    for document in asked:
        placed = document.in_namespace(namespace or "default")
        try:
            rendered += objects(resolved(placed, documents, settings))
        except InvalidSpec as invalid:
            print_problems(invalid.problems, where=document.where)
            faults += len(invalid.problems)
    if faults:
        raise Failed(f"{faults} problem{'s' if faults > 1 else ''}; nothing is rendered", Exit.INVALID)
    print_documents(rendered, output)


def _settings(documents: Iterable[Document]) -> Settings:
    try:
        settings, odd = settings_in(documents)
    except InvalidSpec as invalid:
        print_problems(invalid.problems, where="operator configuration")
        raise Failed("the operator's configuration is not valid", Exit.INVALID) from invalid
    _warn("operator configuration", odd)
    return settings


def resolved(document: Document, documents: Iterable[Document], settings: Settings) -> Cluster:
    """With marked placeholders for what the documents do not hold. Raises InvalidSpec; warnings go to stderr."""
    references = references_in(documents, settings, document)
    try:
        cluster = resolve(document.body, settings, references)
    except UnresolvedSpec as unresolved:
        if not unresolved.is_otherwise_valid:
            raise
        cluster = _with_placeholders(document, settings, references, unresolved)
    _warn(document.where, cluster.warnings)
    return cluster


def _with_placeholders(
    document: Document, settings: Settings, references: References, unresolved: UnresolvedSpec
) -> Cluster:
    missing = (
        Problem(str(reference), "is not among the files", "a marked placeholder stands for it")
        for reference in unresolved.missing
    )
    _warn(document.where, missing)
    return resolve(document.body, settings, references.with_placeholders(unresolved.missing))


def _warn(where: str, problems: Iterable[Problem]) -> None:
    print_problems(problems, where=f"warning: {where}")


def objects(cluster: Cluster) -> list[Mapping[str, Any]]:
    """Everything that is made for a cluster, Secrets first; no value of a Secret is in it."""
    made: list[Mapping[str, Any]] = []
    for request in cluster.secrets:
        body = secret(request)
        password = MADE_AT_CREATION if request.origin is None else f"<that of {request.origin}>"
        values = {"username": request.username, "password": password}
        made.append({**body, "stringData": values})
    made += _environment_secret(cluster)
    for pooler in cluster.poolers:
        made.append({**secret(pooler.user_list), "stringData": {names.USER_LIST_KEY: MADE_FROM_OTHERS}})
    return [*made, *build(cluster)]


def _environment_secret(cluster: Cluster) -> list[Mapping[str, Any]]:
    wanted = cluster.environment_secret
    if wanted is None:
        return []
    body = secret(wanted)
    return [{**body, "stringData": dict.fromkeys(sorted(wanted.values), TAKEN_FROM_MANIFEST)}]
