"""What to change in Patroni's live (dynamic) configuration so that it says what the manifest asks: the smallest PATCH.

Only keys that the manifest speaks of are touched; what people or other tools set beside them stays, and so does a key
that the manifest no longer speaks of, for its absence is not a value. But a manifest that says nothing of synchronous
replication asks for none, as with the reference: who takes it out because commits wait for a lost standby means it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MISSING = object()
_ABSENT_MEANS: Mapping[tuple[str, ...], Any] = {
    ("failsafe_mode",): False,
    ("synchronous_mode",): False,
    ("synchronous_mode_strict",): False,
    ("synchronous_node_count",): 1,
}
"""Patroni's own defaults, https://patroni.readthedocs.io/en/latest/dynamic_configuration.html: to say them changes nothing."""

UNSAID: Mapping[str, Any] = {
    "synchronous_mode": False,
    "synchronous_mode_strict": False,
    "synchronous_node_count": 1,
}
"""What a manifest asks for that does not say these."""

_BOOLEAN = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class Change:
    """One key of the configuration. `was` or `becomes` is None where the key is absent."""

    path: tuple[str, ...]
    was: Any
    becomes: Any

    def __str__(self) -> str:
        """`postgresql.parameters.work_mem: 4MB → 8MB`."""
        return f"{'.'.join(self.path)}: {_said(self.was)} → {_said(self.becomes)}"


@dataclass(frozen=True, slots=True)
class DynamicPatch:
    """The body for PATCH /config (empty: nothing to do), and a line per key."""

    body: Mapping[str, Any]
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        """Whether there is anything to change."""
        return bool(self.changes)

    @property
    def reason(self) -> str:
        """A sentence for the plan."""
        return "; ".join(str(change) for change in self.changes)


def dynamic_patch(desired: Mapping[str, Any], live: Mapping[str, Any]) -> DynamicPatch:
    """The patch from `live` to one that contains `desired`; a desired None removes the key."""
    changes = tuple(_changes((), desired, live))
    body: dict[str, Any] = {}
    for change in changes:
        _set(body, change.path, change.becomes)
    return DynamicPatch(body, changes)


def with_unsaid(desired: Mapping[str, Any], live: Mapping[str, Any]) -> Mapping[str, Any]:
    """`desired` with what the manifest asks for by saying nothing.

    Quorum commit stays where people chose it by hand: the manifest has no word for it, so its silence is none against it.
    """
    if "synchronous_mode" not in desired and str(live.get("synchronous_mode")).lower() == "quorum":
        return desired
    return {**UNSAID, **desired}


def _changes(path: tuple[str, ...], desired: Mapping[str, Any], live: Mapping[str, Any]) -> list[Change]:
    found: list[Change] = []
    for key, value in sorted(desired.items()):
        here, was = (*path, key), live.get(key, _MISSING)
        if isinstance(value, Mapping):
            # An empty mapping asks for nothing more than to exist, which only slots give a meaning.
            if not value and was is _MISSING and path == ("slots",):
                found.append(Change(here, None, {}))
            found += _changes(here, value, was if isinstance(was, Mapping) else {})
        elif not _equal(value, was, here):
            found.append(Change(here, None if was is _MISSING else was, value))
    return found


def _equal(desired: Any, live: Any, path: tuple[str, ...]) -> bool:
    if desired is None:
        return live is _MISSING or live is None
    if live is _MISSING or live is None:
        return bool(desired == _ABSENT_MEANS.get(path, _MISSING))
    if path[:2] == ("postgresql", "parameters"):
        return _parameter(desired) == _parameter(live)
    if isinstance(desired, bool) or isinstance(live, bool):
        return boolean(desired) == boolean(live)
    if isinstance(desired, (int, float, str)) and isinstance(live, (int, float, str)):
        return str(desired) == str(live)
    return bool(desired == live)


def _parameter(value: Any) -> str | bool:
    """PostgreSQL's view: everything is text, and booleans have several spellings (`1` and `0` stay numbers)."""
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return _BOOLEAN.get(text.lower(), text)


def boolean(value: Any) -> object:
    """A value as Patroni reads a switch, in all its spellings; any other as it is."""
    return _BOOLEAN.get(value.lower(), value) if isinstance(value, str) else value


def _set(body: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        body = body.setdefault(key, {})
    body[path[-1]] = value


def _said(value: Any) -> str:
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
