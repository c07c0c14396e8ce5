"""Server-side printing: the columns that kubectl shows, for built-in kinds and by the printer columns of CRDs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .durations import since
from .jsonpath import values_at
from .kinds import Kind
from .objects import Obj, encode
from .printers import COLUMNS, EVENT_COLUMNS, age, event_cells

_NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)
_STORAGE_CLASS = "storageclasses.storage.k8s.io"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def _column(name: str, kind: str = "string", priority: int = 0, description: str = "", form: str = "") -> Obj:
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def _name_column(priority: int = 0) -> Obj:
    return _column("Name", description=_NAME_DESCRIPTION, form="name", priority=priority)


def _parsed_column(text: str) -> Obj:
    name, _, kind = text.removesuffix("*").partition(":")
    return _column(name, kind or "string", 1 if text.endswith("*") else 0)


def columns_of(kind: Kind) -> list[Obj]:
    """The column definitions of a kind."""
    if kind.storage == "events":
        return [*map(_parsed_column, EVENT_COLUMNS), _name_column(1)]
    if kind.custom is None:
        names, _ = COLUMNS.get(kind.storage, (("Age",), None))
        return [_name_column(), *map(_parsed_column, names)]
    described = [_custom_column(column) for column in _custom_columns(kind)]
    return [_name_column(), *described]


_AGE_COLUMN: Obj = {
    "name": "Age",
    "type": "date",
    "jsonPath": ".metadata.creationTimestamp",
    "description": "CreationTimestamp is a timestamp representing the server time when this object was created.",
}


def _custom_columns(kind: Kind) -> Sequence[Obj]:
    assert kind.custom is not None
    return kind.custom.columns or (_AGE_COLUMN,)


def _custom_column(column: Obj) -> Obj:
    text = column.get("description") or f"Custom resource definition column (in JSONPath format): {column['jsonPath']}"
    return _column(column["name"], column["type"], column.get("priority", 0), text, column.get("format", ""))


def cells_of(kind: Kind, obj: Obj, now: datetime) -> list[Any]:
    """The row of an object."""
    name = obj["metadata"]["name"]
    if kind.storage == "events":
        return event_cells(obj, now)
    if kind.custom is not None:
        return [name, *(_custom_cell(obj, column, now) for column in _custom_columns(kind))]
    if kind.storage == _STORAGE_CLASS and _is_default(obj):
        name += " (default)"
    _, cells = COLUMNS.get(kind.storage, ((), None))
    return [name, *(cells(obj, now) if cells else [age(obj, now)])]


def _is_default(obj: Obj) -> bool:
    return (obj["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"


def _custom_cell(obj: Obj, column: Obj, now: datetime) -> Any:
    found = values_at(obj, column["jsonPath"])
    if not found or found[0] is None:
        return None
    value, kind = found[0], column["type"]
    if kind == "date":
        return since(str(value), now)
    if kind == "integer":
        return int(value) if isinstance(value, (int, float)) else None
    if kind == "number":
        return float(value) if isinstance(value, (int, float)) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return ",".join(_text(item) for item in found) if len(found) > 1 else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return encode(value).decode()
    return str(value)


def table_of(
    kind: Kind,
    objects: Sequence[Obj],
    metadata: Mapping[str, Any],
    api_version: str = "meta.k8s.io/v1",
    include: str = "",
    *,
    columns: bool = True,
) -> Obj:
    """A Table of objects. `include` says how much of each object a row carries: Metadata (as ""), Object, None."""
    now = datetime.now(UTC)
    rows = [_row(cells_of(kind, obj, now), obj, api_version, include) for obj in objects]
    return _table(columns_of(kind) if columns else None, rows, metadata, api_version)


def scale_table(
    kind: Kind,
    scales: Sequence[Obj],
    metadata: Mapping[str, Any],
    api_version: str = "meta.k8s.io/v1",
    include: str = "",
) -> Obj:
    """A Table of the Scales of objects of a kind."""
    now = datetime.now(UTC)
    rows = [_row(_scale_cells(scale, now), scale, api_version, include) for scale in scales]
    name, age_type = (_column("Name"), "string") if kind.custom is None else (_name_column(), "date")
    numbers = (_column("Desired", "integer"), _column("Available", "integer"))
    return _table([name, *numbers, _column("Age", age_type)], rows, metadata, api_version)


def _scale_cells(scale: Obj, now: datetime) -> list[Any]:
    return [scale["metadata"]["name"], scale["spec"].get("replicas", 0), scale["status"]["replicas"], age(scale, now)]


def _table(columns: list[Obj] | None, rows: list[Obj], metadata: Mapping[str, Any], api_version: str) -> Obj:
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


def _row(cells: list[Any], obj: Obj, api_version: str, include: str) -> Obj:
    row: Obj = {"cells": cells}
    if include == "Object":
        row["object"] = obj
    elif include == "None":
        row["object"] = None
    else:
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": obj["metadata"]}
    return row
