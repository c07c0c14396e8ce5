"""Whether the Secret of spelled-out credentials holds what the configuration says now.

Its values are read when its version or what is asked for changed, compared, and forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping

from howdah.adapters.kubernetes import read_secret
from howdah.controller.compared import Compared
from howdah.core.objects.diff import CREDENTIALS
from howdah.kube.client import Client
from howdah.kube.informer import Key
from howdah.model.cluster import Cluster, EnvironmentSecret
from howdah.model.observed import Observed

OF_BACKUPS = "LOGICAL_BACKUP_"  # see `core.request.logical_backup`
Place = tuple[str, str]  # namespace, name


class EnvironmentSecrets:
    """Remembers which version was compared with which request, and which keys differed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._compared: Compared[tuple[str, ...]] = Compared()

    async def outdated(self, cluster: Cluster, observed: Observed) -> Mapping[Place, tuple[str, ...]]:
        """The keys of the cluster's Secret whose value is not the one asked for; empty where there is no such Secret."""
        asked = cluster.environment_secret
        if asked is None:
            return {}
        place = (asked.namespace, asked.name)
        there = observed.secrets.get(place)
        if there is None:
            return {}
        key = (cluster.key.namespace, cluster.key.name)
        keys = self._compared.answer(key, place, (there, asked))
        if keys is None:
            keys = self._compared.remember(key, place, (there, asked), await self._compare(asked))
        return {place: keys} if keys else {}

    async def _compare(self, asked: EnvironmentSecret) -> tuple[str, ...]:
        """Keys of ours that are not asked for any more are among them: a credential that nobody needs goes."""
        held = await read_secret(self._client, asked.namespace, asked.name)
        if held is None:
            return ()
        wanted = {key: value.encode() for key, value in asked.values.items()}
        ours = {key for key in held if key in CREDENTIALS or key.startswith(OF_BACKUPS)}
        return tuple(sorted(key for key in {*wanted, *ours} if held.get(key) != wanted.get(key)))

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._compared.forget(key)
