"""Which kinds are served: one table row per built-in kind, and a registry that also holds the installed CRDs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from .errors import Subject
from .objects import Obj
from .schema import ANYTHING, Definitions, Schema

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Custom:
    """What a CRD says about one version of its kind beyond names and schema."""

    crd: str
    columns: tuple[Obj, ...] = ()
    scale: Mapping[str, str] = field(default_factory=dict)
    selectable: tuple[str, ...] = ()
    storage_version: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A served kind. `storage` names where its objects are kept: versions of one resource share it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: Schema = field(repr=False, compare=False)
    storage: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    verbs: tuple[str, ...] = ALL_VERBS
    has_generation: bool = False
    list_kind: str = ""
    custom: Custom | None = field(default=None, compare=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def subject(self) -> Subject:
        return Subject(self.group, self.plural, self.kind)

    @property
    def has_status(self) -> bool:
        """The status is written only through its own subresource."""
        return "status" in self.subresources


@dataclass(frozen=True, slots=True)
class _Row:
    group_version: str
    kind: str
    plural: str
    short: str = ""
    sub: str = ""
    namespaced: bool = True
    all: bool = False
    generation: bool = False
    storage: str = ""
    verbs: tuple[str, ...] = ALL_VERBS


_CREATE = ("create",)
_RBAC = "rbac.authorization.k8s.io/v1"
_SUBJECT_ACCESS = "authorization.k8s.io/v1"

ROWS = (
    _Row("v1", "ConfigMap", "configmaps", "cm"),
    _Row("v1", "Endpoints", "endpoints", "ep"),
    _Row("v1", "Event", "events", "ev"),
    _Row(
        "v1",
        "Namespace",
        "namespaces",
        "ns",
        sub="finalize status",
        namespaced=False,
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    ),
    _Row("v1", "Node", "nodes", "no", sub="status", namespaced=False),
    _Row("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "pvc", sub="status"),
    _Row("v1", "PersistentVolume", "persistentvolumes", "pv", sub="status", namespaced=False),
    _Row(
        "v1",
        "Pod",
        "pods",
        "po",
        sub="attach binding ephemeralcontainers eviction exec log portforward resize status",
        all=True,
        generation=True,
    ),
    _Row("v1", "Secret", "secrets"),
    _Row("v1", "ServiceAccount", "serviceaccounts", "sa", sub="token"),
    _Row("v1", "Service", "services", "svc", sub="status", all=True),
    _Row("apps/v1", "ControllerRevision", "controllerrevisions"),
    _Row("apps/v1", "Deployment", "deployments", "deploy", sub="scale status", all=True, generation=True),
    _Row("apps/v1", "ReplicaSet", "replicasets", "rs", sub="scale status", all=True, generation=True),
    _Row("apps/v1", "StatefulSet", "statefulsets", "sts", sub="scale status", all=True, generation=True),
    _Row("batch/v1", "CronJob", "cronjobs", "cj", sub="status", all=True, generation=True),
    _Row("batch/v1", "Job", "jobs", sub="status", all=True, generation=True),
    _Row("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", "pdb", sub="status", generation=True),
    _Row(_RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    _Row(_RBAC, "ClusterRole", "clusterroles", namespaced=False),
    _Row(_RBAC, "RoleBinding", "rolebindings"),
    _Row(_RBAC, "Role", "roles"),
    _Row("coordination.k8s.io/v1", "Lease", "leases"),
    _Row("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", generation=True),
    _Row("storage.k8s.io/v1", "StorageClass", "storageclasses", "sc", namespaced=False),
    _Row("events.k8s.io/v1", "Event", "events", "ev", storage="events"),
    _Row("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", "netpol", generation=True),
    _Row("networking.k8s.io/v1", "Ingress", "ingresses", "ing", sub="status", generation=True),
    _Row("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", "pc", namespaced=False, generation=True),
    _Row(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        "crd crds",
        sub="status",
        namespaced=False,
        generation=True,
    ),
    _Row("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews", namespaced=False, verbs=_CREATE),
    _Row("authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False, verbs=_CREATE),
    _Row(_SUBJECT_ACCESS, "LocalSubjectAccessReview", "localsubjectaccessreviews", verbs=_CREATE),
    _Row(_SUBJECT_ACCESS, "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False, verbs=_CREATE),
    _Row(_SUBJECT_ACCESS, "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False, verbs=_CREATE),
    _Row(_SUBJECT_ACCESS, "SubjectAccessReview", "subjectaccessreviews", namespaced=False, verbs=_CREATE),
)


def _builtin(row: _Row, definitions: Definitions, names: Mapping[tuple[str, str, str], str]) -> Kind:
    group, _, version = row.group_version.rpartition("/")
    definition = names.get((group, version, row.kind))
    categories = ("all",) if row.all else ()
    return Kind(
        group=group,
        version=version,
        kind=row.kind,
        plural=row.plural,
        singular=row.kind.lower(),
        namespaced=row.namespaced,
        schema=definitions.named(definition) if definition else ANYTHING,
        storage=row.storage or (f"{row.plural}.{group}" if group else row.plural),
        short_names=tuple(row.short.split()),
        categories=("api-extensions",) if row.kind == "CustomResourceDefinition" else categories,
        subresources=frozenset(row.sub.split()),
        verbs=row.verbs,
        has_generation=row.generation,
        list_kind=f"{row.kind}List",
    )


class Registry:
    """Every kind that is served now. CRDs come and go; built-in kinds stay."""

    def __init__(self, definitions: Definitions) -> None:
        self.object_meta = definitions.named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        names = definitions.kind_names()
        self.builtin = tuple(_builtin(row, definitions, names) for row in ROWS)
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self.builtin}
        self._custom: dict[str, tuple[Kind, ...]] = {}

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_path.values())

    def install(self, crd: str, kinds: Iterable[Kind]) -> None:
        """Serves the versions of a CRD instead of those it had."""
        self.remove(crd)
        self._custom[crd] = tuple(kinds)
        for kind in self._custom[crd]:
            self._by_path[kind.group, kind.version, kind.plural] = kind

    def remove(self, crd: str) -> None:
        for kind in self._custom.pop(crd, ()):
            self._by_path.pop((kind.group, kind.version, kind.plural), None)

    def is_builtin_group(self, group: str) -> bool:
        return any(kind.group == group for kind in self.builtin)

    def is_custom_group(self, group: str) -> bool:
        return any(kind.group == group for kinds in self._custom.values() for kind in kinds)
