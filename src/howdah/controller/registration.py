"""Installs our custom resource definitions at start, where that is allowed and they are not there as they should be.

Where they may not be changed, it is said what the installed ones do not keep.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from howdah.kube.client import Client
from howdah.kube.errors import Forbidden, KubeError, NotFound, Unreachable
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.model.crd_losses import lost_fields
from howdah.model.crds import all_crds

_log = structlog.get_logger("howdah.registration")


@dataclass(frozen=True, slots=True)
class Times:
    """How long a start waits for the definitions."""

    call_s: float = 10.0
    first_pause_s: float = 1.0  # doubled each time
    within_s: float = 20.0


TIMES = Times()
REFUSALS = 2  # of which the last one counts


async def register(
    client: Client, categories: tuple[str, ...], stop: asyncio.Event, *, times: Times = TIMES
) -> tuple[str, ...]:
    """Apply the CRDs; an apply that changes nothing writes nothing. The names of those that were not.

    Not being allowed to is no obstacle: it is said what is missing, and the operator goes on with what is installed. Just
    after an install the API server may not know a right yet, so that a refusal counts when it comes twice.
    """
    waiting = {crd["metadata"]["name"]: crd for crd in all_crds(categories)}
    loop = asyncio.get_running_loop()
    deadline, pause_s, refusals = loop.time() + times.within_s, times.first_pause_s, 0
    not_registered: list[str] = []
    while waiting:
        failed = await _applied(client, waiting, times.call_s)
        refusals += any(isinstance(error, Forbidden) for error in failed.values())
        is_last = stop.is_set() or loop.time() + pause_s > deadline
        waiting = {
            name: crd
            for name, crd in waiting.items()
            if name in failed and not is_last and _may_pass(failed[name], refusals)
        }
        for name, error in failed.items():
            if name in waiting:
                _log.info("CRD not registered yet", crd=name, error=str(error), again_in_s=pause_s)
            else:
                _log.warning("CRD not registered", crd=name, error=str(error), **_way_on(error))
                not_registered.append(name)
        if waiting:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s *= 2
    return tuple(not_registered)


def _may_pass(error: KubeError, refusals: int) -> bool:
    return error.transient or (isinstance(error, Forbidden) and refusals < REFUSALS)


async def _applied(client: Client, crds: Mapping[str, Mapping[str, Any]], timeout_s: float) -> dict[str, KubeError]:
    """Why which definition could not be applied."""

    async def apply(crd: Mapping[str, Any]) -> KubeError | None:
        try:
            async with asyncio.timeout(timeout_s):
                await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, force=True)
        except TimeoutError:
            return Unreachable(f"no answer within {timeout_s:g} s")
        except KubeError as error:
            return error
        return None

    outcomes = await asyncio.gather(*map(apply, crds.values()))
    return {name: error for name, error in zip(crds, outcomes, strict=True) if error is not None}


def _way_on(error: KubeError) -> dict[str, str]:
    """What is missing, and how it goes on without."""
    install = "install it by `howdah crds | kubectl apply --server-side -f -`"
    if isinstance(error, Forbidden):
        return {
            "missing": "the right to create and patch customresourcedefinitions.apiextensions.k8s.io (`howdah rbac`)",
            "hint": f"the operator goes on with the installed definition; {install}, or set enable_crd_registration: false",
        }
    return {"hint": f"tried again at the next start; the operator goes on with the installed definition, or {install}"}


async def report_losses(client: Client, categories: tuple[str, ...]) -> tuple[str, ...]:
    """Say what the installed definitions do not keep of a resource; `definition: field` each."""
    lost = await asyncio.gather(*(_losses(client, body) for body in all_crds(categories)))
    return tuple(field for fields in lost for field in fields)


async def _losses(client: Client, body: Mapping[str, Any]) -> list[str]:
    name = body["metadata"]["name"]
    try:
        lost = lost_fields(await client.get(CUSTOM_RESOURCE_DEFINITIONS, name, timeout_s=TIMES.call_s), body)
    except NotFound:
        _log.warning("CRD not installed", crd=name, hint="howdah crds | kubectl apply --server-side -f -")
        return []
    except KubeError as error:
        _log.info("CRD not read", crd=name, error=str(error))
        return []
    if lost:
        _log.warning(
            "the installed CRD drops these fields", crd=name, fields=lost, hint="install those of `howdah crds`"
        )
    return [f"{name}: {field}" for field in lost]
