"""The status of disruption budgets: how many pods are healthy, and how many may be disturbed now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from howdah.kube.resources import DEPLOYMENTS, POD_DISRUPTION_BUDGETS, PODS, REPLICA_SETS, STATEFUL_SETS
from howdah.local.controllers import podset
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import matches
from howdah.local.disruptions import Allowance, allowance

SCALED = {resource.kind: resource for resource in (STATEFUL_SETS, REPLICA_SETS, DEPLOYMENTS)}
"""What says how many pods there are to be."""


def budget_status(budget: Object, allowance: Allowance) -> dict[str, Any]:
    """The numbers, as the API has them."""
    return {
        "currentHealthy": allowance.healthy,
        "desiredHealthy": allowance.desired,
        "expectedPods": allowance.expected,
        "disruptionsAllowed": allowance.allowed,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def _condition(status: dict[str, Any], before: Sequence[Object]) -> list[dict[str, Any]]:
    allowed = status["disruptionsAllowed"] > 0
    value = "True" if allowed else "False"
    old = next((entry for entry in before if entry["type"] == "DisruptionAllowed"), {})
    since = old.get("lastTransitionTime") if old.get("status") == value else None
    return [
        {
            "type": "DisruptionAllowed",
            "status": value,
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": status["observedGeneration"],
            "lastTransitionTime": since or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    ]


def budgets_controller(world: World) -> Controller:
    """Keys are those of budgets."""

    async def reconcile(key: Key) -> None:
        budget = world.caches.get(POD_DISRUPTION_BUDGETS, *key)
        if budget is None:
            return
        selector = budget["spec"].get("selector")
        pods = [p for p in world.caches.of(PODS, key[0]) if matches(selector, p["metadata"].get("labels"))]

        def find(kind: str, name: str) -> Object | None:
            return world.caches.get(SCALED[kind], key[0], name) if kind in SCALED else None

        status = budget_status(budget, allowance(budget, pods, find))
        before = budget.get("status") or {}
        status["conditions"] = _condition(status, before.get("conditions") or ())
        if podset.changed(before, status):
            patch = {"metadata": {"uid": budget["metadata"]["uid"]}, "status": status}
            await world.client.merge_patch(
                POD_DISRUPTION_BUDGETS, key[1], patch, namespace=key[0], subresource="status"
            )

    def keys_of_pod(pod: Object) -> Sequence[Key]:
        found = world.caches.of(POD_DISRUPTION_BUDGETS, pod["metadata"]["namespace"])
        labels = pod["metadata"].get("labels")
        return [key_of(budget) for budget in found if matches(budget["spec"].get("selector"), labels)]

    triggers = {POD_DISRUPTION_BUDGETS: lambda budget: [key_of(budget)], PODS: keys_of_pod}
    return Controller(world, triggers, reconcile)
