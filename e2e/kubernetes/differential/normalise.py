"""Answers without what must differ between two servers: identities, times, versions, addresses, random names."""

import re
from typing import Any

from differential.client import Answer
from differential.corpus import Step

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TIME_KEYS = {
    "creationTimestamp",
    "deletionTimestamp",
    "time",
    "lastTransitionTime",
    "lastPhaseTransitionTime",
    "startTime",
}
# In these lists, a key that says nothing to a program, or that only its own server can make.
HIDDEN = {"columnDefinitions": "description", "resources": "storageVersionHash"}
AGE = re.compile(r"(<invalid>|\d+[smhd](\d+[smh])?)")
# What prose says of a version: in a refusal, in an object echoed as JSON, in a body of YAML.
VERSION = re.compile(
    r"(?<=object meta: )\d+|(?<=resource version: )\d+ \(\d+\)|(?<=in record \()\d+|(?<=, current: )\d+|(?<=precondition \()\d+"
    r'|(?<=resourceVersion: ")\d+|(?<=resourceVersion":")\d+|(?<=resourceVersion\\":\\")\d+'
)
PROSE_KEYS = {"message", "cells", ""}
MOUNT = re.compile(r"(?<=kube-api-access-)[a-z0-9]{5}")


class Normaliser:
    """Normalises the answers of one server to one sequence, in their order: it knows what was seen before."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._versions: dict[str, list[str]] = {}  # uid → resourceVersions seen
        self._uids: dict[str, list[str]] = {}  # kind and name → uids seen
        self._random: dict[str, str] = {}  # generated name → how it is shown

    def answer(self, step: Step, answer: Answer) -> Answer:
        body = answer.body
        if step.verb == "WATCH" and isinstance(body, list):
            body = [e for e in body if not _is_idle_bookmark(e)]
        body = self._value(body, "")
        if step.among:
            body = _among(body, step.among)
        if step.pick:
            body = {path: _pick(body, path) for path in step.pick}
        return Answer(answer.code, answer.content_type, answer.warnings, body)

    def _value(self, value: Any, key: str) -> Any:
        match value:
            case dict():
                return self._mapping(value)
            case list():
                shown = [self._value(v, key) for v in value]
                if key == "managedFields":
                    shown.sort(key=lambda e: (e.get("manager", ""), e["operation"], e.get("subresource", "")))
                return sorted(shown, key=str) if key == "causes" else shown
            case str():
                return self._text(value, key)
        return value

    def _mapping(self, value: dict[str, Any]) -> dict[str, Any]:
        meta = value.get("metadata")
        shown = {self._text(k, ""): self._value(v, k) for k, v in value.items() if k != "metadata"}
        if isinstance(meta, dict):
            is_list = "items" in value or "rows" in value or value.get("kind") == "Status"
            shown["metadata"] = self._metadata(meta, str(value.get("kind")), is_list=is_list)
        for key, hidden in HIDDEN.items():
            if isinstance(shown.get(key), list):
                shown[key] = [
                    {k: v for k, v in e.items() if k != hidden} if isinstance(e, dict) else e for e in shown[key]
                ]
        if "cells" in shown:
            shown["cells"] = ["<age>" if AGE.fullmatch(str(c)) else c for c in shown["cells"]]
        if value.get("kind") == "Status" and len((value.get("details") or {}).get("causes") or ()) > 1:
            shown["message"] = shown["message"].partition("[")[0] + "<causes>"  # in any order; compared above
        spec = shown.get("spec")
        if value.get("kind") == "Service" and isinstance(spec, dict):
            shown["spec"] = _allocated_hidden(spec)
        return shown

    def _metadata(self, meta: dict[str, Any], kind: str, *, is_list: bool) -> dict[str, Any]:
        if "generateName" in meta and str(meta.get("name", "")).startswith(meta["generateName"]):
            length = len(meta["name"]) - len(meta["generateName"])
            self._random[meta["name"]] = f"{meta['generateName']}<random {length}>"
        shown = {k: self._value(v, k) for k, v in meta.items() if k not in ("uid", "resourceVersion")}
        if is_list:
            return shown | {k: f"<{k}>" for k in ("resourceVersion", "continue") if meta.get(k)}
        if uid := meta.get("uid"):
            shown["uid"] = _novelty(self._uids.setdefault(f"{kind}/{shown.get('name')}", []), uid)
        if version := meta.get("resourceVersion"):
            shown["resourceVersion"] = _novelty(self._versions.setdefault(str(uid), []), version)
        return shown

    def _text(self, text: str, key: str) -> str:
        if key in TIME_KEYS and TIME.fullmatch(text):
            return "<time>" if "." not in text else "<time with fraction>"
        text = text.replace(self._namespace, "$namespace")
        for name, shown in self._random.items():
            text = text.replace(name, shown)
        text = MOUNT.sub("<random 5>", UUID.sub("<uid>", text))
        return TIME.sub("<time>", VERSION.sub("<version>", text)) if key in PROSE_KEYS else text


def _novelty(seen: list[str], value: str) -> str:
    """How a value relates to those seen: first, same as the last one, new, or an older one."""
    if not seen or value not in seen:
        seen.append(value)
        return "<first>" if len(seen) == 1 else "<new>"
    return "<same>" if value == seen[-1] else "<older>"


def _allocated_hidden(spec: dict[str, Any]) -> dict[str, Any]:
    shown = dict(spec)
    if shown.get("clusterIP") not in (None, "", "None"):
        shown["clusterIP"] = "<address>"
    if shown.get("clusterIPs") not in (None, ["None"]):
        shown["clusterIPs"] = ["<address>"] * len(shown["clusterIPs"])
    if isinstance(shown.get("ports"), list):
        shown["ports"] = [p | {"nodePort": "<port>"} if "nodePort" in p else p for p in shown["ports"]]
    return shown


def _is_idle_bookmark(event: dict[str, Any]) -> bool:
    """A bookmark that only tells a version comes when the server likes; the one that ends the initial list does not."""
    return event.get("type") == "BOOKMARK" and "annotations" not in event["object"]["metadata"]


def _among(body: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(body, dict):
        return body
    lists = {k: body[k] for k in ("resources", "groups") if isinstance(body.get(k), list)}
    return body | {
        k: sorted((r for r in items if r["name"] in names), key=lambda r: str(r["name"])) for k, items in lists.items()
    }


def _pick(body: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(body, list) and part.isdigit():
            body = body[int(part)] if int(part) < len(body) else None
        else:
            body = body.get(part) if isinstance(body, dict) else None
    return body
