"""Kubernetes quantities, as far as a pod's own environment needs them (`resourceFieldRef`, quality of service)."""

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip


def parsed(quantity: str) -> Decimal:
    """`1500m` → 1.5, `1Ki` → 1024, `1e3` → 1000."""
    number = quantity.rstrip("numkMGTPEi")
    return Decimal(number) * _SUFFIXES[quantity[len(number) :]]


def divided(quantity: str, divisor: str) -> str:
    """The quantity in units of the divisor, rounded up, as `resourceFieldRef` wants it."""
    unit = parsed(divisor) or Decimal(1)
    return str((parsed(quantity) / unit).to_integral_value(ROUND_CEILING))


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    pairs = [
        (
            (container.get("resources") or {}).get("requests") or {},
            (container.get("resources") or {}).get("limits") or {},
        )
        for container in containers
    ]
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    for requests, limits in pairs:
        for name in ("cpu", "memory"):
            if name not in limits or parsed(requests.get(name, limits[name])) != parsed(limits[name]):
                return "Burstable"
    return "Guaranteed"
