"""Installs our custom resource definitions at start, where that is allowed and they are not there as they should be."""

from __future__ import annotations

import structlog

from howdah.kube.client import Client
from howdah.kube.errors import KubeError
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.model.crds import all_crds, postgresql_crd

_log = structlog.get_logger("howdah.registration")


async def register(client: Client, categories: tuple[str, ...]) -> None:
    """Apply the CRDs; an apply that changes nothing writes nothing. Not being allowed to is said, and no obstacle."""
    ours = postgresql_crd(categories)
    for crd in all_crds():
        body = ours if crd["metadata"]["name"] == ours["metadata"]["name"] else crd
        try:
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, body, force=True)
        except KubeError as error:
            _log.warning("CRD not registered", crd=body["metadata"]["name"], error=str(error))
