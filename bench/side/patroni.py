"""Patroni as far as an operator sees it, for pods without containers: annotations, labels, its objects, its REST API.

It runs beside a control plane whose pods kwok makes ready, as a process of its own, so that its processor time is never
an operator's. It decides as simply as can be: the first member leads, a leader that goes is followed by another.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import AlreadyExists, KubeError, NotFound
from howdah.kube.informer import Informer, ObjectMetadata
from howdah.kube.queue import WorkQueue
from howdah.kube.resources import CONFIGMAPS, ENDPOINTS, PODS, SERVICES, Resource
from howdah.kube.testing.patches import merge_patched

LABELS = "application=spilo"
PORT = 8008
START_LSN = 0x5000000
IDENTIFIER = "7400000000000000000"
DYNAMIC: Mapping[str, Any] = {
    "ttl": 30,
    "loop_wait": 10,
    "retry_timeout": 10,
    "maximum_lag_on_failover": 33554432,
    "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": {"max_connections": "100", "wal_level": "replica"}},
}  # fmt: skip

Key = tuple[str, str]


class _Value(msgspec.Struct, rename="camel"):
    name: str
    value: str | None = None


class _Container(msgspec.Struct):
    name: str
    env: list[_Value] = []


class _PodSpec(msgspec.Struct):
    containers: list[_Container]


class _Condition(msgspec.Struct):
    type: str
    status: str


class _PodStatus(msgspec.Struct, rename="camel"):
    pod_ip: str = msgspec.field(name="podIP", default="")
    conditions: list[_Condition] = []


class Pod(msgspec.Struct):
    metadata: ObjectMetadata
    spec: _PodSpec
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)

    @property
    def is_member(self) -> bool:
        ready = any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
        return ready and bool(self.status.pod_ip) and self.metadata.deletion_timestamp is None

    @property
    def ordinal(self) -> int:
        return int(self.metadata.name.rpartition("-")[2])

    def environment(self, name: str) -> str | None:
        return next((v.value for c in self.spec.containers for v in c.env if v.name == name), None)

    def annotation(self, name: str) -> str | None:
        return (self.metadata.annotations or {}).get(name)


class State(msgspec.Struct):
    """A config or leader object."""

    metadata: ObjectMetadata

    def annotation(self, name: str) -> str | None:
        return (self.metadata.annotations or {}).get(name)


def _cluster(found: Pod | State) -> list[Key]:
    name = (found.metadata.labels or {}).get("cluster-name")
    return [(found.metadata.namespace, name)] if name else []


class Members:
    """Every member of every cluster."""

    def __init__(self, client: Client, loop_wait_s: float) -> None:
        self._client = client
        self._loop_wait_s = loop_wait_s
        self._queue: WorkQueue[Key] = WorkQueue(on_error=_complain)
        self._chosen: dict[Key, str] = {}  # by a switchover

        def changed(old: Pod | State | None, new: Pod | State | None) -> None:
            for key in _cluster(new or old):  # type: ignore[arg-type]
                self._queue.add(key)

        index = {"cluster": _cluster}
        self._pods = Informer(
            client, PODS, Pod, labels=LABELS, indexes={**index, "ip": lambda pod: [pod.status.pod_ip]},
            on_change=changed, significant=lambda pod: (pod.metadata.uid, pod.is_member, pod.metadata.labels),
        )  # fmt: skip
        self._state = {
            resource.kind: Informer(client, resource, State, labels=LABELS, indexes=index)
            for resource in (CONFIGMAPS, ENDPOINTS)
        }

    async def run(self) -> None:
        informers = [self._pods, *self._state.values()]
        works = [asyncio.create_task(informer.run()) for informer in informers]
        for informer in informers:
            await informer.synced.wait()
        app = web.Application()
        app.add_routes(
            [
                web.get("/config", self._get_config),
                web.patch("/config", self._patch_config),
                web.get("/cluster", self._get_cluster),
                web.post("/switchover", self._switchover),
                web.post("/restart", self._restart),
                web.get("/{anything:.*}", self._get_patroni),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", PORT).start()
        print("ready", flush=True)
        works += [asyncio.create_task(self._queue.run(self._look, concurrency=32)), asyncio.create_task(self._renew())]
        await asyncio.gather(*works)

    # the cluster

    def _members(self, key: Key) -> list[Pod]:
        return sorted((p for p in self._pods.by_index("cluster", key) if p.is_member), key=lambda p: p.ordinal)

    def _place(self, key: Key, part: str, members: list[Pod]) -> tuple[Resource, str]:
        if members[0].environment("KUBERNETES_USE_CONFIGMAPS") == "true":
            return CONFIGMAPS, f"{key[1]}-{part}"
        return ENDPOINTS, key[1] if part == "leader" else f"{key[1]}-{part}"

    def _known(self, key: Key, part: str, members: list[Pod]) -> State | None:
        resource, name = self._place(key, part, members)
        return self._state[resource.kind].get(key[0], name)

    def _leader(self, key: Key, members: list[Pod]) -> Pod:
        """The chosen one, the present one, one that has been there before, the first."""
        found = self._known(key, "leader", members)
        names = [self._chosen.get(key), found.annotation("leader") if found is not None else None]
        there = {pod.metadata.name: pod for pod in members}
        present = next((there[name] for name in names if name in there), None)
        return present or next((pod for pod in members if pod.annotation("status")), members[0])

    async def _look(self, key: Key) -> None:
        """What the members' loops would do now."""
        if members := self._members(key):
            leader = self._leader(key, members)
            config = self._known(key, "config", members)
            if config is None or not config.annotation("initialize"):
                await self._bootstrap(key, members)
            await self._lock(key, members, leader)
            for pod in members:
                await self._tell(pod, is_leader=pod is leader)
        self._queue.forget(key)

    async def _bootstrap(self, key: Key, members: list[Pod]) -> None:
        spilo = json.loads(members[0].environment("SPILO_CONFIGURATION") or "{}")
        dynamic = merge_patched(dict(DYNAMIC), (spilo.get("bootstrap") or {}).get("dcs") or {})
        said = {"initialize": IDENTIFIER, "config": json.dumps(dynamic, separators=(",", ":"))}
        if self._place(key, "config", members)[0] is ENDPOINTS:
            body = {"metadata": {"name": f"{key[1]}-config", "labels": _labels(key)}, "spec": {"clusterIP": "None"}}
            with contextlib.suppress(AlreadyExists):
                await self._client.create(SERVICES, body, namespace=key[0])
        await self._annotate(key, "config", members, said)

    async def _lock(self, key: Key, members: list[Pod], leader: Pod) -> None:
        known = self._known(key, "leader", members)
        if known is None or known.annotation("leader") != leader.metadata.name:
            now = dt.datetime.now(dt.UTC).isoformat()
            said = {
                "leader": leader.metadata.name,
                "acquireTime": now,
                "renewTime": now,
                "ttl": "30",
                "transitions": "0",
            }
            await self._annotate(
                key, "leader", members, {**said, "optime": str(START_LSN)}, address=leader.status.pod_ip
            )
        self._chosen.pop(key, None)

    async def _annotate(
        self, key: Key, part: str, members: list[Pod], said: Mapping[str, str], *, address: str = ""
    ) -> None:
        resource, name = self._place(key, part, members)
        body: dict[str, Any] = {"metadata": {"name": name, "labels": _labels(key), "annotations": dict(said)}}
        if address and resource is ENDPOINTS:
            body["subsets"] = [{"addresses": [{"ip": address}], "ports": [{"name": "postgresql", "port": 5432}]}]
        try:
            await self._client.merge_patch(resource, name, body, namespace=key[0])
        except NotFound:
            with contextlib.suppress(AlreadyExists):
                await self._client.create(resource, body, namespace=key[0])

    async def _tell(self, pod: Pod, *, is_leader: bool) -> None:
        role, status = "master" if is_leader else "replica", _status(pod, is_leader=is_leader)
        if (pod.metadata.labels or {}).get("spilo-role") == role and pod.annotation("status") == status:
            return
        patch = {"metadata": {"labels": {"spilo-role": role}, "annotations": {"status": status}}}
        with contextlib.suppress(NotFound):
            await self._client.merge_patch(PODS, pod.metadata.name, patch, namespace=pod.metadata.namespace)

    async def _renew(self) -> None:
        """The leaders renew their locks, spread over the loop as in a real fleet; a slow answer delays no other's."""
        while True:
            keys = [key for key in self._pods.index_keys("cluster") if isinstance(key, tuple)]
            async with asyncio.TaskGroup() as renewals:
                for key in keys:
                    renewals.create_task(self._renew_lock(key))
                    await asyncio.sleep(self._loop_wait_s / len(keys))
            await asyncio.sleep(0 if keys else 0.5)

    async def _renew_lock(self, key: Key) -> None:
        if not (members := self._members(key)) or (lock := self._known(key, "leader", members)) is None:
            return
        patch = {"metadata": {"annotations": {"renewTime": dt.datetime.now(dt.UTC).isoformat()}}}
        resource, _ = self._place(key, "leader", members)
        with contextlib.suppress(KubeError):
            await self._client.merge_patch(resource, lock.metadata.name, patch, namespace=key[0])

    # the REST API

    def _asked(self, request: web.Request) -> tuple[Key, Pod, list[Pod]]:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        found = [pod for pod in self._pods.by_index("ip", address) if pod.is_member]
        if not found:
            raise web.HTTPServiceUnavailable(text=f"no member at {address}")
        key = _cluster(found[0])[0]
        return key, found[0], self._members(key)

    def _dynamic(self, key: Key, members: list[Pod]) -> dict[str, Any]:
        known = self._known(key, "config", members)
        found: dict[str, Any] = json.loads((known.annotation("config") if known is not None else None) or "{}")
        return found

    async def _get_config(self, request: web.Request) -> web.Response:
        key, _, members = self._asked(request)
        return web.json_response(self._dynamic(key, members))

    async def _patch_config(self, request: web.Request) -> web.Response:
        key, _, members = self._asked(request)
        merged = merge_patched(self._dynamic(key, members), await request.json())
        await self._annotate(key, "config", members, {"config": json.dumps(merged, separators=(",", ":"))})
        return web.json_response(merged)

    async def _get_patroni(self, request: web.Request) -> web.Response:
        key, pod, members = self._asked(request)
        is_leader = self._leader(key, members) is pod
        said = {"state": "running", "role": "primary" if is_leader else "replica", "server_version": 170005}
        more = {"timeline": 1, "patroni": {"version": "4.1.5", "scope": key[1], "name": pod.metadata.name}}
        return web.json_response({**said, **more, **({} if is_leader else {"replication_state": "streaming"})})

    async def _get_cluster(self, request: web.Request) -> web.Response:
        key, _, members = self._asked(request)
        leader = self._leader(key, members)
        told = [
            {
                "name": pod.metadata.name, "role": "leader" if pod is leader else "replica",
                "state": "running" if pod is leader else "streaming", "timeline": 1, "lag": 0,
                "api_url": f"http://{pod.status.pod_ip}:{PORT}/patroni", "host": pod.status.pod_ip, "port": 5432,
            }
            for pod in members
        ]  # fmt: skip
        return web.json_response({"members": told, "scope": key[1]})

    async def _switchover(self, request: web.Request) -> web.Response:
        key, _, members = self._asked(request)
        asked = await request.json()
        candidate = asked.get("candidate") or asked.get("member")
        pods = [pod for pod in members if pod.metadata.name == candidate]
        if not pods or self._leader(key, members).metadata.name != asked["leader"]:
            return web.Response(status=412, text="switchover is not possible")
        self._chosen[key] = str(candidate)
        await self._lock(key, members, pods[0])
        for pod in members:
            await self._tell(pod, is_leader=pod is pods[0])
        return web.Response(text=f'Successfully switched over to "{candidate}"')

    async def _restart(self, request: web.Request) -> web.Response:
        self._asked(request)
        return web.Response(text="restarted successfully")


def _labels(key: Key) -> dict[str, str]:
    return {"application": "spilo", "cluster-name": key[1]}


def _status(pod: Pod, *, is_leader: bool) -> str:
    ip = pod.status.pod_ip
    said: dict[str, Any] = {
        "conn_url": f"postgres://{ip}:5432/postgres",
        "api_url": f"http://{ip}:{PORT}/patroni",
        "state": "running",
        "role": "primary" if is_leader else "replica",
        "version": "4.1.5",
        "xlog_location": START_LSN,
        "timeline": 1,
    }
    if not is_leader:
        said |= {"replication_state": "streaming", "receive_lsn": START_LSN, "replay_lsn": START_LSN}
    return json.dumps(said, separators=(",", ":"))


def _complain(key: Key, error: Exception) -> None:
    print(f"{key}: {type(error).__name__}: {error}", flush=True)


async def _main(kubeconfig: Path, loop_wait_s: float) -> None:
    access = load_access(str(kubeconfig))
    async with Client(access, concurrency=64, field_manager="Patroni", user_agent="Patroni") as client:
        await Members(client, loop_wait_s).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--loop", type=float, default=10, help="loop_wait in seconds (10)")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.kubeconfig, arguments.loop))
