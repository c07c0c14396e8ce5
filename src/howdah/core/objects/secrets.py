"""Secrets without what they keep secret: who creates one adds `data` at that moment, so that no plan holds it."""

from howdah.core.objects.metadata import Body, metadata
from howdah.model.cluster import EnvironmentSecret, SecretRequest


def secret(request: SecretRequest | EnvironmentSecret) -> Body:
    """The Secret of a role, or of credentials among the variables, without data."""
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
