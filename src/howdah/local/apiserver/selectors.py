"""Label and field selectors: text → a question about an object."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ApiError, bad_request
from .kinds import Kind
from .objects import Obj, dig
from .store import Record


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector; `operator` is one of `in`, `notin`, `exists`, `absent`, `gt`, `lt`."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        try:
            bound, found = int(next(iter(self.values))), int(value)
        except ValueError:
            return False
        return found > bound if self.operator == "gt" else found < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """Both selectors of a request; empty ones accept everything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[tuple[str, ...], bool, str], ...] = ()
    name: str | None = None

    @property
    def is_empty(self) -> bool:
        return not self.labels and not self.fields and self.name is None

    def accepts(self, record: Record) -> bool:
        if not all(requirement.accepts(record.labels) for requirement in self.labels):
            return False
        if self.name is not None and record.name != self.name:
            return False
        return not self.fields or self._accepts_fields(record.obj())

    def _accepts_fields(self, obj: Obj) -> bool:
        return all((_field_text(obj, path) == value) is equal for path, equal, value in self.fields)


_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9][-a-z0-9.]*/)?{_NAME}"
_TERMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"!\s*({_KEY})()"), "absent"),
    (re.compile(rf"({_KEY})\s+in\s*\(([^)]*)\)"), "in"),
    (re.compile(rf"({_KEY})\s+notin\s*\(([^)]*)\)"), "notin"),
    (re.compile(rf"({_KEY})\s*!=\s*([^,!=<>]*)"), "notin"),
    (re.compile(rf"({_KEY})\s*==?\s*([^,!=<>]*)"), "in"),
    (re.compile(rf"({_KEY})\s*>\s*(-?\d+)"), "gt"),
    (re.compile(rf"({_KEY})\s*<\s*(-?\d+)"), "lt"),
    (re.compile(rf"({_KEY})()"), "exists"),
)
_COMMA = re.compile(r",(?![^(]*\))")
_VALUE = re.compile(rf"(?:{_NAME})?")


def label_requirements(text: str) -> tuple[Requirement, ...]:
    """The terms of a label selector such as `app=x,role in (a,b),!old`."""
    return tuple(_requirement(term.strip(), text) for term in _COMMA.split(text)) if text.strip() else ()


def _requirement(term: str, whole: str) -> Requirement:
    for pattern, operator in _TERMS:
        found = pattern.fullmatch(term)
        if found:
            values = frozenset(value.strip() for value in found[2].split(","))
            if all(len(value) <= 63 and _VALUE.fullmatch(value) for value in values):
                return Requirement(found[1], operator, values)
    raise bad_request(f"unable to parse requirement: found '{term}' in label selector {whole!r}")


def selects(label_selector: Obj | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object selects labels. None selects nothing, an empty one everything."""
    if label_selector is None:
        return False
    return all(term.accepts(labels) for term in requirements_of(label_selector))


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def requirements_of(label_selector: Obj) -> tuple[Requirement, ...]:
    """The terms of a LabelSelector object."""
    exact = ((label_selector.get("matchLabels")) or {}).items()
    terms = [Requirement(key, "in", frozenset((value,))) for key, value in exact]
    for entry in label_selector.get("matchExpressions") or ():
        values = frozenset(entry.get("values") or ())
        terms.append(Requirement(entry.get("key", ""), _OPERATORS.get(entry.get("operator"), "in"), values))
    return tuple(terms)


def selector_text(label_selector: Obj | None) -> str:
    """A LabelSelector object as kubectl prints it: `a=b,c in (d,e)`."""
    if not label_selector:
        return "<none>"
    terms = [f"{key}={value}" for key, value in sorted((label_selector.get("matchLabels") or {}).items())]
    shapes: Mapping[str, Callable[[str, str], str]] = {
        "In": lambda key, values: f"{key} in ({values})",
        "NotIn": lambda key, values: f"{key} notin ({values})",
        "Exists": lambda key, _: key,
        "DoesNotExist": lambda key, _: f"!{key}",
    }
    for entry in label_selector.get("matchExpressions") or ():
        values = ",".join(sorted(entry.get("values") or ()))
        terms.append(shapes[entry["operator"]](entry["key"], values))
    return ",".join(sorted(terms)) or "<none>"


_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_EVENT_FIELDS = frozenset(
    {
        *(
            f"involvedObject.{part}"
            for part in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        ),
        *(f"regarding.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion")),
        "reason",
        "reportingComponent",
        "reportingController",
        "source",
        "type",
    }
)
_KIND_FIELDS: Mapping[str, frozenset[str]] = {
    "pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        }
    ),
    "events": _EVENT_FIELDS,
    "secrets": frozenset({"type"}),
    "namespaces": frozenset({"status.phase"}),
    "nodes": frozenset({"spec.unschedulable"}),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "replicasets.apps": frozenset({"status.replicas"}),
    "jobs.batch": frozenset({"status.successful"}),
}
_FIELD_TERM = re.compile(r"([^=!]+?)(!=|==|=)(.*)")
_ALIASES = {
    "source": ("source", "component"),
    "reportingComponent": ("reportingComponent",),
    "reportingController": ("reportingComponent",),
    "status.successful": ("status", "succeeded"),
}


def parse_selector(kind: Kind, label_text: str, field_text: str) -> Selector:
    """The selectors of a request for a kind; 400 where they cannot be understood."""
    terms = []
    name = None
    for term in filter(None, (part.strip() for part in re.split(r"(?<!\\),", field_text))):
        path, equal, value = _field_term(kind, term)
        if equal and path == ("metadata", "name") and name in (None, value):
            name = value
        else:
            terms.append((path, equal, value))
    return Selector(label_requirements(label_text), tuple(terms), name)


def _field_term(kind: Kind, term: str) -> tuple[tuple[str, ...], bool, str]:
    found = _FIELD_TERM.fullmatch(term)
    if not found:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    field, operator, value = found[1].strip(), found[2], re.sub(r"\\(.)", r"\1", found[3])
    if field not in _COMMON_FIELDS and field not in _supported_fields(kind):
        raise _unsupported_field(kind, field)
    if field.startswith("regarding."):
        field = "involvedObject." + field.removeprefix("regarding.")
    return _ALIASES.get(field, tuple(field.split("."))), operator != "!=", value


def _supported_fields(kind: Kind) -> frozenset[str]:
    if kind.custom is not None:
        return frozenset(path.lstrip(".") for path in kind.custom.selectable)
    return _KIND_FIELDS.get(kind.storage, frozenset())


def _unsupported_field(kind: Kind, field: str) -> ApiError:
    if kind.custom is not None or kind.storage in _KIND_FIELDS:
        return bad_request(f"field label not supported: {field}")
    return bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')


def _field_text(obj: Obj, path: tuple[str, ...]) -> str:
    value: Any = dig(obj, *path)
    if value is None and path == ("spec", "unschedulable"):
        return "false"
    if value is None and path == ("status", "succeeded"):
        return "0"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
