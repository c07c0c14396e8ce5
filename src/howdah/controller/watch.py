"""The caches, and from events to keys: which cluster has something new to look at, and whether that may wait a moment.

One informer per kind and namespace. An event queues its cluster only if a part that we use changed: Patroni writes each
member's position and renews the leader every few seconds, and that is not work. Reading is `observe.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from howdah.adapters.kubernetes import EVENT_STREAMS, POSTGRESQLS
from howdah.controller import significance, unseen
from howdah.controller.lags import Lags
from howdah.controller.locks import Lock, Locks
from howdah.controller.nodes import Nodes
from howdah.controller.optional import OptionalKind
from howdah.controller.significance import HasMeta
from howdah.controller.unseen import Unseen
from howdah.kube import resources as r
from howdah.kube.client import Client
from howdah.kube.informer import Informer, Key, Unread
from howdah.kube.resources import Resource
from howdah.model import names
from howdah.model.observed import Claim, Live, PatroniObject, Pod, Revision, SecretMeta

DEPARTED_KEPT = 64
SWEEP_S = 1.0
SWEEPS_PER_LAG = 15
SYNC_POLL_S = 0.2

_log = structlog.get_logger("howdah.watch")


@dataclass(frozen=True, slots=True)
class Scope:
    """What to watch: namespaces (None: all), the labels that every object of a cluster carries, and the cluster's label."""

    namespaces: tuple[str | None, ...]
    labels: Mapping[str, str]
    cluster_label: str
    service_account: str
    role_binding: str

    def covers(self, namespace: str) -> bool:
        """Whether a namespace is watched."""
        return None in self.namespaces or namespace in self.namespaces

    @property
    def selector(self) -> str:
        return names.selector_text(self.labels)

    @property
    def wide_selector(self) -> str:
        """Of kinds that poolers have, too."""
        return names.selector_with_poolers(self.labels)

    @property
    def backup_selector(self) -> str:
        """Of the CronJobs of logical backups."""
        return names.selector_with_backups(self.labels)


@dataclass(frozen=True, slots=True)
class Gone:
    """A member's pod that was seen to go at `at_s`, by the event loop's clock."""

    key: Key
    name: str
    uid: str
    was_proved_dead: bool
    at_s: float


