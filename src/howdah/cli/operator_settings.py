"""Which configuration the operator of this API server has: names and labels of a cluster depend on it, and whether it looks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS
from howdah.cli.exits import Exit, Failed
from howdah.cli.output import say
from howdah.controller import configuration
from howdah.controller.configuration import Source
from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, NotFound
from howdah.kube.resources import CONFIGMAPS, Resource
from howdah.model import names
from howdah.model.settings import Settings

CONFIGMAP = "postgres-operator"
"""As the reference's manifests and chart call it."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """The settings, and the namespace in which the operator looks for what they name."""

    settings: Settings
    namespace: str
    is_placed: bool = True
    """Whether the operator is known to be in that namespace."""
    doubt: str | None = None
    """Why the settings may be others than the operator's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The operator's, as far as it is set here, too."""

    def unwatched(self, namespace: str) -> str | None:
        """Why the operator sees nothing of this namespace."""
        watched = configuration.watched_namespaces(self.settings, self.environment, self.namespace)
        if watched is None or namespace in watched or (watched == (self.namespace,) and not self.is_placed):
            return None
        return f"by its configuration the operator watches {', '.join(watched)}, not namespace {namespace}"

    def of_another(self, annotations: Mapping[str, str] | None) -> str | None:
        """Why a resource is another operator's, whose configuration is not known here."""
        said, ours = (annotations or {}).get(names.CONTROLLER) or "", self.environment.get("CONTROLLER_ID", "")
        if said == ours:
            return None
        if not said:
            return (
                f"without annotation {names.CONTROLLER} it belongs to an operator without CONTROLLER_ID, not to {ours}"
            )
        return (
            f"annotation {names.CONTROLLER} gives it to the operator with CONTROLLER_ID {said}, "
            f"whose configuration may be another"
        )


async def find_settings(client: Client, environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """What the operator's own variables name, else the one configuration that is there, else the built-in defaults.

    A doubt is told on stderr, too. Raises Failed where several are there; InvalidSpec where it has mistakes.
    """
    named = environment.get("OPERATOR_NAMESPACE")
    where = configuration.source(environment, named or client.namespace or "default")
    doubt: str | None = None
    if where.resource is None:
        where, doubt = await _looked_for(client)
    if doubt is not None:
        say(f"note: {doubt}", to=sys.stderr)
    found = await configuration.read(client, where)
    return OperatorSettings(
        found.settings,
        where.namespace or named or client.namespace or "default",
        is_placed=bool(named or where.namespace),
        doubt=doubt,
        environment=environment,
    )


async def _looked_for(client: Client) -> tuple[Source, str | None]:
    """The configuration, and why it may be another one."""
    unseen: list[str] = []
    found = Source()
    for resource in (OPERATOR_CONFIGURATIONS, CONFIGMAPS):
        try:
            found = await _only_one(client, resource) or found
        except Forbidden:
            unseen.append(resource.plural)
        if found.resource is not None:
            break
    if not unseen:
        return found, None
    return found, (
        f"listing {' and '.join(unseen)} in all namespaces is not permitted, so that as the operator's configuration "
        f"is taken: {found}; say which it is by POSTGRES_OPERATOR_CONFIGURATION_OBJECT or CONFIG_MAP_NAME, "
        f"and OPERATOR_NAMESPACE, in the environment"
    )


async def _only_one(client: Client, resource: Resource) -> Source | None:
    fields = f"metadata.name={CONFIGMAP}" if resource is CONFIGMAPS else ""
    try:
        listed = await client.list(resource, fields=fields)
    except NotFound:
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
