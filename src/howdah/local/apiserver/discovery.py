"""What is served, as clients discover it: versions, groups, resources, OpenAPI."""

from __future__ import annotations

import base64
import hashlib

from .kinds import Kind, Registry
from .objects import Obj, decode, encode
from .schema import document, documents

VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.3+howdah",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}

_SUBRESOURCES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "status": ("", "", "", ("get", "patch", "update")),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
    "finalize": ("", "", "", ("update",)),
    "log": ("", "", "", ("get",)),
    "exec": ("", "", "PodExecOptions", ("create", "get")),
    "attach": ("", "", "PodAttachOptions", ("create", "get")),
    "portforward": ("", "", "PodPortForwardOptions", ("create", "get")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "", "Binding", ("create",)),
    "ephemeralcontainers": ("", "", "", ("get", "patch", "update")),
    "resize": ("", "", "", ("get", "patch", "update")),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
}
"""Group, version and kind of what a subresource takes (empty: those of its resource), and its verbs."""


def verbs_of(subresource: str) -> tuple[str, ...]:
    """The verbs of a subresource, as permissions name them."""
    return _SUBRESOURCES[subresource][3]


def core_versions(address: str) -> Obj:
    servers = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": servers}


def group_versions(registry: Registry) -> dict[str, list[str]]:
    """Group → versions, the preferred one first."""
    found: dict[str, list[str]] = {}
    for kind in registry:
        versions = found.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
    return {group: sorted(versions, key=_priority) for group, versions in found.items()}


def _priority(version: str) -> tuple[int, int, int]:
    """Stable versions first, then beta, then alpha; newest first."""
    stage = 2 if "alpha" in version else 1 if "beta" in version else 0
    digits = "".join(c if c.isdigit() else " " for c in version).split()
    numbers = [int(number) for number in digits] + [0, 0]
    return stage, -numbers[0], -numbers[1]


def group_list(registry: Registry) -> Obj:
    groups = [_group(group, versions) for group, versions in group_versions(registry).items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Obj | None:
    versions = group_versions(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: list[str]) -> Obj:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, name: str, version: str) -> Obj | None:
    kinds = [kind for kind in registry if (kind.group, kind.version) == (name, version)]
    if not kinds:
        return None
    resources = [entry for kind in sorted(kinds, key=lambda kind: kind.plural) for entry in _resources(kind)]
    group_version = f"{name}/{version}" if name else version
    head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if name else {})  # the core list has none
    return {**head, "groupVersion": group_version, "resources": resources}


def _resources(kind: Kind) -> list[Obj]:
    entry: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs if kind.custom is None else _CUSTOM_VERBS),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if "watch" in kind.verbs:
        digest = hashlib.sha256(f"{kind.group}/{kind.kind}".encode()).digest()[:8]
        entry["storageVersionHash"] = base64.b64encode(digest).decode()
    subresources = sorted(kind.subresources, reverse=kind.custom is not None)
    return [entry, *(_subresource(kind, name) for name in subresources)]


def _subresource(kind: Kind, name: str) -> Obj:
    group_name, version, sub_kind, verbs = _SUBRESOURCES[name]
    entry: Obj = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
    if group_name:
        entry |= {"group": group_name, "version": version}
    return entry | {"kind": sub_kind or kind.kind, "verbs": list(verbs)}


_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
OPENAPI_V2 = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def openapi_index(registry: Registry) -> Obj:
    """Where each document is; the hash lets clients keep them."""
    paths = {name.replace("_", "/"): f"{name}-1.36.3" for name in documents()}
    for kind in registry:
        if kind.custom is not None:
            path = f"apis/{kind.group}/{kind.version}"
            schemas = [
                found.schema.raw for found in registry if (found.group, found.version) == (kind.group, kind.version)
            ]
            paths[path] = hashlib.sha256(encode(schemas)).hexdigest()
    entries = {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={tag}"} for path, tag in sorted(paths.items())}
    return {"paths": entries}


def openapi_document(registry: Registry, path: str) -> bytes | None:
    """The document of `api/v1` or `apis/GROUP/VERSION`."""
    found = document(path.replace("/", "_"))
    if found is not None:
        return found
    parts = path.split("/")
    if len(parts) == 3 and registry.is_custom_group(parts[1]):
        return encode(custom_document(registry, parts[1], parts[2]))
    return None


_REF = "#/components/schemas/"
_TEXT = {"type": "string"}
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_OBJECT_META = _META + "ObjectMeta"
_META_SCHEMAS = tuple(
    _META + name for name in ("ObjectMeta", "ManagedFieldsEntry", "OwnerReference", "FieldsV1", "Time")
)


def custom_document(registry: Registry, group_name: str, version: str) -> Obj:
    """The OpenAPI document of custom resources: their schemas, and paths enough for kubectl."""
    published = decode(document("api_v1") or b"")["components"]["schemas"]
    schemas: Obj = {name: published[name] for name in _META_SCHEMAS}
    paths: Obj = {}
    for kind in registry:
        if kind.custom is None or (kind.group, kind.version) != (group_name, version):
            continue
        gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
        name = ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
        own = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"allOf": [{"$ref": _REF + _OBJECT_META}]}}
        properties = {**kind.schema.raw["properties"], **own}
        schemas[name] = {**kind.schema.raw, "properties": properties, "x-kubernetes-group-version-kind": [gvk]}
        place = "namespaces/{namespace}/" if kind.namespaced else ""
        base = f"/apis/{group_name}/{version}/{place}{kind.plural}"
        paths[base] = {"get": _operation("list", gvk), "post": _operation("post", gvk)}
        paths[base + "/{name}"] = {
            "get": _operation("get", gvk),
            "put": _operation("put", gvk),
            "patch": _operation("patch", gvk),
        }
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(action: str, gvk: Obj) -> Obj:
    names = ("dryRun", "fieldManager", "fieldValidation")
    parameters = [{"in": "query", "name": name, "schema": {"type": "string"}} for name in names]
    return {
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk,
    }
