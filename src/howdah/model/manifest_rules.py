"""Rules of a manifest that join fields or names: what is refused, what is ignored, what stands in for a removed field.

Each rule is a function from the spec to problems; a path begins at `spec`. What depends on the operator's settings or
on other objects is not here.
"""

import datetime as dt
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from howdah.model.errors import Problem
from howdah.model.pod_rules import pod_problems
from howdah.model.spec import REMOVED_FIELDS, Manifest, ObjectStore, Spec, UserOptions

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONGEST_SOURCE = 253
"""Characters of the name of a cluster that is no more; it is part of its archive's path."""
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_USER = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_DATABASE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PARAMETER = re.compile(r"[A-Za-z_][\w$]*(\.[A-Za-z_][\w$]*)*", re.ASCII)
_LONGEST_NAME = 58
"""With `-repl` it must still be the name of a Service."""
_LONGEST_ROLE = 63
_DATA_FOLDER = "/home/postgres/pgdata"

Rule = Callable[[Spec], Iterator[Problem]]


def problems_of(manifest: Manifest) -> Iterator[Problem]:
    """Everything that makes the manifest invalid."""
    yield from _cluster_name(manifest.metadata.name)
    for rule in _REFUSED:
        yield from rule(manifest.spec)


def warnings_of(manifest: Manifest) -> Iterator[Problem]:
    """Everything in the manifest that has no effect or not the expected one."""
    for rule in _DOUBTED:
        yield from rule(manifest.spec)


def with_successors(manifest: Manifest) -> Manifest:
    """The manifest with removed fields counted for their successors, where these are not set."""
    spec = manifest.spec
    found = {new: getattr(spec, old) for old, new in _SUCCESSORS.items() if _counts(spec, old, new)}
    return manifest.model_copy(update={"spec": spec.model_copy(update=found)}) if found else manifest


def _cluster_name(name: str) -> Iterator[Problem]:
    if _DNS_LABEL.fullmatch(name) is None or len(name) > _LONGEST_NAME:
        hint = f"use lower-case letters, digits and dashes, at most {_LONGEST_NAME}"
        yield Problem("metadata.name", f'"{name}" cannot name a cluster', hint)


def _user_names(spec: Spec) -> Iterator[Problem]:
    for name in spec.users or ():
        if _USER.fullmatch(name) is None:
            hint = "use lower-case letters and digits, with - _ . between them"
            yield Problem(_at("spec.users", name), f'"{name}" cannot name a role', hint)


def _user_flags(spec: Spec) -> Iterator[Problem]:
    for name, written in (spec.users or {}).items():
        flags = {flag.lower() for flag in written}
        for flag in sorted(flag for flag in flags if f"no{flag}" in flags):
            yield Problem(_at("spec.users", name), f"has {flag} and no{flag}", "remove one of them")


def _user_options(spec: Spec) -> Iterator[Problem]:
    for name, options in (spec.user_options or {}).items():
        path = _at("spec.userOptions", name)
        if _USER.fullmatch(name) is None:
            yield Problem(path, f'"{name}" cannot name a role', "write the name of a user")
        for index, other in enumerate(options.member_of or ()):
            if not other or len(other.encode()) > _LONGEST_ROLE:
                yield Problem(f"{path}.memberOf[{index}]", f'"{other}" cannot name a role', "write the name of a role")
        yield from _reassigned(path, name, options)
        yield from _role_parameters(f"{path}.parameters", options.parameters or {})
        for database, parameters in (options.database_parameters or {}).items():
            yield from _role_parameters(_at(f"{path}.databaseParameters", database), parameters)
        if not _is_time(options.valid_until):
            hint = "write a day that there is, or infinity"
            yield Problem(f"{path}.validUntil", f'"{options.valid_until}" is not a time', hint)


def _is_time(written: str | None) -> bool:
    if written in (None, "infinity"):
        return True
    try:
        return bool(dt.datetime.fromisoformat(str(written)).astimezone(dt.UTC))
    except (ValueError, OverflowError):
        return False


def _reassigned(path: str, name: str, options: UserOptions) -> Iterator[Problem]:
    if (options.removal == "reassign") != (options.reassign_to is not None):
        hint = "write both, or neither"
        yield Problem(path, "has one of removal: reassign and reassignTo", hint)
    elif options.reassign_to in ("", name):
        yield Problem(f"{path}.reassignTo", f'"{name}" cannot leave what it owns to itself', "name another role")


def _role_parameters(path: str, parameters: Mapping[str, str]) -> Iterator[Problem]:
    for name in parameters:
        if _PARAMETER.fullmatch(name) is None:
            yield Problem(_at(path, name), f'"{name}" is not a parameter', "write a parameter's name, such as work_mem")


def _database_options(spec: Spec) -> Iterator[Problem]:
    for name, options in (spec.database_options or {}).items():
        for field in ("encoding", "locale", "template"):
            if getattr(options, field) == "":
                yield Problem(f"{_at('spec.databaseOptions', name)}.{field}", "is empty", "write one, or remove it")


