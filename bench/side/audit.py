"""What each operator asked of the API server, as the server's own audit log tells it: who, what, when, with which answer."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOG = "log/audit"
RULES = """[
{level: Metadata, users: [howdah, reference]},
{level: Metadata, verbs: [create, update, patch, delete], users: [admin], resources: [{group: acid.zalan.do}]}]
"""
READS = frozenset({"get", "list", "watch"})
OWN = frozenset({"leases", "operatorconfigurations", "customresourcedefinitions", "selfsubjectaccessreviews"})
"""An operator's own objects, which belong to no cluster."""


@dataclass(frozen=True, slots=True)
class Request:
    """One answered request. Times are seconds since the epoch."""

    user: str
    verb: str
    resource: str  # with its subresource: postgresqls/status
    namespace: str
    name: str
    code: int
    received_at: float
    answered_at: float

    @property
    def is_write(self) -> bool:
        return self.verb not in READS

    @property
    def kind(self) -> str:
        return self.resource.partition("/")[0]


@dataclass(slots=True)
class Audit:
    """The log, read on from where it was read to."""

    path: Path
    _read_to: int = field(default=0)

    def skip(self) -> None:
        """What was asked until now is of no interest."""
        self._read_to = self.path.stat().st_size if self.path.exists() else 0

    def read(self) -> list[Request]:
        """What was answered since the last look."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._read_to)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]  # the last line may still be written
        self._read_to += len(whole)
        return [_request(json.loads(line)) for line in whole.splitlines()]


def _request(event: dict[str, Any]) -> Request:
    about = event.get("objectRef") or {}
    resource = about.get("resource") or event.get("requestURI", "").partition("?")[0]
    return Request(
        user=event["user"]["username"],
        verb=event["verb"],
        resource="/".join(part for part in (resource, about.get("subresource")) if part),
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=(event.get("responseStatus") or {}).get("code", 0),
        received_at=_seconds(event["requestReceivedTimestamp"]),
        answered_at=_seconds(event["stageTimestamp"]),
    )


def _seconds(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def of_clusters(requests: Iterable[Request], user: str) -> list[Request]:
    """Those of one operator that are about clusters; its events are not (they are counted where verbs and kinds are)."""
    return [r for r in requests if r.user == user and r.kind not in OWN and r.verb != "watch" and r.resource[0] != "/"]


def by_verb_and_kind(requests: Iterable[Request]) -> Counter[str]:
    """`patch services` → how often."""
    return Counter(f"{request.verb} {request.resource}" for request in requests)
