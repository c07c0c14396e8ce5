"""Reads the operator configuration from its two forms. Every wrong value is told at once; unknown keys only warn."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from howdah.model.coverage import State, of_option
from howdah.model.errors import InvalidSpec, Problem
from howdah.model.settings.table import GROUPS, OPTIONS, REMOVED, Option, Settings
from howdah.model.units import Duration

Warnings = tuple[Problem, ...]

SHORTEST: Mapping[str, Duration] = {
    "resync_period": Duration.parse("1s"),  # shorter, and passes over all clusters are all that the operator does
    "leader_retry_period": Duration.parse("100ms"),  # likewise, with requests for the Lease
    "pod_terminate_grace_period": Duration.parse("1s"),  # with none a pod's name is free while its server still runs
}
"""Options that may be short, but not nothing; an empty string of a ConfigMap is nothing, too."""


def default_settings() -> tuple[Settings, Warnings]:
    """The settings of an operator without any configuration: those of an empty ConfigMap."""
    return settings_from_configmap({})


def settings_from_configmap(data: Mapping[str, Any]) -> tuple[Settings, Warnings]:
    """The settings that the `data` of a ConfigMap says; raises InvalidSpec."""
    problems: list[Problem] = []
    values = {name: _configmap_value(option, data, problems) for name, option in OPTIONS.items()}
    _refuse(problems)
    settings = Settings(**values)
    _refuse(_configmap_contradictions(settings))
    unknown = (_unknown(f"data.{key}", key, OPTIONS) for key in data if key not in OPTIONS)
    return settings, (*unknown, *_doubts(settings, "data."))


def settings_from_configuration(resource: Mapping[str, Any]) -> tuple[Settings, Warnings]:
    """The settings that an OperatorConfiguration says; raises InvalidSpec.

    A default of the schema holds only where the group is present, as on the API server; else the fallback does.
    """
    configuration = resource.get("configuration")
    if not isinstance(configuration, Mapping):
        problem = Problem("configuration", "is missing", "put the options under the key configuration")
        raise InvalidSpec([problem])
    problems = [
        Problem(f"configuration.{group}", "is not an object", "write its options as key: value lines")
        for group in GROUPS
        if not isinstance(configuration.get(group) or {}, Mapping)
    ]
    _refuse(problems)
    values = {name: _configuration_value(option, configuration, problems) for name, option in OPTIONS.items()}
    _refuse(problems)
    settings = Settings(**values)
    # The reference runs at least two pooler pods when it is configured this way.
    pods = max(settings.connection_pooler_number_of_instances, 2)
    settings = replace(settings, connection_pooler_number_of_instances=pods)
    _refuse(_contradictions(settings, "configuration"))
    return settings, (*_unknown_options(configuration), *_doubts(settings, "configuration.kubernetes."))


def _configmap_value(option: Option, data: Mapping[str, Any], problems: list[Problem]) -> Any:
    text = data.get(option.name)
    if text is None:
        return _default(option, option.default)
    path = f"data.{option.name}"
    if not isinstance(text, str):
        problems.append(Problem(path, f"{text} is not a string", "write it in quotes"))
        return None
    if not text and not option.kind.name.startswith("one of"):
        return option.kind.zero
    try:
        return option.kind.from_text(text)
    except ValueError as error:
        problems.append(Problem.of(path, error))
        return None


def _configuration_value(option: Option, configuration: Mapping[str, Any], problems: list[Problem]) -> Any:
    group = configuration.get(option.group) if option.group else configuration
    given = group.get(option.name) if isinstance(group, Mapping) else None
    if given is None and group is not None:
        given = option.schema
    if option.kind.is_empty(given) and option.fallback is not None:
        given = option.fallback
    if given is None:
        return option.kind.zero
    try:
        return option.kind.from_json(given)
    except ValueError as error:
        problems.append(Problem.of(option.path, error))
        return None


def _default(option: Option, value: Any) -> Any:
    return option.kind.zero if value is None else option.kind.from_json(value)


def _refuse(problems: list[Problem]) -> None:
    if problems:
        raise InvalidSpec(problems)


def _configmap_contradictions(settings: Settings) -> list[Problem]:
    problems = _contradictions(settings, "data")
    if 0 < settings.max_instances < settings.min_instances:
        hint = "raise max_instances or lower min_instances"
        message = f"{settings.min_instances} is above max_instances {settings.max_instances}"
        problems.append(Problem("data.min_instances", message, hint))
    if settings.workers < 1:
        problems.append(Problem("data.workers", "0 is not enough", "write 1 or more"))
    if settings.connection_pooler_number_of_instances < 1:
        path = "data.connection_pooler_number_of_instances"
        problems.append(Problem(path, "0 is not enough", "write 1 or more"))
    return problems


def _contradictions(settings: Settings, root: str) -> list[Problem]:
    problems = []
    if settings.connection_pooler_user == settings.super_username:
        path = "data" if root == "data" else f"{root}.connection_pooler"
        message = f'"{settings.connection_pooler_user}" is the superuser'
        problems.append(Problem(f"{path}.connection_pooler_user", message, "name another role"))
    lease, renew = settings.leader_lease_duration, settings.leader_renew_deadline
    if not Duration(0) < settings.leader_retry_period < renew < lease:
        path = "data" if root == "data" else f"{root}.howdah"
        message = f"{lease} is not longer than leader_renew_deadline {renew}, or that than leader_retry_period"
        hint = "write for example 15s, 10s and 2s"
        problems.append(Problem(f"{path}.leader_lease_duration", message, hint))
    return [*problems, *_too_short(settings, root)]


def _too_short(settings: Settings, root: str) -> Iterator[Problem]:
    for name, shortest in SHORTEST.items():
        value, option = getattr(settings, name), OPTIONS[name]
        if value < shortest:
            path = f"data.{name}" if root == "data" else option.path
            yield Problem(path, f"{value} is too short", f"write {shortest} or more, such as {option.default}")


def _doubts(settings: Settings, root: str) -> Iterator[Problem]:
    if "application" not in settings.cluster_labels:
        message = "has no key application: pods of poolers and backups then match the database's selector"
        yield Problem(f"{root}cluster_labels", message, "add application:spilo")
    for label in sorted({*settings.inherited_labels} & {*settings.cluster_labels}):
        message = f'"{label}" is in cluster_labels too: a resource with another value is refused'
        yield Problem(f"{root}inherited_labels", message, "remove it from one of them")
    for name, option in OPTIONS.items():
        path = f"data.{name}" if root == "data." else option.path
        value = getattr(settings, name)
        if option.kind.name == "list of strings" and any(item != item.strip() for item in value):
            yield Problem(path, "has items that begin or end with a blank", "write no blanks round the commas")
        coverage = of_option(name)
        if coverage.state is State.REPORTED and _is_chosen(option, value):
            yield Problem(path, "is not acted on", coverage.why)
        for key in value if option.kind.known_keys else ():
            if key not in option.kind.known_keys:
                hint = f"the keys are {', '.join(option.kind.known_keys)}"
                yield Problem(f"{path}.{key}", "is not known and is ignored", hint)


def _is_chosen(option: Option, value: Any) -> bool:
    """Whether it is none of the defaults that the option has."""
    return all(value != _default(option, default) for default in (option.default, option.schema, option.fallback))


def _unknown_options(configuration: Mapping[str, Any]) -> Iterator[Problem]:
    known_here = {name for name, option in OPTIONS.items() if not option.group}
    for key in configuration:
        if key not in known_here and key not in GROUPS:
            yield _unknown(f"configuration.{key}", key, {**OPTIONS, **dict.fromkeys(GROUPS)})
    for group in GROUPS:
        for key in configuration.get(group) or ():
            if key not in OPTIONS or OPTIONS[key].group != group:
                yield _unknown(f"configuration.{group}.{key}", key, OPTIONS)


def _unknown(path: str, key: str, known: Mapping[str, Any]) -> Problem:
    if key in REMOVED:
        return Problem(path, "is no longer an option and is ignored", REMOVED[key])
    if key in OPTIONS:
        return Problem(path, "is ignored here", f"move it to {OPTIONS[key].path}")
    near = get_close_matches(key, known, n=1)
    return Problem(path, "is not a known option and is ignored", f"did you mean {near[0]}?" if near else "remove it")
