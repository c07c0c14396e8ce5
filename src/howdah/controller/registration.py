"""Installs our custom resource definitions at start, where that is allowed and they are not there as they should be."""

from __future__ import annotations

import structlog

from howdah.kube.client import Client
from howdah.kube.errors import KubeError
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.model.crds import all_crds

_log = structlog.get_logger("howdah.registration")


async def register(client: Client, categories: tuple[str, ...]) -> None:
    """Apply the CRDs; an apply that changes nothing writes nothing. Not being allowed to is said, and no obstacle."""
    for crd in all_crds(categories):
        try:
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, force=True)
        except KubeError as error:
            _log.warning("CRD not registered", crd=crd["metadata"]["name"], error=str(error))
