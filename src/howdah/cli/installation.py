"""What an API server needs before the first manifest: the CRDs, the pods' cluster role, the operator's configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.cli.documents import Document
from howdah.cli.exits import Exit, Failed
from howdah.core.permissions import pod_role
from howdah.kube import resources as r
from howdah.kube.client import Client
from howdah.kube.errors import AlreadyExists, Invalid, NotFound
from howdah.kube.resources import Resource
from howdah.model.crds import all_crds

OPERATOR_NAMESPACE = "howdah"
CONFIGURATION = "howdah"
POD_ROLE = "postgres-pod"
FIELD_MANAGER = "howdah-cli"
ESTABLISHED_TIMEOUT_S = 15.0
_POLL_S = 0.05

LOCAL_CONFIGURATION: Mapping[str, Any] = {
    "kubernetes": {"watched_namespace": "*"},
    "load_balancer": {"enable_master_load_balancer": False},
    "postgres_pod_resources": {
        "default_cpu_request": "100m",
        "default_memory_request": "128Mi",
        "default_memory_limit": "512Mi",  # what PostgreSQL sizes its buffers from
    },
}
"""Of the operator on the local platform; everything else is the operator's default."""

_KINDS: Mapping[tuple[str, str], Resource] = {
    (resource.api_version, resource.kind): resource
    for resource in (*r.BUILT_IN, POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS)
}


async def install(client: Client) -> None:
    """Bring all of it up to date. A configuration that is there already is a person's, and stays as it is."""
    for crd in all_crds():
        await client.apply(r.CUSTOM_RESOURCE_DEFINITIONS, crd, field_manager=FIELD_MANAGER, force=True)
    await client.apply(r.CLUSTER_ROLES, pod_role(POD_ROLE), field_manager=FIELD_MANAGER, force=True)
    namespace = {"metadata": {"name": OPERATOR_NAMESPACE}}
    await client.apply(r.NAMESPACES, namespace, field_manager=FIELD_MANAGER, force=True)
    await asyncio.gather(*(_until_served(client, crd["spec"]["names"]["plural"]) for crd in all_crds()))
    configuration = {
        "apiVersion": OPERATOR_CONFIGURATIONS.api_version,
        "kind": OPERATOR_CONFIGURATIONS.kind,
        "metadata": {"name": CONFIGURATION, "namespace": OPERATOR_NAMESPACE},
        "configuration": LOCAL_CONFIGURATION,
    }
    try:
        await client.create(OPERATOR_CONFIGURATIONS, configuration)
    except AlreadyExists:
        return


async def _until_served(client: Client, plural: str) -> None:
    resource = Resource(POSTGRESQLS.group, POSTGRESQLS.version, plural, "")
    try:
        async with asyncio.timeout(ESTABLISHED_TIMEOUT_S):
            while True:
                try:
                    await client.list(resource, timeout_s=5)
                except NotFound:
                    await asyncio.sleep(_POLL_S)
                    continue
                return
    except TimeoutError:
        raise Failed(f"the API server does not serve {plural} within {ESTABLISHED_TIMEOUT_S:g} s") from None


async def apply_documents(client: Client, documents: Iterable[Document], namespace: str) -> None:
    """Server-side apply, in order. Raises Failed with what the server says of the first that it refuses."""
    for document in documents:
        resource = resource_of(document)
        placed = document.in_namespace(namespace) if resource.namespaced else document
        try:
            await client.apply(resource, placed.body, field_manager=FIELD_MANAGER, force=True)
        except Invalid as refused:
            raise Failed(f"{document.where}: {refused}", Exit.INVALID) from refused


def resource_of(document: Document) -> Resource:
    """Raises Failed for a kind that is not known here."""
    found = _KINDS.get((str(document.body["apiVersion"]), document.kind))
    if found is None:
        known = ", ".join(sorted(kind for _, kind in _KINDS))
        said = (
            f"{document.where}: {document.body['apiVersion']} {document.kind} is not known here; apply it with kubectl"
        )
        raise Failed(f"{said} (known: {known})", Exit.INVALID)
    return found
