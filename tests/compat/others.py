"""Objects that others make and the operator changes, as they are after the steps of our own planners.

Patroni, StatefulSet and kubelet are played in the simplest way: members and claims exist as recorded, a pod is made anew
when its template costs a roll. Of such an object only what the operator writes is kept, as in the recordings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from howdah.core.alignment import align_pod_annotations
from howdah.core.inheritance import inherit
from howdah.core.objects.build import build
from howdah.core.objects.diff import Effect, template_differences
from howdah.core.plan import AnnotatePod, GrowClaim, PatchMetadata, Step
from howdah.core.situation import Situation, VolumeLook, look
from howdah.core.volumes import grow_claims
from howdah.model import names
from howdah.model.cluster import Cluster
from howdah.model.observed import Claim, Live, Observed, PatroniObject, Pod, SecretMeta

NOW = dt.datetime(2026, 1, 4, 12, 0, tzinfo=dt.UTC)  # a Sunday
MADE_BY_OTHERS = ("ConfigMap", "Endpoints", "PersistentVolumeClaim", "Pod", "Service")
Id = tuple[str, str, str]  # kind, namespace, name
Body = dict[str, Any]


@dataclass(slots=True)
class Others:
    """What one case's cluster has beside our own objects; it lives through the case's steps."""

    bodies: dict[Id, Body] = field(default_factory=dict)
    sizes: dict[Id, str] = field(default_factory=dict)
    template: Body | None = None

    def after(
        self, cluster: Cluster, members: Iterable[str], claims: Iterable[str], secrets: Mapping[Id, Body]
    ) -> tuple[dict[Id, Body], set[Id]]:
        """The bodies after our planners' steps, those of existing Secrets among them, and which of them were written."""
        template = next(body for body in build(cluster) if body["kind"] == "StatefulSet")["spec"]["template"]
        self._appear(cluster, tuple(members), tuple(claims), template)
        held = {**self.bodies, **secrets}
        seen = self._seen(cluster, held)
        steps = (*align_pod_annotations(seen).steps, *inherit(seen).steps, *grow_claims(seen).steps)
        self.template = template
        written = {_folded(step, held, cluster) for step in steps}
        self.bodies = {key: body for key, body in held.items() if key not in secrets}
        self.sizes |= {
            key: held[key]["spec"]["resources"]["requests"]["storage"] for key in written if _is_grown(held[key])
        }
        return held, written

    def _appear(self, cluster: Cluster, members: tuple[str, ...], claims: tuple[str, ...], template: Body) -> None:
        namespace = cluster.key.namespace
        is_rolled = self.template is not None and any(
            d.effect is Effect.ROLL for d in template_differences(template, self.template)
        )
        for name in members:
            if is_rolled or ("Pod", namespace, name) not in self.bodies:
                self._make("Pod", namespace, name, template["metadata"].get("annotations"))
        claim_template = cluster.volume.claim_template
        for name in claims:
            key = ("PersistentVolumeClaim", namespace, name)
            if key not in self.bodies:
                self._make(*key, claim_template["metadata"].get("annotations"))
                self.sizes[key] = claim_template["spec"]["resources"]["requests"]["storage"]
        made = {cluster.names.config_object, cluster.names.leader_object, ("Service", cluster.names.config_service)}
        for kind, name in cluster.names.patroni_objects if members and cluster.dcs != "etcd" else ():
            is_ours = kind == "Endpoints" and name == cluster.names.leader_service
            if (kind, name) in made and not is_ours and (kind, namespace, name) not in self.bodies:
                self._make(kind, namespace, name, None)

    def _make(self, kind: str, namespace: str, name: str, annotations: Mapping[str, str] | None) -> None:
        metadata: Body = {"name": name, "namespace": namespace}
        if annotations:
            metadata["annotations"] = dict(annotations)
        self.bodies[kind, namespace, name] = {"apiVersion": "v1", "kind": kind, "metadata": metadata}

    def _seen(self, cluster: Cluster, held: Mapping[Id, Body]) -> Situation:
        def of(kind: str) -> dict[tuple[str, str], Body]:
            return {key[1:]: body for key, body in held.items() if key[0] == kind}

        requests = {
            key[1:]: {"spec": {"resources": {"requests": {"storage": size}}}} for key, size in self.sizes.items()
        }
        pods = [_with_metadata(body, labels={names.REVISION_LABEL: "before"}) for body in of("Pod").values()]
        patroni = {
            (kind, place[1]): msgspec.convert(body, PatroniObject)
            for kind in ("ConfigMap", "Endpoints")
            for place, body in of(kind).items()
        }
        observed = Observed(
            now=NOW,
            resource=msgspec.json.decode(
                msgspec.json.encode({"metadata": {"name": cluster.key.name, "namespace": cluster.key.namespace}}),
                type=Live,
            ),
            pods=tuple(msgspec.convert(pod, Pod) for pod in pods),
            claims=tuple(
                msgspec.convert({**body, **requests[place]}, Claim)
                for place, body in of("PersistentVolumeClaim").items()
            ),
            objects={
                ("Service", place[1]): msgspec.json.decode(msgspec.json.encode(body), type=Live)
                for place, body in of("Service").items()
            },
            secrets={place: msgspec.convert(body, SecretMeta) for place, body in of("Secret").items()},
            patroni=patroni,
            templates={"before": self.template} if self.template is not None else {},
        )
        return replace(look(cluster, build(cluster), observed), storage=VolumeLook(is_known=True))


def _with_metadata(body: Body, **metadata: Any) -> Body:
    return {**body, "metadata": {**body["metadata"], **metadata}}


def _folded(step: Step, held: dict[Id, Body], cluster: Cluster) -> Id:
    """What the API server makes of a step; the key of what was written."""
    if isinstance(step, PatchMetadata):
        key = (step.kind, step.namespace, step.name)
        metadata = held[key]["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **step.annotations}
        owners = metadata.get("ownerReferences") if step.owner_references is None else list(step.owner_references)
        held[key] = _with_metadata(held[key], annotations=annotations, ownerReferences=owners or [])
    elif isinstance(step, AnnotatePod):
        key = ("Pod", cluster.key.namespace, step.name)
        annotations = {**(held[key]["metadata"].get("annotations") or {}), **step.annotations}
        held[key] = _with_metadata(held[key], annotations={k: v for k, v in annotations.items() if v is not None})
    elif isinstance(step, GrowClaim):
        key = ("PersistentVolumeClaim", cluster.key.namespace, step.name)
        held[key] = {**held[key], "spec": {"resources": {"requests": {"storage": step.storage}}}}
    else:
        raise AssertionError(f"{type(step).__name__} was not expected")
    return key


def _is_grown(body: Body) -> bool:
    return body["kind"] == "PersistentVolumeClaim" and "spec" in body
