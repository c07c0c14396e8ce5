"""The status of disruption budgets: how many pods are healthy, and how many may be disturbed now."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil
from typing import Any

from howdah.kube.resources import POD_DISRUPTION_BUDGETS, PODS, STATEFUL_SETS
from howdah.local.controllers import podset
from howdah.local.controllers.caches import Object
from howdah.local.controllers.loop import Controller, Key, World, key_of
from howdah.local.controllers.owners import controller_of, is_active, is_ready, matches


def _share(value: int | str, whole: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return ceil(whole * int(value[:-1]) / 100)
    return int(value)


def budget_status(budget: Object, pods: Sequence[Object], expected: int) -> dict[str, Any]:
    """The numbers; `expected` is how many pods their controllers want."""
    spec = budget["spec"]
    if spec.get("minAvailable") is not None:
        desired = _share(spec["minAvailable"], expected)
    else:
        desired = expected - _share(spec.get("maxUnavailable") or 0, expected)
    healthy = sum(1 for pod in pods if is_ready(pod))
    return {
        "currentHealthy": healthy,
        "desiredHealthy": max(0, desired),
        "expectedPods": expected,
        "disruptionsAllowed": max(0, healthy - max(0, desired)) if expected else 0,
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

    def expected(pods: Sequence[Object]) -> int:
        sets: dict[str, int] = {}
        loose = 0
        for pod in pods:
            reference = controller_of(pod)
            owner = reference and world.caches.get(STATEFUL_SETS, pod["metadata"]["namespace"], reference["name"])
            if reference and owner and reference["kind"] == "StatefulSet":
                sets[reference["uid"]] = int(owner["spec"].get("replicas", 1))
            else:
                loose += 1
        return sum(sets.values()) + loose

    async def reconcile(key: Key) -> None:
        budget = world.caches.get(POD_DISRUPTION_BUDGETS, *key)
        if budget is None:
            return
        found = [pod for pod in world.caches.of(PODS, key[0]) if is_active(pod)]
        pods = [pod for pod in found if matches(budget["spec"].get("selector"), pod["metadata"].get("labels"))]
        status = budget_status(budget, pods, expected(pods))
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
