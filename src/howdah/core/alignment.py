"""Objects brought to what is intended: what is missing is created, what differs is applied, and what it costs is said.

A difference that only a new StatefulSet can take makes the old one go, leaving its pods. Pods are not rolled here: a
changed template reaches them by `core.rollout`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from howdah.core.adoption import held_adoption, why_not_adopted
from howdah.core.far_secrets import is_out_of_reach, look_again
from howdah.core.objects.diff import Difference, Effect, compare, given_up, is_ever_changed, left_over
from howdah.core.objects.ownership import is_of_reference, taken_over, unintended_but_kept
from howdah.core.objects.secrets import secret
from howdah.core.plan import (
    NOTHING,
    AnnotatePod,
    Apply,
    Create,
    CreateEnvironmentSecret,
    CreateSecret,
    Decision,
    Delete,
    Held,
    RollPooler,
    Step,
    TakeOver,
    UpdateEnvironmentSecret,
    Wait,
)
from howdah.core.scaling import fewer_replicas, new_stateful_set, surplus, with_replicas
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Live

Body = Mapping[str, Any]


def differences(intended: Body, live: Live) -> tuple[Difference, ...]:
    """What of `intended` is not contained in the live object, and what we own, or are to take over, and do not intend."""
    body = live.body(intended["apiVersion"], intended["kind"])
    found = compare(intended, body)
    entries = live.managed_fields()
    left = given_up(_taken_over(entries, intended) or entries, intended, body, manager=names.FIELD_MANAGER)
    compared = {one.path for one in found}  # a variable is compared as a whole, and what that costs is known
    return found + left_over((path for path in left if path not in compared), intended["kind"])


def missing_secrets(situation: Situation) -> Decision:
    """Passwords come first: pods read them when they start. They read none of another namespace."""
    cluster, observed = situation.cluster, situation.observed
    steps: tuple[Step, ...] = tuple(
        CreateSecret(
            reason=f"the Secret of role {request.username} does not exist",
            body=secret(request),
            username=request.username,
            is_far=request.namespace != cluster.key.namespace,
        )
        for request in cluster.secrets
        if request.origin is None and (request.namespace, request.name) not in observed.secrets
        if not is_out_of_reach(request, observed)
    )
    return Decision(steps=(*steps, *_environment_secret(situation)), later=look_again(situation))


def _environment_secret(situation: Situation) -> tuple[Step, ...]:
    asked = situation.cluster.environment_secret
    if asked is None:
        return ()
    place = (asked.namespace, asked.name)
    if (there := situation.observed.secrets.get(place)) is not None:
        keys = situation.observed.outdated_keys.get(place, ())
        reason = f"Secret {asked.name}: another value is asked for {', '.join(keys)}; pods have it when they start next"
        update = UpdateEnvironmentSecret(
            reason=reason, name=asked.name, namespace=asked.namespace, uid=there.metadata.uid, keys=keys
        )
        return (update,) if keys else ()
    return (CreateEnvironmentSecret(reason=f"Secret {asked.name} does not exist", body=secret(asked)),)


def align_objects(situation: Situation) -> Decision:
    """Every intended object in the order of `build`."""
    steps: list[Step] = []
    held: list[Held] = []
    for body in situation.intended:
        if body["kind"] == names.STREAM_KIND:
            continue  # they wait for what they read from: `core.streams`
        if body["kind"] in situation.observed.left_alone:
            continue
        decision = align(body, situation)
        steps.extend(decision.steps)
        held.extend(decision.held)
        if decision.waits:
            return Decision(steps=tuple(steps), held=tuple(held), waits=decision.waits, ends=True)
    return Decision(steps=tuple(steps), held=tuple(held))


def align(body: Body, situation: Situation) -> Decision:
    """One intended object; waits for one that is being deleted."""
    kind, name = body["kind"], body["metadata"]["name"]
    live = situation.observed.objects.get((kind, name))
    if live is None and (kind, name) in situation.observed.patroni:
        return NOTHING  # Endpoints that Patroni writes are only made for it, never changed
    if live is None and kind == "StatefulSet":
        return Decision(steps=(new_stateful_set(body, situation),))
    if live is None:
        return Decision(steps=(Create(reason=f"{kind} {name} does not exist", body=body),))
    if live.meta.deletion_timestamp is not None:
        return Decision(waits=(Wait(1.0, f"{kind} {name} is being deleted; it is made again after that"),))
    return _aligned(body, live, situation)


def _aligned(body: Body, live: Live, situation: Situation) -> Decision:
    found = situation.differences.get((body["kind"], body["metadata"]["name"]), ())
    if is_pooler_roll(body, found):
        return NOTHING  # late in a pass: see `pooler_rolls`
    if found:
        steps = _replacing(body, live, found) or _sized(body, live, found, situation)
    else:
        steps = _taking_over(body, live) if is_of_reference(live) else ()
    if (why := held_adoption(live, situation.observed.resource, found)) is not None:
        return Decision(held=tuple(Held(step, why) for step in steps))
    if (why := _held_by_pods(body, live, situation)) is not None:
        return _without_taking_over(steps, why, found)
    return Decision(steps=steps)


def _sized(body: Body, live: Live, found: tuple[Difference, ...], situation: Situation) -> tuple[Step, ...]:
    """Fewer replicas is a step of its own; everything else does not wait for it."""
    replicas = surplus(found) if body["kind"] == "StatefulSet" else None
    if replicas is None:
        return applying(body, live, found)
    if others := tuple(d for d in found if d is not replicas):
        return applying(with_replicas(body, int(replicas.live)), live, others)
    return fewer_replicas(body, live, replicas, situation)


def _replacing(body: Body, live: Live, found: tuple[Difference, ...]) -> tuple[Step, ...]:
    """A field that the API does not let change: the object goes, a StatefulSet without its pods, and comes back next pass.

    Its claims must not go with it, whatever its retention policy says, so that is set to Retain first.
    """
    fixed = [d for d in found if d.effect is Effect.REPLACE]
    if not fixed:
        return ()
    kind, name = body["kind"], body["metadata"]["name"]
    reason = f"{kind} {name} has to be made anew, leaving its pods: {'; '.join(d.reason for d in fixed)}"
    going = Delete(reason=reason, kind=kind, name=name, uid=live.meta.uid, propagation="Orphan")
    policy = live.body(body["apiVersion"], kind).get("spec", {}).get("persistentVolumeClaimRetentionPolicy") or {}
    if policy.get("whenDeleted", "Retain") == "Retain":
        return (going,)
    retain = {
        "apiVersion": body["apiVersion"],
        "kind": kind,
        "metadata": {"name": name, "namespace": body["metadata"]["namespace"]},
        "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}},
    }
    keep = Apply(reason=f"{reason}; its claims are kept", body=retain, uid=live.meta.uid, field_manager="howdah-retain")
    return (keep, going)


def is_pooler_roll(body: Body, found: tuple[Difference, ...]) -> bool:
    """Whether the difference makes Kubernetes replace a pooler's pods."""
    return body["kind"] == "Deployment" and any(
        d.effect is Effect.REPLACE or d.path.startswith("spec.template.") for d in found
    )


