"""The environment of the postgres container: every source in the contract's precedence, no name twice.

Sources are added if absent, names compared without regard to case, as in the reference. It appends the variables of
clone and standby without that check; of two entries the later one holds in the container, so here it alone is kept.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from howdah.core.request.asked import Asked, Json, environment_config_map, environment_secret
from howdah.core.request.recovery import from_secret, recovery_environment, variable
from howdah.core.request.stores import archive_environment, is_displaced
from howdah.model import names
from howdah.model.errors import Problem
from howdah.model.settings import Settings
from howdah.model.units import PgVersion

Environment = tuple[Json, ...]


def environment(asked: Asked, *, version: PgVersion, spilo: Json, certificates: Iterable[Json]) -> Environment:
    """All variables, in order. `certificates`: those of section `tls`."""
    env = _added((), _generated(asked, version, spilo))
    env = _added(env, map(normalised, asked.spec.env or ()))
    env = overriding(env, recovery_environment(asked))
    env = _added(env, archive_environment(asked, version))
    for source in (_from_secret, _from_config_map, _archive_and_logs):
        env = _added(env, (entry for entry in source(asked) if not is_displaced(str(entry["name"]), asked)))
    return _added(env, certificates)


def hidden_variables(asked: Asked, env: Environment) -> Iterator[Problem]:
    """Variables of the manifest that do not reach the container as written, or hide others by their case."""
    final = {str(entry["name"]): entry for entry in env}
    generated = {str(entry["name"]).lower(): str(entry["name"]) for entry in env}
    for index, written in enumerate(asked.spec.env or ()):
        name, path = str(written["name"]), f"spec.env[{index}]"
        if final.get(name) != normalised(written):
            yield Problem(path, f"{name} has no effect: the operator sets it", "remove it")
        elif name.upper() != name and name.upper() in _OURS and generated[name.lower()] == name:
            yield Problem(path, f"{name} keeps {name.upper()} from being set", f"write {name.upper()}")


def normalised(entry: Mapping[str, Any]) -> Json:
    """An entry as the API server keeps it, so that it compares equal later."""
    source = entry.get("valueFrom")
    if not source:
        return {"name": entry["name"], "value": entry.get("value") or ""}
    field = source.get("fieldRef")
    if field is not None:
        source = {**source, "fieldRef": {"apiVersion": "v1", **field}}
    return {"name": entry["name"], "valueFrom": source}


def _added(env: Environment, more: Iterable[Json]) -> Environment:
    """`more` after `env`, without names that are there already in any case."""
    result, seen = list(env), {str(entry["name"]).lower() for entry in env}
    for entry in more:
        if (name := str(entry["name"]).lower()) not in seen:
            seen.add(name)
            result.append(entry)
    return tuple(result)


def overriding(env: Environment, more: Iterable[Json]) -> Environment:
    """`more` after `env`, in the place of what has the same names."""
    added = tuple(more)
    replaced = {entry["name"] for entry in added}
    return (*(entry for entry in env if entry["name"] not in replaced), *added)


def field_variable(name: str, path: str) -> Json:
    """An entry whose value is a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _generated(asked: Asked, version: PgVersion, spilo: Json) -> Iterator[Json]:
    settings, cluster = asked.settings, asked.names
    yield variable("SCOPE", cluster.cluster)
    yield variable("PGROOT", names.PGROOT)
    yield field_variable("POD_IP", "status.podIP")
    yield field_variable("POD_NAMESPACE", "metadata.namespace")
    yield variable("PGUSER_SUPERUSER", settings.super_username)
    yield variable("KUBERNETES_SCOPE_LABEL", settings.cluster_name_label)
    yield variable("KUBERNETES_ROLE_LABEL", settings.pod_role_label)
    yield from_secret("PGPASSWORD_SUPERUSER", cluster.secret(settings.super_username), "password")
    yield variable("PGUSER_STANDBY", settings.replication_username)
    yield from_secret("PGPASSWORD_STANDBY", cluster.secret(settings.replication_username), "password")
    yield variable("PAM_OAUTH2", settings.pam_configuration)
    yield variable("HUMAN_ROLE", settings.pam_role_name)
    if settings.enable_spilo_wal_path_compat:
        yield variable("ENABLE_WAL_PATH_COMPAT", "true")
    if settings.enable_pgversion_env_var:
        yield variable("PGVERSION", str(version))
    yield variable("KUBERNETES_LABELS", compact(dict(sorted(settings.cluster_labels.items()))))
    yield variable("SPILO_CONFIGURATION", compact(spilo))
    yield from _state_store(asked)


def _state_store(asked: Asked) -> Iterator[Json]:
    if asked.dcs == "etcd":
        yield variable("ETCD_HOST", asked.settings.etcd_host or asked.live.etcd_host)
        return
    yield variable("DCS_ENABLE_KUBERNETES_API", "true")
    if asked.settings.enable_pod_disruption_budget:
        yield variable("KUBERNETES_BOOTSTRAP_LABELS", compact({names.CRITICAL_LABEL: "true"}))
    if asked.dcs == "configmaps":
        yield variable("KUBERNETES_USE_CONFIGMAPS", "true")


def compact(document: Mapping[str, Any]) -> str:
    """JSON as the reference writes it: no blanks, keys in the given order."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _from_secret(asked: Asked) -> Iterator[Json]:
    reference = environment_secret(asked.settings, asked.names.namespace)
    if reference is not None:
        for key in sorted(asked.references.secret_keys.get(reference, ())):
            yield from_secret(key, reference.name, key)


def _from_config_map(asked: Asked) -> Iterator[Json]:
    reference = environment_config_map(asked.settings, asked.names.namespace)
    if reference is not None:
        for key, value in sorted(asked.references.config_maps.get(reference, {}).items()):
            yield variable(key, value)


def _archive_and_logs(asked: Asked) -> Iterator[Json]:
    for option, name, scope in _STORES:
        value: str = getattr(asked.settings, option)
        if value:
            yield variable(name, value)
            if scope:
                yield variable(f"{scope}_BUCKET_SCOPE_SUFFIX", f"/{asked.metadata.uid}" if asked.metadata.uid else "")
                yield variable(f"{scope}_BUCKET_SCOPE_PREFIX", "")


_STORES = (
    ("wal_s3_bucket", "WAL_S3_BUCKET", "WAL"),
    ("wal_gs_bucket", "WAL_GS_BUCKET", "WAL"),
    ("wal_az_storage_account", "AZURE_STORAGE_ACCOUNT", "WAL"),
    ("gcp_credentials", "GOOGLE_APPLICATION_CREDENTIALS", ""),
    ("log_s3_bucket", "LOG_S3_BUCKET", "LOG"),
)
"""Option, its variable, and the first word of the variables that tell the place in the bucket."""

_OURS = {name for _, name, _ in _STORES}


def sidecar_environment(own: Iterable[Mapping[str, Any]], asked: Asked) -> Environment:
    """What every sidecar gets, then its own variables without those names."""
    settings: Settings = asked.settings
    injected = (
        field_variable("POD_NAME", "metadata.name"),
        field_variable("POD_NAMESPACE", "metadata.namespace"),
        variable("POSTGRES_USER", settings.super_username),
        from_secret("POSTGRES_PASSWORD", asked.names.secret(settings.super_username), "password"),
    )
    return _added(injected, map(normalised, own))
