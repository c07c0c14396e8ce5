"""The account that the pods run as and the binding of its role; one pair for all clusters of a namespace."""

from howdah.core.objects.metadata import Body
from howdah.model.cluster import Cluster


def service_account(cluster: Cluster) -> Body:
    """The account: without labels of the cluster and without an owner, for it outlives each of them."""
    return dict(cluster.service_account.account)


def role_binding(cluster: Cluster) -> Body:
    """What lets the account write Patroni's objects."""
    return dict(cluster.service_account.role_binding)
