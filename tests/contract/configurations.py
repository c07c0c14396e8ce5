"""Random operator configurations, from the table of options, as an OperatorConfiguration and as a ConfigMap's data."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from contract.chance import Chance
from contract.manifests import _WRONG, WORDS
from contract.schemas import Json, Vocabulary, fitting
from howdah.model.settings import GROUPS, OPTIONS, Option
from howdah.model.settings.kinds import DURATION_PATTERN
from howdah.model.units import CPU_PATTERN, CRON_PATTERN, SIZE_PATTERN

_LABELS = ({"application": "spilo"}, {"application": "spilo", "zone": "x"}, {"app.kubernetes.io/name": "pg"})
_ACCOUNT = '{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other", "annotations": {"a": "b"}}}'
_BINDING = (
    '{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "x"}, '
    '"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pods"}, '
    '"subjects": [{"kind": "ServiceAccount", "name": "x"}]}'
)
VALUES: Mapping[str, Sequence[Json]] = {
    "docker_image": ("ghcr.io/zalando/spilo-18:4.1-p2", "spilo"),
    "etcd_host": ("", "etcd.example.com:2379"),
    "sidecars": ([], [{"name": "global", "image": "g:1"}], [{"name": "global", "image": "g", "env": [{"name": "A"}]}]),
    "sidecar_docker_images": ({}, {"logger": "logger"}),
    "super_username": ("postgres", "root_user"),
    "replication_username": ("standby", "replicator"),
    "pod_service_account_name": ("postgres-pod", "other.account"),
    "pod_service_account_definition": ("", _ACCOUNT),
    "pod_service_account_role_binding_definition": ("", _BINDING),
    "cluster_labels": _LABELS,
    "cluster_name_label": ("cluster-name", "example.com/cluster"),
    "pod_role_label": ("spilo-role", "role"),
    "inherited_labels": ([], ["environment", "tier"], ["example.com/team"]),
    "inherited_annotations": ([], ["environment", "example.com/team"]),
    "downscaler_annotations": ([], ["^down", "environment"]),
    "node_readiness_label": ({}, {"ready": "true"}, {"a": "b", "lifecycle": "ready"}),
    "custom_pod_annotations": ({}, {"example.com/a": "any text: of it"}),
    "custom_service_annotations": ({}, {"example.com/a": "x"}),
    "liveness_probe": WORDS.values["livenessProbe"],
    "toleration": (
        {},
        {"key": "k", "operator": "Exists"},
        {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"},
    ),
    "persistent_volume_claim_retention_policy": (
        {},
        {"when_deleted": "delete"},
        {"when_deleted": "retain", "when_scaled": "delete"},
    ),
    "secret_name_template": ("{username}.{cluster}.credentials.{tprkind}.{tprgroup}", "{username}-{cluster}"),
    "pdb_name_format": ("postgres-{cluster}-pdb", "{cluster}-budget"),
    "pod_environment_configmap": ("", "variables", "elsewhere/variables"),
    "pod_environment_secret": ("", "variables"),
    "pod_priority_class_name": ("", "databases"),
    "pod_antiaffinity_topology_key": ("kubernetes.io/hostname", "zone"),
    "additional_pod_capabilities": ([], ["SYS_NICE"]),
    "additional_secret_mount": ("", "aws-credentials"),
    "additional_secret_mount_path": ("", "/meta/credentials"),
    "infrastructure_roles_secret_name": ("", "roles", "ns/roles"),
    "oauth_token_secret_name": ("", "postgres-operator", "ns/token"),
    "infrastructure_roles_secrets": ([], [{"secretname": "roles", "userkey": "u", "passwordkey": "p", "rolekey": "r"}]),
    "maintenance_windows": ([], ["01:00-02:00", "Sat:22:00-04:00"]),
    "minimal_major_version": ("14", "15"),
    "target_major_version": ("18", "17"),
    "scalyr_image": ("", "scalyr"),
    "logical_backup_job_prefix": ("logical-backup-", "x", ""),
    "connection_pooler_schema": ("pooler", "Lookup"),
    "connection_pooler_user": ("pooler", "bouncer"),
    "min_instances": (-1, 0, 1, 3),
    "max_instances": (-1, 0, 3, 5),
    "leader_lease_duration": ("15s", "1m"),
    "leader_renew_deadline": ("10s", "12s"),
    "leader_retry_period": ("2s", "1s"),
    "resync_period": ("30m", "5m0s", "1h30m"),
    "pod_terminate_grace_period": ("5m", "1.5s", "1h30m"),
    "api_port": (8080, 1, 65535),
}
"""What an option's kind does not say; first the simplest."""

