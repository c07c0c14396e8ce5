"""Which configuration the operator of this API server has: names and labels of a cluster depend on it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS
from howdah.cli.exits import Exit, Failed
from howdah.controller import configuration
from howdah.controller.configuration import Source
from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, NotFound
from howdah.kube.resources import CONFIGMAPS, Resource
from howdah.model.settings import Settings

CONFIGMAP = "postgres-operator"
"""As the reference's manifests and chart call it."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The settings, and the namespace in which the operator looks for what they name."""

    settings: Settings
    namespace: str


async def find_settings(client: Client, environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """What the operator's own variables name, else the one configuration that is there, else the built-in defaults.

    Raises Failed where several are there; InvalidSpec where it has mistakes.
    """
    where = configuration.source(environment, environment.get("OPERATOR_NAMESPACE") or client.namespace or "default")
    if where.resource is None:
        where = await _only_one(client, OPERATOR_CONFIGURATIONS) or await _only_one(client, CONFIGMAPS) or where
    found = await configuration.read(client, where)
    return OperatorSettings(found.settings, where.namespace or client.namespace or "default")


async def _only_one(client: Client, resource: Resource) -> Source | None:
    fields = f"metadata.name={CONFIGMAP}" if resource is CONFIGMAPS else ""
    try:
        listed = await client.list(resource, fields=fields)
    except (Forbidden, NotFound):
        return None
    if len(listed.items) > 1:
        places = ", ".join(f"{o['metadata']['namespace']}/{o['metadata']['name']}" for o in listed.items)
        variable = "CONFIG_MAP_NAME" if resource is CONFIGMAPS else "POSTGRES_OPERATOR_CONFIGURATION_OBJECT"
        raise Failed(
            f"several operators are configured here ({places}); say which one by {variable}, "
            f"and its namespace by OPERATOR_NAMESPACE, in the environment",
            Exit.INVALID,
        )
    if not listed.items:
        return None
    meta = listed.items[0]["metadata"]
    return Source(resource, meta["namespace"], meta["name"])
