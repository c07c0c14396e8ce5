"""What Patroni says of itself in annotations: of a member on its pod, of the cluster on its leader, config and sync objects.

The annotations are the same in ConfigMap and in Endpoints mode; only the names of the objects differ, and those are
`model.names`' business. Whatever is malformed is said (`problem`), never raised: Patroni of any version writes these.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from howdah.model import names
from howdah.model.errors import UNREADABLE

UNKNOWN = "unknown"
LEADING = frozenset({"primary", "standby_leader"})
"""Roles of a member at the head of its cluster."""
CALLS_AFTER_S = (0.1, 0.5, 2.5, 4.5)
"""When members are told that the lock has expired: seconds after the ttl."""
LONGEST_TTL_S = 2**31
DEFAULT_MAXIMUM_LAG = 1024 * 1024  # Patroni's own


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A server parameter whose new value needs a restart, as Patroni words both values."""

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Member:
    """One member as it last described itself; positions are as old as its last heartbeat (up to loop_wait).

    `state` is what `patronictl list` shows: for a replica the state of its replication (`streaming`,
    `in archive recovery`) where known, else PostgreSQL's (`running`, `starting`, `creating replica`, …).
    """

    name: str
    role: str = UNKNOWN  # primary, replica, standby_leader, uninitialized
    state: str = UNKNOWN
    postgres_state: str = UNKNOWN
    timeline: int | None = None
    lsn: int | None = None  # bytes: written (leader) or the furthest received or replayed (replica)
    received_lsn: int | None = None
    replayed_lsn: int | None = None
    pending_restart: bool = False
    pending_changes: tuple[ParameterChange, ...] = ()
    patroni_version: str | None = None
    api_url: str | None = None  # of this member's REST API, with scheme: http://10.2.3.4:8008/patroni
    conn_url: str | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    is_paused: bool = False
    problem: str | None = None  # why (part of) the annotation could not be read

    @property
    def may_lead(self) -> bool:
        """False where a tag keeps it from ever being promoted."""
        return not self.tags.get("nofailover") and self.tags.get("failover_priority") != 0


@dataclass(frozen=True, slots=True)
class Leader:
    """The leader object. `name` is None where nobody holds the lock; a held lock may have expired: see `expires_at`.

    `failsafe`: with failsafe_mode, the only members that may take over when the leader is gone; a new replica is among
    them from the leader's next heartbeat on. None without failsafe_mode.
    """

    name: str | None = None
    renewed_at: dt.datetime | None = None
    ttl_s: int | None = None
    transitions: int | None = None
    optime: int | None = None  # bytes: the leader's position at its last renewal
    failsafe: frozenset[str] | None = None
    calls: int = 0  # how often members were told that the lock has expired since its last renewal
    problem: str | None = None

    def calls_due(self, unchanged_s: float) -> int:
        """How often members should have been told by now, after nobody renewed the lock for so long (by one clock).

        They sleep for loop_wait and may look just before the lock expires, which costs another loop_wait. Each call
        wakes them to look again. A member counts from its own look at the last renewal, for which the event of it wakes
        it: milliseconds after the event came to us, but more where it is busy. Hence a margin, and more than one call.
        """
        if self.name is None or self.ttl_s is None:
            return 0
        return sum(unchanged_s - self.ttl_s >= after_s for after_s in CALLS_AFTER_S)

    def changes_in_s(self, unchanged_s: float, now: dt.datetime, *, was_renewed: bool) -> float | None:
        """Seconds until `calls_due` or `is_silent` says something else, if nobody renews the lock; None: never.

        `was_renewed`: a renewal was seen, so that silence is judged by `unchanged_s`.
        """
        if self.name is None or self.ttl_s is None:
            return None
        calls = (self.ttl_s + after_s - unchanged_s for after_s in CALLS_AFTER_S)
        moments = [left_s for left_s in calls if left_s > 0]
        if not self.is_silent(now, unchanged_s if was_renewed else None):
            if was_renewed:
                moments.append(2 * self.ttl_s - unchanged_s)
            elif self.expires_at is not None:
                moments.append((self.expires_at - now).total_seconds() + self.ttl_s)
        return min(moments, default=None)

    @property
    def expires_at(self) -> dt.datetime | None:
        """When another member may take the lock, if it is not renewed (by the leader's own clock)."""
        if self.name is None or self.renewed_at is None or self.ttl_s is None:
            return None
        try:
            return self.renewed_at + dt.timedelta(seconds=self.ttl_s)
        except OverflowError:  # whoever wrote that, it never expires
            return None

    def is_silent(self, now: dt.datetime, unrenewed_s: float | None = None) -> bool:
        """Whether nobody holds the lock any more: that was proved (`calls`), or it was not renewed for twice its ttl.

        `unrenewed_s`: for how long, by one clock, where a renewal was seen. Without it the holder's clock is all there is,
        and one that is wrong by more than a ttl makes a leader silent that is not.
        """
        if self.calls > 0 or self.ttl_s is None:
            return self.calls > 0
        if unrenewed_s is not None:
            return unrenewed_s > 2 * self.ttl_s
        expires = self.expires_at
        return expires is not None and (now - expires).total_seconds() > self.ttl_s


