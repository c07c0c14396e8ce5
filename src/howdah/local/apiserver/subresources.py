"""Subresources and requests that are actions: tokens, evictions, bindings, reviews."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from howdah.local.controllers.owners import is_ready
from howdah.local.disruptions import Allowance, allowance

from .auth import DEFAULT_LIFE_S, ISSUER, MIN_LIFE_S, Tokens, User
from .deletes import DeleteOptions, delete, options_from
from .errors import ApiError, Subject, bad_request, conflict, invalid, invalid_object
from .objects import Obj, clone, dig, labels_of, timestamp
from .selectors import selects
from .store import Store
from .writes import Call, State, live_object

BUDGETS = "poddisruptionbudgets.policy"
SCALED = {"StatefulSet": "statefulsets.apps", "ReplicaSet": "replicasets.apps", "Deployment": "deployments.apps"}


def token_request(state: State, call: Call, tokens: Tokens, body: Any) -> Obj:
    """TokenRequest: a token for a ServiceAccount."""
    if not isinstance(body, dict) or body.get("kind", "TokenRequest") != "TokenRequest":
        raise bad_request("expected a TokenRequest of authentication.k8s.io/v1 in the body")
    account = live_object(state, call)
    spec = body.get("spec") or {}
    life_s = spec.get("expirationSeconds") or DEFAULT_LIFE_S
    if life_s < MIN_LIFE_S:
        error = invalid("spec.expirationSeconds", life_s, "may not specify a duration less than 10 minutes")
        raise invalid_object(Subject("authentication.k8s.io", "tokenrequests", "TokenRequest"), "", [error])
    audiences = spec.get("audiences") or [ISSUER]
    token, expires = tokens.issue(account, life_s, audiences, spec.get("boundObjectRef"))
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": call.name,
            "namespace": call.namespace,
            "creationTimestamp": timestamp(),
        },
        "spec": {"audiences": audiences, "expirationSeconds": life_s, "boundObjectRef": spec.get("boundObjectRef")},
        "status": {"token": token, "expirationTimestamp": timestamp(datetime.fromtimestamp(expires, UTC))},
    }


def bind(state: State, call: Call, body: Any) -> Obj:
    """Binding: puts a pod on a node."""
    live = live_object(state, call)
    node = dig(body, "target", "name")
    if not node:
        raise bad_request("a Binding must name its node in target.name")
    if dig(live, "spec", "nodeName"):
        why = f'pod {call.name} is already assigned to node "{live["spec"]["nodeName"]}"'
        raise conflict(Subject("", "pods/binding", "Binding"), call.name, why)
    pod = clone(live)
    pod["spec"]["nodeName"] = node
    conditions = [c for c in dig(pod, "status", "conditions") or () if c["type"] != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": timestamp()}
    pod.setdefault("status", {})["conditions"] = [*conditions, scheduled]
    if not call.dry_run:
        state.store.put("pods", pod)
    return _success(201)


def _success(code: int) -> Obj:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


def evict(state: State, call: Call, body: Any) -> Obj:
    """Eviction: a deletion that disruption budgets may refuse (429)."""
    pod = live_object(state, call)
    options = options_from((body or {}).get("deleteOptions"), {})
    if not _is_over(pod) and not dig(pod, "metadata", "deletionTimestamp"):
        _spend_budget(state, call, pod)
    delete(state, call, options)
    return _success(201)


def _is_over(pod: Obj) -> bool:
    return dig(pod, "status", "phase") in ("Succeeded", "Failed", "Pending")


def _spend_budget(state: State, call: Call, pod: Obj) -> None:
    budgets = _budgets_of(state.store, pod)
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise ApiError(500, "InternalError", message)
    for budget in budgets:
        now = _allowance(state.store, budget)
        policy = dig(budget, "spec", "unhealthyPodEvictionPolicy")
        if not is_ready(pod) and (policy == "AlwaysAllow" or now.healthy >= now.desired > 0):
            continue
        if now.allowed == 0:
            raise _refused(budget, now)


def _refused(budget: Obj, now: Allowance) -> ApiError:
    name = budget["metadata"]["name"]
    why = f"The disruption budget {name} needs {now.desired} healthy pods and has {now.healthy} currently"
    details = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    message = "Cannot evict pod as it would violate the pod's disruption budget."
    return ApiError(429, "TooManyRequests", message, details=details)


def _budgets_of(store: Store, pod: Obj) -> list[Obj]:
    namespace = pod["metadata"]["namespace"]
    return [
        budget
        for budget in store.objects(BUDGETS, namespace)
        if selects(dig(budget, "spec", "selector"), labels_of(pod))
    ]


def _allowance(store: Store, budget: Obj) -> Allowance:
    """Counted afresh: of two evictions at once the second sees the first."""
    namespace = budget["metadata"]["namespace"]
    selector = dig(budget, "spec", "selector")
    pods = [pod for pod in store.objects("pods", namespace) if selects(selector, labels_of(pod))]

    def find(kind: str, name: str) -> Obj | None:
        return store.get(SCALED[kind], namespace, name) if kind in SCALED else None

    return allowance(budget, pods, find)


def review(kind: str, body: Any, user: User, tokens: Tokens, store: Store) -> Obj:
    """Access and identity reviews: whoever is known may do everything."""
    given = body if isinstance(body, dict) else {}
    answer = {**given, "metadata": given.get("metadata") or {}}
    if kind == "SelfSubjectReview":
        return {**answer, "status": {"userInfo": user.info()}}
    if kind == "SelfSubjectRulesReview":
        if not dig(given, "spec", "namespace"):
            raise bad_request("no namespace on request")
        every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        status = {
            "resourceRules": [every],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            "incomplete": False,
        }
        return {**answer, "status": status}
    if kind == "TokenReview":
        found = tokens.user(str(dig(given, "spec", "token") or ""), store)
        status = {"authenticated": True, "user": found.info()} if found else {"user": {}}
        return {**answer, "status": status}
    spec = given.get("spec") or {}
    if ("resourceAttributes" in spec) == ("nonResourceAttributes" in spec):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        error = invalid("spec.resourceAttributes", spec.get("resourceAttributes"), why)
        raise invalid_object(Subject("authorization.k8s.io", "", ""), "", [error])
    return {**answer, "status": {"allowed": True}}


def delete_all(state: State, call: Call, names: Iterable[str], options: DeleteOptions) -> list[Obj]:
    """deletecollection: what each deletion left."""
    found = []
    for name in names:
        one = Call(call.kind, call.namespace, name, dry_run=call.dry_run)
        found.append(delete(state, one, options)[0])
    return found
