"""What the operator may do at the Kubernetes API: one row per right, and the roles that are made of the rows.

`howdah rbac`, the chart and the kustomize base print these rows. The tests run the operator with exactly these rights, and
demand that each of them is used. A new call needs a new row: the test names it.
"""
# ruff: noqa: E501  # a row is a line

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from howdah.core.request.identity import pod_binding
from howdah.model.crds import all_crds
from howdah.model.names import GROUP, lease

Body = dict[str, Any]

LEASE = "{lease}"
POD_ACCOUNT = "{pod_account}"
ROLE_BINDING = "{role_binding}"
POD_ROLE, POD_ROLES = "{pod_role}", "{pod_roles}"
CONFIGURATION = "{configuration}"

_RBAC = "rbac.authorization.k8s.io"
_CRDS = tuple(crd["metadata"]["name"] for crd in all_crds())


class Place(StrEnum):
    """Where a right is needed."""

    WATCHED = "watched"  # each namespace that has clusters
    OWN = "own"  # the operator's own namespace
    CLUSTER = "cluster"  # definitions
    NODES = "nodes"  # the machines and their volumes


@dataclass(frozen=True, slots=True)
class Grant:
    """One right. `names`: only objects of these names. `without`: what is missing when the right is (for people)."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str
    without: str
    place: Place = Place.WATCHED
    names: tuple[str, ...] = ()
    unproved: str = ""
    """Why none of our tests makes the call; empty for all others."""

    def rule(self, called: Mapping[str, str]) -> Body:
        """As a role has it; `called` gives the names that an installation decides."""
        names = [name.format_map(called) for name in self.names]
        resource = self.resource.format_map(called)
        rule = {"apiGroups": [self.group], "resources": [resource], "verbs": list(self.verbs)}
        return rule | ({"resourceNames": names} if all(names) and names else {})


_SEE = ("list", "watch")
_ALL_OF_OURS = (*_SEE, "create", "get", "patch", "delete")
_HELD = "nothing is made, changed or removed for the cluster; the condition says so"
_NOT_MADE = "it is neither made nor mended nor removed; everything else goes on, and the condition says so"
_UNBOUND = "pods of a namespace that lacks it have no rights, so Patroni does not start there; nobody is interrupted, everything else goes on, and the condition says so"

# fmt: off
GRANTS: tuple[Grant, ...] = (
    Grant(GROUP, "postgresqls", _SEE, "the clusters asked for", "no cluster is worked on; /readyz says so"),
    Grant(GROUP, "postgresqls", ("get", "patch"), "a live look before a disruptive step; finalizer and announcement", "no new cluster is made and nothing disruptive is done; the condition says so"),
    Grant(GROUP, "postgresqls/status", ("patch",), "phase and conditions", "the work goes on; an event says what cannot be written"),
    Grant("", "events", ("create", "patch"), "what was done and why", "the work goes on; the log says what cannot be written"),
    Grant("apps", "statefulsets", _ALL_OF_OURS, "the members", _HELD),
    Grant("apps", "controllerrevisions", (*_SEE, "delete"), "the template that each pod was made from", _HELD),
    Grant("", "pods", (*_SEE, "patch", "delete"), "members: annotations, roles, replacement", _HELD),
    Grant("", "pods/exec", ("create", "get"), "psql on the local socket, when a superuser's password was lost; Kubernetes asks for both verbs", "a lost password of the superuser stays lost; the condition says so"),
    Grant("", "persistentvolumeclaims", (*_SEE, "patch", "delete"), "volumes: growth, removal with the cluster", _HELD),
    Grant("", "secrets", _ALL_OF_OURS, "passwords, made once and read when they change", _HELD),
    Grant("", "services", _ALL_OF_OURS, "addresses of leader and replicas", _NOT_MADE),
    Grant("", "configmaps", (*_SEE, "get", "patch", "delete"), "Patroni's state; a dead leader's lock; variables for pods", _HELD),
    Grant("", "endpoints", _ALL_OF_OURS, "Patroni's state where it is kept in Endpoints", _HELD),
    Grant("policy", "poddisruptionbudgets", _ALL_OF_OURS, "members that may not be evicted", _NOT_MADE),
    Grant("apps", "deployments", _ALL_OF_OURS, "connection poolers", _NOT_MADE,
          unproved="the simulated world has no poolers; tests/adapters/controller and tests/e2e make the calls"),
    Grant("batch", "cronjobs", _ALL_OF_OURS, "logical backups", _NOT_MADE,
          unproved="the simulated world dumps nothing; tests/adapters/controller makes the calls"),
    Grant("zalando.org", "fabriceventstreams", _ALL_OF_OURS, "streams, where their definition is installed", "nothing streams; a condition says so",
          unproved="the simulated world has no such definition; tests/adapters/controller makes the calls"),
    Grant(GROUP, "postgresteams", _SEE, "further teams and members", "their members are not made roles; a warning says so",
          unproved="the simulated world has no teams; tests/adapters/controller makes the calls"),
    Grant("", "serviceaccounts", ("create",), "the account of the pods", _HELD),
    Grant("", "serviceaccounts", (*_SEE, "get", "patch"), "the same, and no other", _HELD, names=(POD_ACCOUNT,)),
    Grant(_RBAC, "rolebindings", ("create",), "the role of that account", _UNBOUND),
    Grant(_RBAC, "rolebindings", (*_SEE, "get"), "the same, and no other", _NOT_MADE, names=(ROLE_BINDING,)),
    Grant(_RBAC, POD_ROLES, ("bind",), "to give the pods their role without having its rights", _UNBOUND, names=(POD_ROLE,),
          unproved="not a call: the API server asks for it when the role binding is made"),
    Grant("", "nodes", _SEE, "leaders go from cordoned nodes before a drain would kill them", "leaders stay there; the condition LeaderMovePending says so", Place.NODES),
    Grant("", "persistentvolumes", ("get",), "which EC2 volume a member has, where EC2 is to change it", "EC2 changes no volume; the condition says so", Place.NODES,
          unproved="the simulated world has no EC2; tests/adapters/controller makes the call"),
    Grant("coordination.k8s.io", "leases", ("create",), "one operator leads", "no operator leads; /readyz says so", Place.OWN),
    Grant("coordination.k8s.io", "leases", ("get", "update"), "the same, and no other", "no operator leads; /readyz says so", Place.OWN, (LEASE,)),
    Grant("coordination.k8s.io", "leases", _SEE, "a standby hears of the leader's end without asking", "it asks every `leader_retry_period`; the log says so", Place.OWN, (LEASE,)),
    Grant(GROUP, "operatorconfigurations", ("get",), "the configuration", "the operator waits for it; /readyz says so", Place.OWN, (CONFIGURATION,)),
    Grant("", "configmaps", ("get",), "the configuration in its other form; variables for pods", "the operator waits for it; /readyz says so", Place.OWN),
    Grant("", "secrets", _SEE, "infrastructure roles and the token of the teams API", "these roles and people are not made; a warning says so", Place.OWN,
          unproved="likewise"),
    Grant("", "secrets", ("get",), "their passwords, while they are written", "these roles are not made; a warning says so", Place.OWN,
          unproved="likewise"),
    Grant("", "configmaps", _SEE, "options of infrastructure roles", "these options do not count; a warning says so", Place.OWN,
          unproved="likewise"),
    Grant("apiextensions.k8s.io", "customresourcedefinitions", ("get",), "what the installed definitions keep", "the log does not say which fields they drop", Place.CLUSTER, _CRDS,
          unproved="asked once at a start; tests/adapters/controller makes the call"),
    Grant("apiextensions.k8s.io", "customresourcedefinitions", _SEE, "whether streams are installed", "nothing streams; a condition says so", Place.CLUSTER, ("fabriceventstreams.zalando.org",),
          unproved="the simulated world watches one namespace; tests/adapters/controller makes the calls"),
    Grant("apiextensions.k8s.io", "customresourcedefinitions", ("create", "patch"), "our definitions brought up to date at start", "the log says so; the chart does it too", Place.CLUSTER, _CRDS),
)
# fmt: on
"""Every right of the operator."""

POD_GRANTS: tuple[Grant, ...] = (
    Grant(
        "",
        "configmaps",
        ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
        "Patroni's state",
        "Patroni does not start",
    ),
    Grant(
        "",
        "endpoints",
        ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
        "the same where it is kept in Endpoints",
        "Patroni does not start",
    ),
    Grant("", "pods", ("get", "list", "patch", "update", "watch"), "members and their role", "Patroni does not start"),
    Grant(
        "", "services", ("create",), "the `-config` service of Endpoints mode", "Patroni logs it, and goes on without"
    ),
)
"""Every right of the pods' account, which Patroni uses: as the reference's role of that name."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What an installation decides: the operator's account and namespace, and what it watches."""

    name: str = "howdah"
    namespace: str = "howdah"
    watched: tuple[str, ...] | None = None  # None: every namespace
    pod_account: str = "postgres-pod"
    role_binding: str = ""  # pod_service_account_role_binding_definition
    configuration: str = ""  # empty: any name
    registers_crds: bool = True
    controller_id: str = ""  # CONTROLLER_ID of the operator
    sees_nodes: bool = False  # also where single namespaces are watched; who watches all does

    @property
    def called(self) -> Mapping[str, str]:
        """The names that rows leave open. Raises ValueError for a role binding that cannot be read."""
        binding = pod_binding(self.role_binding, self.pod_account)
        return {
            "pod_account": self.pod_account,
            "role_binding": binding.name,
            "pod_role": binding.role,
            "pod_roles": f"{binding.role_kind.lower()}s",
            "configuration": self.configuration,
            "lease": lease(self.controller_id),
        }