class Watch:
    """All informers of one operator. For every cluster with news `notify(key)` is called, or `notify_soon(key)`.

    The latter for news on which nobody waits: how far something new has come until it does its part. It comes in bursts.
    """

    def __init__(
        self,
        client: Client,
        scope: Scope,
        notify: Callable[[Key], None],
        notify_soon: Callable[[Key], None] | None = None,
        *,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self.scope = scope
        self._clock = clock
        self._notify = notify
        self._notify_soon = notify_soon or notify
        self.locks = Locks()
        self._earlier = asyncio.Event()  # something is due before what was waited for
        self.lags = Lags()
        self.departed: deque[Gone] = deque(maxlen=DEPARTED_KEPT)
        self._informers: list[Informer[Any]] = []
        self._owners: dict[Informer[Any], Callable[[Any], Key | None]] = {}  # of all: whose an object is
        self._unread = unseen.UnreadObjects()
        self._decoded: dict[str, Mapping[str, Any]] = {}
        self.clusters = self._all(client, POSTGRESQLS, Live, significance.of_resource, self._resource_key, labels="")
        self.pods = self._all(
            client,
            r.PODS,
            Pod,
            significance.of_pod,
            self._member_key,
            on_gone=self._pod_gone,
            may_wait=significance.is_prepared,
        )
        self.claims = self._all(
            client,
            r.PERSISTENT_VOLUME_CLAIMS,
            Claim,
            significance.whole_but_version,
            self._label_key,
            may_wait=significance.is_no_end,
        )
        self.configmaps, self.endpoints = (
            self._all(
                client,
                resource,
                PatroniObject,
                significance.of_patroni,
                self._label_key,
                on_gone=partial(self._lock_gone, resource.kind),
                on_seen=self._lock_seen,
            )
            for resource in (r.CONFIGMAPS, r.ENDPOINTS)
        )
        wide = scope.wide_selector
        self.secrets = self._all(
            client, r.SECRETS, SecretMeta, significance.version, self._label_key, labels=wide, metadata_only=True
        )
        self.revisions = self._all(
            client,
            r.CONTROLLER_REVISIONS,
            Revision,
            significance.version,
            self._label_key,
            on_gone=self._revision_gone,
            may_wait=significance.is_no_end,
        )
        self.owned = {
            resource.kind: self._all(client, resource, Live, significant, self._label_key, labels=labels)
            for resource, significant, labels in (
                (r.STATEFUL_SETS, Live.significant, scope.selector),
                (r.SERVICES, Live.significant, wide),
                (r.POD_DISRUPTION_BUDGETS, Live.significant, scope.selector),
                (r.DEPLOYMENTS, significance.of_deployment, wide),
            )
        }
        self.owned["CronJob"] = self._all(
            client, r.CRON_JOBS, Live, Live.significant, self._label_key, labels=scope.backup_selector
        )
        self.shared_names = {"ServiceAccount": scope.service_account, "RoleBinding": scope.role_binding}
        self.shared = {
            resource.kind: self._all(
                client,
                resource,
                Live,
                Live.significant,
                _no_key,
                labels="",
                fields=f"metadata.name={self.shared_names[resource.kind]}",
            )
            for resource in (r.SERVICE_ACCOUNTS, r.ROLE_BINDINGS)
        }
        self.nodes = Nodes(client, self._node_changed)
        self.event_streams = OptionalKind(
            client,
            names.STREAM_DEFINITION,
            self._all(client, EVENT_STREAMS, Live, Live.significant, self._label_key, is_optional=True),
            self._notify_all,
        )

    # running

    async def run(self) -> None:
        """Keep all caches true until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())
            tasks.create_task(self.event_streams.run())
            tasks.create_task(self.nodes.run())
            tasks.create_task(_for_ever(self._sweep))
            tasks.create_task(_for_ever(self._await_silence))

    async def synced(self) -> None:
        """Wait until every cache has been filled once, or is not allowed to us."""
        for informer in self._informers:
            while not informer.has_looked:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(informer.synced.wait(), SYNC_POLL_S)
        await self.event_streams.looked()
        await self.nodes.looked()

    @property
    def denied(self) -> tuple[Unseen, ...]:
        """What we may not see: nothing may be concluded from its absence, nor from what was seen before."""
        return unseen.denied(self._informers)

    def unknown_in(self, namespace: str) -> tuple[Unseen, ...]:
        """What nothing is known of in a namespace. Its clusters are not kept back by what is denied elsewhere."""
        return unseen.unknown(self._informers, namespace)

    def why_no_secrets(self, namespace: str) -> str | None:
        """Why nothing is known of the Secrets in a namespace; None where they are seen."""
        if not self.scope.covers(namespace):
            return f"namespace {namespace} is not watched"
        return next((d.error.message for d in self.unknown_in(namespace) if d.kind == r.SECRETS.kind), None)

    @property
    def why_blind(self) -> str | None:
        """Why no cluster of any namespace can be seen; None where those of one can."""
        if not all(informer.denied for informer in self.clusters):
            return None
        return "; ".join(str(informer.denied) for informer in self.clusters)

    @property
    def not_synced(self) -> tuple[str, ...]:
        """Kinds whose cache has not been filled yet, for readiness."""
        return tuple(i.resource.plural for i in self._informers if not i.synced.is_set())

    def staleness_s(self) -> float:
        """Seconds since the quietest cache of what we may see last heard from the server, which speaks each minute."""
        return max((one.staleness_s() for one in self._informers if one.denied is None), default=0.0)

    def malformed(self) -> int:
        """How many objects cannot be read, or only as they once were."""
        return self.nodes.malformed + sum(len(informer.malformed) for informer in self._owners)

    def unread_of(self, key: Key) -> tuple[Unseen, ...]:
        """The objects of a cluster that cannot be read, its resource among them."""
        return self._unread.of(key)

    def why_unreadable(self, key: Key) -> str | None:
        """Why the resource that there is now cannot be read; `resource` is what it was before."""
        return next(
            (f"cannot be read: {part.malformed[key].why}" for part in self.clusters if key in part.malformed), None
        )

    def is_there(self, key: Key) -> bool:
        """Whether there is a resource of this name, be it one that cannot be read."""
        return any(part.get(*key) is not None or key in part.malformed for part in self.clusters)

    def cluster_keys(self) -> tuple[Key, ...]:
        """Every cluster that there is a resource for."""
        return tuple(itertools.chain.from_iterable(part.keys() for part in self.clusters))

    def resource(self, key: Key) -> Live | None:
        """The cluster's resource, if there is one now."""
        return next((found for part in self.clusters if (found := part.get(*key)) is not None), None)

    def sees_shared(self, kind: str, namespace: str) -> bool:
        """Whether there is a ServiceAccount, or RoleBinding, for the pods of this namespace."""
        name = self.shared_names[kind]
        return any(informer.get(namespace, name) is not None for informer in self.shared[kind])

    def template(self, revision: Revision) -> Mapping[str, Any]:
        """The pod template that a revision holds; decoded once, for revisions never change."""
        uid = revision.metadata.uid
        if uid not in self._decoded:
            self._decoded[uid] = revision.template()
        return self._decoded[uid]

    # from events to keys

    def _node_changed(self, name: str) -> None:
        for key, pod in self._members():
            if pod.spec.node_name == name:
                self._notify(key)

    def _notify_all(self) -> None:
        for key in self.cluster_keys():
            self._notify(key)

    def _all(
        self,
        client: Client,
        resource: Resource,
        kind: type[Any],
        significant: Callable[[Any], Any],
        key: Callable[[Any], Key | None],
        *,
        labels: str | None = None,
        fields: str = "",
        metadata_only: bool = False,
        on_gone: Callable[[Any], None] | None = None,
        on_seen: Callable[[Informer[Any], Any], None] | None = None,
        may_wait: Callable[[Any, Any], bool] = lambda old, new: False,
        is_optional: bool = False,
    ) -> tuple[Informer[Any], ...]:
        def changed(old: Any, new: Any) -> None:
            if new is None and on_gone is not None:
                on_gone(old)
            found = key(new if new is not None else old)
            if found is not None:
                (self._notify_soon if may_wait(old, new) else self._notify)(found)

        informers = tuple(
            Informer(
                client,
                resource,
                kind,
                namespace=namespace,
                labels=self.scope.selector if labels is None else labels,
                fields=fields,
                metadata_only=metadata_only,
                indexes={"cluster": lambda obj: [found] if (found := key(obj)) is not None else []},
                significant=significant,
                on_change=changed,
                on_seen=on_seen,
                on_malformed=self._malformed_changed,
            )
            for namespace in self.scope.namespaces
        )
        self._informers += () if is_optional else informers
        self._owners |= dict.fromkeys(informers, key)
        return informers

    def _malformed_changed(self, informer: Informer[Any], old: Unread | None, new: Unread | None) -> None:
        """Its end is told, too: of an object that could never be read nothing else tells it."""
        owners = frozenset() if old is None else self._unread.remove(informer, old)
        if new is not None:
            unseen.log_unread(informer.resource.kind, new)
            now = self._whose(informer, new)
            self._unread.put(informer, new, now)
            owners |= now
        for namespace, name in owners:
            for key in ((namespace, name),) if name else self._clusters_in(namespace):
                self._notify(key)

    def _whose(self, informer: Informer[Any], one: Unread) -> frozenset[Key]:
        """The cluster of an object that cannot be read; (namespace, "") where nothing says which."""
        key, before = self._owners[informer], informer.get(*one.key)
        owners = (key(obj) for obj in (unseen.bare(one), before) if obj is not None)
        found = frozenset(owner for owner in owners if owner is not None)
        is_anybodys = not found and (one.labels is None or key is _no_key)
        return frozenset({(one.key[0], "")}) if is_anybodys else found

    def _clusters_in(self, namespace: str) -> tuple[Key, ...]:
        return tuple(key for key in self.cluster_keys() if key[0] == namespace)

    def _resource_key(self, obj: HasMeta) -> Key | None:
        return obj.metadata.namespace, obj.metadata.name

    def _label_key(self, obj: HasMeta) -> Key | None:
        name = obj.metadata.label(self.scope.cluster_label)
        return (obj.metadata.namespace, name) if name else None

    def _member_key(self, pod: HasMeta) -> Key | None:
        # Where clusters have no label of applications, the pods of poolers match as well.
        return self._label_key(pod) if pod.metadata.label(names.POOLER_LABEL) is None else None

    def _revision_gone(self, revision: Revision) -> None:
        self._decoded.pop(revision.metadata.uid, None)

    def _pod_gone(self, pod: Pod) -> None:
        key = self._member_key(pod)
        if key is not None:
            now_s = asyncio.get_running_loop().time()
            self.departed.append(Gone(key, pod.name, pod.metadata.uid, pod.is_proved_dead, now_s))

    def _lock_seen(self, informer: Informer[PatroniObject], obj: PatroniObject) -> None:
        meta = obj.metadata
        place = (informer.resource.kind, meta.namespace, meta.name)
        renewed, key = meta.annotation("renewTime"), self._label_key(obj)
        if renewed is None or key is None:
            self.locks.forget(place)
            return
        before = self.locks.first_s
        lock = Lock(place, key, renewed, meta.annotations or {}, informer.unbroken_s)
        if self.locks.hear(lock, asyncio.get_running_loop().time()):
            self._notify(key)
        if self.locks.first_s != before:
            self._earlier.set()

    def _lock_gone(self, kind: str, obj: PatroniObject) -> None:
        self.locks.forget((kind, obj.metadata.namespace, obj.metadata.name))

    async def _await_silence(self) -> None:
        """Tell of locks that nobody renews, at the moment at which something follows from it."""
        loop = asyncio.get_running_loop()
        while True:
            for key in self.locks.due(loop.time(), self._clock()):
                self._notify(key)
            self._earlier.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self.locks.first_s):
                    await self._earlier.wait()

    async def _sweep(self) -> None:
        """What makes no event of its own: a member that falls behind, a right that comes or goes."""
        denied: dict[tuple[str, str], str] = {}
        nodes_unseen: str | None = None
        for sweep in itertools.count(1):
            await asyncio.sleep(SWEEP_S)
            before, denied = (denied, nodes_unseen), {one.place: one.error.message for one in self.denied}
            nodes_unseen = self.nodes.unseen
            unseen.log_rights(before[0], denied)
            for key in self.cluster_keys() if (denied, nodes_unseen) != before else ():
                self._notify(key)
            if sweep % SWEEPS_PER_LAG == 0:
                for key in self.lags.look(self._members()):
                    self._notify(key)

    def _members(self) -> Iterable[tuple[Key, Pod]]:
        for informer in self.pods:
            for pod in informer:
                if (key := self._member_key(pod)) is not None:
                    yield key, pod


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """What looks at all clusters goes on after a bug at one of them."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - see above
            _log.error("a look at all clusters failed by a bug", exc_info=error)
        await asyncio.sleep(SWEEP_S)


def every(informers: Iterable[Informer[Any]], key: Key) -> tuple[Any, ...]:
    """All objects of the cluster in these informers."""
    return tuple(obj for informer in informers for obj in informer.by_index("cluster", key))


def _no_key(_: object) -> Key | None:
    return None
