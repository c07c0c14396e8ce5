"""The leader's Endpoints, where Patroni does not keep its state in ConfigMaps. Its subsets are Patroni's, never ours."""

from howdah.core.objects.metadata import Body, metadata
from howdah.model import names
from howdah.model.cluster import Cluster


def endpoints(cluster: Cluster) -> tuple[Body, ...]:
    """One object, or none in ConfigMap mode. It has to be there before the service of its name, or the API makes one."""
    if cluster.dcs == "configmaps":
        return ()
    return (
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": metadata(
                cluster.names.leader_service,
                cluster.key.namespace,
                labels=cluster.labels.full_of(names.LEADER_ROLE),
                annotations=cluster.annotations.inherited,
                owner_references=cluster.owner_references,
            ),
        },
    )
