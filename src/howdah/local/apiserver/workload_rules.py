"""What makes pods, their templates and the workloads that make pods invalid; in the words of the real server.

Not covered: the long tail of pod fields (volumes' sources, affinity, security contexts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from . import names
from .errors import FieldError, duplicate, field_forbidden, field_not_found, invalid, required, unsupported
from .objects import Obj, dig
from .quantities import parsed
from .selectors import requirements_of, selects

Errors: TypeAlias = Iterator[FieldError]
IMMUTABLE = "field is immutable"
Check: TypeAlias = Callable[[Obj], Errors]
Change: TypeAlias = Callable[[Obj, Obj], Errors]


def _pod_spec_errors(spec: Obj, field: str) -> Errors:
    volumes = {volume.get("name", "") for volume in spec.get("volumes") or ()}
    yield from _volume_errors(spec.get("volumes") or (), f"{field}.volumes")
    if not spec.get("containers"):
        yield required(f"{field}.containers")
    seen: set[str] = set()
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or ()):
            place = f"{field}.{key}[{index}]"
            yield from _container_errors(container, place, volumes | _claims(spec))
            name = container.get("name", "")
            if name in seen:
                yield duplicate(f"{place}.name", name)
            seen.add(name)
    yield from choice_errors(spec.get("restartPolicy"), f"{field}.restartPolicy", ("Always", "Never", "OnFailure"))
    policies = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
    yield from choice_errors(spec.get("dnsPolicy"), f"{field}.dnsPolicy", policies)
    grace = spec.get("terminationGracePeriodSeconds")
    if isinstance(grace, int) and grace < 0:
        yield invalid(f"{field}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")
    yield from names.label_errors(spec.get("nodeSelector"), f"{field}.nodeSelector")


def _claims(spec: Obj) -> set[str]:
    return set(spec.get("$claims", ()))


def _volume_errors(volumes: Any, field: str) -> Errors:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        name, place = volume.get("name", ""), f"{field}[{index}].name"
        if not name:
            yield required(place)
        else:
            yield from (invalid(place, name, problem) for problem in names.label_problems(name))
        if name in seen:
            yield duplicate(place, name)
        seen.add(name)


def _container_errors(container: Obj, field: str, volumes: set[str]) -> Errors:
    name = container.get("name", "")
    if not name:
        yield required(f"{field}.name")
    else:
        yield from (invalid(f"{field}.name", name, problem) for problem in names.label_problems(name))
    if not container.get("image", "").strip():
        yield required(f"{field}.image")
    yield from choice_errors(
        container.get("imagePullPolicy"), f"{field}.imagePullPolicy", ("Always", "IfNotPresent", "Never")
    )
    yield from _port_errors(container.get("ports") or (), f"{field}.ports")
    for index, entry in enumerate(container.get("env") or ()):
        yield from _env_errors(entry, f"{field}.env[{index}]")
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        place = f"{field}.volumeMounts[{index}]"
        path = mount.get("mountPath", "")
        if not mount.get("name"):
            yield required(f"{place}.name")
        elif mount["name"] not in volumes:
            yield field_not_found(f"{place}.name", mount["name"])
        if not path:
            yield required(f"{place}.mountPath")
        elif path in mounted:
            yield invalid(f"{place}.mountPath", path, "must be unique")
        mounted.add(path)
    yield from _resource_errors(container.get("resources") or {}, f"{field}.resources")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe in container:
            yield from _probe_errors(container[probe], f"{field}.{probe}")


def _port_errors(ports: Any, field: str) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        place = f"{field}[{index}]"
        name = port.get("name")
        if name:
            if len(name) > 15:
                yield invalid(f"{place}.name", name, "must be no more than 15 characters")
            if name in seen:
                yield duplicate(f"{place}.name", name)
            seen.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            yield required(f"{place}.containerPort")
        elif not 0 < number < 65536:
            yield invalid(f"{place}.containerPort", number, "must be between 1 and 65535, inclusive")


def _env_errors(entry: Obj, field: str) -> Errors:
    name = entry.get("name", "")
    if not name:
        yield required(f"{field}.name")
    else:
        yield from (invalid(f"{field}.name", name, problem) for problem in names.env_name_problems(name))
    source = entry.get("valueFrom")
    if source is None:
        return
    if not source:
        detail = (
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        )
        yield invalid(f"{field}.valueFrom", "", detail)
    elif entry.get("value"):
        yield invalid(f"{field}.valueFrom", "", "may not be specified when `value` is not empty")


def _resource_errors(resources: Obj, field: str) -> Errors:
    limits = resources.get("limits") or {}
    for name, asked in (resources.get("requests") or {}).items():
        if name.startswith("hugepages-"):
            if name not in limits:
                yield required(f"{field}.limits", "Limit must be set for non overcommitable resources")
            elif parsed(asked) != parsed(limits[name]):
                yield invalid(f"{field}.requests", asked, f"must be equal to {name} limit of {limits[name]}")
        elif name in limits and parsed(asked) > parsed(limits[name]):
            yield invalid(f"{field}.requests", asked, f"must be less than or equal to {name} limit of {limits[name]}")


def _probe_errors(probe: Obj, field: str) -> Errors:
    if not any(key in probe for key in ("exec", "httpGet", "tcpSocket", "grpc")):
        yield required(field, "must specify a handler type")


def choice_errors(value: Any, field: str, choices: tuple[str, ...]) -> Errors:
    if value is not None and value not in choices:
        yield unsupported(field, value, choices)


def _pod(obj: Obj) -> Errors:
    yield from _pod_spec_errors(obj["spec"], "spec")


def _template(obj: Obj) -> Errors:
    """A selector, a template that it selects, and a pod that may be."""
    spec = obj["spec"]
    template = spec["template"]
    labels = dig(template, "metadata", "labels")
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    elif not requirements_of(selector):
        yield invalid("spec.selector", selector, f"empty selector is invalid for {obj['kind'].lower()}")
    else:
        yield from selector_errors(selector, "spec.selector")
    if not selects(selector, labels or {}):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from _template_errors(template, spec, "spec.template")


def _template_errors(template: Obj, spec: Obj, field: str) -> Errors:
    yield from names.label_errors(dig(template, "metadata", "labels"), f"{field}.labels")
    yield from names.annotation_errors(dig(template, "metadata", "annotations"), f"{field}.annotations")
    claims = [dig(claim, "metadata", "name") for claim in spec.get("volumeClaimTemplates") or ()]
    yield from _pod_spec_errors({**template.get("spec", {}), "$claims": claims}, f"{field}.spec")


def selector_errors(selector: Obj, field: str) -> Errors:
    """What is wrong with a LabelSelector."""
    yield from names.label_errors(selector.get("matchLabels"), f"{field}.matchLabels")
    for index, term in enumerate(selector.get("matchExpressions") or ()):
        place = f"{field}.matchExpressions[{index}]"
        operator, values = term.get("operator"), term.get("values")
        if operator in ("In", "NotIn") and not values:
            yield required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            yield field_forbidden(f"{place}.values", detail)
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield invalid(f"{place}.operator", operator or "", "not a valid selector operator")


def _replicas(obj: Obj) -> Errors:
    replicas = obj["spec"].get("replicas", 0)
    if replicas < 0:
        yield invalid("spec.replicas", replicas, "must be greater than or equal to 0")


def _always_restarts(obj: Obj) -> Errors:
    policy = dig(obj, "spec", "template", "spec", "restartPolicy")
    if policy != "Always" and policy in ("Never", "OnFailure"):
        yield unsupported("spec.template.spec.restartPolicy", policy, ("Always",))


def _statefulset(obj: Obj) -> Errors:
    spec = obj["spec"]
    yield from choice_errors(spec.get("podManagementPolicy"), "spec.podManagementPolicy", ("OrderedReady", "Parallel"))
    kind = dig(spec, "updateStrategy", "type")
    yield from choice_errors(kind, "spec.updateStrategy.type", ("OnDelete", "RollingUpdate"))
    for key in ("whenDeleted", "whenScaled"):
        value = dig(spec, "persistentVolumeClaimRetentionPolicy", key)
        yield from choice_errors(value, f"spec.persistentVolumeClaimRetentionPolicy.{key}", ("Retain", "Delete"))


_STATEFULSET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def _statefulset_change(new: Obj, live: Obj) -> Errors:
    kept = [{k: v for k, v in obj["spec"].items() if k not in _STATEFULSET_MUTABLE} for obj in (new, live)]
    if kept[0] != kept[1]:
        listed = ", ".join(f"'{name}'" for name in _STATEFULSET_MUTABLE[:-1])
        detail = (
            f"updates to statefulset spec for fields other than {listed} and '{_STATEFULSET_MUTABLE[-1]}' are forbidden"
        )
        yield field_forbidden("spec", detail)


def _selector_kept(new: Obj, live: Obj) -> Errors:
    if new["spec"].get("selector") != live["spec"].get("selector"):
        yield invalid("spec.selector", new["spec"].get("selector"), IMMUTABLE)


def _job(obj: Obj) -> Errors:
    template = obj["spec"]["template"]
    policy = dig(template, "spec", "restartPolicy")
    yield from _template_errors(template, {}, "spec.template")
    if policy not in ("Never", "OnFailure"):
        yield unsupported("spec.template.spec.restartPolicy", policy, ("OnFailure", "Never"))


def _job_change(new: Obj, live: Obj) -> Errors:
    for key in ("template", "completions", "selector", "completionMode"):
        if key == "template" and live["spec"].get("suspend"):
            continue
        if new["spec"].get(key) != live["spec"].get(key):
            yield invalid(f"spec.{key}", new["spec"].get(key), IMMUTABLE)


def _cronjob(obj: Obj) -> Errors:
    spec = obj["spec"]
    if len(obj["metadata"].get("name", "")) > 52:
        yield invalid("metadata.name", obj["metadata"]["name"], "must be no more than 52 characters")
    schedule = spec.get("schedule", "")
    if not schedule:
        yield required("spec.schedule")
    elif not schedule.startswith("@") and len(schedule.split()) != 5:
        yield invalid(
            "spec.schedule", schedule, f"expected exactly 5 fields, found {len(schedule.split())}: [{schedule}]"
        )
    yield from choice_errors(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace"))
    template = dig(spec, "jobTemplate", "spec", "template") or {}
    yield from _template_errors(template, {}, "spec.jobTemplate.spec.template")
    policy = dig(template, "spec", "restartPolicy")
    if policy not in ("Never", "OnFailure"):
        yield unsupported("spec.jobTemplate.spec.template.spec.restartPolicy", policy, ("OnFailure", "Never"))


_POD_MUTABLE = ("image",)
_POD_SPEC_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def _pod_change(new: Obj, live: Obj) -> Errors:
    """A pod's spec is fixed, but for images, deadline and more tolerations."""

    def fixed(spec: Obj) -> Obj:
        rest = {key: value for key, value in spec.items() if key not in _POD_SPEC_MUTABLE}
        for key in ("containers", "initContainers"):
            if key in rest:
                rest[key] = [{k: v for k, v in c.items() if k not in _POD_MUTABLE} for c in rest[key]]
        return rest

    if fixed(new["spec"]) != fixed(live["spec"]):
        detail = (
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        yield field_forbidden("spec", detail)


WORKLOAD_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "pods": (_pod,),
    "deployments.apps": (_replicas, _template, _always_restarts),
    "replicasets.apps": (_replicas, _template, _always_restarts),
    "statefulsets.apps": (_statefulset, _replicas, _template, _always_restarts),
    "jobs.batch": (_job,),
    "cronjobs.batch": (_cronjob,),
}
WORKLOAD_CHANGES: Mapping[str, tuple[Change, ...]] = {
    "pods": (_pod_change,),
    "deployments.apps": (_selector_kept,),
    "replicasets.apps": (_selector_kept,),
    "statefulsets.apps": (_statefulset_change,),
    "jobs.batch": (_job_change,),
}
"""Functions of the new and the live object."""
