"""What makes an object invalid: rules that the schemas cannot say, for the kinds and fields that matter here.

Each kind has its checks in a table; a check yields every error that it finds. The wording is the real
server's. Pods and workloads have theirs in `workload_rules.py`, custom resources in `structural.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

from . import cel_rules, names
from .errors import FieldError, duplicate, field_forbidden, invalid, required
from .kinds import Kind
from .objects import Obj, dig
from .quantities import parsed
from .structural import scale_errors, status_errors, structural_errors
from .workload_rules import IMMUTABLE, WORKLOAD_CHANGES, WORKLOAD_CHECKS, Change, Check, Errors, choice_errors


def _service_name_problems(name: str) -> list[str]:
    return ["must not contain dots"] if "." in name else names.label_problems(name)


_NAME_PROBLEMS: Mapping[str, Callable[[str], list[str]]] = {
    "namespaces": names.label_problems,
    "services": _service_name_problems,
    "statefulsets.apps": names.label_problems,
    "roles.rbac.authorization.k8s.io": names.path_problems,
    "rolebindings.rbac.authorization.k8s.io": names.path_problems,
    "clusterroles.rbac.authorization.k8s.io": names.path_problems,
    "clusterrolebindings.rbac.authorization.k8s.io": names.path_problems,
}


def create_errors(kind: Kind, obj: Obj) -> list[FieldError]:
    """Every reason that forbids a creation."""
    found = [*_metadata_errors(kind, obj)]
    if kind.custom is not None:
        return found + _custom_errors(kind, obj, None)
    checks = (*_CHECKS.get(kind.storage, ()), *_CREATION_CHECKS.get(kind.storage, ()))
    return found + [error for check in checks for error in check(obj)]


def update_errors(kind: Kind, new: Obj, live: Obj, subresource: str) -> list[FieldError]:
    """Every reason that forbids an update."""
    found = [*_metadata_errors(kind, new)]
    if dig(live, "metadata", "deletionTimestamp"):
        found += _finalizer_errors(new, live)
    if kind.custom is not None:
        if subresource == "status":
            return found + cel_rules.checked(status_errors(new, kind.schema), new, kind.schema, live)
        return found + _custom_errors(kind, new, live)
    if subresource == "":
        found += [error for check in _CHANGES.get(kind.storage, ()) for error in check(new, live)]
        found += [error for check in _CHECKS.get(kind.storage, ()) for error in check(new)]
    return found


def _custom_errors(kind: Kind, obj: Obj, live: Obj | None) -> list[FieldError]:
    assert kind.custom is not None
    path = kind.custom.scale.get("specReplicasPath")
    found = structural_errors(obj, kind.schema, live) + (scale_errors(obj, path) if path else [])
    return cel_rules.checked(found, obj, kind.schema, live)


def _finalizer_errors(new: Obj, live: Obj) -> Errors:
    """An object that is being deleted gets no new finalizers."""
    before = live["metadata"].get("finalizers") or ()
    added = [name for name in new["metadata"].get("finalizers") or () if name not in before]
    if added:
        detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {_go(added)}"
        yield field_forbidden("metadata.finalizers", detail)


def _go(texts: list[str]) -> str:
    return "[]string{" + ", ".join(f'"{text}"' for text in texts) + "}"


def _metadata_errors(kind: Kind, obj: Obj) -> Errors:
    metadata = obj["metadata"]
    name = metadata.get("name", "")
    problems = _NAME_PROBLEMS.get(kind.storage, names.subdomain_problems)
    if not name:
        yield required("metadata.name", "name or generateName is required")
    else:
        yield from (invalid("metadata.name", name, problem) for problem in problems(name))
    yield from names.label_errors(metadata.get("labels"), "metadata.labels")
    yield from names.annotation_errors(metadata.get("annotations"), "metadata.annotations")
    for owner in metadata.get("ownerReferences") or ():
        yield from _owner_errors(owner, "metadata.ownerReferences")
    controllers = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller")]
    if len(controllers) > 1:
        kinds = (
            f"{controllers[0]['kind']}/{controllers[0]['name']} and {controllers[1]['kind']}/{controllers[1]['name']}"
        )
        detail = f'Only one reference can have Controller set to true. Found "true" in references for {kinds}'
        yield invalid("metadata.ownerReferences", controllers, detail)
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        if kind.custom is None and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, why)
        yield from (
            invalid("metadata.finalizers", finalizer, problem) for problem in names.qualified_problems(finalizer)
        )


_STANDARD_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")


def finalizer_warnings(obj: Obj) -> list[str]:
    """What the real server says of finalizers that others may use too (custom resources only)."""
    found = []
    for name in obj["metadata"].get("finalizers") or ():
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            form = "a domain-qualified finalizer name" + (" including a path (/)" if "." in name else "")
            why = f'metadata.finalizers: "{name}": prefer {form} to avoid accidental conflicts with other finalizer writers'
            found.append(why)
    return found


def _owner_errors(owner: Obj, field: str) -> Errors:
    for key in ("apiVersion", "kind", "name", "uid"):
        if not owner.get(key):
            what = "version must not be empty" if key == "apiVersion" else "must not be empty"
            yield invalid(f"{field}.{key}", "", what)
    if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
        yield invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner")


# Services and their addresses


def _service(obj: Obj) -> Errors:
    spec = obj["spec"]
    ports = spec.get("ports") or ()
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and spec["type"] != "ExternalName":
        yield required("spec.ports")
    if spec["type"] == "ExternalName" and not spec.get("externalName"):
        yield invalid("spec.externalName", "", names.subdomain_problems("")[0])
    kinds = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    yield from choice_errors(spec["type"], "spec.type", kinds)
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place = f"spec.ports[{index}]"
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            yield required(f"{place}.name")
        if name:
            yield from (invalid(f"{place}.name", name, problem) for problem in names.label_problems(name))
            if name in seen:
                yield duplicate(f"{place}.name", name)
            seen.add(name)
        if not 0 < port.get("port", 0) < 65536:
            yield invalid(f"{place}.port", port.get("port", 0), "must be between 1 and 65535, inclusive")
        yield from choice_errors(port.get("protocol"), f"{place}.protocol", ("SCTP", "TCP", "UDP"))
        if port.get("targetPort") == 0:
            yield invalid(f"{place}.targetPort", 0, "must be between 1 and 65535, inclusive")
    yield from names.label_errors(spec.get("selector"), "spec.selector")
    address = spec.get("clusterIP")
    if address and not headless and not _is_address(address):
        yield invalid("spec.clusterIPs[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _service_change(new: Obj, live: Obj) -> Errors:
    before, after = live["spec"], new["spec"]
    if "ExternalName" in (before["type"], after["type"]):
        return
    if before.get("clusterIP") and after.get("clusterIP") != before["clusterIP"]:
        yield invalid("spec.clusterIPs[0]", [after.get("clusterIP")], "may not change once set")


def _endpoints(obj: Obj) -> Errors:
    for at, subset in enumerate(obj.get("subsets") or ()):
        for key in ("addresses", "notReadyAddresses"):
            for index, address in enumerate(subset.get(key) or ()):
                place = f"subsets[{at}].{key}[{index}].ip"
                if not _is_address(address.get("ip", "")):
                    yield invalid(
                        place, address.get("ip", ""), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
                    )
        for index, port in enumerate(subset.get("ports") or ()):
            place = f"subsets[{at}].ports[{index}]"
            if len(subset["ports"]) > 1 and not port.get("name"):
                yield required(f"{place}.name")
            if not 0 < port.get("port", 0) < 65536:
                yield invalid(f"{place}.port", port.get("port", 0), "must be between 1 and 65535, inclusive")


# Configuration


def _data_keys(obj: Obj) -> Errors:
    for part in ("data", "binaryData"):
        for key in obj.get(part) or {}:
            yield from (invalid(f"{part}[{key}]", key, problem) for problem in names.config_key_problems(key))
    for key in (obj.get("data") or {}).keys() & (obj.get("binaryData") or {}).keys():
        yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")


_KEYS_OF_TYPES = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def _secret_keys(obj: Obj) -> Errors:
    """A Secret of a known type has that type's keys."""
    for key in _KEYS_OF_TYPES.get(obj.get("type", ""), ()):
        if key not in (obj.get("data") or {}):
            yield required(f"data[{key}]")


