"""Reads the objects that the operator's configuration refers to: whole ConfigMaps, of Secrets only the keys."""

from __future__ import annotations

from howdah.core.request.asked import Reference, References
from howdah.core.resolve import required_references
from howdah.kube.client import Client
from howdah.kube.errors import NotFound
from howdah.kube.resources import CONFIGMAPS, SECRETS
from howdah.model.settings import Settings


class ReferenceReader:
    """Reads at each pass: without such options that is no request at all."""

    def __init__(self, client: Client, operator_namespace: str) -> None:
        self._client = client
        self._operator_namespace = operator_namespace

    async def of(self, settings: Settings, namespace: str) -> References:
        """What the clusters of `namespace` refer to; an object that is missing is not in it."""
        config_maps, secret_keys = {}, {}
        for reference in required_references(settings, namespace):
            found = await self._first(reference)
            if found is not None and reference.kind == "ConfigMap":
                config_maps[reference] = found
            elif found is not None:
                secret_keys[reference] = tuple(sorted(found))
        return References(config_maps, secret_keys)

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
