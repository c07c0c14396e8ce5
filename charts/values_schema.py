"""The JSON schema of the chart's values: the operator's options from their table, the chart's own keys from a table here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from howdah.model.settings import GROUPS, OPTIONS, Option
from howdah.model.settings.table import REMOVED

Schema = dict[str, Any]

GROUP_KEYS: Mapping[str, str] = {
    "": "configGeneral",
    "users": "configUsers",
    "major_version_upgrade": "configMajorVersionUpgrade",
    "kubernetes": "configKubernetes",
    "postgres_pod_resources": "configPostgresPodResources",
    "timeouts": "configTimeouts",
    "load_balancer": "configLoadBalancer",
    "aws_or_gcp": "configAwsOrGcp",
    "logical_backup": "configLogicalBackup",
    "debug": "configDebug",
    "teams_api": "configTeamsApi",
    "logging_rest_api": "configLoggingRestApi",
    "scalyr": "configScalyr",
    "connection_pooler": "configConnectionPooler",
    "patroni": "configPatroni",
    "howdah": "configHowdah",
}
"""Group of options → key of the values, as the reference's chart has them."""

_TEXT: Schema = {"type": "string"}
_BOOL: Schema = {"type": "boolean"}
_OBJECT: Schema = {"type": "object"}
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_NAME: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def _closed(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


_OWN: Mapping[str, Schema] = {
    "image": _closed(
        registry=_TEXT,
        repository=_TEXT,
        tag=_NAME,
        pullPolicy={"type": "string", "enum": ["Always", "IfNotPresent", "Never"]},
    ),
    "images": _closed(
        **{"from": {"type": "string", "enum": ["reference", "howdah"]}},
        registry=_TEXT,
        repository=_TEXT,
        tag=_TEXT,
    ),
    "imagePullSecrets": _OBJECTS,
    "replicaCount": _COUNT,
    "podAnnotations": _TEXTS,
    "podLabels": _TEXTS,
    "configTarget": {"type": "string", "enum": ["OperatorConfigurationCRD", "ConfigMap"]},
    "enableJsonLogging": _BOOL,
    "extraArgs": {"type": "array", "items": _TEXT},
    "enableStreams": _BOOL,
    "crds": _closed(upgrade=_BOOL),
    "rbac": _closed(create=_BOOL, createAggregateClusterRoles=_BOOL, nodes=_BOOL),
    "serviceAccount": _closed(create=_BOOL, name=_NAME, annotations=_TEXTS),
    "podServiceAccount": _closed(name=_NAME),
    "priorityClassName": _NAME,
    "podPriorityClassName": {
        "anyOf": [_closed(create=_BOOL, name=_NAME, priority={"type": "integer", "maximum": 1_000_000_000}), _TEXT]
    },
    "resources": _OBJECT,
    "podSecurityContext": _OBJECT,
    "securityContext": _OBJECT,
    "readinessProbe": {"type": ["object", "null"]},
    "livenessProbe": {"type": ["object", "null"]},
    "terminationGracePeriodSeconds": _COUNT,
    "extraEnvs": {**_OBJECTS, "items": {"type": "object", "required": ["name"]}},
    "extraEnvFrom": _OBJECTS,
    "affinity": _OBJECT,
    "nodeSelector": _TEXTS,
    "tolerations": _OBJECTS,
    "topologySpreadConstraints": _OBJECTS,
    "controllerID": _closed(create=_BOOL, name=_NAME),
    "nameOverride": _NAME,
    "fullnameOverride": _NAME,
    "podDisruptionBudget": _closed(create=_BOOL),
    "podMonitor": _closed(create=_BOOL, interval=_TEXT, labels=_TEXTS),
    "prometheusRule": _closed(create=_BOOL, labels=_TEXTS),
    "grafanaDashboard": _closed(create=_BOOL, labels=_TEXTS, annotations=_TEXTS),
    "global": _OBJECT,
}


def values_schema() -> Schema:
    """Of values.yaml. Options are checked by kind where they become an OperatorConfiguration; a ConfigMap holds strings."""
    assert set(GROUP_KEYS) == {"", *GROUPS}, "a group of options has no key of the values"
    is_configmap = {"properties": {"configTarget": {"const": "ConfigMap"}}, "required": ["configTarget"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "additionalProperties": False,
        "properties": {**_OWN, **{key: {"type": ["object", "null"]} for key in GROUP_KEYS.values()}},
        "if": is_configmap,
        "else": {"properties": {key: _group(group) for group, key in GROUP_KEYS.items()}},
    }


def _group(group: str) -> Schema:
    """Options that nobody knows are left to the operator, which warns: values of other releases go on working."""
    properties = {option.name: _option(option) for option in OPTIONS.values() if option.group == group}
    assert not set(properties) & set(REMOVED)
    return {"type": ["object", "null"], "properties": properties}


def _option(option: Option) -> Schema:
    schema = {key: value for key, value in option.kind.schema.items() if not key.startswith("x-kubernetes")}
    template = {"type": "string", "pattern": r"\{\{"}
    return {"description": option.help, "anyOf": [schema, template, {"type": "null"}]}
