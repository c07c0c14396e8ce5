"""`howdah rbac`: the roles and bindings of an installation, as documents; nothing is asked or changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from howdah.cli.exits import Exit, Failed
from howdah.cli.output import JSON, YAML, check_format, print_documents
from howdah.core.permissions import Installation, roles

FORMATS = (YAML, JSON)


def print_roles(installation: Installation, watched: Sequence[str], output: str) -> None:
    """As `kubectl apply -f -` reads them; without `watched`, for the whole cluster."""
    check_format(output, FORMATS)
    places = tuple(dict.fromkeys(watched))
    try:
        made = roles(replace(installation, watched=places or None))
    except ValueError as error:  # of the definition of the pods' role binding
        raise Failed(str(error), Exit.INVALID) from None
    print_documents(made, output)
