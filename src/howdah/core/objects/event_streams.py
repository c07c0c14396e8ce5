"""The objects that tell the streaming operator of zalando.org what to read: one for each application."""

from howdah.core.objects.metadata import Body, metadata
from howdah.model import names
from howdah.model.cluster import Cluster


def event_streams(cluster: Cluster) -> tuple[Body, ...]:
    """In the order of the manifest; none where nobody could read them."""
    if not cluster.streams.are_served:
        return ()
    return tuple(
        {
            "apiVersion": names.STREAM_API_VERSION,
            "kind": names.STREAM_KIND,
            "metadata": metadata(
                stream.name,
                cluster.key.namespace,
                labels=cluster.labels.full,
                annotations={**stream.amounts, **cluster.annotations.stateful_set},
                owner_references=cluster.owner_references,
            ),
            "spec": dict(stream.spec),
        }
        for stream in cluster.streams.of_applications
    )
