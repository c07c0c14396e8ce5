"""A container's environment and command line, from its spec and what that refers to. No I/O.

Where a container would see a mount, the same folder has another name here: every value that begins with a mount path
is rewritten to the folder of the volume.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from howdah.local.node import quantities

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_VARIABLE = re.compile(r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")

Mounts = Sequence[tuple[str, str]]


class ConfigError(Exception):
    """The container cannot be made from its spec; says which reference is missing. Tried again later."""


@dataclass(frozen=True, slots=True)
class References:
    """Texts of the Secrets and ConfigMaps of the pod's namespace that the pod names; missing ones are absent."""

    secrets: Mapping[str, Mapping[str, str]]
    config_maps: Mapping[str, Mapping[str, str]]

    def keys(self, kind: str, name: str) -> Mapping[str, str] | None:
        """`kind` is secret or configmap."""
        return (self.secrets if kind == "secret" else self.config_maps).get(name)


def referenced(spec: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Names of the Secrets and of the ConfigMaps that a pod's environment and volumes refer to."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        for source in container.get("envFrom") or ():
            _note(source.get("secretRef"), secrets)
            _note(source.get("configMapRef"), config_maps)
        for variable in container.get("env") or ():
            origin = variable.get("valueFrom") or {}
            _note(origin.get("secretKeyRef"), secrets)
            _note(origin.get("configMapKeyRef"), config_maps)
    for volume in spec.get("volumes") or ():
        _note(volume.get("secret"), secrets, "secretName")
        _note(volume.get("configMap"), config_maps)
        for source in (volume.get("projected") or {}).get("sources") or ():
            _note(source.get("secret"), secrets)
            _note(source.get("configMap"), config_maps)
    return secrets, config_maps


def _note(reference: Mapping[str, Any] | None, names: set[str], field: str = "name") -> None:
    if reference and reference.get(field):
        names.add(reference[field])


def expanded(text: str, env: Mapping[str, str]) -> str:
    """`$(NAME)` becomes its value, `$$` a `$`; an unknown name stays as it is."""

    def replacement(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return env.get(match[1], match[0])

    return _REFERENCE.sub(replacement, text)


def rewritten(value: str, mounts: Mounts) -> str:
    """The value with the longest mount path at its beginning replaced by the volume's folder."""
    for path, folder in sorted(mounts, key=lambda mount: -len(mount[0])):
        if value == path or value.startswith(path.rstrip("/") + "/"):
            return folder + value[len(path.rstrip("/")) :]
    return value


def pod_field(pod: Mapping[str, Any], path: str) -> str:
    """The value of a `fieldRef`; `pod` is the object with the status that it is going to have."""
    match = _SUBSCRIPT.match(path)
    if match:
        return str((pod["metadata"].get(match[1]) or {}).get(match[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        found = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(found.items()))
    value: Any = pod
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if path in ("status.podIPs", "status.hostIPs"):
        return ",".join(entry["ip"] for entry in value or ())
    if value is None and not path.startswith(("metadata.", "spec.", "status.")):
        raise ConfigError(f"fieldRef {path}: there is no such field of a pod")
    return "" if value is None else str(value)


def resource_field(container: Mapping[str, Any], reference: Mapping[str, Any], capacity: Mapping[str, str]) -> str:
    """The value of a `resourceFieldRef`; a limit that is not set is the machine's capacity."""
    kind, _, name = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(kind) or {}).get(name)
    if amount is None:
        amount = capacity.get(name, "0") if kind == "limits" else "0"
    return quantities.divided(str(amount), str(reference.get("divisor") or "1"))


def _key(references: References, kind: str, reference: Mapping[str, Any]) -> str | None:
    name, key = reference.get("name", ""), reference["key"]
    keys = references.keys(kind, name)
    if keys is not None and key in keys:
        return keys[key]
    if reference.get("optional"):
        return None
    if keys is None:
        raise ConfigError(f'{kind} "{name}" not found')
    raise ConfigError(f"couldn't find key {key} in {kind} {name}")


def _from_sources(container: Mapping[str, Any], references: References) -> dict[str, str]:
    env: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        kind = "secret" if source.get("secretRef") else "configmap"
        reference = source.get("secretRef") or source.get("configMapRef") or {}
        keys = references.keys(kind, reference.get("name", ""))
        if keys is None and not reference.get("optional"):
            raise ConfigError(f'{kind} "{reference.get("name", "")}" not found')
        prefix = source.get("prefix") or ""
        env |= {prefix + key: value for key, value in (keys or {}).items() if _VARIABLE.match(prefix + key)}
    return env


def container_env(
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
    references: References,
    *,
    mounts: Mounts = (),
    capacity: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What the spec says, later entries over earlier ones. Raises ConfigError naming what is missing."""
    readers: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
        "secretKeyRef": lambda reference: _key(references, "secret", reference),
        "configMapKeyRef": lambda reference: _key(references, "configmap", reference),
        "fieldRef": lambda reference: pod_field(pod, reference["fieldPath"]),
        "resourceFieldRef": lambda reference: resource_field(container, reference, capacity or {}),
    }
    env = _from_sources(container, references)
    for variable in container.get("env") or ():
        origin = variable.get("valueFrom")
        if not origin:
            env[variable["name"]] = expanded(str(variable.get("value") or ""), env)
            continue
        value = next((readers[kind](origin[kind]) for kind in readers if origin.get(kind)), None)
        if value is not None:
            env[variable["name"]] = value
    return {name: rewritten(value, mounts) for name, value in env.items()}


def service_links(services: Mapping[str, tuple[str, int]], spec: Mapping[str, Any]) -> dict[str, str]:
    """The variables by which a container finds the services of its namespace, as Kubernetes sets them; there is no DNS.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    if spec.get("enableServiceLinks") is False:
        return {}
    found: dict[str, str] = {}
    for name, (address, port) in services.items():
        prefix = name.upper().replace("-", "_")
        found |= {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(port)}
    return found


def command_line(
    container: Mapping[str, Any], role_argv: Sequence[str] | None, env: Mapping[str, str], mounts: Mounts = ()
) -> list[str]:
    """`command` and `args` if given; else the role's own. An image's entry point takes `args` behind it."""
    own = container.get("command") or role_argv or ()
    words = [*own, *(container.get("args") or ())]
    return [rewritten(expanded(str(word), env), mounts) for word in words]
