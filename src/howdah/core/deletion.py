"""Deleting a cluster: in order, by finalizer, from what is there and not from what is remembered.

It needs no valid manifest: an object belongs to the cluster when it carries the cluster's labels and a name that only the
operator or Patroni gives; people put these labels on objects of their own. Data go only where the operator's settings say
so, and only for a resource that was seen with a deletionTimestamp under our finalizer.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from howdah.core.plan import SHARED_KINDS, Decision, Delete, Held, SetFinalizers, Step, Wait
from howdah.model import names
from howdah.model.observed import Meta, Observed, SecretMeta
from howdah.model.settings import Settings

LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class DeletionPolicy:
    """What the operator's settings say of deletion. The keys name annotations that must confirm it; empty: none asked."""

    claims: bool
    secrets: bool
    date_key: str
    name_key: str
    templates: names.Templates


def deletion_policy(settings: Settings) -> DeletionPolicy:
    return DeletionPolicy(
        claims=settings.enable_persistent_volume_claim_deletion,
        secrets=settings.enable_secrets_deletion,
        date_key=settings.delete_annotation_date_key,
        name_key=settings.delete_annotation_name_key,
        templates=names.Templates(
            secret=settings.secret_name_template,
            primary_budget=settings.pdb_name_format,
            service_account=settings.pod_service_account_name,
            backup_job_prefix=settings.logical_backup_job_prefix,
        ),
    )


def protection(observed: Observed, policy: DeletionPolicy) -> str | None:
    """Why the deletion is not confirmed yet; None when it is."""
    meta = observed.resource.meta
    today = observed.now.astimezone(dt.UTC).date().isoformat()
    for key, expected in ((policy.date_key, today), (policy.name_key, meta.name)):
        if key and meta.annotation(key) != expected:
            return f"deletion is protected: annotate the resource with {key}={expected} to confirm it"
    return None


def plan_deletion(observed: Observed, policy: DeletionPolicy, *, paused: bool) -> Decision:
    """The next steps of a deletion; ends with the removal of our finalizer when nothing is left."""
    meta = observed.resource.meta
    if names.FINALIZER not in (meta.finalizers or ()):
        return Decision(ends=True)
    last = SetFinalizers(
        reason="everything that belonged to the cluster is gone",
        finalizers=tuple(f for f in meta.finalizers or () if f != names.FINALIZER),
        resource_version=meta.resource_version,
    )
    why_not = "the resource is paused" if paused else protection(observed, policy)
    if why_not is not None:
        return Decision(held=(Held(last, why_not),), waits=(Wait(60.0, why_not),), ends=True)
    unseen = (why for kind, why in observed.left_alone.items() if kind not in SHARED_KINDS)
    denied = (*(problem.message for problem in observed.problems), *unseen)
    if denied:
        why = f"cannot see everything that belongs to the cluster: {'; '.join(denied)}"
        return Decision(waits=(Wait(5.0, why),), lacks=why, ends=True)
    for stage in (_readers, _stateful_set, _pods, _everything_else):
        steps, waiting = stage(observed, policy)
        if steps or waiting:
            waits = (Wait(LOOK_AGAIN_S, waiting),) if waiting else ()
            return Decision(steps=tuple(steps), waits=waits, ends=True)
    return Decision(steps=(last,), ends=True)


def _readers(observed: Observed, policy: DeletionPolicy) -> tuple[list[Step], str]:
    """First, who reads the databases: streams, and dumps, whose running Jobs and pods go with their CronJob."""
    cluster = observed.resource.meta.name
    ours = [
        (kind, live.meta)
        for (kind, name), live in observed.objects.items()
        if kind in READERS and names.belongs(kind, name, cluster, policy.templates)
    ]
    steps: list[Step] = [
        Delete(reason="the cluster is deleted", kind=kind, name=meta.name, uid=meta.uid)
        for kind, meta in sorted(ours, key=lambda thing: (READERS.index(thing[0]), thing[1].name))
        if meta.deletion_timestamp is None
    ]
    return steps, f"{len(ours)} reader(s) are being deleted" if ours else ""


READERS = (names.STREAM_KIND, "CronJob")


