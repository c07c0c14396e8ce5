"""The requests, read from YAML: a sequence is a list of steps in a namespace of its own. No request is sent here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "corpus"
CASES = Path(__file__).parents[3] / "tests" / "compat" / "cases"

# Short names for the collections: name → (group and version, plural, kind, namespaced).
COLLECTIONS: Mapping[str, tuple[str, str, str, bool]] = {
    "cm": ("v1", "configmaps", "ConfigMap", True),
    "secret": ("v1", "secrets", "Secret", True),
    "svc": ("v1", "services", "Service", True),
    "ep": ("v1", "endpoints", "Endpoints", True),
    "pod": ("v1", "pods", "Pod", True),
    "pvc": ("v1", "persistentvolumeclaims", "PersistentVolumeClaim", True),
    "pv": ("v1", "persistentvolumes", "PersistentVolume", False),
    "sa": ("v1", "serviceaccounts", "ServiceAccount", True),
    "event": ("v1", "events", "Event", True),
    "ns": ("v1", "namespaces", "Namespace", False),
    "node": ("v1", "nodes", "Node", False),
    "event2": ("events.k8s.io/v1", "events", "Event", True),
    "sts": ("apps/v1", "statefulsets", "StatefulSet", True),
    "deploy": ("apps/v1", "deployments", "Deployment", True),
    "rev": ("apps/v1", "controllerrevisions", "ControllerRevision", True),
    "job": ("batch/v1", "jobs", "Job", True),
    "cronjob": ("batch/v1", "cronjobs", "CronJob", True),
    "pdb": ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", True),
    "role": ("rbac.authorization.k8s.io/v1", "roles", "Role", True),
    "rb": ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", True),
    "crole": ("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", False),
    "lease": ("coordination.k8s.io/v1", "leases", "Lease", True),
    "slice": ("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", True),
    "crd": ("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", False),
    "thing": ("test.howdah.dev/v1", "things", "Thing", True),
    "pg": ("acid.zalan.do/v1", "postgresqls", "postgresql", True),
    "ssar": ("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
    "ssrr": ("authorization.k8s.io/v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
}
VERBS = ("GET", "TABLE", "WATCH", "POST", "PUT", "DELETE", "MERGE", "STRATEGIC", "JSON", "APPLY", "PATCH")
CONTENT_TYPES = {
    "MERGE": "application/merge-patch+json",
    "STRATEGIC": "application/strategic-merge-patch+json",
    "JSON": "application/json-patch+json",
    "APPLY": "application/apply-patch+yaml",
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
OPTIONS = {"save", "type", "accept", "raw", "until", "among", "pick", "bare", "agent"}


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `path` and `body` hold $placeholders that the run fills."""

    verb: str
    path: str
    body: Any
    content_type: str
    accept: str = "application/json"
    save: tuple[tuple[str, str], ...] = ()  # (placeholder, dotted path in the answer)
    until: int | None = None  # sent again until the answer has this status code
    among: tuple[str, ...] = ()  # of a list of resources or groups, compare only these names
    pick: tuple[str, ...] = ()  # compare only these dotted paths
    agent: str = "differential"

    @property
    def method(self) -> str:
        if self.verb in CONTENT_TYPES:
            return "PATCH"
        return "GET" if self.verb in ("TABLE", "WATCH") else self.verb

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


@dataclass(frozen=True, slots=True)
class Sequence:
    """Requests that build on each other, in one namespace."""

    name: str
    steps: tuple[Step, ...]

    def namespace(self, run: str) -> str:
        """Its namespace in one run: a new one, so that a server may serve several runs."""
        return f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower())[:40].strip('-')}-{run}"


class CorpusError(Exception):
    """A mistake in the corpus' own files."""


def sequences(pattern: str = "*", folder: Path = FOLDER) -> tuple[Sequence, ...]:
    """All sequences whose name matches the shell pattern, in the order of the files."""
    found = [
        Sequence(name, tuple(_step(f"{file.name}: {name}", raw) for raw in steps))
        for file in sorted(folder.glob("*.yaml"))
        for name, steps in yaml.safe_load(file.read_text())["sequences"].items()
    ]
    found.append(Sequence("recorded manifests", tuple(_recorded())))
    names = [s.namespace("") for s in found]
    if doubled := {n for n in names if names.count(n) > 1}:
        raise CorpusError(f"sequences share a namespace: {', '.join(sorted(doubled))}; rename one")
    return tuple(s for s in found if fnmatchcase(s.name, pattern))


def _recorded() -> Iterator[Step]:
    """The creation of every manifest that the recorded cases of the reference begin with."""
    for file in sorted(CASES.glob("*/manifest.yaml")):
        manifest = yaml.safe_load(file.read_text())
        manifest["metadata"] = manifest["metadata"] | {"name": file.parent.name, "namespace": "$namespace"}
        yield Step("POST", f"$pg?case={file.parent.name}", manifest, "application/json")


def _step(where: str, raw: Any) -> Step:
    raw = {raw: None} if isinstance(raw, str) else raw
    lines = [key for key in raw if key not in OPTIONS]
    if len(lines) != 1 or lines[0].split(" ")[0] not in VERBS:
        raise CorpusError(f"{where}: {lines}: expected one 'VERB PATH' of {', '.join(VERBS)}")
    verb, path = lines[0].split(" ", 1)
    body = raw["raw"] if "raw" in raw else raw[lines[0]]
    if isinstance(body, dict) and verb in ("POST", "PUT", "APPLY") and not raw.get("bare"):
        body = _kind_of(path) | body
    return Step(
        verb,
        path,
        body,
        raw.get("type", CONTENT_TYPES.get(verb, "application/json")),
        raw.get("accept", TABLE if verb == "TABLE" else "application/json"),
        tuple(raw.get("save", {}).items()),
        raw.get("until"),
        tuple(raw.get("among", ())),
        tuple(raw.get("pick", ())),
        raw.get("agent", "differential"),
    )


def _kind_of(path: str) -> dict[str, str]:
    """apiVersion and kind of the objects of a `$collection…` path."""
    found = re.match(r"\$(\w+)", path)
    if not found or found[1] not in COLLECTIONS:
        return {}
    group_version, _, kind, _ = COLLECTIONS[found[1]]
    return {"apiVersion": group_version, "kind": kind}


def placeholders(namespace: str) -> dict[str, str]:
    """The values that every sequence knows: its namespace and the collections in it."""
    known = {"namespace": namespace}
    for name, (group_version, plural, _, namespaced) in COLLECTIONS.items():
        root = "/api/" if group_version == "v1" else "/apis/"
        known[name] = f"{root}{group_version}/{f'namespaces/{namespace}/' if namespaced else ''}{plural}"
        known[f"all_{name}"] = f"{root}{group_version}/{plural}"
    return known


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """`value` with every $placeholder that is known replaced, at any depth."""
    match value:
        case str():
            return re.sub(r"\$(\w+)", lambda m: known.get(m[1], m[0]), value)
        case dict():
            return {filled(k, known): filled(v, known) for k, v in value.items()}
        case list():
            return [filled(v, known) for v in value]
    return value
