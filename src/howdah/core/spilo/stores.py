"""Where Patroni keeps its state: the section of its configuration for Kubernetes, or for another store.

With `DCS_ENABLE_KUBERNETES_API` it is Kubernetes and every `KUBERNETES_*` variable is a key of its section; otherwise
the first of the other stores that has any variable set.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from howdah.model.errors import Problem

_PREFIX = "KUBERNETES_"
# Variables that Kubernetes itself puts into each container, about its API service.
_NOT_OURS = ("KUBERNETES_SERVICE_", "KUBERNETES_PORT")
_OTHERS = ("ETCD3", "ETCD", "ZOOKEEPER", "EXHIBITOR", "CONSUL")
_RENAMED = {"discovery_domain": "srv"}


def parse_store(environ: Mapping[str, str], problems: list[Problem]) -> Mapping[str, Any]:
    """`{"kubernetes": {...}}` or another store's section; faults are appended to `problems`."""
    if environ.get("DCS_ENABLE_KUBERNETES_API"):
        return {"kubernetes": _kubernetes(environ, problems)}
    for prefix in _OTHERS:
        section = _section(environ, f"{prefix}_")
        if section:
            return {prefix.lower(): section}
    hint = 'set it to "true", or one of ' + ", ".join(f"{prefix}_HOST" for prefix in reversed(_OTHERS))
    problems.append(Problem("DCS_ENABLE_KUBERNETES_API", "is not set, and no other store is named", hint))
    return {}


def _kubernetes(environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    section: dict[str, Any] = dict(_KUBERNETES_DEFAULTS)
    for name, text in sorted(environ.items()):
        if not name.startswith(_PREFIX) or name.startswith(_NOT_OURS) or not text:
            continue
        key = name.removeprefix(_PREFIX).lower()
        parse, expected = _KUBERNETES_TYPES.get(key, (str, ""))
        try:
            section[key] = parse(text)
        except ValueError:
            problems.append(Problem(name, f'"{text}" cannot be used', f"expected {expected}"))
    if not section.pop("use_configmaps", False):
        section["use_endpoints"] = True
    return section


def _text_map(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(text)
    return value


def _boolean(text: str) -> bool:
    value = {"true": True, "on": True, "1": True, "yes": True, "false": False, "off": False, "0": False, "no": False}
    if text.lower() not in value:
        raise ValueError(text)
    return value[text.lower()]


_LABELS = 'a JSON object of texts such as {"application":"spilo"}'
_KUBERNETES_TYPES: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "labels": (_text_map, _LABELS),
    "bootstrap_labels": (_text_map, _LABELS),
    "bypass_api_service": (_boolean, "true or false"),
    "use_configmaps": (bool, ""),  # any text means yes
}
# Patroni 4's own default for both label values is "primary"; the contract's is "master".
_KUBERNETES_DEFAULTS: Mapping[str, Any] = {
    "labels": {"application": "spilo"},
    "scope_label": "version",
    "role_label": "role",
    "leader_label_value": "master",
    "standby_leader_label_value": "master",
}


def _section(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    section: dict[str, Any] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(prefix) and text:
            key = name.removeprefix(prefix).lower()
            section[_RENAMED.get(key, key)] = _value(key, text)
    return section


def _value(key: str, text: str) -> Any:
    if key == "hosts":
        return [host.strip(" '\"") for host in text.strip("[] ").split(",") if host.strip(" '\"")]
    if key == "port" and text.isdigit():
        return int(text)
    return text
