"""The operator's own configuration: read at start from an OperatorConfiguration or a ConfigMap, and followed from then on.

A change is taken up without a restart. One with mistakes leaves what is in force, and so does, for itself alone, an option
by which the operator finds what it made (`model.settings.changes`). Both are said once: in the log, as an event on the
configuration, and by the metric `howdah_configuration_in_force`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS
from howdah.kube.client import Client
from howdah.kube.errors import KubeError
from howdah.kube.events import Reference
from howdah.kube.resources import CONFIGMAPS, Resource
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.settings import Settings, default_settings, settings_from_configmap, settings_from_configuration
from howdah.model.settings.changes import taken_up

CHECK_S = 30.0

_log = structlog.get_logger("howdah.operator")


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


def watched_namespaces(
    settings: Settings, environment: Mapping[str, str], operator_namespace: str
) -> tuple[str, ...] | None:
    """WATCHED_NAMESPACE, else the option, else the operator's own namespace; several by comma. None: all."""
    asked = environment.get("WATCHED_NAMESPACE") or settings.watched_namespace or operator_namespace
    places = tuple(place.strip() for place in asked.split(",") if place.strip())
    return None if "*" in places else places


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
    return _parsed(await _found(client, where), where.resource)


async def _found(client: Client, where: Source) -> dict[str, Any]:
    assert where.resource is not None
    found: dict[str, Any] = await client.get(where.resource, where.name, namespace=where.namespace)
    return found


def _parsed(found: Mapping[str, Any], resource: Resource) -> Configuration:
    if resource is CONFIGMAPS:
        settings, warnings = settings_from_configmap(found.get("data") or {})
    else:
        settings, warnings = settings_from_configuration(found)
    return Configuration(settings, found["metadata"]["resourceVersion"], tuple(warnings))


Say = Callable[[Reference, Literal["Normal", "Warning"], str, str], None]
"""Records an event: about what, its type, its reason, its message."""


class Following:
    """Looks at the configuration again and again, for as long as the process runs.

    `in_force(False)` is called when not all that it says is in force, `in_force(True)` when all of it is.
    """

    def __init__(
        self, client: Client, where: Source, *, in_force: Callable[[bool], None], check_s: float = CHECK_S
    ) -> None:
        self._client = client
        self._where = where
        self._in_force = in_force
        self._check_s = check_s
        self._told = ""
        in_force(True)

    async def next(self, current: Configuration, say: Say) -> Configuration:
        """Returns when there is something to take up."""
        seen = current.version
        while True:
            await asyncio.sleep(self._check_s)
            if self._where.resource is None:
                continue
            try:
                found = await _found(self._client, self._where)
            except KubeError as error:
                self._tell_once(f"not read, so that the one before stays: {error}", lambda _: None)
                seen = ""
                continue
            if found["metadata"]["resourceVersion"] == seen:
                continue
            seen = found["metadata"]["resourceVersion"]
            following = self._taken_up(found, current, say)
            if following is not None:
                return following

    def _taken_up(self, found: Mapping[str, Any], current: Configuration, say: Say) -> Configuration | None:
        """What is in force from now on; None where that is what was."""
        assert self._where.resource is not None
        about = Reference(self._where.resource, self._where.name, self._where.namespace, found["metadata"]["uid"])
        try:
            now = _parsed(found, self._where.resource)
        except InvalidSpec as invalid:
            message = f"not valid, so that the one before stays: {invalid}"
            self._tell_once(message, lambda text: say(about, "Warning", "ConfigurationRefused", text))
            return None
        change = taken_up(current.settings, now.settings)
        if change.held:
            message = "; ".join(map(str, change.held))
            self._tell_once(message, lambda text: say(about, "Warning", "ConfigurationHeld", text))
        else:
            self._told = ""
            self._in_force(True)
        if not change.changed:
            return None
        _log.info("configuration changed", source=str(self._where), options=change.changed)
        say(about, "Normal", "ConfigurationTaken", f"in force now: {', '.join(change.changed)}")
        return Configuration(change.settings, now.version, now.warnings)

    def _tell_once(self, message: str, say: Callable[[str], None]) -> None:
        self._in_force(False)
        if message == self._told:
            return
        self._told = message
        _log.warning("configuration not taken", source=str(self._where), why=message)
        say(message)
