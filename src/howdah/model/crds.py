"""The CustomResourceDefinitions, made from the models and the table of options: a superset of the reference's.

Nothing that the reference's schema accepts is refused, except what its operator refuses afterwards. Unknown fields are
kept, so that a manifest for a newer release survives an older one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from howdah.model.crd_schema import Schema, property_at, structural_schema
from howdah.model.manifest_rules import LONGEST_SOURCE
from howdah.model.observed import STANDBY
from howdah.model.settings import OPTIONS, Option
from howdah.model.spec import Spec
from howdah.model.teams import TeamSpec

Crd = dict[str, Any]

GROUP = "acid.zalan.do"
VERSION = "v1"

_MAX_ITEMS = {
    "users": ("maxProperties", 2000),
    "users.*": ("maxItems", 32),
    "userOptions": ("maxProperties", 2000),
    "sidecars": ("maxItems", 64),
    "streams": ("maxItems", 64),
    "maintenanceWindows": ("maxItems", 128),
    "allowedSourceRanges": ("maxItems", 1000),
    "clone.cluster": ("maxLength", LONGEST_SOURCE),
    "podAnnotations": ("maxProperties", 500),
    "serviceAnnotations": ("maxProperties", 500),
    "masterServiceAnnotations": ("maxProperties", 500),
    "replicaServiceAnnotations": ("maxProperties", 500),
    "postgresql.parameters": ("maxProperties", 1000),
}
"""Bounds that let the server reckon what a rule costs at most; wider than anything in use."""

_DNS_LABEL = {"pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
_LABEL_OR_NOTHING = {"pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", "maxLength": 63}
_NAME_OF_VARIABLE = {"pattern": "^[ -<>-~]+$"}
_LIMITS: Mapping[str, Schema] = {
    **{f"{part}.*.name": _DNS_LABEL for part in ("initContainers", "additionalVolumes")},
    "initContainers.*": {"required": ["name", "image"]},
    "databaseOptions.*.encoding": {"minLength": 1},
    "databaseOptions.*.locale": {"minLength": 1},
    "databaseOptions.*.template": {"minLength": 1},
    "initContainers.*.image": {"pattern": r"\S"},
    "additionalVolumes.*.mountPath": {"minLength": 1},
    "env.*.name": _NAME_OF_VARIABLE,
    "sidecars.*.env.*.name": _NAME_OF_VARIABLE,
    "sidecars.*.name": _LABEL_OR_NOTHING,
    "sidecars.*.ports.*.containerPort": {"minimum": 1, "maximum": 65535},
    "sidecars.*.ports.*.name": {"pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", "maxLength": 15},
    "tls.caSecretName": _LABEL_OR_NOTHING,
    "tls.secretName": _LABEL_OR_NOTHING,
    "topologySpreadConstraints.*.topologyKey": {"minLength": 1},
    "topologySpreadConstraints.*.whenUnsatisfiable": {"minLength": 1},
}
"""Keywords beyond those of the field's type: what no pod could be made from. `pod_rules` says it in readable words."""

_ANNOTATION_KEYS = (
    (
        r"self.all(key, key.matches(r'^([A-Za-z0-9][-A-Za-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "an annotation's key is a name such as example.com/scrape",
    ),
)


def _store(own: str) -> tuple[tuple[str, str], ...]:
    """Of an object store; `own` is the field that only this one has, and only for S3."""
    of_s3 = ("region", "endpoint", own)
    return (
        ("(self.provider == 'az') == has(self.storageAccount)", "provider: az and storageAccount belong together"),
        (
            f"self.provider == 's3' || !({' || '.join(f'has(self.{field})' for field in of_s3)})",
            f"{', '.join(of_s3)} have a meaning for provider s3 only",
        ),
    )


