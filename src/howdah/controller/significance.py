"""Which part of an object is worth a pass when it changes, and which change may wait a moment.

Patroni writes each member's position and renews the leader every few seconds, and that is not work.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from howdah.core.pooler_rolls import rollout
from howdah.model import names
from howdah.model.errors import UNREADABLE
from howdah.model.observed import Live, Meta, PatroniObject, Pod

# Patroni renews these without anything having happened, and so does the endpoints controller.
_VOLATILE = frozenset(
    {"renewTime", "optime", "retain_slots", "slots", "endpoints.kubernetes.io/last-change-trigger-time"}
)


class HasMeta(Protocol):
    @property
    def metadata(self) -> Meta: ...


def of_resource(resource: Live) -> tuple[object, ...]:
    """Without the announcement that we write ourselves."""
    return (_meta(resource.metadata, frozenset({names.DISRUPTION})), bytes(resource.spec))


def of_deployment(deployment: Live) -> tuple[object, ...]:
    """With how far its pods are, which the status tells."""
    return (*deployment.significant(), rollout(deployment, 0))


def version(obj: HasMeta) -> tuple[object, ...]:
    return obj.metadata.uid, obj.metadata.resource_version, obj.metadata.deletion_timestamp


def whole_but_version(obj: msgspec.Struct) -> tuple[object, ...]:
    parts = {name: getattr(obj, name) for name in obj.__struct_fields__}
    return (_meta(parts.pop("metadata")), *parts.values())


def _meta(meta: Meta, ignored: frozenset[str] = frozenset()) -> tuple[object, ...]:
    annotations = {k: v for k, v in (meta.annotations or {}).items() if k not in ignored}
    return meta.uid, meta.deletion_timestamp, meta.labels, annotations, meta.owner_references, meta.finalizers


def of_patroni(obj: PatroniObject) -> tuple[object, ...]:
    return _meta(obj.metadata, _VOLATILE)


_NOTHING = msgspec.Raw(b"")


class _Heartbeat(msgspec.Struct, frozen=True, gc=False):
    """The parts of a member's annotation that decisions use, as written; positions are not among them."""

    role: msgspec.Raw = _NOTHING
    state: msgspec.Raw = _NOTHING
    replication_state: msgspec.Raw = _NOTHING
    timeline: msgspec.Raw = _NOTHING
    pending_restart: msgspec.Raw = _NOTHING
    pending_restart_reason: msgspec.Raw = _NOTHING
    api_url: msgspec.Raw = _NOTHING
    tags: msgspec.Raw = _NOTHING
    pause: msgspec.Raw = _NOTHING


_decode_heartbeat = msgspec.json.Decoder(_Heartbeat).decode


def of_pod(pod: Pod) -> tuple[object, ...]:
    text = pod.metadata.annotation("status")
    try:
        heartbeat: object = _decode_heartbeat(text) if text else None
    except UNREADABLE:
        heartbeat = text
    return (*_meta(pod.metadata, frozenset({"status"})), heartbeat, pod.spec, pod.status)


def is_no_end(old: HasMeta | None, new: HasMeta | None) -> bool:
    """A deletion is waited for, and its end."""
    del old
    return new is not None and new.metadata.deletion_timestamp is None


def is_prepared(old: Pod | None, new: Pod | None) -> bool:
    """A pod that is not Ready, and in which no Patroni has said anything yet, is of no use to anybody."""
    states = [pod for pod in (old, new) if pod is not None]
    return is_no_end(old, new) and all(not p.is_ready and p.metadata.annotation("status") is None for p in states)
