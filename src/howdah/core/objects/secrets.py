"""Secrets without what they keep secret: who creates one adds `data` at that moment, so that no plan holds it."""

from howdah.core.objects.metadata import Body, metadata
from howdah.model.cluster import EnvironmentSecret, SecretRequest, UserList


def secret(request: SecretRequest | EnvironmentSecret | UserList) -> Body:
    """The Secret of a role, of credentials among the variables, or of a pooler's users; without data."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": metadata(
            request.name,
            request.namespace,
            labels=request.labels,
            annotations=request.annotations,
            owner_references=request.owner_references,
        ),
    }