_RULES = {
    "podAnnotations": _ANNOTATION_KEYS,
    "serviceAnnotations": _ANNOTATION_KEYS,
    "masterServiceAnnotations": _ANNOTATION_KEYS,
    "replicaServiceAnnotations": _ANNOTATION_KEYS,
    "postgresql.parameters": (
        (
            "self.all(name, name.matches(r'^[A-Za-z_][A-Za-z0-9_$]*([.][A-Za-z_][A-Za-z0-9_$]*)*$'))",
            "the name of a parameter is one such as shared_buffers",
        ),
    ),
    "users": (
        (
            "self.all(name, name.matches(r'^[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*$'))",
            "a user's name has lower-case letters and digits, with - _ . between them",
        ),
    ),
    "users.*": (
        (
            "self.all(flag, !(('no' + flag) in self) && !(('NO' + flag) in self))",
            "a flag and its opposite contradict each other; remove one of them",
        ),
    ),
    "userOptions.*": (
        (
            "(has(self.removal) && self.removal == 'reassign') == has(self.reassignTo)",
            "removal: reassign and reassignTo, the role that gets what it owns, belong together",
        ),
    ),
    "archive": _store("forcePathStyle"),
    "logicalBackup.target": _store("sse"),
    "clone": (
        (
            "has(self.timestamp) || (size(self.cluster) <= 63 && self.cluster.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))",
            "cluster must be the name of a cluster in this namespace, or add a timestamp",
        ),
    ),
    "standby": (
        (
            "[has(self.standby_host) ? self.standby_host : '', has(self.s3_wal_path) ? self.s3_wal_path : '', "
            "has(self.gs_wal_path) ? self.gs_wal_path : ''].exists(source, source != '')",
            "names no source; add standby_host, s3_wal_path or gs_wal_path",
        ),
        (
            "!has(self.s3_wal_path) || !has(self.gs_wal_path) || self.s3_wal_path == '' || self.gs_wal_path == ''",
            "has s3_wal_path and gs_wal_path; remove one of them",
        ),
    ),
    "volume.size": (("self.matches('[1-9]')", "holds nothing; write 10G or 10Gi"),),
}
"""By path below `spec`: CEL expression and what to do about it. `manifest_rules` says the same without a server."""

_NAME_RULE = (
    "size(self.metadata.name) <= 58 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "a cluster's name has lower-case letters, digits and dashes, at most 58",
)


def all_crds(categories: Sequence[str] = ("all",)) -> tuple[Crd, ...]:
    """Every definition that howdah needs, ready to apply; `categories` of `postgresql`."""
    return postgresql_crd(categories), operator_configuration_crd(), postgres_team_crd()


def postgresql_crd(categories: Sequence[str] = ("all",)) -> Crd:
    """The definition of `postgresql`; `categories` as the operator configuration says."""
    schema = _resource("spec", _spec_schema(), "A highly available PostgreSQL cluster.")
    schema["properties"]["status"] = _status_schema()
    schema["x-kubernetes-validations"] = [_rule(*_NAME_RULE)]
    names = {"kind": "postgresql", "plural": "postgresqls", "shortNames": ["pg"], "categories": list(categories)}
    subresources = {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.numberOfInstances",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.labelSelector",
        },
    }
    return _crd(names, schema, _POSTGRESQL_COLUMNS, subresources)


def operator_configuration_crd() -> Crd:
    """The definition of `OperatorConfiguration`, from the table of options."""
    schema = _resource("configuration", _configuration_schema(), "The configuration of the operator.")
    schema["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {
        "kind": "OperatorConfiguration",
        "plural": "operatorconfigurations",
        "shortNames": ["opconfig"],
        "categories": ["all"],
    }
    return _crd(names, schema, _CONFIGURATION_COLUMNS, {"status": {}})


