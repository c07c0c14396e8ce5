"""What roles and bindings allow, judged as the API server's RBAC authorizer does, for tests with exactly given rights.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/. Not here: wildcards, groups, aggregation, escalation checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from howdah.kube.resources import Resource

from .faults import Request

_VERBS = {"apply": "patch"}


@dataclass(frozen=True, slots=True)
class Ask:
    """What the authorizer is asked."""

    verb: str
    group: str
    resource: str  # with the subresource
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """In the API server's words."""
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return f'cannot {self.verb} resource "{self.resource}" in API group "{self.group}" {where}'


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a role, where its binding puts it; an empty namespace is everywhere."""

    namespace: str
    groups: frozenset[str]
    resources: frozenset[str]
    verbs: frozenset[str]
    names: frozenset[str]

    def allows(self, ask: Ask) -> bool:
        """Whether this rule alone is enough."""
        return (
            self.namespace in ("", ask.namespace)
            and ask.group in self.groups
            and ask.resource in self.resources
            and ask.verb in self.verbs
            and (not self.names or ask.name in self.names)
        )


class Permissions:
    """What one service account may do, from the objects that say so. `asked`: every question and its answer."""

    def __init__(self, objects: Iterable[Mapping[str, Any]], *, account: str, namespace: str) -> None:
        self.user = f"system:serviceaccount:{namespace}:{account}"
        self.asked: dict[Ask, str | None] = {}
        self.rules = tuple(_rules(tuple(objects), account, namespace))

    def refusal(self, ask: Ask) -> str | None:
        """Why not, in the API server's words; None when it is allowed."""
        if ask not in self.asked:
            self.asked[ask] = self._judged(ask)
        return self.asked[ask]

    def _judged(self, ask: Ask) -> str | None:
        if any(rule.allows(ask) for rule in self.rules):
            return None
        kind = ask.resource.partition("/")[0] + (f".{ask.group}" if ask.group else "")
        named = f'{kind} "{ask.name}"' if ask.name else kind
        return f'{named} is forbidden: User "{self.user}" {ask}'


def asks(resource: Resource, request: Request, *, exists: bool) -> tuple[Ask, ...]:
    """The questions that a request raises; `exists`: whether its object does (an apply that makes one is a create, too)."""
    verb = _VERBS.get(request.verb, request.verb)
    name = request.name or _selected(request)
    ask = Ask(verb, resource.group, request.resource, request.namespace, name)
    if request.resource.endswith("/exec"):
        return (ask, Ask("create", resource.group, request.resource, request.namespace, name))
    if request.verb == "apply" and not exists:
        return (ask, Ask("create", resource.group, request.resource, request.namespace, name))
    return (ask,)


def _selected(request: Request) -> str:
    """A list or watch of one name counts as a request for that name."""
    key, _, value = request.params.get("fieldSelector", "").partition("=")
    return value if key == "metadata.name" and request.verb in ("list", "watch") else ""


def _rules(objects: tuple[Mapping[str, Any], ...], account: str, namespace: str) -> Iterable[Rule]:
    for binding in objects:
        if not binding["kind"].endswith("Binding") or not _is_bound(binding, account, namespace):
            continue
        where = binding["metadata"].get("namespace", "") if binding["kind"] == "RoleBinding" else ""
        reference = binding["roleRef"]
        for role in objects:
            if (role["kind"], role["metadata"]["name"]) != (reference["kind"], reference["name"]):
                continue
            if role["kind"] == "Role" and role["metadata"]["namespace"] != where:
                continue
            yield from (_rule(rule, where) for rule in role["rules"])


def _rule(rule: Mapping[str, Any], namespace: str) -> Rule:
    return Rule(
        namespace,
        frozenset(rule["apiGroups"]),
        frozenset(rule["resources"]),
        frozenset(rule["verbs"]),
        frozenset(rule.get("resourceNames") or ()),
    )


def _is_bound(binding: Mapping[str, Any], account: str, namespace: str) -> bool:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    return subject in binding.get("subjects", ())
