"""Server-side printing: the columns that kubectl shows for each kind."""

from __future__ import annotations

from collections.abc import Sequence

from .kinds import Kind
from .objects import Obj


def table_of(
    kind: Kind, objects: Sequence[Obj], metadata: Obj, api_version: str = "meta.k8s.io/v1", include: str = ""
) -> Obj:
    """A Table of objects."""
    return table(kind, objects, metadata, api_version, include)


def table(
    kind: Kind, objects: Sequence[Obj], metadata: Obj, api_version: str = "meta.k8s.io/v1", include: str = ""
) -> Obj:
    columns = [{"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}]
    rows = [
        {
            "cells": [o["metadata"]["name"]],
            "object": {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": o["metadata"]},
        }
        for o in objects
    ]
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }
