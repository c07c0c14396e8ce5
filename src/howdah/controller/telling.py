"""What people read of a cluster: its status, written only when it changed, and events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.controller.passes import AFTER_CONFLICT_S, PassResult, Patience
from howdah.core.status import Event, is_commentary, transitions
from howdah.kube.client import Client
from howdah.kube.errors import Conflict, Forbidden, KubeError, NotFound
from howdah.kube.events import EventRecorder, Reference
from howdah.kube.informer import Key
from howdah.model.observed import Live

COMMENTARY_S, CROWDED_COMMENTARY_S = 2.0, 10.0
"""Between two writes that only tell how far members have come: of a cluster alone, and at most."""
COMMENTARY_EACH_S = 0.1  # for each cluster that is being made: all of them together write so seldom, at most

_log = structlog.get_logger("howdah.pass")


class Teller:
    """`may_write` says whether this operator leads; an observer tells nothing."""

    def __init__(
        self, client: Client, recorder: EventRecorder, may_write: Callable[[], bool], *, observe_only: bool
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._may_write = may_write
        self._observe_only = observe_only
        self._told: dict[Key, tuple[tuple[str, str], Live]] = {}
        """By cluster: the version that the cache had when the status was written, and what the write made of it."""
        self._told_at: dict[Key, float] = {}  # by the event loop's clock
        self._patience = Patience()
        self._pruned: frozenset[str] = frozenset()  # status fields that the installed CRD does not keep
        self.phases: dict[Key, str] = {}
        """As they were told, or would have been by an observer; of clusters that were looked at since leading began."""

    def forget(self, key: Key) -> None:
        """The cluster is gone."""
        self.phases.pop(key, None)
        self._told.pop(key, None)
        self._told_at.pop(key, None)
        self._patience.forget(key)

    def latest(self, key: Key, resource: Live) -> Live:
        """The resource after our own last status, as long as the cache has not heard of it: the next change is that one."""
        cached, written = self._told.get(key, (None, resource))
        return written if cached == resource.version else resource

    async def write_status(
        self, key: Key, resource: Live, previous: dict[str, Any], status: dict[str, Any]
    ) -> PassResult | None:
        """One write, and only if something changed that the installed CRD keeps. When to try again, if it was not taken.

        With the version that was seen: an operator with late caches must not have the last word.
        """
        if not self._may_write():
            return None
        self.phases[key] = status["PostgresClusterStatus"]
        kept = {name: value for name, value in status.items() if name not in self._pruned}
        if self._observe_only or kept == previous:
            return None
        now_s = asyncio.get_running_loop().time()
        if is_commentary(previous, kept) and (left_s := self._commentary_due(key) - now_s) > 0:
            return PassResult(again_in_s=left_s)
        body = {**{name: None for name in previous if name not in kept}, **kept}
        latest = self.latest(key, resource).meta
        seen = {"uid": latest.uid, "resourceVersion": latest.resource_version}
        patch = {"metadata": seen, "status": body}
        try:
            answer = await self._client.merge_patch(
                POSTGRESQLS, key[1], patch, namespace=key[0], subresource="status", type=Live
            )
        except NotFound:
            return None
        except Conflict:  # it was written since, mostly by this very pass
            return PassResult(again_in_s=AFTER_CONFLICT_S)
        except KubeError as error:
            _log.warning("status not written", namespace=key[0], cluster=key[1], error=str(error))
            if isinstance(error, Forbidden):  # where nothing can be said on the resource, an event may be read
                self.tell(resource, Event("Warning", "StatusNotWritten", str(error)))
            return PassResult(again_in_s=self._patience.after_s(key, error), failed=str(error))
        self._patience.forget(key)
        self._told[key] = (resource.version, answer)
        self._told_at[key] = now_s
        self._notice_pruning(kept, answer.decoded_status())
        for event in transitions(previous, status):
            self.tell(resource, event)
        return None

    def _commentary_due(self, key: Key) -> float:
        return self._told_at.get(key, float("-inf")) + self.pace_s(COMMENTARY_S)

    def pace_s(self, shortest_s: float) -> float:
        """Between two looks at how far members have come, or words of it: the more clusters are being made, the longer."""
        crowd = list(self.phases.values()).count("Creating")
        return min(max(shortest_s, crowd * COMMENTARY_EACH_S), CROWDED_COMMENTARY_S)

    def _notice_pruning(self, sent: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        missing = frozenset(sent) - frozenset(kept)
        if missing - self._pruned:
            self._pruned |= missing
            _log.warning("the installed CRD does not keep these status fields", fields=sorted(missing))

    def tell(self, resource: Live, event: Event) -> None:
        meta = resource.meta
        about = Reference(POSTGRESQLS, meta.name, meta.namespace, meta.uid)
        if not self._observe_only:
            self._recorder.record(
                about, event.reason, event.message, type="Warning" if event.type == "Warning" else "Normal"
            )
