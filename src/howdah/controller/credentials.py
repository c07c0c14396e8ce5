"""Whether the Secret of spelled-out credentials still holds what the manifest and the configuration spell out.

Its data are read when its version or what is asked changes, compared, and not kept; a plan only hears that they differ.
"""

from __future__ import annotations

from howdah.adapters.kubernetes import read_secret
from howdah.controller.watch import Key
from howdah.kube.client import Client
from howdah.model.cluster import EnvironmentSecret
from howdah.model.observed import Observed


class Credentials:
    """Belongs to one reconciler. After a restart every such Secret is read once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._current: dict[Key, tuple[str, str, EnvironmentSecret]] = {}
        """By cluster: the uid, the version and the request that were found to be equal."""

    async def differ(self, key: Key, asked: EnvironmentSecret | None, observed: Observed) -> bool:
        """Whether the existing Secret holds other values; False where there is none."""
        if asked is None:
            return False
        seen = observed.secrets.get((asked.namespace, asked.name))
        if seen is None:
            return False
        state = (seen.metadata.uid, seen.metadata.resource_version, asked)
        if self._current.get(key) == state:
            return False
        held = await read_secret(self._client, asked.namespace, asked.name)
        if held is None:
            return False
        if {name: value.encode() for name, value in asked.values.items()} != dict(held):
            return True
        self._current[key] = state
        return False

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self._current.pop(key, None)
