"""Patroni and PostgreSQL of one pod, as a state machine that is asked twice a second: election by ttl, streaming, restarts.

It writes what the real one writes, into the same annotations. What it simplifies: a replica that streams has all that its
leader has.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scenario.world.sql import Contents

if TYPE_CHECKING:
    from scenario.world.kubernetes import Volume
    from scenario.world.patroni import Dcs

LOOP_WAIT_S = 10.0
TTL_S = 30.0
BOOTSTRAP_S, CLONE_S, PROMOTE_S, RESTART_S, CONNECT_S, START_S = 2.0, 2.0, 1.0, 2.0, 1.0, 1.0
RESTART_ONLY = {"max_connections": "100", "max_wal_senders": "10", "wal_level": "replica"}
"""Parameters that need a restart, with PostgreSQL's own value."""
NOT_BELOW_THE_LEADER = ("max_connections", "max_wal_senders")


@dataclass(slots=True, eq=False)
class Machine:
    """One pod's database container. `until_s`: when the present state ends by itself."""

    namespace: str
    cluster: str
    pod: str
    uid: str
    ip: str
    volume: Volume
    superuser_password: str
    standby_password: str
    bootstrap: Mapping[str, Any]  # of SPILO_CONFIGURATION
    starts_as_standby: bool = False  # of a standby cluster, if it is the first
    is_standby: bool = False  # Patroni's configuration says that its cluster follows another
    state: str = "starting"  # starting, initializing new cluster, creating replica, running, restarting, stopping, down
    role: str = "replica"
    until_s: float = 0.0
    timeline: int | None = None
    lsn: int = 0
    is_streaming: bool = False
    streams_from_s: float | None = None
    parameters: dict[str, str] = field(default_factory=lambda: dict(RESTART_ONLY))
    pending: dict[str, tuple[str, str]] = field(default_factory=dict)
    restarts: int = 0
    told: dict[str, Any] = field(default_factory=dict)
    told_at_s: float = float("-inf")
    renewed_at_s: float = float("-inf")
    is_cut_off: bool = False  # it gets nothing from its leader any more
    has_watchdog: bool = True  # without it Patroni promotes it never, and tells nobody but who asks it

    @property
    def contents(self) -> Contents | None:
        return self.volume.contents if self.state in ("running",) else None

    @property
    def leads(self) -> bool:
        return self.state == "running" and self.role == "primary"

    @property
    def accepts_writes(self) -> bool:
        return self.leads and not self.is_standby

    # one step

    def step(self, dcs: Dcs, now_s: float) -> None:
        """What Patroni's loop would do now."""
        if self.state == "down":
            return
        if self.state != "running" and now_s >= self.until_s:
            self._arrive(dcs, now_s)
        self.is_standby = "standby_cluster" in dcs.dynamic()
        if self.state == "running":
            self._lead_or_follow(dcs, now_s)
            self._take_parameters(dcs)
        self._tell(dcs, now_s)

    def _arrive(self, dcs: Dcs, now_s: float) -> None:
        if self.state == "starting":
            self._start(dcs, now_s)
        elif self.state == "initializing new cluster":
            self.volume.contents = dcs.bootstrap(self, now_s)
            self.timeline, self.role, self.state = 1, "primary", "running"
            dcs.take_lock(self, now_s)
        elif self.state == "creating replica":
            leader = dcs.leading()
            if leader is None or leader.volume.contents is None:
                self.state, self.until_s = "starting", now_s + START_S
                return
            self.volume.contents, self.timeline = leader.volume.contents, leader.timeline
            self.state, self.role = "running", "replica"
        elif self.state == "restarting":
            self.parameters, self.pending, self.state = self._started_with(dcs), {}, "running"
        elif self.state == "stopping":
            self.role, self.state, self.until_s = "replica", "starting", now_s + START_S

    def _start(self, dcs: Dcs, now_s: float) -> None:
        config = dcs.config()
        if self.volume.contents is not None:
            assert not config.get("initialize") or config["initialize"] == str(self.volume.contents.identifier), (
                f"{self.pod} has another database than its cluster"
            )
            self.state, self.role, self.parameters = "running", "replica", self._started_with(dcs)
            self.timeline = self.timeline or self.volume.timeline
            if not config.get("initialize"):
                dcs.annotate("config", {"initialize": str(self.volume.contents.identifier)})
            self.pending = {}
        elif "initialize" not in config:
            dcs.annotate("config", {"initialize": ""})
            self.state, self.until_s = "initializing new cluster", now_s + BOOTSTRAP_S
        elif dcs.leading() is not None:
            self.state, self.until_s = "creating replica", now_s + CLONE_S
            self.parameters = self._started_with(dcs)
        else:
            if config["initialize"] == "" and dcs.nobody_bootstraps(self):
                dcs.annotate("config", {"initialize": None})  # its pod is gone in the middle of it
            self.until_s = now_s + START_S

    def _lead_or_follow(self, dcs: Dcs, now_s: float) -> None:
        holder = dcs.lock_holder(now_s)
        if holder == self.pod:
            if self.role != "primary":
                self._promote(dcs, now_s)
            self.lsn += 1000
            if now_s - self.renewed_at_s >= LOOP_WAIT_S:
                dcs.renew(self, now_s)
            return
        if holder is None:
            if dcs.best_candidate(now_s) is self:
                dcs.take_lock(self, now_s)
                if self.role != "primary":
                    self._promote(dcs, now_s)
            elif self.role == "primary":  # it could not keep its lock
                self.role, self.state, self.until_s = "replica", "starting", now_s + START_S
            self.is_streaming, self.streams_from_s = False, None
            return
        if self.role == "primary":
            self.role, self.state, self.until_s = "replica", "starting", now_s + START_S
            return
        self._follow(dcs.leading(), now_s)

    def _follow(self, leader: Machine | None, now_s: float) -> None:
        served = leader.volume.contents if leader is not None else None
        if self.is_cut_off or leader is None or served is None or not served.accepts("standby", self.standby_password):
            self.is_streaming, self.streams_from_s = False, None
        elif self.streams_from_s is None:
            self.streams_from_s = now_s + CONNECT_S
        elif now_s >= self.streams_from_s:
            self.is_streaming, self.timeline, self.lsn = True, leader.timeline, leader.lsn
            self.volume.timeline = self.timeline or 1

    def _promote(self, dcs: Dcs, now_s: float) -> None:
        del now_s
        self.role, self.is_streaming, self.streams_from_s = "primary", False, None
        dcs.end_timeline(self.timeline or self.volume.timeline, self.lsn, self.pod)
        self.timeline = (self.timeline or self.volume.timeline) + 1
        self.volume.timeline = self.timeline

    def _asked(self, dcs: Dcs) -> dict[str, str]:
        live = (dcs.dynamic().get("postgresql") or {}).get("parameters") or {}
        return {name: str(live.get(name, value)) for name, value in RESTART_ONLY.items()}

    def _started_with(self, dcs: Dcs) -> dict[str, str]:
        """Of some parameters a replica has no less than its leader, whatever is asked (pg_controldata)."""
        asked, leader = self._asked(dcs), dcs.leading()
        if leader is None or self.role == "primary":
            return asked
        least = {name: leader.parameters[name] for name in NOT_BELOW_THE_LEADER}
        return asked | {name: max(asked[name], value, key=int) for name, value in least.items()}

    def _take_parameters(self, dcs: Dcs) -> None:
        wanted = self._asked(dcs)
        self.pending = {
            name: (self.parameters[name], value) for name, value in wanted.items() if self.parameters[name] != value
        }

    # orders from outside

    def restart(self, now_s: float) -> None:
        self.restarts += 1
        self.state, self.until_s, self.is_streaming, self.streams_from_s = "restarting", now_s + RESTART_S, False, None

    def demote(self, now_s: float) -> None:
        self.state, self.until_s, self.is_streaming, self.streams_from_s = "stopping", now_s + PROMOTE_S, False, None

    # telling

    @property
    def _said_role(self) -> str:
        return "standby_leader" if self.is_standby and self.role == "primary" else self.role

    def status(self) -> dict[str, Any]:
        """The annotation's document, as Patroni 4 writes it."""
        said: dict[str, Any] = {
            "conn_url": f"postgres://{self.ip}:5432/postgres",
            "api_url": f"http://{self.ip}:8008/patroni",
            "state": self.state,
            "role": "uninitialized" if self.volume.contents is None else self._said_role,
            "version": "4.1.5",
        }
        if self.state == "running":
            said |= {"timeline": self.timeline, "xlog_location": self.lsn}
            if self.is_streaming:
                said["replication_state"] = "streaming"
        if self.pending and self.state == "running":
            said["pending_restart"] = True
            said["pending_restart_reason"] = {
                name: {"old_value": old, "new_value": new} for name, (old, new) in self.pending.items()
            }
        return said

    def _tell(self, dcs: Dcs, now_s: float) -> None:
        said = self.status()
        quiet = {**said, "xlog_location": self.told.get("xlog_location")}
        if quiet == self.told and now_s - self.told_at_s < LOOP_WAIT_S:
            return
        self.told, self.told_at_s = said, now_s
        role = "master" if self.role == "primary" and self.state == "running" else "replica"
        dcs.describe(self.pod, self.uid, json.dumps(said), role)


def timestamp(now_s: float, epoch: dt.datetime) -> str:
    return (epoch + dt.timedelta(seconds=now_s)).isoformat()
