"""Random manifests, from the schema of the CRD; and the same with something broken."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from contract.chance import Chance
from contract.schemas import Json, Vocabulary, fitting, places
from howdah.model.crds import postgresql_crd
from howdah.model.fields import (
    ACCOUNT_PATTERN,
    BUCKET_PATTERN,
    ENCRYPTION_PATTERN,
    ENDPOINT_PATTERN,
    INSTANT_PATTERN,
    OBJECT_NAME_PATTERN,
    PREFIX_PATTERN,
    REGION_PATTERN,
    TIMESTAMP_PATTERN,
    UUID_PATTERN,
)
from howdah.model.units import CPU_PATTERN, CRON_PATTERN, SIZE_PATTERN, WINDOW_PATTERN

RESOURCE = postgresql_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC = RESOURCE["properties"]["spec"]
_SOURCE_RANGE = SPEC["properties"]["allowedSourceRanges"]["items"]["pattern"]
_VERSION = SPEC["properties"]["postgresql"]["properties"]["version"]["pattern"]

_SECRET_KEY = {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "some-secret", "key": "k"}}}
_VARIABLES: tuple[Json, ...] = (
    {"name": "LOG_ENV_DEPTH", "value": "2"},
    {"name": "EMPTY", "value": ""},
    {"name": "NO_VALUE"},
    _SECRET_KEY,
    {"name": "NODE", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}},
    {"name": "PGVERSION", "value": "9"},
    {"name": "STANDBY_WALE_S3_PREFIX", "value": "s3://bucket/path"},
    {"name": "WAL_S3_BUCKET", "value": "own-bucket"},
)
_CONTAINERS: tuple[Json, ...] = (
    {"name": "date", "image": "busybox", "command": ["/bin/date"]},
    {
        "name": "prepare",
        "image": "busybox:1",
        "env": [_SECRET_KEY],
        "volumeMounts": [{"name": "pgdata", "mountPath": "/d"}],
    },
    {"name": "always", "image": "busybox", "restartPolicy": "Always"},
)
_TERM = {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["postgres"]}]}
_AFFINITIES: tuple[Json, ...] = (
    {},
    {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM]}},
    {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_TERM, {"matchFields": []}]}},
    {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _TERM}]},
)
_SPREADS: tuple[Json, ...] = (
    {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"},
    {
        "maxSkew": 2,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"application": "spilo"}},
    },
)
_PROBES: tuple[Json, ...] = (
    {"httpGet": {"path": "/liveness", "port": 8008, "scheme": "HTTP"}, "periodSeconds": 10},
    {"exec": {"command": ["true"]}},
    {"tcpSocket": {"port": "postgresql"}, "timeoutSeconds": 2, "failureThreshold": 6},
)
_TOLERATIONS: tuple[Json, ...] = (
    {"operator": "Exists"},
    {"key": "postgres", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute", "tolerationSeconds": 5},
)
_VOLUME_SOURCES: tuple[Json, ...] = (
    {"emptyDir": {}},
    {"secret": {"secretName": "some-secret", "items": [{"key": "k", "path": "p"}]}},
    {"persistentVolumeClaim": {"claimName": "other"}},
    {"configMap": {"name": "cm", "optional": True}},
    {"projected": {"sources": [{"secret": {"name": "a"}}]}},
)
_LABELS = ("environment", "tier", "example.com/team")
STORE_SECRETS = ("store-keys", "other.keys")
_ROLES = ("foo", "bar-user", "x1", "other.app", "with_underscore", "zalando", "postgres", "standby", "admin")
_DATABASES = ("foo", "Bar", "_x", "with-dash", "d1")

WORDS = Vocabulary(
    patterns={
        CPU_PATTERN: ("1", "100m", "0.5", "0", "2.125", "64"),
        SIZE_PATTERN: ("1Gi", "500Mi", "10G", "1.5Gi", "1e9", "1073741824", "100k", "3Ti"),
        CRON_PATTERN: ("30 00 * * *", "@daily", "*/5 1-3 1,15 JAN mon"),
        WINDOW_PATTERN: ("01:00-02:00", "Sat:22:00-04:00", " Mon:1:00-2:30 "),
        TIMESTAMP_PATTERN: ("2026-11-23T12:40:33+00:00", "2026-11-23t12:40:33.123-11:30"),
        INSTANT_PATTERN: ("2027-01-31T12:00:00Z", "2027-12-01T00:00:00-11:30", "infinity"),
        r"^[ -<>-~]+$": ("LOG_LEVEL", "with.dot"),
        r"\S": ("busybox", "registry:5000/x@sha256:1"),
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": ("x", "a-1"),
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$": ("x", "a-1", ""),
        ACCOUNT_PATTERN: ("acct1", "other2"),
        BUCKET_PATTERN: ("mine", "Team.backups-2"),
        ENCRYPTION_PATTERN: ("AES256", "aws:kms"),
        ENDPOINT_PATTERN: ("https://minio.example.com:9000", "http://10.0.0.1"),
        PREFIX_PATTERN: ("a", "postgres/team-a"),
        REGION_PATTERN: ("eu-west-1", "minio"),
        OBJECT_NAME_PATTERN: STORE_SECRETS,
        UUID_PATTERN: ("efd12e58-5786-11e8-b5a7-06148230260c",),
        _VERSION: ("18", "17", "14", "13", "9999"),
        _SOURCE_RANGE: ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "::ffff:10.0.0.0/104"),
    },
    values={
        "teamId": ("acid", "", "Team_1", "x.y"),
        "numberOfInstances": (1, 0, 2, 3, 5, 30),
        "dockerImage": ("ghcr.io/zalando/spilo-18:4.1-p2", "spilo", "registry:5000/a/b@sha256:" + "0" * 64),
        "schedulerName": ("default-scheduler", "other"),
        "podPriorityClassName": ("databases", ""),
        "volume.selector": (
            {},
            {"matchLabels": {"a": "b"}},
            {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        ),
        "volume.storageClass": ("standard", "", "fast.ssd"),
        "livenessProbe": _PROBES,
        "nodeAffinity": _AFFINITIES,
        "tolerations.*": _TOLERATIONS,
        "topologySpreadConstraints.*": _SPREADS,
        "initContainers.*": _CONTAINERS,
        "init_containers.*": _CONTAINERS,
        "pod_priority_class_name": ("databases", ""),
        "env.*": _VARIABLES,
        "sidecars.*.env.*": _VARIABLES,
        "sidecars.*.name": ("exporter", "telegraf", "logger"),
        "sidecars.*.image": ("telegraf:1", "exporter"),
        "sidecars.*.ports.*": (
            {"containerPort": 9187},
            {"name": "metrics", "containerPort": 8094, "protocol": "TCP"},
            {"containerPort": 53, "protocol": "UDP"},
        ),
        "envFrom.*": (
            {"secretRef": {"name": "variables", "optional": True}},
            {"configMapRef": {"name": "variables"}, "prefix": "P_"},
        ),
        "additionalVolumes.*.name": ("scratch", "data-2", "x"),
        "additionalVolumes.*.mountPath": ("/opt/scratch", "/home/postgres/pgdata", "/x", "/opt/scratch/deep"),
        "additionalVolumes.*.volumeSource": _VOLUME_SOURCES,
        "additionalVolumes.*.targetContainers": (
            None,
            [],
            ["all"],
            ["postgres"],
            ["postgres", "telegraf"],
            ["all", "x"],
        ),
        "additionalVolumes.*.subPath": ("", "a/b"),
        "volume.subPath": ("", "a/b", "$(POD_NAME)"),
        "clone.cluster": ("acid-other", "source"),
        "tls.secretName": ("certificate", "c-1", ""),
        "tls.caSecretName": ("authority", "", "certificate"),
        "users.*": (
            [],
            None,
            ["superuser"],
            ["createdb", "NOLOGIN"],
            ["CREATEROLE", "REPLICATION"],
            ["login", "inherit"],
        ),
        "databases.*": ("foo", "zalando", "nobody", "postgres"),
        "preparedDatabases.*.secretNamespace": ("elsewhere", ""),
        "connectionPooler.user": ("pooler", "bouncer", "postgres"),
        "connectionPooler.schema": ("pooler", "Lookup"),
        "userOptions.*.memberOf.*": ("reporting", "pg_monitor"),
        "userOptions.*.reassignTo": ("heir", "zalando_heir"),
        "userOptions.*.parameters.*": ("60s", ""),
        "databaseOptions.*.encoding": ("UTF8",),
        "databaseOptions.*.locale": ("C", "de_DE.UTF-8"),
        "databaseOptions.*.template": ("template0", "other"),
        "postgresql.parameters.*": ("32MB", "on", "", "'quoted', \"twice\"", "md5", "1"),
    },
    keys={
        "users": _ROLES,
        "databases": _DATABASES,
        "userOptions": _ROLES,
        "userOptions.*.parameters": ("work_mem", "my.setting"),
        "userOptions.*.databaseParameters": _DATABASES,
        "userOptions.*.databaseParameters.*": ("work_mem", "my.setting"),
        "databaseOptions": _DATABASES,
        "preparedDatabases": ("bar", "foo", "x_1"),
        "preparedDatabases.*.schemas": ("data", "history"),
        "preparedDatabases.*.extensions": ("pgcrypto", "pg_partman"),
        "postgresql.parameters": ("shared_buffers", "max_connections", "log_statement", "password_encryption", "a.b"),
        "patroni.slots": ("feed", "other_slot"),
        "patroni.slots.*": ("type", "database", "plugin"),
        "patroni.initdb": ("encoding", "locale", "data-checksums"),
        "podAnnotations": _LABELS,
        "serviceAnnotations": _LABELS,
        "masterServiceAnnotations": _LABELS,
        "replicaServiceAnnotations": _LABELS,
        "streams.*.tables": ("data.orders", "orders"),
        "streams.*.filter": ("data.orders", "orders"),
    },
    shares={
        "postgresql.parameters": 160,
        "users": 160,
        "databases": 120,
        "preparedDatabases": 120,
        "enableReplicaConnectionPooler": 120,
        "enableReplicaPoolerNodePort": 160,
        "replicaPoolerNodePort": 160,
    },
)
LONGEST_WITH_POOLER = 51
NAMES = ("acid-a", "a", "acid-with-a-rather-long-name-that-has-fifty-eight-character"[:58])


def manifest(chance: Chance) -> dict[str, Any]:
    """A valid one. What joins fields is put right afterwards: the schema alone does not say it."""
    spec = fitting(SPEC, WORDS, chance)
    metadata = {"name": chance.pick(NAMES), "namespace": chance.pick(("default", "ns-1"))}
    if chance.happens(60):
        metadata["labels"] = {chance.pick(_LABELS): chance.pick(("a", "", "X_1"))}
    if chance.happens(60):
        metadata["annotations"] = {chance.pick(_LABELS): chance.pick(("true", "any text: ☃", ""))}
    metadata |= {"uid": "4b1a7a2e-0000-4000-8000-000000000009", "generation": 1 + chance.below(9)}
    _put_right(spec)
    if len(metadata["name"]) > LONGEST_WITH_POOLER:
        for switch in ("connectionPooler", "enableConnectionPooler", "enableReplicaConnectionPooler"):
            spec.pop(switch, None)
    return {"apiVersion": "acid.zalan.do/v1", "kind": "postgresql", "metadata": metadata, "spec": spec}


def _put_right(spec: dict[str, Any]) -> None:
    for index, volume in enumerate(spec.get("additionalVolumes") or ()):
        volume["name"] = f"{volume['name']}-{index}"
    for sidecar in spec.get("sidecars") or ():
        sidecar["image"] = sidecar.get("image", "telegraf:1")
        if "ports" in sidecar:
            sidecar["ports"] = list(
                {port.get("name", port["containerPort"]): port for port in sidecar["ports"]}.values()
            )
    for field in ("initContainers", "init_containers"):
        if field in spec:
            spec[field] = list({container["name"]: container for container in spec[field]}.values())
    for part in (spec, spec.get("connectionPooler") or {}, *(spec.get("sidecars") or ())):
        _reserve_huge_pages(part.get("resources") or {})
    if spec.get("preparedDatabases") == {}:  # it would be named after the cluster, and some names are too long for that
        spec["preparedDatabases"] = {"bar": {}}
    for options in (spec.get("userOptions") or {}).values():
        _name_the_heir(options)
    _put_stores_right(spec)
    standby = spec.get("standby")
    if standby is not None:
        if "s3_wal_path" in standby:
            standby.pop("gs_wal_path", None)
        elif "gs_wal_path" not in standby:
            standby.setdefault("standby_host", "other.example.com")


def _put_stores_right(spec: dict[str, Any]) -> None:
    for store in (spec.get("archive"), (spec.get("logicalBackup") or {}).get("target")):
        if store is not None:
            _of_one_provider(store)
    if "archive" in spec and "env" in spec:
        spec["env"] = [entry for entry in spec["env"] if entry["name"] != "WAL_S3_BUCKET"]


def _of_one_provider(store: dict[str, Any]) -> None:
    if store["provider"] == "az":
        store.setdefault("storageAccount", "acct1")
    else:
        store.pop("storageAccount", None)
    for field in ("region", "endpoint", "forcePathStyle", "sse") if store["provider"] != "s3" else ():
        store.pop(field, None)


def _name_the_heir(options: dict[str, Any]) -> None:
    if options.get("removal") == "reassign":
        options.setdefault("reassignTo", "heir")
    else:
        options.pop("reassignTo", None)


def _reserve_huge_pages(resources: dict[str, Any]) -> None:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in ("hugepages-2Mi", "hugepages-1Gi"):
        if name in limits and name in requests:
            requests[name] = limits[name]
        else:
            requests.pop(name, None)


_WRONG: tuple[Json, ...] = (
    None,
    "",
    "no value fits: \0",
    7,
    -1,
    2**70,
    1.5,
    True,
    [],
    ["x", 3],
    {},
    {"a": {"b": []}},
    "☃" * 300,
)


def broken(chance: Chance) -> dict[str, Any]:
    """A manifest with one to three odd values somewhere. It need not be invalid: a text may be any."""
    found = deepcopy(manifest(chance))
    for _ in range(1 + chance.below(3)):
        everywhere = list(places(found))
        _break(found, chance.pick(everywhere), chance)
    return found


def _break(document: Json, steps: tuple[str | int, ...], chance: Chance) -> None:
    parent = document
    for step in steps[:-1]:
        parent = parent[step]
    last, deed = steps[-1], chance.below(8)
    if deed == 0:
        del parent[last]
    elif deed == 1 and isinstance(parent, dict):
        parent[chance.pick(("Not A Name!", "", "a" * 300, "x.y/z", "☃"))] = parent.pop(last)
    else:
        parent[last] = deepcopy(chance.pick(_WRONG))


def misfit(chance: Chance) -> tuple[dict[str, Any], str]:
    """A manifest with one value that the schema forbids, and the path of it."""
    found = deepcopy(manifest(chance))
    spec = found["spec"]
    candidates = [(steps, part) for steps in places(spec) if (part := part_at(SPEC, steps)) and _forbidden(part)]
    steps, part = chance.pick(candidates)
    parent = spec
    for step in steps[:-1]:
        parent = parent[step]
    parent[steps[-1]] = deepcopy(chance.pick(_forbidden(part)))
    return found, "spec" + "".join(f"[{step}]" if is_bracketed(step) else f".{step}" for step in steps)


def is_bracketed(step: str | int) -> bool:
    return isinstance(step, int) or "." in step or "/" in step


def part_at(schema: Mapping[str, Any], steps: tuple[str | int, ...]) -> Mapping[str, Any] | None:
    """The schema of a place; None where it says nothing."""
    for step in steps:
        properties = schema.get("properties") or {}
        below = (
            schema.get("items") if isinstance(step, int) else properties.get(step) or schema.get("additionalProperties")
        )
        if below is None:
            return None
        schema = below
    return schema


def _forbidden(schema: Mapping[str, Any]) -> list[Json]:
    """Values that a schema with these keywords does not allow."""
    others: Mapping[str, list[Json]] = {
        "string": [7, True, ["x"], {"a": "b"}],
        "integer": ["7", True, 1.5, {}],
        "boolean": ["true", 0, []],
        "object": ["x", 7, ["x"]],
        "array": ["x", 7, {"a": 1}],
    }
    found = list(others.get(schema.get("type", ""), ()))
    if "minimum" in schema:
        found.append(schema["minimum"] - 1)
    if "maximum" in schema:
        found.append(schema["maximum"] + 1)
    if "enum" in schema or ("pattern" in schema and re.search(schema["pattern"], "no value fits") is None):
        found.append("no value fits")
    return found