def _stores(spec: Spec) -> Iterator[Problem]:
    """A field of another provider would have no effect, and its author believes otherwise."""
    target = spec.logical_backup.target if spec.logical_backup is not None else None
    for path, store in (("spec.archive", spec.archive), ("spec.logicalBackup.target", target)):
        if store is not None:
            yield from _store(path, store)


def _store(path: str, store: ObjectStore) -> Iterator[Problem]:
    only_s3 = ("region", "endpoint", "force_path_style", "sse")
    for field in only_s3 if store.provider != "s3" else ():
        if getattr(store, field, None) is not None:
            alias = type(store).model_fields[field].alias
            yield Problem(f"{path}.{alias}", "has a meaning for provider s3 only", "remove it, or write provider: s3")
    if (store.storage_account is None) == (store.provider == "az"):
        hint = "write both, or neither"
        yield Problem(path, "has one of provider: az and storageAccount", hint)


def _clone_source(spec: Spec) -> Iterator[Problem]:
    clone = spec.clone
    if clone is None:
        return
    if clone.timestamp:
        if len(clone.cluster) > LONGEST_SOURCE:
            message = f"has {len(clone.cluster)} characters, {LONGEST_SOURCE} is the most"
            yield Problem("spec.clone.cluster", message, "write the name that the source has in its archive's path")
        return
    if _DNS_1035.fullmatch(clone.cluster) is None or len(clone.cluster) > 63:
        hint = "write the name of a cluster in this namespace, or a timestamp"
        yield Problem("spec.clone.cluster", f'"{clone.cluster}" is not a cluster\'s name', hint)


def _standby_source(spec: Spec) -> Iterator[Problem]:
    standby = spec.standby
    if standby is None:
        return
    if not (standby.s3_wal_path or standby.gs_wal_path or standby.standby_host):
        hint = "add standby_host, s3_wal_path or gs_wal_path"
        yield Problem("spec.standby", "names no source", hint)
    if standby.s3_wal_path and standby.gs_wal_path:
        yield Problem("spec.standby", "has s3_wal_path and gs_wal_path", "remove one of them")


def _volume_size(spec: Spec) -> Iterator[Problem]:
    if not spec.volume.size:
        yield Problem("spec.volume.size", f'"{spec.volume.size.written}" holds nothing', "write 10G or 10Gi")


def _parameter_names(spec: Spec) -> Iterator[Problem]:
    for name in spec.postgresql.parameters or ():
        if _PARAMETER.fullmatch(name) is None:
            hint = "write a parameter's name, such as shared_buffers"
            yield Problem(_at("spec.postgresql.parameters", name), f'"{name}" is not a parameter', hint)


def _variables(spec: Spec) -> Iterator[Problem]:
    sections = {"spec.env": spec.env or ()}
    sections |= {f"spec.sidecars[{i}].env": sidecar.env or () for i, sidecar in enumerate(spec.sidecars or ())}
    for section, entries in sections.items():
        for index, entry in enumerate(entries):
            yield from _variable(f"{section}[{index}]", entry)


