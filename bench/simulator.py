"""The simulated world as a process of its own: a fake API server full of clusters, and Patroni's heartbeats.

Commands come as JSON lines on standard input, `{"do": NAME, …}`, and each is answered with one line. So the operator's
processor time and memory are never mixed with those of what it talks to.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from bench import fleet as f
from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRESQLS
from howdah.kube.resources import CONFIGMAPS, PODS, Resource
from howdah.kube.testing import FakeKubernetes, Request
from howdah.kube.testing.patches import merge_patched
from howdah.kube.testing.store import Writer

PATRONI_PORT = 8008
LOOP_WAIT_S = 10
RELEASE_EVERY = 100_000  # the server's record of requests is counted and dropped
_LSN_MARK = 7_777_777_777_777
_VERSION_MARK = b"7777777777777777"
_TIME_MARK = "2001-02-03T04:05:06+00:00"

Answer = Mapping[str, Any]


class Simulator:
    """One fake API server with one fleet in it."""

    def __init__(self) -> None:
        self._kube = FakeKubernetes(OPERATOR_CONFIGURATIONS, POSTGRESQLS)
        self._kube.before = self._note
        self._fleet = f.Fleet(0)
        self._hanging: asyncio.Server | None = None
        self._counted: Counter[tuple[str, str]] = Counter()
        self._changed: dict[str, float] = {}
        self._latencies_s: list[float] = []
        self._beats = 0

    async def run(self) -> None:
        """Serve until standard input ends."""
        await self._kube.start()
        reader = asyncio.StreamReader(limit=2**20)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            command = json.loads(line)
            handler: Callable[..., Awaitable[Answer]] = getattr(self, f"do_{command.pop('do')}")
            print(json.dumps(await handler(**command)), flush=True)
        await self._kube.stop()

    async def do_fill(self, clusters: int, hanging: int, resync_period: str = "") -> Answer:
        """Make the fleet; the members of the first `hanging` clusters accept connections and never answer."""
        ip = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
        self._fleet = f.Fleet(clusters, hanging, ip)
        if hanging:
            self._hanging = await asyncio.start_server(_never, ip, PATRONI_PORT)
        f.fill(self._kube.store, self._fleet)
        if resync_period:
            patch = {"configuration": {"resync_period": resync_period}}
            key = (f.OPERATOR_NAMESPACE, f.CONFIGURATION)
            self._kube.store.patch(
                OPERATOR_CONFIGURATIONS, key, lambda live: merge_patched(live, patch), Writer("people")
            )
        return {"url": self._kube.url}

    async def do_counts(self) -> Answer:
        """Requests since the last time this was asked, as {"verb resource": number}."""
        self._release()
        found = {f"{verb} {resource}": number for (verb, resource), number in self._counted.items()}
        self._counted.clear()
        return found

    async def do_change(self, numbers: list[int], round: int, every_s: float) -> Answer:  # noqa: A002 - a word of the field
        """Change manifests one after another; seconds from each change to the first write for its cluster."""
        self._latencies_s.clear()
        patch = {"spec": {"serviceAnnotations": {"bench.howdah.dev/round": str(round)}}}
        for number in numbers:
            name = self._fleet.name(number)
            self._changed[name] = time.perf_counter()
            self._kube.store.patch(
                POSTGRESQLS, (f.NAMESPACE, name), lambda live: merge_patched(live, patch), Writer("people")
            )
            await asyncio.sleep(every_s)
        deadline = time.monotonic() + 30
        while self._changed and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        missing, self._changed = len(self._changed), {}
        return {"latencies_s": list(self._latencies_s), "without_write": missing}

    async def do_beat(self, times: int, every_s: float = 0.0, together: bool = True) -> Answer:
        """All members report `times` times, with positions that move; the leaders renew their locks.

        `together`: in large chunks, as fast as they are read; else each event comes in a chunk of its own.
        """
        pods = [self._template(PODS, name) for name in self._pod_names()]
        leaders = [self._template(CONFIGMAPS, name) for name in self._leader_names()]
        for _ in range(times):
            self._beats += 1
            if together:
                await self._send(PODS, b"\n".join(self._beat(pods)))
                await self._send(CONFIGMAPS, b"\n".join(self._beat(leaders)))
            else:
                for line in self._beat(pods):
                    await self._send(PODS, line)
            await asyncio.sleep(every_s)
        return {"events": times * (len(pods) + (len(leaders) if together else 0))}

    async def do_replace_pods(self, numbers: list[int]) -> Answer:
        """A replica of each of these clusters dies and is made anew, as a node's end does it."""
        for number in numbers:
            key = (f.NAMESPACE, f"{self._fleet.name(number)}-{f.INSTANCES - 1}")
            old = self._kube.store.read(PODS, *key)
            self._kube.store.delete(PODS, key, grace_s=0)
            with contextlib.suppress(Exception):  # a pod on a node needs a second word
                self._kube.store.delete(PODS, key, grace_s=0)
            f.put(self._kube.store, PODS, old, "kube-controller-manager")
        return {}

    # heartbeats

    def _pod_names(self) -> list[str]:
        return [f"{name}-{ordinal}" for name in self._fleet.names() for ordinal in range(f.INSTANCES)]

    def _leader_names(self) -> list[str]:
        return [f"{name}-leader" for name in self._fleet.names()]

    def _template(self, resource: Resource, name: str) -> bytes:
        """A MODIFIED event with marks where version, position and time belong."""
        live = self._kube.store.read(resource, f.NAMESPACE, name)
        annotations = dict(live["metadata"]["annotations"])
        if resource == PODS:
            ordinal, ip = int(name.rpartition("-")[2]), live["status"]["podIP"]
            annotations["status"] = f.heartbeat(name, ordinal, ip, _LSN_MARK)
        else:
            annotations |= {"optime": str(_LSN_MARK), "renewTime": _TIME_MARK}
        metadata = {**live["metadata"], "annotations": annotations, "resourceVersion": _VERSION_MARK.decode()}
        return msgspec.json.encode({"type": "MODIFIED", "object": {**live, "metadata": metadata}})

    def _beat(self, templates: list[bytes]) -> Iterator[bytes]:
        position = str(f.START_LSN + self._beats * 0x1000).encode()
        renewed = (dt.datetime.now(dt.UTC) + dt.timedelta(days=7, seconds=self._beats)).isoformat().encode()
        for template in templates:
            self._kube.store.version += 1
            yield (
                template.replace(str(_LSN_MARK).encode(), position)
                .replace(_TIME_MARK.encode(), renewed)
                .replace(_VERSION_MARK, str(self._kube.store.version).encode())
            )

    async def _send(self, resource: Resource, lines: bytes) -> None:
        """Into the open watches of a kind; returns when it is on its way."""
        watchers = [watcher for watcher in self._kube.store.watchers if watcher.resource == resource]
        for watcher in watchers:
            watcher.inbox.put_nowait(lines)
        while any(not watcher.inbox.empty() for watcher in watchers if watcher in self._kube.store.watchers):
            await asyncio.sleep(0)

    # requests

    async def _note(self, request: Request) -> None:
        if len(self._kube.requests) > RELEASE_EVERY:
            self._release()
        if request.is_write and self._changed:
            name = request.name or str((request.body or {}).get("metadata", {}).get("name", ""))
            cluster = name if name in self._changed else name.removesuffix("-repl")
            began = self._changed.pop(cluster, None)
            if began is not None:
                self._latencies_s.append(time.perf_counter() - began)

    def _release(self) -> None:
        self._counted.update((request.verb, request.resource) for request in self._kube.requests)
        self._kube.requests.clear()


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that takes every question and answers none, until the client gives up."""
    await reader.read()
    writer.close()


if __name__ == "__main__":
    asyncio.run(Simulator().run())
