"""What makes a request impossible although each field of the manifest is right: names, references, forbidden parts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from howdah.core.request.asked import (
    Asked,
    Reference,
    backup_environment_secret,
    environment_config_map,
    environment_secret,
)
from howdah.core.request.services import has_team_prefix
from howdah.core.request.stores import manifest_references, needed_references, store_faults
from howdah.core.request.volumes import clashes
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.settings import Settings
from howdah.model.units import PgVersion

_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_OBJECT_NAME = 253


def required_references(
    settings: Settings, namespace: str, spec: Mapping[str, Any] | None = None
) -> tuple[Reference, ...]:
    """What has to be read before a request can be resolved: for the pods, and for backups where they are asked for.

    `spec` is the manifest's as it is written, perhaps with mistakes.
    """
    found = (
        *_of_pods(settings, namespace),
        backup_environment_secret(settings, namespace),
        *manifest_references(spec or {}, namespace),
    )
    return tuple(dict.fromkeys(reference for reference in found if reference is not None))


def _of_pods(settings: Settings, namespace: str) -> tuple[Reference | None, ...]:
    return environment_config_map(settings, namespace), environment_secret(settings, namespace)


def missing_references(asked: Asked) -> tuple[Reference, ...]:
    """What was not found and this cluster needs."""
    settings, namespace = asked.settings, asked.names.namespace
    of_backup = backup_environment_secret(settings, namespace) if asked.spec.enable_logical_backup else None
    found = (*_of_pods(settings, namespace), of_backup, *needed_references(asked))
    return tuple(reference for reference in found if reference is not None and reference not in asked.references)


def missing(reference: Reference) -> Problem:
    """The problem that a missing object is."""
    return Problem(reference.option, f"{reference} does not exist", "create it")


def faults(asked: Asked) -> Iterator[Problem]:
    """Everything that makes the request impossible, but missing objects."""
    yield from _team(asked)
    yield from _object_names(asked)
    yield from _options(asked.settings)
    yield from _node_affinity(asked.spec.node_affinity or {})
    yield from clashes(asked)
    yield from store_faults(asked)
    # What runs already goes on running: the reference refuses these at creation only.
    if not asked.live.exists:
        yield from _forbidden(asked)
    for index, sidecar in enumerate(asked.spec.sidecars or ()):
        if not sidecar.image:
            yield Problem(f"spec.sidecars[{index}]", "has no image", "add it")


def doubts(asked: Asked) -> Iterator[Problem]:
    """What is done as asked although the operator forbids it to new clusters."""
    if asked.live.exists:
        yield from _forbidden(asked)


def _team(asked: Asked) -> Iterator[Problem]:
    team, cluster = asked.spec.team_id, asked.names.cluster
    if _LABEL_VALUE.fullmatch(team) is None:
        hint = "write letters, digits and - _ . between them, at most 63"
        yield Problem("spec.teamId", f'"{team}" cannot be the value of a label', hint)
    if asked.settings.enable_team_id_clustername_prefix and not has_team_prefix(cluster, team):
        message = f'"{cluster}" does not begin with its team, as enable_team_id_clustername_prefix asks'
        yield Problem("metadata.name", message, f"name it {team or 'team'}-{cluster}, and set spec.teamId")


def _object_names(asked: Asked) -> Iterator[Problem]:
    kubernetes = "configuration.kubernetes"
    formed = [
        (f"{kubernetes}.secret_name_template", asked.names.secret(asked.settings.super_username)),
        (f"{kubernetes}.pdb_name_format", asked.names.primary_budget),
        (f"{kubernetes}.pod_service_account_name", asked.names.service_account),
    ]
    if asked.spec.enable_logical_backup:
        formed.append(("configuration.logical_backup.logical_backup_job_prefix", asked.names.backup_job))
    for path, name in formed:
        if _OBJECT_NAME.fullmatch(name) is None or len(name) > _LONGEST_OBJECT_NAME:
            hint = "use lower-case letters, digits, - and . and the placeholders that the reference page lists"
            yield Problem(path, f'gives "{name}", which cannot name an object', hint)


def _options(settings: Settings) -> Iterator[Problem]:
    for index, pattern in enumerate(settings.downscaler_annotations):
        try:
            re.compile(pattern)
        except re.error as error:
            path = f"configuration.kubernetes.downscaler_annotations[{index}]"
            yield Problem(path, f'"{pattern}" is not a regular expression ({error})', "write one, such as ^downscaler/")
    if settings.major_version_upgrade_mode == "full":
        for option in ("minimal_major_version", "target_major_version"):
            try:
                PgVersion.parse(getattr(settings, option))
            except ValueError as error:
                yield Problem.of(f"configuration.major_version_upgrade.{option}", error)


def _node_affinity(written: Mapping[str, Any]) -> Iterator[Problem]:
    required = written.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = (required.get("nodeSelectorTerms") or []) if isinstance(required, Mapping) else None
    if not isinstance(terms, list) or not all(isinstance(term, Mapping) for term in terms):
        path = "spec.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
        yield Problem(path, "is not a node selector", "write nodeSelectorTerms with a list of terms")
    elif not all(isinstance(term.get("matchExpressions") or [], list) for term in terms):
        path = "spec.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        yield Problem(path, "has matchExpressions that are not a list", "write a YAML list")


def _forbidden(asked: Asked) -> Iterator[Problem]:
    settings, spec = asked.settings, asked.spec
    if spec.sidecars and not settings.enable_sidecars:
        yield Problem("spec.sidecars", "is forbidden by enable_sidecars: false", "remove it")
    if spec.init_containers and not settings.enable_init_containers:
        yield Problem("spec.initContainers", "is forbidden by enable_init_containers: false", "remove it")


def changed_store(asked: Asked, configured: names.Dcs) -> Iterator[Problem]:
    """A warning where Patroni's state stays where it is, although the operator's settings say another place."""
    if asked.dcs != configured:
        message = f"keeps its state in {asked.dcs}, not in {configured} as the configuration says"
        hint = (
            "leave it; or move it with an outage: numberOfInstances 1, then 0, delete Patroni's objects and after them "
            f"the StatefulSet, annotate the resource with {names.USE_KEPT_VOLUMES}=true, and numberOfInstances 1 again"
        )
        yield Problem("metadata.name", message, hint)