def _variable(path: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    source = entry.get("valueFrom")
    parts = (source, source.get("fieldRef")) if isinstance(source, Mapping) else (source,)
    if not all(part is None or isinstance(part, Mapping) for part in parts):
        yield Problem(f"{path}.valueFrom", "is not an object", "write key: value lines, such as secretKeyRef")
    if entry.get("value") and source:
        yield Problem(path, "has value and valueFrom", "remove one of them")


def _volume_names(spec: Spec) -> Iterator[Problem]:
    counts = Counter(volume.name for volume in spec.additional_volumes or ())
    for index, volume in enumerate(spec.additional_volumes or ()):
        path = f"spec.additionalVolumes[{index}].name"
        if _DNS_LABEL.fullmatch(volume.name) is None or len(volume.name) > 63:
            hint = "use lower-case letters, digits and dashes, at most 63"
            yield Problem(path, f'"{volume.name}" cannot name a volume', hint)
        if counts[volume.name] > 1:
            yield Problem(path, f'"{volume.name}" is there twice', "give each volume its own name")


def _certificate_secrets(spec: Spec) -> Iterator[Problem]:
    if spec.tls is None:
        return
    for field, name in (("secretName", spec.tls.secret_name), ("caSecretName", spec.tls.ca_secret_name)):
        # The volume is named after the Secret, and a volume's name is the stricter one.
        if name and (_DNS_LABEL.fullmatch(name) is None or len(name) > 63):
            hint = "use a Secret whose name has lower-case letters, digits and dashes only, at most 63"
            yield Problem(f"spec.tls.{field}", f'"{name}" cannot name a volume', hint)


def _prepared_user_secrets(spec: Spec) -> Iterator[Problem]:
    for name, database in (spec.prepared_databases or {}).items():
        parts = [name] if database.default_users else []
        parts += [f"{name}_{schema}" for schema, options in (database.schemas or {}).items() if options.default_users]
        for part in parts:
            if _USER.fullmatch(part) is None:
                hint = "use lower-case letters, digits and underscores, or no defaultUsers"
                message = f'"{part}" is part of a Secret\'s name and cannot be'
                yield Problem(_at("spec.preparedDatabases", name), message, hint)


def _removed_fields(spec: Spec) -> Iterator[Problem]:
    for old, new in _SUCCESSORS.items():
        if getattr(spec, old) is None:
            continue
        successor = Spec.model_fields[new].alias
        counts = _counts(spec, old, new)
        message = "is the old name of a field" if counts else "is ignored: its successor is there"
        yield Problem(f"spec.{REMOVED_FIELDS[old]}", message, f"rename it to {successor}" if counts else "remove it")


def _node_ports(spec: Spec) -> Iterator[Problem]:
    for role in ("master", "replica", "master_pooler", "replica_pooler"):
        port, switch = f"{role}_node_port", f"enable_{role}_node_port"
        if getattr(spec, port) and not getattr(spec, switch):
            names = Spec.model_fields
            hint = f"add {names[switch].alias}: true"
            yield Problem(f"spec.{names[port].alias}", "is ignored", hint)


def _standby_details(spec: Spec) -> Iterator[Problem]:
    standby = spec.standby
    if standby is None or standby.standby_host:
        return
    for field in ("standby_port", "standby_primary_slot_name"):
        if getattr(standby, field):
            yield Problem(f"spec.standby.{field}", "is ignored without standby_host", "add it, or remove this")


def _certificate_authority(spec: Spec) -> Iterator[Problem]:
    if spec.tls and spec.tls.ca_secret_name and not spec.tls.ca_file:
        yield Problem("spec.tls.caSecretName", "is ignored without caFile", "add caFile: ca.crt")


def _mount_paths(spec: Spec) -> Iterator[Problem]:
    seen = {_DATA_FOLDER}
    for index, volume in enumerate(spec.additional_volumes or ()):
        path = f"spec.additionalVolumes[{index}]"
        if volume.mount_path in seen:
            message = f'"{volume.mount_path}" is taken, so this volume is left out'
            yield Problem(f"{path}.mountPath", message, "mount it elsewhere")
        seen.add(volume.mount_path)
        targets = volume.target_containers or ()
        if "all" in targets and len(targets) > 1:
            yield Problem(f"{path}.targetContainers", "has names beside all", "write all alone")


def _database_names(spec: Spec) -> Iterator[Problem]:
    for name in spec.databases or ():
        if _DATABASE.fullmatch(name) is None:
            hint = "use letters, digits and underscores, no digit first"
            yield Problem(_at("spec.databases", name), "is not created: a name of this form is left out", hint)


def _schema_users(spec: Spec) -> Iterator[Problem]:
    for name, database in (spec.prepared_databases or {}).items():
        for schema, options in (database.schemas or {}).items():
            if options.default_users and options.default_roles is False:
                path = _at(f"{_at('spec.preparedDatabases', name)}.schemas", schema)
                yield Problem(f"{path}.defaultUsers", "is ignored without defaultRoles", "set defaultRoles: true")


def _patroni_times(spec: Spec) -> Iterator[Problem]:
    if spec.patroni is None:
        return
    patroni = spec.patroni
    ttl, loop, retry = patroni.ttl or 30, patroni.loop_wait or 10, patroni.retry_timeout or 10
    if ttl < loop + 2 * retry:
        message = f"{ttl} is below loop_wait + 2 × retry_timeout = {loop + 2 * retry}: Patroni changes it"
        yield Problem("spec.patroni.ttl", message, f"write {loop + 2 * retry} or more, or lower the others")
    if patroni.synchronous_mode_strict and not patroni.synchronous_mode:
        hint = "add synchronous_mode: true"
        yield Problem("spec.patroni.synchronous_mode_strict", "is ignored without synchronous_mode", hint)


_REFUSED: tuple[Rule, ...] = (
    _user_names,
    _user_flags,
    _user_options,
    _database_options,
    _stores,
    _clone_source,
    _standby_source,
    _volume_size,
    _parameter_names,
    _variables,
    _volume_names,
    _certificate_secrets,
    _prepared_user_secrets,
    pod_problems,
)
_DOUBTED: tuple[Rule, ...] = (
    _removed_fields,
    _node_ports,
    _standby_details,
    _certificate_authority,
    _mount_paths,
    _database_names,
    _schema_users,
    _patroni_times,
)
_SUCCESSORS = {
    "removed_init_containers": "init_containers",
    "removed_pod_priority_class_name": "pod_priority_class_name",
    "removed_use_load_balancer": "enable_master_load_balancer",
    "removed_replica_load_balancer": "enable_replica_load_balancer",
}


def _counts(spec: Spec, old: str, new: str) -> bool:
    """Does the removed field stand in for its successor? Both load balancer fields do, or neither."""
    if getattr(spec, old) is None:
        return False
    if new.endswith("load_balancer"):
        return spec.enable_master_load_balancer is None and spec.enable_replica_load_balancer is None
    return not getattr(spec, new) if new == "pod_priority_class_name" else getattr(spec, new) is None


def _at(path: str, key: str) -> str:
    return f"{path}[{key}]" if "." in key or "/" in key else f"{path}.{key}"