WORDS_OF_OPTIONS = Vocabulary(
    patterns={
        CPU_PATTERN: ("1", "100m", "0.5"),
        SIZE_PATTERN: ("1Gi", "500Mi", "10G"),
        f"^$|{CPU_PATTERN}": ("1", "100m", "0.5", ""),
        f"^$|{SIZE_PATTERN}": ("1Gi", "500Mi", "10G", ""),
        f"^$|{CRON_PATTERN}": ("30 00 * * *", "@daily", ""),
        DURATION_PATTERN: ("5m", "1h30m", "0", "1.5s", "100ms", "5m0s"),
    }
)

Chosen = dict[str, Json]
"""Option → value as an OperatorConfiguration has it."""


def chosen(chance: Chance, share: int = 60) -> Chosen:
    """Values of some options that go together."""
    values = {name: _value(option, chance) for name, option in OPTIONS.items() if chance.happens(share)}
    if 0 < values.get("max_instances", -1) < values.get("min_instances", -1):
        del values["max_instances"]
    if "inherited_labels" in values:  # a label of both would have to be the same
        taken = values.get("cluster_labels", {})
        values["inherited_labels"] = [label for label in values["inherited_labels"] if label not in taken]
    return values


def _value(option: Option, chance: Chance) -> Json:
    if option.name in VALUES:
        return deepcopy(chance.pick(VALUES[option.name]))
    return fitting(option.kind.schema, WORDS_OF_OPTIONS, chance, option.name)


def configuration(values: Chosen, *, groups: bool = True) -> dict[str, Any]:
    """As an OperatorConfiguration; `groups`: those without a value are there too, empty.

    Without the group `kubernetes` no name can be formed: neither here nor by the reference operator.
    """
    body: dict[str, Any] = {group: {} for group in (GROUPS if groups else ("kubernetes",))}
    for name, value in values.items():
        group = OPTIONS[name].group
        (body.setdefault(group, {}) if group else body)[name] = value
    metadata = {"name": "postgres-operator", "namespace": "default"}
    return {
        "apiVersion": "acid.zalan.do/v1",
        "kind": "OperatorConfiguration",
        "metadata": metadata,
        "configuration": body,
    }


def has_text(name: str, value: Json) -> bool:
    """Whether a ConfigMap can say it: objects have no text, and in maps and lists some characters mean something."""
    if OPTIONS[name].kind.name in ("probe", "list of containers", "list of role Secrets"):
        return False
    if isinstance(value, dict):
        return all(not set(":,'\" ") & set(part) for pair in value.items() for part in pair)
    return not isinstance(value, list) or all("," not in str(item) for item in value)


def config_map(values: Chosen) -> dict[str, str]:
    """The `data` of a ConfigMap that says the same, as far as a string can."""
    return {name: _text(value) for name, value in values.items()}


def _text(value: Json) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ",".join(f"{key}:{part}" for key, part in value.items())
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value)


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A configuration with one odd value, and where that is."""

    body: dict[str, Any]
    data: dict[str, Any]
    name: str


def spoilt(chance: Chance) -> Spoilt:
    """One option of the table has a value of another kind, in either form."""
    values = chosen(chance)
    name = chance.pick(tuple(OPTIONS))
    wrong = deepcopy(chance.pick(_WRONG))
    body = configuration({**values, name: wrong})
    data = config_map({name: value for name, value in values.items() if has_text(name, value)})
    return Spoilt(body, {**data, name: wrong if chance.happens() else _text(wrong)}, name)
