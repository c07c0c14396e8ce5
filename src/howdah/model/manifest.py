"""From a raw `postgresql` resource to a typed manifest: every problem at once, each with its path, and warnings.

The fields are in `spec`, rules that join several fields in `manifest_rules`. Defaults are decided elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from howdah.model.errors import InvalidSpec, Problem
from howdah.model.manifest_rules import problems_of, warnings_of, with_successors
from howdah.model.spec import Manifest

__all__ = ["InvalidManifest", "Manifest", "Parsed", "dump_manifest", "parse_manifest", "problems_in", "unknown_fields"]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A manifest without mistakes, and what its author should know."""

    manifest: Manifest
    warnings: tuple[Problem, ...]


class InvalidManifest(InvalidSpec):
    """A manifest's own mistakes; `sound` is the manifest without them, for other rules, None if too little is left."""

    def __init__(self, problems: Iterable[Problem], sound: Manifest | None) -> None:
        super().__init__(problems)
        self.sound = sound


def parse_manifest(raw: Mapping[str, Any]) -> Parsed:
    """The manifest that `raw` (decoded JSON) is; raises InvalidManifest with every problem.

    Removed fields count for their successors by the rules of the last release that had them.
    """
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        sound = _sound_part(raw, error)
        further = problems_of(sound) if sound else ()
        raise InvalidManifest((*problems_in(error), *further), sound) from None
    problems = tuple(problems_of(manifest))
    if problems:
        raise InvalidManifest(problems, manifest)
    warnings = (*unknown_fields(manifest.spec, "spec"), *warnings_of(manifest))
    return Parsed(with_successors(manifest), tuple(sorted(warnings)))


def dump_manifest(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON again, with the unknown fields, without absent ones."""
    return manifest.model_dump(mode="json", by_alias=True, exclude_unset=True)


def problems_in(error: ValidationError) -> Iterator[Problem]:
    """What pydantic found, in our words."""
    for detail in error.errors(include_url=False):
        yield Problem.of(_path(detail["loc"]), ValueError(_sentence(detail)))


def unknown_fields(part: BaseModel, path: str) -> Iterator[Problem]:
    """A warning for each field below `part` that its type does not know."""
    known = [field.alias or name for name, field in type(part).model_fields.items()]
    for name in part.model_extra or ():
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        yield Problem(f"{path}.{name}", "is not a known field and is ignored", hint)
    fields = type(part).model_fields
    for name in part.model_fields_set & fields.keys():
        yield from _unknown_below(getattr(part, name), f"{path}.{fields[name].alias or name}")


def _unknown_below(value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, BaseModel):
        yield from unknown_fields(value, path)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _unknown_below(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, BaseModel):
                yield from unknown_fields(item, path + _step(key))


_STAND_INS: Mapping[int | str, Any] = {
    "apiVersion": "acid.zalan.do/v1",
    "kind": "postgresql",
    "metadata": {"name": "x"},
    "name": "x",
    "teamId": "",
    "numberOfInstances": 0,
    "postgresql": {"version": "18"},
    "version": "18",
    "volume": {"size": "1Gi"},
    "size": "1Gi",
    "cluster": "x",
    "mountPath": "/x",
    "volumeSource": {},
    "secretName": "",
}
"""For required fields that are missing or wrong: what no rule objects to."""


def _sound_part(raw: Mapping[str, Any], error: ValidationError) -> Manifest | None:
    """The manifest without what `error` found, so that the other rules can be asked too; None if too little is left."""
    part = deepcopy(dict(raw))
    for _ in range(3):  # what is wrong goes, then what is missing for it comes
        for detail in error.errors(include_url=False):
            if not _mend(part, detail["loc"], is_missing=detail["type"] == "missing"):
                return None
        try:
            return Manifest.model_validate(part)
        except ValidationError as next_error:
            error = next_error
    return None


def _mend(part: dict[str, Any], steps: tuple[int | str, ...], *, is_missing: bool) -> bool:
    steps = tuple(step for step in steps if step != "[key]")
    while len(steps) > 1 and isinstance(steps[-1], int):
        steps = steps[:-1]  # a list goes as a whole, or the places of its items would shift
    parent: Any = part
    for step in steps[:-1]:
        if not isinstance(parent, list | dict) or (isinstance(parent, dict) and step not in parent):
            return True  # it went with an earlier one
        parent = parent[step]  # type: ignore[index]
    if not steps or not isinstance(parent, dict):
        return False
    if is_missing and steps[-1] not in _STAND_INS:
        return False
    if is_missing:
        parent[str(steps[-1])] = deepcopy(_STAND_INS[steps[-1]])
    else:
        parent.pop(str(steps[-1]), None)
    return True


_SENTENCES: Mapping[str, Callable[[Any, Mapping[str, Any]], str]] = {
    "problem": lambda _, context: str(context["sentence"]),
    "missing": lambda *_: "is missing; add it",
    "string_type": lambda value, _: f'{_shown(value)} is not a string; write it in quotes: "{_plain(value)}"',
    "int_type": lambda value, _: f"{_shown(value)} is not an integer; write digits without quotes",
    "bool_type": lambda value, _: f"{_shown(value)} is not a boolean; write true or false without quotes",
    "greater_than_equal": lambda value, context: f"{value} is too small; write {context['ge']} or more",
    "less_than_equal": lambda value, context: f"{value} is too large; write {context['le']} or less",
    "literal_error": lambda value, context: f"{_shown(value)} is not known; write {context['expected']}",
    "dict_type": lambda value, _: f"{_shown(value)} is not a map; write key: value lines",
    "tuple_type": lambda value, _: f"{_shown(value)} is not a list; write a YAML list",
    "model_type": lambda value, _: f"{_shown(value)} is not an object; write key: value lines",
}


def _sentence(detail: ErrorDetails) -> str:
    value = detail["input"]
    if value is None and detail["type"] != "missing":
        return "has no value; write one, or remove it"
    sentence = _SENTENCES.get(detail["type"])
    return sentence(value, detail.get("ctx", {})) if sentence else f"{_shown(value)}: {detail['msg']}"


def _path(steps: Sequence[int | str]) -> str:
    # A wrong key of a map ends in a step of its own that pydantic calls [key].
    return "".join(_step(step) for step in steps if step != "[key]").removeprefix(".") or "manifest"


def _step(step: int | str) -> str:
    plain = isinstance(step, str) and "." not in step and "/" not in step
    return f".{step}" if plain else f"[{step}]"


def _shown(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else _plain(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
