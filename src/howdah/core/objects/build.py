"""All objects of a cluster, as plain dicts with exactly the fields that we mean, in the order in which they are created.

Building cannot fail and reads nothing but the resolved request. Secrets are not here: they are made once, with a
password that no plan holds (`secrets`).
"""

from collections.abc import Callable

from howdah.core.objects.cron_jobs import cron_jobs
from howdah.core.objects.disruption_budgets import disruption_budgets
from howdah.core.objects.endpoints import endpoints
from howdah.core.objects.event_streams import event_streams
from howdah.core.objects.metadata import Body, ordered
from howdah.core.objects.poolers import poolers
from howdah.core.objects.service_account import role_binding, service_account
from howdah.core.objects.services import services
from howdah.core.objects.statefulset import stateful_set
from howdah.model.cluster import Cluster

_BUILDERS: tuple[Callable[[Cluster], tuple[Body, ...]], ...] = (
    lambda cluster: (service_account(cluster), role_binding(cluster)),  # pods cannot start without them
    endpoints,  # before the service of the same name
    services,
    disruption_budgets,
    lambda cluster: (stateful_set(cluster),),  # late: it starts pods
    poolers,  # whose pods ask those
    cron_jobs,  # dump what there is by then
    event_streams,  # wait for what they read from: `core.streams`
)


def build(cluster: Cluster) -> tuple[Body, ...]:
    """Every object but the Secrets."""
    return tuple(ordered(body) for builder in _BUILDERS for body in builder(cluster))