@dataclass(frozen=True, slots=True)
class Promotion:
    """One line of the history: `timeline` ended at `lsn`."""

    timeline: int
    lsn: int
    reason: str
    at: str = ""
    new_leader: str = ""


@dataclass(frozen=True, slots=True)
class ConfigObject:
    """The config object. `dynamic` is None where Patroni has not written it yet (or wrote what cannot be read)."""

    dynamic: Mapping[str, Any] | None = None
    initialize: str | None = None  # the system identifier; "" while a member is bootstrapping
    history: tuple[Promotion, ...] = ()
    problem: str | None = None

    @property
    def is_synchronous(self) -> bool:
        """Commits wait for a named standby (quorum commit waits for any of several). In a standby cluster nothing does."""
        return self._synchronous_mode in ("true", "on") and not self.is_standby

    @property
    def is_quorum(self) -> bool:
        """Commits wait for so many of several standbys. In a standby cluster nothing does."""
        return self._synchronous_mode == "quorum" and not self.is_standby

    @property
    def _synchronous_mode(self) -> str:
        return str((self.dynamic or {}).get("synchronous_mode")).lower()

    @property
    def is_standby(self) -> bool:
        """The leader follows another cluster; by Patroni's rule a section without a source is none."""
        section = (self.dynamic or {}).get("standby_cluster")
        return isinstance(section, dict) and any(section.get(key) for key in ("host", "port", "restore_command"))

    @property
    def stands_alone(self) -> bool:
        """There is a configuration, and in it no section that makes the cluster follow another, not even an empty one."""
        return self.dynamic is not None and self.dynamic.get("standby_cluster") is None

    @property
    def maximum_lag(self) -> int:
        """Bytes that a member may lack and still take over."""
        said = _integer((self.dynamic or {}).get("maximum_lag_on_failover"))
        return said if said is not None else DEFAULT_MAXIMUM_LAG

    @property
    def is_paused(self) -> bool:
        """Maintenance mode: Patroni neither fails over nor starts a server."""
        return self.dynamic is not None and self.dynamic.get("pause") is True

    @property
    def is_initialized(self) -> bool:
        """Whether the cluster was bootstrapped once."""
        return bool(self.initialize)


@dataclass(frozen=True, slots=True)
class Sync:
    """The sync object: who is synchronous to whom."""

    leader: str | None = None
    standbys: frozenset[str] = frozenset()
    quorum: int | None = None


class _Status(msgspec.Struct, frozen=True, gc=False):
    """The `status` annotation, every field as loose as Patroni's versions are."""

    role: Any = None
    state: Any = None
    replication_state: Any = None
    timeline: Any = None
    xlog_location: Any = None
    receive_lsn: Any = None
    replay_lsn: Any = None
    pending_restart: Any = None
    pending_restart_reason: Any = None
    version: Any = None
    api_url: Any = None
    conn_url: Any = None
    tags: Any = None
    pause: Any = None


_decode_status = msgspec.json.Decoder(_Status).decode


def parse_member(name: str, annotations: Mapping[str, str] | None) -> Member | None:
    """The member that wrote the `status` annotation of the pod `name`; None where there is none yet."""
    text = (annotations or {}).get("status")
    if text is None:
        return None
    try:
        return _member(name, _decode_status(text))
    except UNREADABLE as error:  # a value that was decoded may be too deep to be put into words
        return Member(name, problem=f"annotation status is not a JSON object: {error}")


