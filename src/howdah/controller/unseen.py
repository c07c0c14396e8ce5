"""What of the watched kinds is not seen, and why: of its absence nothing follows, nor of what was seen before.

A kind may be denied to us or never have been listed; a single object may not be readable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from howdah.kube.informer import Informer, Key, Unread
from howdah.model import names
from howdah.model.errors import ExternalError
from howdah.model.observed import Meta

Place = tuple[str, Key]
"""Kind, and (namespace, name)."""

_log = structlog.get_logger("howdah.watch")


@dataclass(frozen=True, slots=True)
class Unseen:
    """A kind of which nothing is known in a namespace (None: anywhere), or not all, and why."""

    kind: str
    namespace: str | None
    error: ExternalError

    @property
    def place(self) -> tuple[str, str]:
        return self.kind, self.namespace or "*"


def denied(informers: Iterable[Informer[Any]]) -> tuple[Unseen, ...]:
    """What we may not see."""
    return tuple(_unseen(informer, str(informer.denied)) for informer in informers if informer.denied is not None)


def unknown(informers: Iterable[Informer[Any]], namespace: str) -> tuple[Unseen, ...]:
    """What nothing is known of in a namespace: we may not see it, or no list of it has ever come."""
    about = tuple(informer for informer in informers if informer.namespace in (None, namespace))
    never = (informer for informer in about if not informer.has_looked)
    return denied(about) + tuple(
        _unseen(one, f"{one.resource.plural} have not been listed yet: {one.last_error or 'no answer'}")
        for one in never
    )


@dataclass(frozen=True, slots=True)
class Bare:
    """What is known of an object that cannot be read."""

    metadata: Meta


def bare(one: Unread) -> Bare:
    namespace, name = one.key
    return Bare(Meta(name=name, namespace=namespace, labels=dict(one.labels or {})))


class UnreadObjects:
    """The objects that cannot be read, by the cluster that each belongs to; (namespace, "") where nothing says which.

    A pass asks at each of thousands of clusters, so that what belongs to others is not walked.
    """

    def __init__(self) -> None:
        self._of: dict[Key, dict[Place, Unseen]] = {}
        self._owners: dict[Place, frozenset[Key]] = {}

    def put(self, informer: Informer[Any], one: Unread, owners: Iterable[Key]) -> None:
        """An object that cannot be read from now on, or for another reason."""
        place = (informer.resource.kind, one.key)
        self.remove(informer, one)
        self._owners[place] = frozenset(owners)
        for owner in self._owners[place]:
            self._of.setdefault(owner, {})[place] = unread(informer, one)

    def remove(self, informer: Informer[Any], one: Unread) -> frozenset[Key]:
        """Whose it was."""
        place = (informer.resource.kind, one.key)
        owners = self._owners.pop(place, frozenset())
        for owner in owners:
            of = self._of[owner]
            del of[place]
            if not of:
                del self._of[owner]
        return owners

    def of(self, key: Key) -> tuple[Unseen, ...]:
        """Those that are the cluster's, and those that may be."""
        own, anybodys = self._of.get(key, {}), self._of.get((key[0], ""), {})
        return tuple(
            one for (kind, (_, name)), one in (*own.items(), *anybodys.items()) if not is_strange(kind, name, key[1])
        )


def unread(informer: Informer[Any], one: Unread) -> Unseen:
    """An object of which only what it was before is known, if anything."""
    return _unseen(informer, f"{informer.resource.kind} {'/'.join(one.key)} cannot be read: {one.why}")


def is_strange(kind: str, name: str, cluster: str) -> bool:
    """Whether an object with a cluster's labels is none of it by its name, as in `observe.own`."""
    is_own = {"Pod": names.is_member, "PersistentVolumeClaim": names.is_members_claim}.get(kind)
    return is_own is not None and not is_own(name, cluster)


def log_unread(kind: str, one: Unread) -> None:
    namespace, name = one.key
    _log.error("an object cannot be read", kind=kind, namespace=namespace, name=name, why=one.why)


def _unseen(informer: Informer[Any], why: str) -> Unseen:
    error = ExternalError("kubernetes", transient=True, message=why)
    return Unseen(informer.resource.kind, informer.namespace, error)


def log_rights(before: Mapping[tuple[str, str], str], now: Mapping[tuple[str, str], str]) -> None:
    """Where nothing can be said on a resource, for it is not ours to see or write, the log has it."""
    for kind, namespace in sorted(now.keys() - before.keys()):
        _log.warning("may not be seen", kind=kind, namespace=namespace, error=now[kind, namespace])
    for kind, namespace in sorted(before.keys() - now.keys()):
        _log.info("may be seen again", kind=kind, namespace=namespace)
