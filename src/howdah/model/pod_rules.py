"""Rules of the parts of a manifest that become parts of a pod: what Kubernetes would refuse only when the pods are made.

Each is a function from the spec to problems, as in `manifest_rules`. Types inside Kubernetes' own objects are judged by
the API server alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from howdah.model.errors import Problem
from howdah.model.spec import Amounts, Resources, Spec

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_VARIABLE = re.compile(r"[ -<>-~]+")
_KEY_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_KEY_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]([a-z0-9]|-(?!-)){0,14}(?<!-)")
_HUGE_PAGES = {"hugepages_2mi": "hugepages-2Mi", "hugepages_1gi": "hugepages-1Gi"}
_LABEL_HINT = "use lower-case letters, digits and dashes, at most 63"


def pod_problems(spec: Spec) -> Iterator[Problem]:
    """Everything that no pod can be made from."""
    yield from _init_containers("spec.initContainers", spec.init_containers or ())
    if spec.init_containers is None:
        yield from _init_containers("spec.init_containers", spec.removed_init_containers or ())
    yield from _variables("spec.env", spec.env or ())
    yield from _huge_pages("spec.resources", spec.resources)
    if spec.connection_pooler is not None:
        yield from _huge_pages("spec.connectionPooler.resources", spec.connection_pooler.resources)
    for index, sidecar in enumerate(spec.sidecars or ()):
        path = f"spec.sidecars[{index}]"
        if sidecar.name and _DNS_LABEL.fullmatch(sidecar.name) is None:
            yield Problem(f"{path}.name", f'"{sidecar.name}" cannot name a container', _LABEL_HINT)
        yield from _variables(f"{path}.env", sidecar.env or ())
        yield from _ports(f"{path}.ports", sidecar.ports or ())
        yield from _huge_pages(f"{path}.resources", sidecar.resources)
    for index, volume in enumerate(spec.additional_volumes or ()):
        if not volume.mount_path:
            yield Problem(f"spec.additionalVolumes[{index}].mountPath", "is empty", "write where it is mounted")
    annotations = ("pod", "service", "master_service", "replica_service")
    for name in (f"{part}_annotations" for part in annotations):
        yield from _annotation_keys(f"spec.{Spec.model_fields[name].alias}", getattr(spec, name) or {})


def _init_containers(path: str, containers: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    counts = Counter(container["name"] for container in containers)
    for index, container in enumerate(containers):
        name = container["name"]
        if _DNS_LABEL.fullmatch(name) is None:
            yield Problem(f"{path}[{index}].name", f'"{name}" cannot name a container', _LABEL_HINT)
        if counts[name] > 1:
            hint = "give each container its own name"
            yield Problem(f"{path}[{index}].name", f'"{name}" is there {counts[name]} times', hint)
        if not (container.get("image") or "").strip():
            yield Problem(f"{path}[{index}]", "has no image", "add it")


def _variables(path: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    for index, entry in enumerate(entries):
        if _VARIABLE.fullmatch(entry["name"]) is None:
            hint = "use letters, digits and underscores"
            yield Problem(f"{path}[{index}].name", f'"{entry["name"]}" cannot name a variable', hint)


def _ports(path: str, ports: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    counts = Counter(port["name"] for port in ports if port.get("name"))
    for index, port in enumerate(ports):
        name, number = port.get("name") or "", port["containerPort"]
        if name and _PORT_NAME.fullmatch(name) is None:
            hint = "use lower-case letters, digits and single dashes, at most 15"
            yield Problem(f"{path}[{index}].name", f'"{name}" cannot name a port', hint)
        if counts[name] > 1:
            yield Problem(f"{path}[{index}].name", f'"{name}" is there {counts[name]} times', "give each its own name")
        if not 0 < number < 65536:
            yield Problem(f"{path}[{index}].containerPort", f"{number} is not a port", "write 1 to 65535")


def _huge_pages(path: str, resources: Resources | None) -> Iterator[Problem]:
    """Huge pages cannot be promised twice: a request is the limit."""
    requests, limits = (resources.requests, resources.limits) if resources else (None, None)
    for field, name in _HUGE_PAGES.items():
        asked, most = _amount(requests, field), _amount(limits, field)
        if asked and asked != most:
            message = "is not the limit; huge pages are all reserved"
            yield Problem(f"{path}.requests.{name}", message, f"write limits.{name}: {asked} too")


def _amount(amounts: Amounts | None, field: str) -> Any:
    return getattr(amounts, field, None)


def _annotation_keys(path: str, annotations: Mapping[str, str]) -> Iterator[Problem]:
    for key in annotations:
        prefix, slash, name = key.rpartition("/")
        has_prefix = not slash or (_KEY_PREFIX.fullmatch(prefix.lower()) is not None and len(prefix) <= 253)
        if _KEY_NAME.fullmatch(name) is None or not has_prefix:
            hint = "write a name such as example.com/scrape"
            yield Problem(f"{path}[{key}]", f'"{key}" is not the key of an annotation', hint)