def _stateful_set(observed: Observed, policy: DeletionPolicy) -> tuple[list[Step], str]:
    """Before the pods, so that nothing makes them anew; orphaning, so that its claim retention policy decides nothing."""
    cluster = observed.resource.meta.name
    found = [
        live
        for (kind, name), live in observed.objects.items()
        if kind == "StatefulSet" and names.belongs(kind, name, cluster, policy.templates)
    ]
    steps: list[Step] = [
        Delete(
            reason="the cluster is deleted",
            kind="StatefulSet",
            name=s.meta.name,
            uid=s.meta.uid,
            propagation="Orphan",
        )
        for s in found
        if s.meta.deletion_timestamp is None
    ]
    return steps, "the StatefulSet is being deleted" if found else ""


def _pods(observed: Observed, policy: DeletionPolicy) -> tuple[list[Step], str]:
    """All at once; the volumes are touched only when every pod is gone."""
    del policy
    steps: list[Step] = [
        Delete(reason="the cluster is deleted", kind="Pod", name=pod.name, uid=pod.metadata.uid)
        for pod in observed.pods
        if not pod.is_deleting
    ]
    return steps, f"{len(observed.pods)} pod(s) are ending" if observed.pods else ""


def _everything_else(observed: Observed, policy: DeletionPolicy) -> tuple[list[Step], str]:
    """Patroni's objects are among them: with the pods gone nobody writes them again."""
    belongings = _belongings(observed, policy)
    steps: list[Step] = [
        Delete(reason="the cluster is deleted", kind=kind, name=meta.name, uid=meta.uid, namespace=meta.namespace)
        for kind, meta in belongings
        if meta.deletion_timestamp is None
    ]
    return steps, f"{len(belongings)} object(s) are being deleted" if belongings else ""


# The kinds that go with the cluster, in the order in which they go.
ORDER = (
    "Deployment",
    "PersistentVolumeClaim",
    "Secret",
    "PodDisruptionBudget",
    "Service",
    "Endpoints",
    "ConfigMap",
    "ControllerRevision",
)


def _belongings(observed: Observed, policy: DeletionPolicy) -> list[tuple[str, Meta]]:
    found: list[tuple[str, Meta]] = [(kind, live.meta) for (kind, _), live in observed.objects.items() if kind in ORDER]
    found += [(kind, patroni.metadata) for (kind, _), patroni in observed.patroni.items()]
    # The StatefulSet was orphaned from its revisions, too: nobody else removes them.
    found += [("ControllerRevision", revision.metadata) for revision in observed.revisions]
    if policy.claims:
        found += [("PersistentVolumeClaim", claim.metadata) for claim in observed.claims]
    copies = names.user_lists(observed.resource.meta.name)  # of passwords in other Secrets: nobody misses them
    found += [
        ("Secret", secret.metadata)
        for secret in observed.secrets.values()
        if (policy.secrets or secret.metadata.name in copies) and _is_of(secret, observed)
    ]
    cluster = observed.resource.meta.name
    ours = ((kind, meta) for kind, meta in found if names.belongs(kind, meta.name, cluster, policy.templates))
    unique = {(kind, meta.uid): (kind, meta) for kind, meta in ours}
    return sorted(unique.values(), key=lambda thing: (ORDER.index(thing[0]), thing[1].name))


def left_secrets(observed: Observed, policy: DeletionPolicy) -> str | None:
    """What is said of Secrets that are not ours to see any more: no reason to keep the resource, which may be for ever."""
    if not policy.secrets or not observed.secrets_unseen:
        return None
    said = "; ".join(f"in {place}: {why}" for place, why in sorted(observed.secrets_unseen.items()))
    return f"Secrets of its roles in other namespaces stay; `howdah orphans` finds them ({said})"


def _is_of(secret: SecretMeta, observed: Observed) -> bool:
    """A namesake of the cluster may be in any namespace: what a Secret says counts, and its place where it says nothing."""
    resource, said = observed.resource.meta, secret.metadata.annotation(names.CLUSTER)
    if said is not None:
        return said == f"{resource.namespace}/{resource.name}"
    return secret.metadata.namespace == resource.namespace
