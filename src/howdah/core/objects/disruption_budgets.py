"""The disruption budgets: one keeps the primary from being evicted, one a member in a critical operation."""

from howdah.core.objects.metadata import Body, metadata
from howdah.model.cluster import Cluster, DisruptionBudget


def disruption_budgets(cluster: Cluster) -> tuple[Body, ...]:
    """Both budgets, relaxed ones too."""
    return tuple(_budget(budget, cluster) for budget in cluster.budgets)


def _budget(budget: DisruptionBudget, cluster: Cluster) -> Body:
    bounds = {"minAvailable": budget.min_available, "maxUnavailable": budget.max_unavailable}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(
            budget.name,
            cluster.key.namespace,
            labels=cluster.labels.full,
            annotations=cluster.annotations.inherited,
            owner_references=cluster.owner_references,
        ),
        "spec": {
            "selector": {"matchLabels": dict(budget.selector)},
            **{name: bound for name, bound in bounds.items() if bound is not None},
        },
    }