def _no_ephemeral_containers(obj: Obj) -> Errors:
    if dig(obj, "spec", "ephemeralContainers"):
        yield field_forbidden("spec.ephemeralContainers", "cannot be set on create")


def _data_change(new: Obj, live: Obj) -> Errors:
    if live.get("immutable"):
        if not new.get("immutable"):
            yield field_forbidden("immutable", "field is immutable when `immutable` is set")
        if (new.get("data"), new.get("binaryData")) != (live.get("data"), live.get("binaryData")):
            yield field_forbidden("data", "field is immutable when `immutable` is set")


def _secret_change(new: Obj, live: Obj) -> Errors:
    if new.get("type") != live.get("type"):
        yield invalid("type", new.get("type"), IMMUTABLE)


def _claim(obj: Obj) -> Errors:
    spec = obj["spec"]
    modes = spec.get("accessModes") or ()
    if not modes:
        yield required("spec.accessModes", "at least 1 access mode is required")
    allowed = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
    for mode in modes:
        yield from choice_errors(mode, "spec.accessModes", allowed)
    size = dig(spec, "resources", "requests", "storage")
    if not size:
        yield required("spec.resources[storage]")
    elif parsed(size) <= 0:
        yield invalid("spec.resources[storage]", size, "must be greater than zero")