def applying(body: Body, live: Live, found: tuple[Difference, ...]) -> tuple[Step, ...]:
    """The object as it is to be, with its fields made ours before that where they are somebody else's."""
    kind, name = body["kind"], body["metadata"]["name"]
    reason = f"{kind} {name}: {'; '.join(d.reason for d in found)}"
    is_pooler = is_pooler_roll(body, found)
    if is_pooler:
        reason += "; Kubernetes replaces its pods"
    elif any(d.effect is Effect.ROLL for d in found):
        reason += "; then its pods are replaced one by one, the leader last"
    changes, costs = tuple(d.path for d in found), tuple(d.effect.value for d in found)
    apply = Apply(reason=reason, body=body, uid=live.meta.uid, changes=changes, costs=costs)
    if is_pooler:
        apply = RollPooler(
            reason=reason,
            body=body,
            uid=live.meta.uid,
            resource_version=live.meta.resource_version,
            changes=changes,
            costs=costs,
        )
    return (*_taking_over(body, live), apply)


def _taking_over(body: Body, live: Live) -> tuple[Step, ...]:
    """Nothing for an object whose fields are ours already, or are never changed. Nothing of it changes but its ownership."""
    if not is_ever_changed(body["kind"]):
        return ()
    entries = _taken_over(live.managed_fields(), body)
    if entries is None:
        return ()
    kind, name = body["kind"], body["metadata"]["name"]
    mine = TakeOver(
        reason=f"{kind} {name}: its fields become ours, so that a later change can remove one",
        kind=kind,
        name=name,
        uid=live.meta.uid,
        resource_version=live.meta.resource_version,
        managed_fields=entries,
    )
    return (mine,)


def _taken_over(entries: Iterable[Body], body: Body) -> tuple[Body, ...] | None:
    return taken_over(entries, leaving=unintended_but_kept(body))


def _held_by_pods(body: Body, live: Live, situation: Situation) -> str | None:
    """Why a StatefulSet is not taken over: the reference left pods of an older template, which only that keeps from a roll.

    Or nobody knows yet what a pod was made from.
    """
    if body["kind"] != "StatefulSet":
        return None
    revisions = {pod.metadata.label(names.REVISION_LABEL) for pod in situation.observed.pods} - {None}
    is_known = revisions <= set(situation.observed.templates)
    if is_known and all(view.replace is None for view in situation.views):
        return None
    return why_not_adopted(live, situation.observed.resource)


def _without_taking_over(steps: tuple[Step, ...], why: str, found: tuple[Difference, ...]) -> Decision:
    """What touches no pod is applied all the same, such as more instances; only to remove a field it has to be ours."""
    is_ownership_enough = all(d.intended is not None for d in found)
    waiting = tuple(s for s in steps if isinstance(s, TakeOver)) if is_ownership_enough else steps
    return Decision(steps=tuple(s for s in steps if s not in waiting), held=tuple(Held(step, why) for step in waiting))


def align_pod_annotations(situation: Situation) -> Decision:
    """Annotations of the template reach running pods in place."""
    template = next(b for b in situation.intended if b["kind"] == "StatefulSet")["spec"]["template"]
    wanted: Mapping[str, str] = template["metadata"].get("annotations") or {}
    steps = []
    for pod in situation.observed.pods:
        missing = {key: value for key, value in sorted(wanted.items()) if pod.metadata.annotation(key) != value}
        obsolete = _obsolete_annotations(situation, pod.metadata.label(names.REVISION_LABEL) or "", template)
        gone = {key: None for key in obsolete if pod.metadata.annotation(key) is not None}
        if (missing or gone) and not pod.is_deleting:
            said = ", ".join(sorted({*missing, *gone}))
            steps.append(
                AnnotatePod(
                    reason=f"annotations of the manifest: {said}",
                    name=pod.name,
                    uid=pod.metadata.uid,
                    annotations={**missing, **gone},
                )
            )
    return Decision(steps=tuple(steps))


def _obsolete_annotations(situation: Situation, revision: str, template: Body) -> tuple[str, ...]:
    """Keys that the pod's own template had and the intended one has not."""
    before = situation.observed.templates.get(revision, {}).get("metadata", {}).get("annotations") or {}
    now = template["metadata"].get("annotations") or {}
    return tuple(sorted(set(before) - set(now)))