def roles(installation: Installation, grants: Iterable[Grant] = GRANTS) -> tuple[Body, ...]:
    """All roles and bindings, for one namespace, a list of them or the whole cluster; and the role of the pods.

    Raises ValueError for a role binding of the pods that cannot be read.
    """
    name = installation.name
    called = installation.called
    rules: dict[Place, list[Body]] = {place: [] for place in Place}
    for grant in grants:
        rules[grant.place].append(grant.rule(called))
    made = [pod_role(installation.pod_account)]
    for namespace in ("",) if installation.watched is None else installation.watched:
        made += _bound(installation, name, namespace, rules[Place.WATCHED])
    made += _bound(installation, f"{name}-own", installation.namespace, rules[Place.OWN])
    if installation.watched is None or installation.sees_nodes:
        made += _bound(installation, f"{name}-nodes", "", rules[Place.NODES])
    if installation.watched is None and installation.registers_crds:
        made += _bound(installation, f"{name}-crds", "", rules[Place.CLUSTER])
    return tuple(made)


def pod_role(name: str) -> Body:
    """The role of the pods' account, which its binding in each namespace refers to."""
    return _role("ClusterRole", name, "", [grant.rule({}) for grant in POD_GRANTS])


def _bound(installation: Installation, name: str, namespace: str, rules: Sequence[Body]) -> Iterable[Body]:
    """A role and its binding to the operator; an empty namespace means the whole cluster."""
    kind = "Role" if namespace else "ClusterRole"
    subject = {"kind": "ServiceAccount", "name": installation.name, "namespace": installation.namespace}
    binding = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [subject],
    }
    return _role(kind, name, namespace, rules), binding


def _role(kind: str, name: str, namespace: str, rules: Sequence[Body]) -> Body:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace),
        "rules": list(rules),
    }


def _metadata(name: str, namespace: str) -> Body:
    return {"name": name} | ({"namespace": namespace} if namespace else {})
