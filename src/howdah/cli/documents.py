"""Manifest files: every YAML document of all of them, sorted by what it is good for."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from howdah.cli.exits import Exit, Failed
from howdah.core.postgres.infrastructure import RoleSecret, name_keys
from howdah.core.request.asked import Reference, References
from howdah.core.request.roles import entries_of, role_references
from howdah.core.resolve import required_references
from howdah.kube import documents as kube_documents
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.postgres.people import Membership
from howdah.model.settings import Settings, default_settings, settings_from_configmap, settings_from_configuration
from howdah.model.teams import joined, parse_team

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file; `where` names the file and, if it has several, which one."""

    where: str
    body: Json

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def name(self) -> str:
        return str((self.body.get("metadata") or {}).get("name", ""))

    @property
    def namespace(self) -> str:
        return str((self.body.get("metadata") or {}).get("namespace") or "")

    def in_namespace(self, namespace: str) -> Document:
        """With a namespace, if it has none."""
        metadata = {"namespace": namespace, **(self.body.get("metadata") or {})}
        return Document(self.where, {**self.body, "metadata": metadata})


def read_documents(files: Iterable[Path]) -> tuple[Document, ...]:
    """All documents in order. `-` is standard input. Raises Failed for what cannot be read."""
    return tuple(document for file in files for document in _documents_of(file))


def _documents_of(file: Path) -> Iterator[Document]:
    where = "standard input" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
        found = [body for body in kube_documents.read_documents(text) if body is not None]
    except OSError as error:
        raise Failed(f"{where}: cannot be read: {error.strerror}", Exit.INVALID) from error
    except UnicodeError as error:  # also where it is read as if it were: standard input without a locale
        raise Failed(f"{where}: is not text; a manifest is YAML or JSON in UTF-8", Exit.INVALID) from error
    except yaml.YAMLError as error:
        raise Failed(f"{where}: is not YAML: {_one_line(error)}", Exit.INVALID) from error
    bodies = [item for body in found for item in _items(body)]
    for number, body in enumerate(bodies, 1):
        place = where if len(bodies) == 1 else f"{where}, document {number}"
        if not isinstance(body, dict) or not body.get("kind") or not body.get("apiVersion"):
            raise Failed(f"{place}: is no Kubernetes object; expected apiVersion, kind and metadata", Exit.INVALID)
        yield Document(place, body)


def _items(body: Any) -> list[Any]:
    is_list = isinstance(body, dict) and body.get("kind") == "List"
    return list(body.get("items") or ()) if is_list else [body]


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error)
    return f"{said} in line {mark.line + 1}" if mark is not None else " ".join(str(said).split())


def clusters(documents: Iterable[Document]) -> tuple[Document, ...]:
    """The postgresql resources."""
    return tuple(d for d in documents if d.kind == names.KIND and str(d.body["apiVersion"]).startswith(names.GROUP))


def settings_in(documents: Iterable[Document]) -> tuple[Settings, tuple[Problem, ...]]:
    """The operator's configuration among the documents, and what is odd about it; the built-in defaults without one.

    Raises InvalidSpec, and Failed where there are two.
    """
    found = [document for document in documents if _is_configuration(document)]
    if len(found) > 1:
        places = " and ".join(document.where for document in found)
        raise Failed(f"two configurations of the operator, in {places}; leave one out", Exit.INVALID)
    if not found:
        return default_settings()
    if found[0].kind == "ConfigMap":
        return settings_from_configmap(found[0].body.get("data") or {})
    return settings_from_configuration(found[0].body)


def _is_configuration(document: Document) -> bool:
    """An OperatorConfiguration, or the ConfigMap that the reference's manifests call `postgres-operator`."""
    return document.kind == "OperatorConfiguration" or (
        document.kind == "ConfigMap" and document.name == "postgres-operator"
    )


def references_in(documents: Iterable[Document], settings: Settings, cluster: Document) -> References:
    """What the documents say about the objects that `cluster` refers to."""
    everything, namespace, spec = tuple(documents), cluster.namespace, cluster.body.get("spec")
    config_maps: dict[Reference, Mapping[str, str]] = {}
    secret_keys: dict[Reference, tuple[str, ...]] = {}
    for reference in required_references(settings, namespace, spec if isinstance(spec, Mapping) else None):
        found = _referenced(everything, reference, namespace)
        if found is not None and reference.kind == "ConfigMap":
            config_maps[reference] = {key: str(value) for key, value in (found.body.get("data") or {}).items()}
        elif found is not None:
            secret_keys[reference] = tuple(sorted(_values(found)))
    role_secrets: dict[Reference, RoleSecret] = {}
    for reference in role_references(settings):
        found = _referenced(everything, reference, namespace)
        if found is not None and reference.kind == "ConfigMap":
            config_maps[reference] = {key: str(value) for key, value in (found.body.get("data") or {}).items()}
        elif found is not None:
            values = _values(found)
            shown = name_keys(entries_of(settings, reference), values)
            role_secrets[reference] = RoleSecret(frozenset(values), {key: values[key] for key in shown})
    return References(config_maps, secret_keys, role_secrets, _membership(everything))


def _values(secret: Document) -> dict[str, str]:
    """The entries of a Secret in clear; one that is no text has none."""
    clear = {key: str(value) for key, value in (secret.body.get("stringData") or {}).items()}
    encoded = {key: _decoded(str(value)) for key, value in (secret.body.get("data") or {}).items()}
    return encoded | clear


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode()
    except ValueError:
        return ""


def _membership(documents: Iterable[Document]) -> Membership:
    """What the `PostgresTeam` documents say; the teams API is not asked, which changes no object."""
    teams = [parse_team(document.body) for document in documents if document.kind == "PostgresTeam"]
    return Membership(joined(teams), is_complete=False)


def _referenced(documents: Iterable[Document], reference: Reference, namespace: str) -> Document | None:
    fitting = [d for d in documents if (d.kind, d.name) == (reference.kind, reference.name)]
    for place in reference.namespaces:
        for document in fitting:
            # A document that names no namespace is meant for where it is looked for.
            if document.namespace in ("", place or document.namespace, place or namespace):
                return document
    return None