def postgres_team_crd() -> Crd:
    """The definition of `PostgresTeam`."""
    schema = _resource("spec", structural_schema(TeamSpec), "Who else counts as a member of a team.")
    schema["properties"]["status"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {
        "kind": "PostgresTeam",
        "plural": "postgresteams",
        "shortNames": ["pgteam"],
        "categories": ["all"],
    }
    return _crd(names, schema, (), {"status": {}})


def _spec_schema() -> Schema:
    schema = structural_schema(Spec)
    for path, (keyword, bound) in _MAX_ITEMS.items():
        property_at(schema, path)[keyword] = bound
    for path, limits in _LIMITS.items():
        property_at(schema, path).update(limits)
    for path, rules in _RULES.items():
        part = property_at(schema, path)
        part["x-kubernetes-validations"] = [
            *part.get("x-kubernetes-validations", []),
            *(_rule(*rule) for rule in rules),
        ]
    return schema


def _configuration_schema() -> Schema:
    schema: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}}
    for option in OPTIONS.values():
        place = schema["properties"]
        if option.group:
            empty: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}}
            place = place.setdefault(option.group, empty)["properties"]
        place[option.name] = _option_schema(option)
    return schema


def _option_schema(option: Option) -> Schema:
    schema = {**option.kind.schema, "description": option.help}
    return schema if option.schema is None else {**schema, "default": option.schema}


def _resource(body: str, schema: Schema, description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": ["metadata", body],
        "properties": {
            "apiVersion": {"type": "string", "enum": [f"{GROUP}/{VERSION}"]},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            body: schema,
        },
    }


def _status_schema() -> Schema:
    text, number = {"type": "string"}, {"type": "integer", "format": "int32"}
    return {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "PostgresClusterStatus": {**text, "description": "phase, in the reference's words"},
            "observedGeneration": {"type": "integer", "format": "int64", "description": "generation this is about"},
            "replicas": {**number, "description": "members there are"},
            "labelSelector": {**text, "description": "selects the members' pods"},
            "leader": {**text, "description": "member that accepts writes"},
            STANDBY: {**text, "description": "true for a standby cluster, until it is promoted"},
            "postgresqlVersion": {**text, "description": "version of the running server"},
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": _condition_schema(),
            },
            "members": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "required": ["name"],
                    "properties": {
                        "name": text,
                        "role": text,
                        "state": text,
                        "timeline": number,
                        "lag": {**text, "description": "ok, behind or broken"},
                    },
                },
            },
        },
    }


def _condition_schema() -> Schema:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["type", "status"],
        "properties": {
            "type": text,
            "status": {**text, "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": text,
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {**text, "format": "date-time"},
        },
    }


_POSTGRESQL_COLUMNS = (
    ("Team", "string", ".spec.teamId", "Team that owns the cluster"),
    ("Version", "string", ".spec.postgresql.version", "PostgreSQL major version"),
    ("Pods", "integer", ".spec.numberOfInstances", "Members asked for"),
    ("Volume", "string", ".spec.volume.size", "Size of each member's volume"),
    ("CPU-Request", "string", ".spec.resources.requests.cpu", "CPU request of each member"),
    ("Memory-Request", "string", ".spec.resources.requests.memory", "Memory request of each member"),
    ("Age", "date", ".metadata.creationTimestamp", "Since its creation"),
    ("Status", "string", ".status.PostgresClusterStatus", "State of the cluster"),
)
_CONFIGURATION_COLUMNS = (
    ("Image", "string", ".configuration.docker_image", "Spilo image"),
    ("Cluster-Label", "string", ".configuration.kubernetes.cluster_name_label", "Label with a cluster's name"),
    ("Service-Account", "string", ".configuration.kubernetes.pod_service_account_name", "Account of the pods"),
    ("Min-Instances", "integer", ".configuration.min_instances", "Least instances of a cluster"),
    ("Age", "date", ".metadata.creationTimestamp", "Since its creation"),
)


def _rule(expression: str, message: str) -> Schema:
    return {"rule": expression, "message": message}


def _crd(
    names: dict[str, Any], schema: Schema, columns: Sequence[tuple[str, str, str, str]], subresources: Schema
) -> Crd:
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": subresources,
    }
    if columns:
        version["additionalPrinterColumns"] = [
            {"name": name, "type": kind, "jsonPath": path, "description": text} for name, kind, path, text in columns
        ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names['plural']}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "postgres-operator"},
        },
        "spec": {
            "group": GROUP,
            "names": {"listKind": f"{names['kind']}List", "singular": names["kind"].lower(), **names},
            "scope": "Namespaced",
            "versions": [version],
        },
    }
