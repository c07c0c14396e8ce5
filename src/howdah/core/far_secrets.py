"""Secrets of roles in other namespaces than their cluster's, as far as nobody sees them: what is said of it.

Such a role waits; nothing is made over a Secret that may be there, and nothing else of the cluster is held up. What makes
the others is `alignment.missing_secrets`.
"""

from __future__ import annotations

from howdah.core.plan import Wait
from howdah.core.situation import Situation
from howdah.model.cluster import Cluster, SecretRequest
from howdah.model.errors import Problem
from howdah.model.observed import Observed

AGAIN_S = 60.0
HINT = (
    "add the namespace to watched_namespace (or WATCHED_NAMESPACE) and give the operator its rights there, "
    "as `howdah rbac` prints them, or name the role without one"
)


def is_out_of_reach(request: SecretRequest, observed: Observed) -> bool:
    """Whether nobody knows if this Secret is there."""
    return request.namespace in observed.secrets_unseen


def secret_problem(situation: Situation) -> str | None:
    """Which roles wait for their Secret, each with its path in the manifest."""
    cluster, observed = situation.cluster, situation.observed
    problems = [
        Problem(
            _path(request, cluster),
            f'"{request.username}" has its Secret in another namespace, and {observed.secrets_unseen[request.namespace]}',
            HINT,
        )
        for request in cluster.secrets
        if is_out_of_reach(request, observed)
    ]
    return "; ".join(map(str, problems)) or None


def look_again(situation: Situation) -> tuple[Wait, ...]:
    """A right that comes back tells of itself; one that was missing for a moment only does not."""
    why = secret_problem(situation)
    return (Wait(AGAIN_S, why),) if why is not None else ()


def _path(request: SecretRequest, cluster: Cluster) -> str:
    if request.username in cluster.access.users:
        return f"spec.users.{request.username}"
    sections = cluster.access.prepared_databases or {}
    of_section = [name for name in sections if request.username.startswith(f"{name}_")]
    return f"spec.preparedDatabases.{max(of_section, key=len)}.secretNamespace" if of_section else "spec.users"
