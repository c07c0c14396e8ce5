"""What of the watched kinds is not seen, and why: of its absence nothing follows, nor of what was seen before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from howdah.kube.informer import Informer
from howdah.model.errors import ExternalError

_log = structlog.get_logger("howdah.watch")


@dataclass(frozen=True, slots=True)
class Unseen:
    """A kind of which nothing is known in a namespace (None: anywhere), and why."""

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
    never = (informer for informer in about if informer.denied is None and not informer.synced.is_set())
    return denied(about) + tuple(
        _unseen(one, f"{one.resource.plural} have not been listed yet: {one.last_error or 'no answer'}")
        for one in never
    )


def _unseen(informer: Informer[Any], why: str) -> Unseen:
    error = ExternalError("kubernetes", transient=True, message=why)
    return Unseen(informer.resource.kind, informer.namespace, error)


def log_rights(before: Mapping[tuple[str, str], str], now: Mapping[tuple[str, str], str]) -> None:
    """Where nothing can be said on a resource, for it is not ours to see or write, the log has it."""
    for kind, namespace in sorted(now.keys() - before.keys()):
        _log.warning("may not be seen", kind=kind, namespace=namespace, error=now[kind, namespace])
    for kind, namespace in sorted(before.keys() - now.keys()):
        _log.info("may be seen again", kind=kind, namespace=namespace)