def _claim_change(new: Obj, live: Obj) -> Errors:
    """A claim's spec is fixed once bound, but for a larger size."""

    def fixed(spec: Obj) -> Obj:
        names_mutable = ("resources", "volumeAttributesClassName", "volumeName")
        return {key: value for key, value in spec.items() if key not in names_mutable}

    before, after = live["spec"], new["spec"]
    bound = bool(before.get("volumeName"))
    bound_changed = bound and after.get("volumeName") != before["volumeName"]
    bound_changed |= not bound and before.get("resources") != after.get("resources")
    if fixed(before) != fixed(after) or bound_changed:
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        yield field_forbidden("spec", detail)
        return
    old, asked = (dig(spec, "resources", "requests", "storage") for spec in (before, after))
    if old and asked and parsed(asked) < parsed(old):
        yield field_forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _binding_change(new: Obj, live: Obj) -> Errors:
    if new.get("roleRef") != live.get("roleRef"):
        yield invalid("roleRef", new.get("roleRef"), "cannot change roleRef")


def _binding(obj: Obj) -> Errors:
    kinds = ("Role", "ClusterRole") if obj["kind"] == "RoleBinding" else ("ClusterRole",)
    yield from choice_errors(dig(obj, "roleRef", "kind"), "roleRef.kind", kinds)
    if not dig(obj, "roleRef", "name"):
        yield required("roleRef.name")


def _budget(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if "minAvailable" in spec and "maxUnavailable" in spec:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        yield from _count_errors(spec.get(key), f"spec.{key}")


def _count_errors(value: Any, field: str) -> Errors:
    """A count of pods: a number, or a percentage."""
    if isinstance(value, int) and value < 0:
        yield invalid(field, value, "must be greater than or equal to 0")
    if isinstance(value, str) and not re.fullmatch(r"[0-9]+%", value):
        why = (
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
            "regex used for validation is '[0-9]+%')"
        )
        yield invalid(field, value, why)


def _role(obj: Obj) -> Errors:
    for index, rule in enumerate(obj.get("rules") or ()):
        if not rule.get("verbs"):
            yield required(f"rules[{index}].verbs", "verbs must contain at least one value")


def _lease(obj: Obj) -> Errors:
    duration = dig(obj, "spec", "leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")


def _slice(obj: Obj) -> Errors:
    if not obj.get("addressType"):
        yield required("addressType")
    else:
        yield from choice_errors(obj["addressType"], "addressType", ("FQDN", "IPv4", "IPv6"))


def _event(obj: Obj) -> Errors:
    involved = obj.get("involvedObject") or obj.get("regarding") or {}
    if (involved.get("namespace") or "default") != obj["metadata"].get("namespace"):
        found = involved.get("namespace") or ""
        yield invalid("involvedObject.namespace", found, "does not match event.namespace")
    if obj["apiVersion"] != "v1" and not obj.get("eventTime"):
        yield required("eventTime")


def _revision_change(new: Obj, live: Obj) -> Errors:
    if new.get("data") != live.get("data"):
        yield invalid("data", new.get("data"), IMMUTABLE)


def _crd(obj: Obj) -> Errors:
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    expected = f"{dig(spec, 'names', 'plural')}.{spec.get('group')}"
    if name != expected:
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    stored = [version for version in spec.get("versions") or () if version.get("storage")]
    if len(stored) != 1:
        yield invalid(
            "spec.versions", spec.get("versions") or [], "must have exactly one version marked as storage version"
        )
    for index, version in enumerate(spec.get("versions") or ()):
        if not dig(version, "schema", "openAPIV3Schema"):
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema")
        else:
            schema, place = version["schema"]["openAPIV3Schema"], f"spec.versions[{index}].schema.openAPIV3Schema"
            yield from cel_rules.definition_errors(schema, place)
    yield from choice_errors(spec.get("scope"), "spec.scope", ("Cluster", "Namespaced"))


_CHECKS: Mapping[str, tuple[Check, ...]] = {
    **WORKLOAD_CHECKS,
    "services": (_service,),
    "endpoints": (_endpoints,),
    "configmaps": (_data_keys,),
    "secrets": (_data_keys, _secret_keys),
    "persistentvolumeclaims": (_claim,),
    "rolebindings.rbac.authorization.k8s.io": (_binding,),
    "clusterrolebindings.rbac.authorization.k8s.io": (_binding,),
    "poddisruptionbudgets.policy": (_budget,),
    "roles.rbac.authorization.k8s.io": (_role,),
    "clusterroles.rbac.authorization.k8s.io": (_role,),
    "leases.coordination.k8s.io": (_lease,),
    "endpointslices.discovery.k8s.io": (_slice,),
    "events": (_event,),
    "customresourcedefinitions.apiextensions.k8s.io": (_crd,),
}
_CREATION_CHECKS: Mapping[str, tuple[Check, ...]] = {"pods": (_no_ephemeral_containers,)}
_CHANGES: Mapping[str, tuple[Change, ...]] = {
    **WORKLOAD_CHANGES,
    "services": (_service_change,),
    "configmaps": (_data_change,),
    "controllerrevisions.apps": (_revision_change,),
    "secrets": (_data_change, _secret_change),
    "persistentvolumeclaims": (_claim_change,),
    "rolebindings.rbac.authorization.k8s.io": (_binding_change,),
    "clusterrolebindings.rbac.authorization.k8s.io": (_binding_change,),
}
