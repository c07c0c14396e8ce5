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

from msgspec import Raw, structs

from howdah.adapters.kubernetes import POSTGRES_TEAMS, RESOURCES
from howdah.controller.unseen import log_unread
from howdah.controller.watch import SYNC_POLL_S
from howdah.core.request.asked import Reference
from howdah.core.request.roles import heeds_teams, role_references, token_reference
from howdah.kube.client import Client
from howdah.kube.errors import UNREADABLE, NotFound
from howdah.kube.informer import Informer, Key, Unread
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
            Informer(
                client,
                POSTGRES_TEAMS,
                Live,
                namespace=place,
                significant=_team,
                on_change=self._teams_changed,
                on_malformed=self._unread_teams_changed,
            )
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
            while not (informer.has_looked or isinstance(informer.last_error, NotFound)):
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
            on_malformed=_log_unread,  # its version is the one before, or none, and then nothing of it is changed
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
            teams, problems = read_teams(resource for informer in self._teams_of for resource in informer)
            unread = {_unread_team(one.key, one.why) for part in self._teams_of for one in part.malformed.values()}
            self._joined = teams, tuple(sorted({*problems, *unread}))
        teams, problems = self._joined
        unseen = (informer for informer in self._teams_of if not informer.synced.is_set())
        denied = tuple(f"PostgresTeam: {i.last_error}" for i in unseen if not isinstance(i.last_error, NotFound))
        return teams, (*problems, *denied)

    def malformed(self) -> int:
        """How many objects cannot be read, or only as they once were."""
        return sum(len(informer.malformed) for informer in self._informers)

    # from events to keys

    def concerns(self, key: Key, teams: tuple[str, ...]) -> None:
        """The teams whose members have roles in this cluster, its own last."""
        self._asking[key] = teams

    def forget(self, key: Key) -> None:
        self._asking.pop(key, None)

    def _teams_changed(self, old: Live | None, new: Live | None) -> None:
        """The clusters whose teams have something to do with what changed."""
        self._joined = None
        try:
            touched = _teams_in(old) | _teams_in(new)
        except UNREADABLE:  # deeper than the cache needed to go; `read_teams` says it
            self._notify(None)
            return
        for key, teams in sorted(self._asking.items()):
            if touched.intersection(teams):
                self._notify(key)

    def _unread_teams_changed(self, informer: Informer[Live], old: Unread | None, new: Unread | None) -> None:
        """Whose teams it is about nobody knows."""
        _log_unread(informer, old, new)
        self._joined = None
        self._notify(None)


def read_teams(resources: Iterable[Live]) -> tuple[Teams, tuple[str, ...]]:
    """The union of all that are valid, and a sentence for each that is not, or cannot be read."""
    found: list[PostgresTeam] = []
    problems: list[str] = []
    for resource in resources:
        try:
            found.append(parse_team(_body(resource)))
        except InvalidSpec as invalid:
            said = "; ".join(map(str, invalid.problems))
            problems.append(f"PostgresTeam {resource.meta.namespace}/{resource.meta.name} is not heeded: {said}")
        except UNREADABLE as error:  # how deep it may be depends on how deep we are
            problems.append(_unread_team((resource.meta.namespace, resource.meta.name), str(error)))
    return joined(found), tuple(sorted(problems))


def _teams_in(resource: Live | None) -> set[str]:
    """The teams that it says something about."""
    if resource is None:
        return set()
    spec = _body(resource).get("spec") or {}
    return {str(team) for relation in spec.values() if isinstance(relation, dict) for team in relation}


def _body(resource: Live) -> dict[str, Any]:
    """Without status: the definition lets everything be written there, and nothing of it is heeded."""
    return structs.replace(resource, status=Raw()).body(names.API_VERSION, "PostgresTeam")


def _unread_team(key: Key, why: str) -> str:
    return f"PostgresTeam {'/'.join(key)} cannot be read: {why}"


def _log_unread(informer: Informer[Any], old: Unread | None, new: Unread | None) -> None:
    del old
    if new is not None:
        log_unread(informer.resource.kind, new)


def _team(resource: Live) -> bytes:
    return bytes(resource.spec)


def _call(changed: Callable[[], None], old: object, new: object) -> None:
    del old, new
    changed()
