"""What roles come from beside the manifest, watched: Secrets and ConfigMaps of infrastructure roles, the teams API's
token, and `PostgresTeam` resources.

Of Secrets and ConfigMaps only the metadata are kept: who needs their contents reads them when the version changes. What
may not be seen is not known; the operator works on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from howdah.adapters.kubernetes import POSTGRES_TEAMS, RESOURCES
from howdah.controller.watch import SYNC_POLL_S
from howdah.core.request.asked import Reference
from howdah.core.request.roles import heeds_teams, role_references, token_reference
from howdah.kube.client import Client
from howdah.kube.errors import NotFound
from howdah.kube.informer import Informer, Key
from howdah.model import names
from howdah.model.errors import InvalidSpec
from howdah.model.observed import Live, PatroniObject
from howdah.model.settings import Settings
from howdah.model.teams import PostgresTeam, Teams, joined, parse_team


class Sources:
    """Informers of one operator. `notify(None)`: every cluster has news; `notify(key)`: this one. `token_changed`: see name."""

    def __init__(
        self,
        client: Client,
        settings: Settings,
        *,
        operator_namespace: str,
        namespaces: Iterable[str | None],
        notify: Callable[[Key | None], None],
        token_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._operator_namespace = operator_namespace
        self._notify = notify
        self._asking: dict[Key, tuple[str, ...]] = {}
        token = token_reference(settings)
        roles = {
            reference: self._watch(client, reference, lambda: notify(None)) for reference in role_references(settings)
        }
        tokens = {} if token is None else {token: self._watch(client, token, token_changed)}
        self._objects: dict[Reference, Informer[Any]] = {**tokens, **roles}
        self._teams_of = tuple(
            Informer(client, POSTGRES_TEAMS, Live, namespace=place, significant=_team, on_change=self._teams_changed)
            for place in (namespaces if settings.enable_postgres_team_crd and heeds_teams(settings) else ())
        )
        self._joined: tuple[Teams, tuple[str, ...]] | None = None

    # running

    async def run(self) -> None:
        """Keep all caches true until cancelled, also where there are none."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())
            await asyncio.Event().wait()

    async def synced(self) -> None:
        """Wait until every cache has been filled once, or is not for us, or its kind is not there."""
        for informer in self._informers:
            while not (informer.synced.is_set() or informer.denied or isinstance(informer.last_error, NotFound)):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(informer.synced.wait(), SYNC_POLL_S)

    @property
    def _informers(self) -> tuple[Informer[Any], ...]:
        return (*self._objects.values(), *self._teams_of)

    def _watch(self, client: Client, reference: Reference, changed: Callable[[], None]) -> Informer[Any]:
        return Informer(
            client,
            RESOURCES[reference.kind],
            PatroniObject,
            namespace=reference.namespaces[0] or self._operator_namespace,
            fields=f"metadata.name={reference.name}",
            metadata_only=True,
            significant=lambda obj: obj.metadata.resource_version,
            on_change=partial(_call, changed),
        )

    # reading

    def version(self, reference: Reference) -> str | None:
        """Of an object that is watched; None where there is none, or none for us."""
        informer = self._objects[reference]
        found = informer.get(reference.namespaces[0] or self._operator_namespace, reference.name)
        return f"{found.metadata.uid}:{found.metadata.resource_version}" if found is not None else None

    def teams(self) -> tuple[Teams, tuple[str, ...]]:
        """What all `PostgresTeam` resources say together, and what could not be read of them."""
        if self._joined is None:
            self._joined = read_teams(resource for informer in self._teams_of for resource in informer)
        teams, problems = self._joined
        unseen = (informer for informer in self._teams_of if not informer.synced.is_set())
        denied = tuple(f"PostgresTeam: {i.last_error}" for i in unseen if not isinstance(i.last_error, NotFound))
        return teams, (*problems, *denied)

    # from events to keys

    def concerns(self, key: Key, teams: tuple[str, ...]) -> None:
        """The teams whose members have roles in this cluster, its own last."""
        self._asking[key] = teams

    def forget(self, key: Key) -> None:
        self._asking.pop(key, None)

    def _teams_changed(self, old: Live | None, new: Live | None) -> None:
        """The clusters whose teams have something to do with what changed."""
        self._joined = None
        touched = _teams_in(old) | _teams_in(new)
        for key, teams in sorted(self._asking.items()):
            if touched.intersection(teams):
                self._notify(key)


def read_teams(resources: Iterable[Live]) -> tuple[Teams, tuple[str, ...]]:
    """The union of all that are valid, and a sentence for each that is not."""
    found: list[PostgresTeam] = []
    problems: list[str] = []
    for resource in resources:
        try:
            found.append(parse_team(resource.body(names.API_VERSION, "PostgresTeam")))
        except InvalidSpec as invalid:
            said = "; ".join(map(str, invalid.problems))
            problems.append(f"PostgresTeam {resource.meta.namespace}/{resource.meta.name} is not heeded: {said}")
    return joined(found), tuple(sorted(problems))


def _teams_in(resource: Live | None) -> set[str]:
    """The teams that it says something about."""
    if resource is None:
        return set()
    spec = resource.body(names.API_VERSION, "PostgresTeam").get("spec") or {}
    return {str(team) for relation in spec.values() if isinstance(relation, dict) for team in relation}


def _team(resource: Live) -> bytes:
    return bytes(resource.spec)


def _call(changed: Callable[[], None], old: object, new: object) -> None:
    del old, new
    changed()
