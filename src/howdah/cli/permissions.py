"""`howdah rbac`: the roles and bindings of an installation, as documents; nothing is asked or changed."""

from __future__ import annotations

from collections.abc import Sequence

from howdah.cli.output import JSON, YAML, check_format, print_documents
from howdah.core.permissions import Installation, roles

FORMATS = (YAML, JSON)


def print_roles(
    name: str, namespace: str, watched: Sequence[str], pod_account: str, output: str, *, nodes: bool = False
) -> None:
    """As `kubectl apply -f -` reads them; without `watched`, for the whole cluster."""
    check_format(output, FORMATS)
    places = tuple(dict.fromkeys(watched))
    installation = Installation(name, namespace, places or None, pod_account, sees_nodes=nodes)
    print_documents(roles(installation), output)
