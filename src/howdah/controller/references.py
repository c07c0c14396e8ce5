"""Reads what clusters refer to beside their manifest: ConfigMaps, keys of Secrets, infrastructure roles, members of teams."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from howdah.adapters.kubernetes import POSTGRES_TEAMS
from howdah.controller.sources import Sources, read_teams
from howdah.controller.teams import Directory
from howdah.core.postgres.infrastructure import RoleSecret, name_keys
from howdah.core.postgres.teams import teams_asked
from howdah.core.request.asked import Reference, References
from howdah.core.request.roles import api_teams, entries_of, heeds_teams, role_references
from howdah.core.resolve import required_references
from howdah.kube.client import Client
from howdah.kube.errors import UNREADABLE, KubeError, NotFound
from howdah.kube.informer import Key
from howdah.kube.resources import CONFIGMAPS, SECRETS
from howdah.model.observed import Live
from howdah.model.postgres.people import NOBODY, Membership
from howdah.model.settings import Settings
from howdah.model.teams import Teams

NOT_ASKED = "the teams API was not asked; members that only it knows are not shown here"

_log = structlog.get_logger("howdah.references")


class Asking(msgspec.Struct, rename="camel"):
    """What of a manifest says which objects are to be read, as it is written."""

    team_id: Any = ""
    archive: Any = None
    logical_backup: Any = None

    @property
    def team(self) -> str:
        """Empty where the manifest has none, or is wrong there."""
        return self.team_id if isinstance(self.team_id, str) else ""

    def stores(self) -> dict[str, Any]:
        """The sections that may name Secrets."""
        return {"archive": self.archive, "logicalBackup": self.logical_backup}


def asking(resource: Live) -> Asking:
    """Of a resource, perhaps one with mistakes."""
    try:
        return msgspec.json.decode(resource.spec, type=Asking)
    except UNREADABLE:
        return Asking()


class ReferenceReader:
    """Reads at each pass what the environment refers to: without such options that is no request at all.

    With `sources`, as in the operator, roles are read when a watched version changes; without them everything is read now.
    Without `directory` the teams API is not asked.
    """

    def __init__(
        self,
        client: Client,
        operator_namespace: str,
        sources: Sources | None = None,
        directory: Directory | None = None,
    ) -> None:
        self._client = client
        self._operator_namespace = operator_namespace
        self._sources = sources
        self._directory = directory
        self._read: dict[Reference, tuple[str, Any]] = {}

    async def of(self, settings: Settings, key: Key, asked: Asking) -> References:
        """What the cluster `key` refers to; an object that is missing is not in it."""
        config_maps: dict[Reference, Mapping[str, str]] = {}
        secret_keys: dict[Reference, tuple[str, ...]] = {}
        role_secrets: dict[Reference, RoleSecret] = {}
        for reference in required_references(settings, key[0], asked.stores()):
            found = await self._first(reference)
            if found is not None and reference.kind == "ConfigMap":
                config_maps[reference] = found
            elif found is not None:
                secret_keys[reference] = tuple(sorted(found))
        for reference in role_references(settings):
            content = await self._role_content(settings, reference)
            if isinstance(content, RoleSecret):
                role_secrets[reference] = content
            elif content is not None:
                config_maps[reference] = content
        membership = await self._membership(settings, key, asked.team) if heeds_teams(settings) else NOBODY
        return References(config_maps, secret_keys, role_secrets, membership)

    def malformed(self) -> int:
        """How many of the watched objects cannot be read."""
        return 0 if self._sources is None else self._sources.malformed()

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        if self._sources is not None:
            self._sources.forget(key)
        if self._directory is not None:
            self._directory.forget(key)

    async def _first(self, reference: Reference) -> dict[str, str] | None:
        resource = CONFIGMAPS if reference.kind == "ConfigMap" else SECRETS
        for namespace in reference.namespaces:
            try:
                found = await self._client.get(
                    resource, reference.name, namespace=namespace or self._operator_namespace
                )
            except NotFound:
                continue
            return dict(found.get("data") or {})
        return None

    # infrastructure roles

    async def _role_content(self, settings: Settings, reference: Reference) -> RoleSecret | Mapping[str, str] | None:
        """What was read last stays when it cannot be read now."""
        version = self._sources.version(reference) if self._sources is not None else ""
        if version is None:
            return None
        known = self._read.get(reference)
        if known is None or known[0] != version or not version:
            try:
                known = (version, self._without_passwords(settings, reference, await self._first(reference)))
            except KubeError as error:
                _log.warning("not read", what=str(reference), error=str(error))
                return known[1] if known is not None else None
            self._read[reference] = known
        content: RoleSecret | Mapping[str, str] | None = known[1]
        return content

    def _without_passwords(
        self, settings: Settings, reference: Reference, data: dict[str, str] | None
    ) -> RoleSecret | Mapping[str, str] | None:
        if data is None or reference.kind == "ConfigMap":
            return data
        shown = name_keys(entries_of(settings, reference), data)
        names = {key: text for key in shown if (text := _decoded(data[key])) is not None}
        return RoleSecret(frozenset(key for key, value in data.items() if value), names)

    # people

    async def _membership(self, settings: Settings, key: Key, team: str) -> Membership:
        teams, problems = await self._teams(settings, key[0])
        if self._sources is not None:
            self._sources.concerns(key, teams_asked(settings, teams, team))
        said = NOBODY
        if settings.enable_teams_api:
            said = replace(NOBODY, problems=(NOT_ASKED,), is_complete=False)
            if self._directory is not None:
                said = await self._directory.of(key, api_teams(settings, teams, team))
        return replace(
            said,
            teams=teams,
            problems=(*said.problems, *problems),
            is_complete=said.is_complete and not problems,
        )

    async def _teams(self, settings: Settings, namespace: str) -> tuple[Teams, tuple[str, ...]]:
        if self._sources is not None:
            return self._sources.teams()
        if not settings.enable_postgres_team_crd:
            return Teams(), ()
        try:
            return read_teams((await self._client.list(POSTGRES_TEAMS, namespace=namespace, type=Live)).items)
        except NotFound:
            return Teams(), ()
        except KubeError as error:
            return Teams(), (f"PostgresTeam: {error}",)


def _decoded(value: str) -> str | None:
    try:
        return base64.b64decode(value).decode()
    except ValueError:
        return None
