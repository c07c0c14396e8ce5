"""Installs our custom resource definitions at start, where that is allowed and they are not there as they should be.

Where they may not be changed, it is said what the installed ones do not keep.
"""

from __future__ import annotations

import structlog

from howdah.kube.client import Client
from howdah.kube.errors import KubeError, NotFound
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.model.crd_losses import lost_fields
from howdah.model.crds import all_crds

_log = structlog.get_logger("howdah.registration")


async def register(client: Client, categories: tuple[str, ...]) -> None:
    """Apply the CRDs; an apply that changes nothing writes nothing. Not being allowed to is said, and no obstacle."""
    for crd in all_crds(categories):
        try:
            await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, force=True)
        except KubeError as error:
            _log.warning("CRD not registered", crd=crd["metadata"]["name"], error=str(error))


async def report_losses(client: Client, categories: tuple[str, ...]) -> tuple[str, ...]:
    """Say what the installed definitions do not keep of a resource; `definition: field` each."""
    found: list[str] = []
    for body in all_crds(categories):
        name = body["metadata"]["name"]
        try:
            lost = lost_fields(await client.get(CUSTOM_RESOURCE_DEFINITIONS, name), body)
        except NotFound:
            _log.warning("CRD not installed", crd=name, hint="howdah crds | kubectl apply --server-side -f -")
            continue
        except KubeError as error:
            _log.info("CRD not read", crd=name, error=str(error))
            continue
        if lost:
            _log.warning(
                "the installed CRD drops these fields", crd=name, fields=lost, hint="install those of `howdah crds`"
            )
            found += [f"{name}: {field}" for field in lost]
    return tuple(found)
