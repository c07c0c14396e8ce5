"""The pods and services of a cluster's poolers, for the verbs that show a cluster."""

from __future__ import annotations

from howdah.cli.arrival import doing
from howdah.cli.operator_settings import OperatorSettings
from howdah.core.resolve import label_keys
from howdah.kube.client import Client, Object
from howdah.kube.resources import PODS, SERVICES
from howdah.model import names
from howdah.model.observed import Pod


async def pooler_pods(
    client: Client, operator: OperatorSettings, namespace: str, cluster: str
) -> tuple[tuple[str, str], ...]:
    """Name and what it does, as a sentence without its subject."""
    found = await client.list(PODS, namespace=namespace, labels=_selector(operator, cluster), type=Pod)
    return tuple((pod.name, pooler_doing(pod)) for pod in sorted(found.items, key=lambda pod: pod.name))


async def pooler_services(client: Client, operator: OperatorSettings, namespace: str, cluster: str) -> list[Object]:
    """The leader's pooler's, then the replicas'."""
    return list((await client.list(SERVICES, namespace=namespace, labels=_selector(operator, cluster))).items)


def pooler_doing(pod: Pod) -> str:
    """A pooler has no Patroni to ask: it takes connections when it is Ready."""
    if pod.is_ready and not pod.is_deleting:
        return "takes connections"
    said = doing(pod)
    return said if said.startswith(("is being deleted", "does not start")) else "is being started"


def _selector(operator: OperatorSettings, cluster: str) -> str:
    return names.selector_text(label_keys(operator.settings).pooler_selector(cluster))
