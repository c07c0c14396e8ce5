"""Patroni's objects of one cluster (config, leader, sync) and its REST API as one operator reaches it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from howdah.adapters.patroni import (
    Endpoint,
    NodeStatus,
    Patroni,
    PatroniVersion,
    Position,
    RefusedError,
    UnreachableError,
)
from howdah.core.patroni.member import Leader, parse_leader
from howdah.kube.resources import CONFIGMAPS, ENDPOINTS, PODS, Resource
from howdah.kube.testing import Store
from howdah.kube.testing.patches import merge_patched
from howdah.kube.testing.store import Writer
from scenario.world.clock import EPOCH
from scenario.world.hand import Hand
from scenario.world.members import TTL_S, Machine, timestamp
from scenario.world.quick import quick_patch
from scenario.world.sql import Contents

PATRONI = Writer("Patroni")
SWITCHOVER_S = 1.0


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any]:
    """Every member asks for the same text in every step."""
    found: dict[str, Any] = json.loads(text)
    return found


@lru_cache(maxsize=256)
def _leader(annotations: tuple[tuple[str, str], ...]) -> Leader:
    return parse_leader(dict(annotations))


@dataclass(slots=True)
class Dcs:
    """One cluster's state store. `members`: its machines by pod name."""

    store: Store
    namespace: str
    cluster: str
    machines: Callable[[], tuple[Machine, ...]]
    make_contents: Callable[[], int]

    def _place(self, part: str) -> tuple[Resource, str]:
        """Of a cluster that keeps its state in Endpoints, the operator has made the leader's."""
        endpoints = self.store.find(ENDPOINTS, self.namespace, self.cluster)
        if endpoints is not None and (endpoints["metadata"].get("labels") or {}).get("cluster-name") == self.cluster:
            return ENDPOINTS, self.cluster if part == "leader" else f"{self.cluster}-{part}"
        return CONFIGMAPS, f"{self.cluster}-{part}"

    def annotations(self, part: str) -> Mapping[str, str]:
        resource, name = self._place(part)
        found = self.store.find(resource, self.namespace, name)
        return (found["metadata"].get("annotations") or {}) if found is not None else {}

    def annotate(self, part: str, annotations: Mapping[str, str | None]) -> None:
        resource, name = self._place(part)
        key = (self.namespace, name)
        if self.store.find(resource, *key) is None:
            labels = {"application": "spilo", "cluster-name": self.cluster}
            body = {"metadata": {"namespace": key[0], "name": key[1], "labels": labels}}
            self.store.create(resource, body, PATRONI)
        quick_patch(self.store, resource, key, {"metadata": {"annotations": dict(annotations)}})

    def describe(self, pod: str, uid: str, status: str, role: str) -> None:
        """A member's heartbeat on its own pod."""
        live = self.store.find(PODS, self.namespace, pod)
        if live is None or live["metadata"]["uid"] != uid:
            return
        patch = {"metadata": {"annotations": {"status": status}, "labels": {"spilo-role": role}}}
        quick_patch(self.store, PODS, (self.namespace, pod), patch)

    def config(self) -> Mapping[str, str]:
        return self.annotations("config")

    def dynamic(self) -> dict[str, Any]:
        """Not to be changed in place."""
        return _parsed(self.config().get("config") or "{}")

    # the lock

    def lock(self) -> Leader:
        """The leader object, which every member looks at in every step."""
        return _leader(tuple(self.annotations("leader").items()))

    def lock_holder(self, now_s: float) -> str | None:
        lock = self.lock()
        expires = lock.expires_at
        if lock.name is None or expires is None or expires.timestamp() <= EPOCH.timestamp() + now_s:
            return None
        return lock.name

    def leading(self) -> Machine | None:
        """The running primary that holds the lock."""
        holder = self.lock().name
        return next((m for m in self.machines() if m.pod == holder and m.leads), None)

    def best_candidate(self, now_s: float) -> Machine | None:
        del now_s
        known = self.lock().failsafe
        able = [m for m in self.machines() if m.state == "running" and m.volume.contents is not None]
        if known is not None and (allowed := [m for m in able if m.pod in known]):
            able = allowed
        return max(able, key=lambda m: (m.role == "primary", m.timeline or 0, m.lsn, m.pod), default=None)

    def take_lock(self, machine: Machine, now_s: float) -> None:
        at = timestamp(now_s, EPOCH)
        before = self.lock().transitions or 0
        self.annotate(
            "leader",
            {"leader": machine.pod, "acquireTime": at, "ttl": f"{TTL_S:g}", "transitions": str(before + 1)},
        )
        self.renew(machine, now_s)

    def renew(self, machine: Machine, now_s: float) -> None:
        machine.renewed_at_s = now_s
        said: dict[str, str | None] = {"renewTime": timestamp(now_s, EPOCH), "optime": str(machine.lsn)}
        dynamic = self.dynamic()
        if dynamic.get("failsafe_mode"):
            said["failsafe"] = json.dumps({m.pod: f"http://{m.ip}:8008/patroni" for m in self.machines()})
        self.annotate("leader", said)
        standby = next((m.pod for m in self.machines() if m.is_streaming), None)
        if dynamic.get("synchronous_mode"):
            self.annotate("sync", {"leader": machine.pod, "sync_standby": standby})

    def release(self, machine: Machine) -> None:
        """A leader that stops in order gives its lock back."""
        if self.lock().name == machine.pod:
            self.annotate("leader", {"leader": None, "renewTime": None})

    def end_timeline(self, timeline: int, lsn: int, new_leader: str) -> None:
        lines = json.loads(self.config().get("history") or "[]")
        lines.append([timeline, lsn, "no recovery target specified", "2026-01-01T00:00:00+00:00", new_leader])
        self.annotate("config", {"history": json.dumps(lines)})

    def nobody_bootstraps(self, asking: Machine) -> bool:
        return not any(m.state == "initializing new cluster" for m in self.machines() if m is not asking)

    def bootstrap(self, machine: Machine, now_s: float) -> Contents:
        del now_s
        contents = Contents(self.make_contents())
        contents.bootstrap("postgres", machine.superuser_password, "standby", machine.standby_password)
        dynamic = {"ttl": int(TTL_S), "loop_wait": 10, **(machine.bootstrap.get("dcs") or {})}
        if machine.starts_as_standby:
            dynamic["standby_cluster"] = {"create_replica_methods": ["basebackup_fast_xlog"]}
        self.annotate("config", {"initialize": str(contents.identifier), "config": json.dumps(dynamic)})
        return contents


