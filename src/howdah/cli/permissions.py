"""`howdah rbac`: the roles and bindings of an installation, as documents; nothing is asked or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from howdah.cli.output import JSON, YAML, check_format, print_documents
from howdah.core.permissions import Installation, roles

FORMATS = (YAML, JSON)


def print_roles(installation: Installation, watched: Sequence[str], output: str) -> None:
    """As `kubectl apply -f -` reads them; without `watched`, for the whole cluster."""
    check_format(output, FORMATS)
    places = tuple(dict.fromkeys(watched))
    print_documents(roles(replace(installation, watched=places or None)), output)
