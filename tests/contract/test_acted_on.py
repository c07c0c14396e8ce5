"""`model.coverage` is true: what has no row there has an effect, what is reported only has none."""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contract.chance import Chance
from contract.configurations import chosen, configuration
from contract.manifests import SPEC, WORDS, manifest, part_at
from contract.schemas import Json, fitting, paths, places
from contract.test_any_input import allowing, everything
from howdah.core.request.asked import References
from howdah.core.resolve import resolve
from howdah.model import coverage
from howdah.model.cluster import Cluster
from howdah.model.coverage import State
from howdah.model.errors import InvalidSpec
from howdah.model.manifest import parse_manifest
from howdah.model.settings import OPTIONS, Settings, settings_from_configmap, settings_from_configuration

SOURCE = Path(__file__).parents[2] / "src" / "howdah"
MOST_MANIFESTS = 20_000
CHANGES = 40
"""So often a field is changed before it counts as one without an effect; most show it at the first change."""


def test_a_field_without_a_row_has_an_effect() -> None:
    silent = [
        path for path in all_fields() if path not in acting_fields() and coverage.of_field(path).state is State.DONE
    ]

    assert silent == [], "nothing reads these fields: say so in model/coverage.py"


def test_a_field_that_is_reported_only_has_no_effect() -> None:
    acting = [path for path in sorted(acting_fields()) if coverage.of_field(path).state is State.REPORTED]

    assert acting == [], "these fields reach the request now: delete their rows in model/coverage.py"


def test_a_field_that_is_done_partly_has_an_effect() -> None:
    rows = [path for path, row in coverage.FIELDS.items() if row.state is State.PARTLY]

    assert [path for path in rows if path not in acting_fields()] == []


def test_an_option_without_a_row_is_read() -> None:
    unread = [name for name in OPTIONS if name not in read_options() and coverage.of_option(name).state is State.DONE]

    assert unread == [], "nothing reads these options: say so in model/coverage.py"


def test_an_option_that_is_reported_only_or_ignored_is_not_read() -> None:
    without_effect = (State.REPORTED, State.NEEDLESS)
    read = [name for name in sorted(read_options()) if coverage.of_option(name).state in without_effect]

    assert read == [], "these options are read now: delete their rows in model/coverage.py"


def test_every_row_is_about_something() -> None:
    assert [path for path in coverage.FIELDS if path not in all_fields()] == []
    assert [name for name in coverage.OPTIONS if name not in OPTIONS] == []


def test_who_uses_a_field_that_is_reported_only_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "FIELDS", {"env": coverage.Coverage(State.REPORTED, "for this test")})
    raw = {**manifest(Chance(1)), "spec": {"teamId": "acid", "volume": {"size": "1Gi"}, "numberOfInstances": 1}}
    raw["spec"] |= {"postgresql": {"version": "18"}, "env": [{"name": "A", "value": "x"}]}
    spec = parse_manifest(raw).manifest.spec
    assert [warning.path for warning in coverage.unheeded(spec)] == ["spec.env"]
    assert list(coverage.unheeded(spec.model_copy(update={"env": None}))) == []


def test_who_sets_an_option_that_is_reported_only_is_told() -> None:
    rows = [name for name, row in coverage.OPTIONS.items() if row.state is State.REPORTED]
    switches = [name for name in rows if OPTIONS[name].kind.name == "boolean" and OPTIONS[name].schema is None]
    switches = [name for name in switches if not OPTIONS[name].default]

    warnings = settings_from_configmap(dict.fromkeys(switches, "true"))[1]

    assert {warning.path for warning in warnings} >= {f"data.{name}" for name in switches}


# in this file

SOUND = settings_from_configmap({})[0]
SLOW = ("pod_service_account_definition", "pod_service_account_role_binding_definition")
"""Documents that every resolution parses."""
_READ: set[str] = set()


class Watched(Settings):
    """Settings that note which of them are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in OPTIONS:
            _READ.add(name)
        return object.__getattribute__(self, name)


def all_fields() -> list[str]:
    """As the table says them: without a step for items and keys."""
    return list(dict.fromkeys(without_stars(path) for path, _ in paths(SPEC)))


def without_stars(path: str) -> str:
    return ".".join(step for step in path.split(".") if step != "*")


@cache
def acting_fields() -> frozenset[str]:
    """Fields whose change alone changed the request of some manifest."""
    open_ones = Counter({path: CHANGES for path, _ in paths(SPEC)})
    found: set[str] = set()
    for number in range(MOST_MANIFESTS):
        raw = manifest(Chance(number))
        untold = [(steps, path) for steps in places(raw["spec"]) if open_ones[path := schema_path(steps)] > 0]
        if not untold:
            continue
        known = some_settings(number)
        references = everything(known, raw["metadata"]["namespace"])
        before = decided(raw, known, references)
        for steps, path in untold:
            open_ones[path] -= 1
            after = changed(raw, steps, path, known, references)
            if after is not None and after != before:
                found.add(path)
                open_ones[path] = 0
    assert not +open_ones, f"not changed often enough: {sorted(+open_ones)}"
    return frozenset(map(without_stars, found))


def changed(
    raw: Json, steps: tuple[str | int, ...], path: str, known: Settings, references: References
) -> Cluster | None:
    """The request with another value in this place, or without one; None where neither is valid."""
    for attempt in range(5):
        try:
            return decided(with_another(raw, steps, path, attempt), known, references)
        except InvalidSpec:
            continue
    return None


def some_settings(number: int) -> Settings:
    options = allowing(chosen(Chance(-number)))
    return settings_from_configuration(configuration({n: v for n, v in options.items() if n not in SLOW}))[0]


def decided(raw: Json, known: Settings, references: References) -> Cluster:
    return replace(resolve(raw, known, references), warnings=())


def with_another(raw: Json, steps: tuple[str | int, ...], path: str, attempt: int) -> Json:
    changed = deepcopy(raw)
    parent = changed["spec"]
    for step in steps[:-1]:
        parent = parent[step]
    part = part_at(SPEC, steps)
    if part is None or attempt == 1:
        del parent[steps[-1]]
    else:
        others = (fitting(part, WORDS, Chance(20 * attempt + number), path) for number in range(20))
        parent[steps[-1]] = next((other for other in others if other != parent[steps[-1]]), None)
    return changed


def schema_path(steps: tuple[str | int, ...]) -> str:
    found, schema = [], SPEC
    for step in steps:
        below = schema.get("properties") or {}
        found.append(str(step) if step in below else "*")
        schema = below.get(step) or schema.get("items") or schema.get("additionalProperties") or {}
    return ".".join(found)


def value_at(part: Any, path: str) -> Any:
    for step in path.split("."):
        part = part.get(step) if isinstance(part, Mapping) else None
    return part


@cache
def read_options() -> frozenset[str]:
    """Options that resolving reads, and those that the source reads by name from something called settings."""
    for number in range(200):
        known = some_settings(number)
        watched = Watched(**{field.name: getattr(known, field.name) for field in fields(Settings)})
        raw = manifest(Chance(number))
        for stands_in in ("logicalBackup", "resourceDefaults", "minimumLimits"):  # they copy all options
            raw["spec"].pop(stands_in, None)
        resolve(raw, watched, everything(known, raw["metadata"]["namespace"]))
    by_name = {node.attr for node in attributes() if node.attr in OPTIONS and named(node.value).endswith("settings")}
    return frozenset(_READ | by_name)


def attributes() -> Iterator[ast.Attribute]:
    for file in SOURCE.rglob("*.py"):
        if "settings" not in file.parent.name:
            yield from (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute))


def named(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