class SimulatedPatroni(Patroni):
    """The members' REST APIs as one operator reaches them. `judge` is told of a command before it has its effect."""

    def __init__(
        self,
        hand: Hand,
        machine_at: Callable[[str], Machine | None],
        dcs_of: Callable[[Machine], Dcs],
        judge: Callable[[Hand, str, Machine], None],
    ) -> None:
        self._hand, self._machine_at, self._dcs_of, self._judge = hand, machine_at, dcs_of, judge

    async def _reached(self, endpoint: Endpoint) -> Machine:
        await self._hand.reach()
        machine = self._machine_at(endpoint.base.removeprefix("http://").partition(":")[0])
        if machine is None or machine.state == "down":
            raise UnreachableError(f"Patroni at {endpoint.base}", transient=True, message="connection refused")
        return machine

    async def get_patroni(self, endpoint: Endpoint) -> NodeStatus:
        machine = await self._reached(endpoint)
        said = machine.status()
        return NodeStatus(
            state=said["state"],
            role=said["role"],
            server_version=180004,
            timeline=said.get("timeline"),
            replication_state=said.get("replication_state"),
            xlog=Position(received_location=said["xlog_location"]) if "xlog_location" in said else None,
            pending_restart=said.get("pending_restart", False),
            patroni=PatroniVersion("4.1.5", machine.pod),
        )

    async def patch_config(self, endpoint: Endpoint, patch: Mapping[str, Any]) -> dict[str, Any]:
        machine = await self._reached(endpoint)
        self._judge(self._hand, "patch_config", machine)
        dcs = self._dcs_of(machine)
        merged: dict[str, Any] = merge_patched(dcs.dynamic(), dict(patch))
        dcs.annotate("config", {"config": json.dumps(merged)})
        await self._hand.wrote(f"patroni config of {machine.cluster}")
        return merged

    async def switchover(self, endpoint: Endpoint, *, leader: str, candidate: str, scheduled_at: str = "") -> str:
        del scheduled_at
        machine = await self._reached(endpoint)
        dcs = self._dcs_of(machine)
        now_s = asyncio.get_running_loop().time()
        target = next((m for m in dcs.machines() if m.pod == candidate), None)
        known = dcs.lock().failsafe
        system = f"Patroni at {endpoint.base}"
        if machine.pod != leader or not machine.accepts_writes or dcs.lock_holder(now_s) != leader:
            raise RefusedError(system, status=412, message="leader name does not match")
        if target is None or not target.is_streaming or target.state != "running":
            raise RefusedError(system, status=412, message="candidate is not healthy")
        if known is not None and candidate not in known:
            raise RefusedError(system, status=412, message="candidate is not known to the failsafe topology")
        standby = dcs.annotations("sync").get("sync_standby")
        if dcs.dynamic().get("synchronous_mode") and candidate != standby:
            raise RefusedError(system, status=412, message="candidate name does not match with sync_standby")
        if not target.has_watchdog:
            raise RefusedError(
                system, status=412, message="switchover is not possible: no good candidates have been found"
            )
        self._judge(self._hand, "switchover", machine)
        machine.demote(now_s)
        dcs.take_lock(target, now_s)
        await self._hand.wrote(f"patroni switchover {leader} to {candidate}")
        await asyncio.sleep(SWITCHOVER_S)
        await self._hand.reach()
        return "Successfully switched over"

    async def restart(self, endpoint: Endpoint, *, only_pending: bool = True) -> str:
        machine = await self._reached(endpoint)
        if machine.state != "running" or (only_pending and not machine.pending):
            raise RefusedError(
                f"Patroni at {endpoint.base}", status=503, message="restart conditions are not satisfied"
            )
        self._judge(self._hand, "restart", machine)
        machine.restart(asyncio.get_running_loop().time())
        await self._hand.wrote(f"patroni restart {machine.pod}")
        while machine.state == "restarting":
            await asyncio.sleep(0.25)
        await self._hand.reach()
        return "restarted successfully"
