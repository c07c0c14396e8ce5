"""Requests and limits of containers: the manifest's, the operator's defaults, and the operator's bounds, in this order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.model.settings import Settings
from howdah.model.spec import Amounts, Resources
from howdah.model.units import Quantity

_NAMES = ("cpu", "memory")
_HUGE_PAGES = {"hugepages-2Mi": "hugepages_2mi", "hugepages-1Gi": "hugepages_1gi"}


@dataclass(frozen=True, slots=True)
class Defaults:
    """Amounts where the manifest is silent; None: none there either."""

    cpu_request: Quantity | None
    memory_request: Quantity | None
    cpu_limit: Quantity | None
    memory_limit: Quantity | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the operator enforces on the postgres container."""

    min_limits: Mapping[str, Quantity | None]
    max_requests: Mapping[str, Quantity | None]


def postgres_defaults(settings: Settings) -> Defaults:
    """The defaults of database pods, which sidecars share."""
    return Defaults(
        settings.default_cpu_request,
        settings.default_memory_request,
        settings.default_cpu_limit,
        settings.default_memory_limit,
    )


def scalyr_defaults(settings: Settings) -> Defaults:
    """The amounts of the log agent."""
    return Defaults(
        settings.scalyr_cpu_request,
        settings.scalyr_memory_request,
        settings.scalyr_cpu_limit,
        settings.scalyr_memory_limit,
    )


def pooler_defaults(settings: Settings) -> Defaults:
    """The amounts of a pooler."""
    return Defaults(
        settings.connection_pooler_default_cpu_request,
        settings.connection_pooler_default_memory_request,
        settings.connection_pooler_default_cpu_limit,
        settings.connection_pooler_default_memory_limit,
    )


def backup_defaults(settings: Settings) -> Defaults:
    """The amounts of the logical backup; one that is not written is as for the database."""
    return Defaults(
        settings.logical_backup_cpu_request or settings.default_cpu_request,
        settings.logical_backup_memory_request or settings.default_memory_request,
        settings.logical_backup_cpu_limit or settings.default_cpu_limit,
        settings.logical_backup_memory_limit or settings.default_memory_limit,
    )


def postgres_bounds(settings: Settings) -> Bounds:
    """The bounds of the postgres container."""
    return Bounds(
        {"cpu": settings.min_cpu_limit, "memory": settings.min_memory_limit},
        {"cpu": settings.max_cpu_request, "memory": settings.max_memory_request},
    )


def resources(
    asked: Resources | None, defaults: Defaults, *, bounds: Bounds | None = None, memory_request_is_limit: bool = False
) -> dict[str, Any]:
    """`resources` of a container; empty where nothing is asked. Quantities in canonical form."""
    requests = _amounts(
        asked.requests if asked else None, {"cpu": defaults.cpu_request, "memory": defaults.memory_request}
    )
    limits = _amounts(asked.limits if asked else None, {"cpu": defaults.cpu_limit, "memory": defaults.memory_limit})
    if bounds is not None:
        # A limit that is not there counts as zero, so that a minimum also makes one.
        _bound(limits, bounds.min_limits, max)
    for name in _NAMES:
        if name in limits and name in requests and limits[name] < requests[name]:
            limits[name] = requests[name]
    if memory_request_is_limit and "memory" in limits and limits["memory"] > requests.get("memory", Quantity(0)):
        requests["memory"] = limits["memory"]
    if bounds is not None:
        _cap(requests, bounds.max_requests)
    found = {"limits": limits, "requests": requests}
    return {part: {name: str(amount) for name, amount in amounts.items()} for part, amounts in found.items() if amounts}


def _amounts(asked: Amounts | None, defaults: Mapping[str, Quantity | None]) -> dict[str, Quantity]:
    """A zero counts as not written."""
    amounts = {name: getattr(asked, name, None) or defaults[name] for name in _NAMES}
    pages = {name: getattr(asked, attribute, None) for name, attribute in _HUGE_PAGES.items()}
    return {name: amount for name, amount in (amounts | pages).items() if amount}


def _bound(
    amounts: dict[str, Quantity],
    bounds: Mapping[str, Quantity | None],
    choose: Callable[[Quantity, Quantity], Quantity],
) -> None:
    for name, bound in bounds.items():
        if bound:
            amounts[name] = choose(bound, amounts.get(name, Quantity(0)))


def _cap(amounts: dict[str, Quantity], bounds: Mapping[str, Quantity | None]) -> None:
    for name, bound in bounds.items():
        if bound and name in amounts:
            amounts[name] = min(bound, amounts[name])