def _member(name: str, status: _Status) -> Member:
    role = _text(status.role) or UNKNOWN
    role = "primary" if role in ("master", "primary") else role  # Patroni before 4 says master
    postgres_state = _text(status.state) or UNKNOWN
    replication = _text(status.replication_state) if role == "replica" else None
    received, replayed = _integer(status.receive_lsn), _integer(status.replay_lsn)
    furthest = max((p for p in (_integer(status.xlog_location), received, replayed) if p is not None), default=None)
    return Member(
        name=name,
        role=role,
        state=(replication if postgres_state == "running" else None) or postgres_state,
        postgres_state=postgres_state,
        timeline=_integer(status.timeline),
        lsn=furthest,
        received_lsn=received,
        replayed_lsn=replayed,
        pending_restart=status.pending_restart is True,
        pending_changes=_changes(status.pending_restart_reason),
        patroni_version=_text(status.version),
        api_url=_text(status.api_url),
        conn_url=_text(status.conn_url),
        tags=status.tags if isinstance(status.tags, dict) else {},
        is_paused=status.pause is True,
        problem=None if postgres_state != UNKNOWN else "annotation status names no state",
    )


def _changes(reason: Any) -> tuple[ParameterChange, ...]:
    if not isinstance(reason, dict):
        return ()
    return tuple(
        ParameterChange(str(name), str(change.get("old_value", "")), str(change.get("new_value", "")))
        for name, change in sorted(reason.items())
        if isinstance(change, dict)
    )


def parse_leader(annotations: Mapping[str, str] | None) -> Leader:
    """The leader object's annotations; without any, nobody leads."""
    said = annotations or {}
    renewed = _time(said.get("renewTime"))
    name = said.get("leader") or None
    return Leader(
        name=name,
        renewed_at=renewed,
        ttl_s=_ttl(said.get("ttl")),
        transitions=_integer(said.get("transitions")),
        optime=_integer(said.get("optime")),
        failsafe=_names(said.get("failsafe")),
        calls=_calls(said.get(names.LOCK_EXPIRED), said.get("renewTime")),
        problem="annotation renewTime is no time" if name is not None and renewed is None else None,
    )


def _ttl(text: str | None) -> int | None:
    """None for what is no duration, as if nothing were said."""
    seconds = _integer(text)
    return seconds if seconds is not None and 0 < seconds <= LONGEST_TTL_S else None


def call_value(renewed: str, number: int) -> str:
    """The annotation that says: since this renewal there was none within the ttl, told for the `number`th time."""
    return f"{renewed}/{number}"


def _calls(said: str | None, renewed: str | None) -> int:
    """Those about an earlier renewal do not count."""
    about, _, number = (said or "").rpartition("/")
    return (_integer(number) or 0) if renewed is not None and about == renewed and number.isdecimal() else 0


def parse_config(annotations: Mapping[str, str] | None) -> ConfigObject:
    """The config object's annotations: dynamic configuration, initialize key, history."""
    said = annotations or {}
    dynamic, problem = _object(said.get("config"))
    return ConfigObject(
        dynamic=dynamic,
        initialize=said.get("initialize"),
        history=_history(said.get("history")),
        problem=problem,
    )


def parse_sync(annotations: Mapping[str, str] | None) -> Sync:
    """The sync object's annotations."""
    said = annotations or {}
    names = (said.get("sync_standby") or "").split(",")
    return Sync(
        leader=said.get("leader") or None,
        standbys=frozenset(name.strip() for name in names if name.strip()),
        quorum=_integer(said.get("quorum")),
    )


def _object(text: str | None) -> tuple[Mapping[str, Any] | None, str | None]:
    if text is None:
        return None, None
    try:
        return msgspec.json.decode(text, type=dict[str, Any]), None
    except UNREADABLE as error:
        return None, f"annotation config is not a JSON object: {error}"


def _names(text: str | None) -> frozenset[str] | None:
    """Keys of a JSON object; Patroni, too, takes anything else (and an empty one) as no failsafe."""
    try:
        return frozenset(msgspec.json.decode(text or "{}", type=dict[str, Any])) or None
    except UNREADABLE:
        return None


def _history(text: str | None) -> tuple[Promotion, ...]:
    """Lines as `[timeline, lsn, reason, time, new leader]`; the last two came with later versions."""
    try:
        return _promotions(msgspec.json.decode(text, type=list[list[Any]])) if text else ()
    except UNREADABLE:
        return ()


def _promotions(lines: list[list[Any]]) -> tuple[Promotion, ...]:
    found = []
    for line in lines:
        timeline, lsn = (_integer(value) for value in (*line, None, None)[:2])
        if timeline is None or lsn is None:
            continue
        reason, at, leader = (str(value) for value in (*line[2:], "", "", "")[:3])
        found.append(Promotion(timeline, lsn, reason, at, leader))
    return tuple(found)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _time(text: str | None) -> dt.datetime | None:
    """RFC 3339 with zone; a time without one is taken as UTC."""
    try:
        at = dt.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)
