"""How many pods of a disruption budget may be disturbed now: one count, for its status and for evictions. No I/O.

As the disruption controller of Kubernetes counts (`pkg/controller/disruption`): from what the pods' controllers want, so a
pod that is missing counts as disturbed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from howdah.local.controllers.owners import Object, controller_of, is_ready

Find = Callable[[str, str], Object | None]
"""The object of this kind (StatefulSet, ReplicaSet, Deployment) and name in the budget's namespace."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Numbers of pods: how many there should be, how many of them Ready at least, and how many are."""

    expected: int
    desired: int
    healthy: int

    @property
    def allowed(self) -> int:
        """How many may be disturbed."""
        return max(0, self.healthy - self.desired) if self.expected > 0 else 0


def allowance(budget: Object, pods: Sequence[Object], find: Find) -> Allowance:
    """`pods`: all that the budget selects."""
    spec = budget.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    healthy = sum(1 for pod in pods if is_ready(pod))
    if most is None and isinstance(least, int):
        return Allowance(len(pods), least, healthy)
    expected = _expected(pods, find)
    if most is not None:
        return Allowance(expected, max(0, expected - _share(most, expected)), healthy)
    return Allowance(expected, _share(least, expected), healthy) if least is not None else Allowance(0, 0, healthy)


def _share(value: int | str, whole: int) -> int:
    """A number or a percentage of the whole, rounded up."""
    if isinstance(value, str) and value.endswith("%"):
        return ceil(whole * int(value[:-1]) / 100)
    return int(value)


def _expected(pods: Sequence[Object], find: Find) -> int:
    """What the pods' controllers want together. A pod without one does not count; with an unknown one nothing is known: 0."""
    wanted: dict[str, int] = {}
    for reference in filter(None, map(controller_of, pods)):
        owner = _scaled(reference, find)
        if owner is None:
            return 0
        replicas = (owner.get("spec") or {}).get("replicas")
        wanted[owner["metadata"]["uid"]] = 1 if replicas is None else int(replicas)
    return sum(wanted.values())


def _scaled(reference: Mapping[str, str], find: Find) -> Object | None:
    """The controller that says how many there are; of a ReplicaSet the Deployment above it."""
    owner = find(reference["kind"], reference["name"])
    if owner is None or owner["metadata"]["uid"] != reference["uid"]:
        return None
    above = controller_of(owner)
    if reference["kind"] == "ReplicaSet" and above is not None and above["kind"] == "Deployment":
        return _scaled(above, find)
    return owner
