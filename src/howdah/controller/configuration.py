"""The operator's own configuration: read at start from an OperatorConfiguration or a ConfigMap, and watched for change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS
from howdah.kube.client import Client
from howdah.kube.resources import CONFIGMAPS, Resource
from howdah.model.errors import Problem
from howdah.model.settings import Settings, default_settings, settings_from_configmap, settings_from_configuration


@dataclass(frozen=True, slots=True)
class Source:
    """Where the configuration is; `resource` is None for the built-in defaults."""

    resource: Resource | None = None
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.namespace}/{self.name}" if self.resource else "built-in defaults"


def source(environment: Mapping[str, str], operator_namespace: str) -> Source:
    """From POSTGRES_OPERATOR_CONFIGURATION_OBJECT, else CONFIG_MAP_NAME (`[namespace/]name`), as for the reference."""
    if name := environment.get("POSTGRES_OPERATOR_CONFIGURATION_OBJECT", ""):
        return Source(OPERATOR_CONFIGURATIONS, operator_namespace, name)
    if place := environment.get("CONFIG_MAP_NAME", ""):
        namespace, _, name = place.rpartition("/")
        return Source(CONFIGMAPS, namespace or operator_namespace, name)
    return Source()


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was read, its version, and what is odd about it."""

    settings: Settings
    version: str
    warnings: tuple[Problem, ...]


async def read(client: Client, where: Source) -> Configuration:
    """The configuration now. Raises InvalidSpec with every mistake, or the API's error."""
    if where.resource is None:
        settings, warnings = default_settings()
        return Configuration(settings, "", tuple(warnings))
    found: dict[str, Any] = await client.get(where.resource, where.name, namespace=where.namespace)
    if where.resource is CONFIGMAPS:
        settings, warnings = settings_from_configmap(found.get("data") or {})
    else:
        settings, warnings = settings_from_configuration(found)
    return Configuration(settings, found["metadata"]["resourceVersion"], tuple(warnings))
