"""The node agent: every pod object of this node has a runner, and a new runner waits until its predecessor is proved dead.

Level triggered on the pods' informer; a restarted agent takes over what runs, and ends what has no object any more.
"""

import asyncio
import base64
import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from howdah.kube.client import Client
from howdah.kube.errors import AlreadyExists, ApiError, KubeError, NotFound
from howdah.kube.events import EventRecorder, EventType, Reference
from howdah.kube.resources import (
    CONFIGMAPS,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Resource,
)
from howdah.local.controllers.caches import Caches
from howdah.local.controllers.loop import Key
from howdah.local.node import containers, records, volumes
from howdah.local.node.environment import References
from howdah.local.node.keeper import stopped
from howdah.local.node.pod import Node, Object, PodRunner, runtime_folder
from howdah.local.node.records import PodRecord

TOKEN_SECONDS = 10 * 365 * 86400  # Patroni reads its token once, at its start
RETRY_S = 2.0
GHOST = "ghost/"

_log = structlog.get_logger("node")


def machine_capacity() -> dict[str, str]:
    """What this machine has, as a Node shows it."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"cpu": str(os.cpu_count() or 1), "memory": f"{pages * page_bytes // 1024}Ki", "pods": "254"}


def node_object(node: Node) -> dict[str, Any]:
    """The Node that pods are shown to run on."""
    ready = {"type": "Ready", "status": "True", "reason": "LocalPlatform", "message": f"fencing: {node.fence.name}"}
    return {
        "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": dict(node.capacity),
            "allocatable": dict(node.capacity),
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": node.name}],
        },
    }  # fmt: skip


class KubePodApi:
    """What a pod's runner needs from the API, over the client."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        self._client = client
        self._events = events

    async def references(self, namespace: str, secrets: set[str], config_maps: set[str]) -> References:
        """Contents of what exists of them."""
        found = await asyncio.gather(
            *(self._texts(SECRETS, namespace, name) for name in secrets),
            *(self._texts(CONFIGMAPS, namespace, name) for name in config_maps),
        )
        names = [*((SECRETS, name) for name in secrets), *((CONFIGMAPS, name) for name in config_maps)]
        present = [(kind, name, texts) for (kind, name), texts in zip(names, found, strict=True) if texts is not None]
        return References(
            {name: texts for kind, name, texts in present if kind == SECRETS},
            {name: texts for kind, name, texts in present if kind == CONFIGMAPS},
        )

    async def _texts(self, resource: Resource, namespace: str, name: str) -> dict[str, str] | None:
        try:
            found = await self._client.get(resource, name, namespace=namespace)
        except NotFound:
            return None
        if resource == CONFIGMAPS:
            return dict(found.get("data") or {})
        data: Mapping[str, str] = found.get("data") or {}
        return {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}

    async def claim_uid(self, namespace: str, name: str) -> str | None:
        """The uid of a bound claim that is not on its way out."""
        try:
            claim = await self._client.get(PERSISTENT_VOLUME_CLAIMS, name, namespace=namespace)
        except NotFound:
            return None
        bound = (claim.get("status") or {}).get("phase") == "Bound"
        return str(claim["metadata"]["uid"]) if bound and not claim["metadata"].get("deletionTimestamp") else None

    async def token(self, namespace: str, account: str) -> str:
        """A token of the service account."""
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        }
        answer = await self._client.create(
            SERVICE_ACCOUNTS, request, namespace=namespace, name=account, subresource="token"
        )
        return str(answer["status"]["token"])

    async def services(self, namespace: str) -> dict[str, tuple[str, int]]:
        """Those with an address, but for the API's own: containers find it by their kubeconfig."""
        found = (await self._client.list(SERVICES, namespace=namespace)).items
        return {
            service["metadata"]["name"]: (service["spec"]["clusterIP"], service["spec"]["ports"][0]["port"])
            for service in found
            if service["spec"].get("clusterIP", "None") != "None" and service["spec"].get("ports")
            if service["metadata"]["name"] != "kubernetes"
        }

    async def write_status(self, pod: Object, status: Object) -> None:
        """Replace the status of this very pod."""
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self._client.merge_patch(
            PODS, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
        )

    async def remove(self, pod: Object) -> None:
        """Delete this very pod at once."""
        metadata = pod["metadata"]
        await self._client.delete(
            PODS, metadata["name"], namespace=metadata["namespace"], uid=metadata["uid"], grace_period_s=0
        )

    def event(self, pod: Object, kind: EventType, reason: str, message: str) -> None:
        """Tell people; never waits."""
        metadata = pod["metadata"]
        about = Reference(PODS, metadata["name"], metadata["namespace"], metadata["uid"])
        self._events.record(about, reason, message, type=kind)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the processes of a pod may hold: its name, with the address, and the claims. `None`: nobody knows, so anything."""

    pod: str
    claims: frozenset[Key] | None

    def may_hold(self, claim: Key) -> bool:
        """Whether a claim may be in use."""
        return self.claims is None or claim in self.claims


def holding_of(pod: Object) -> Holding:
    """What a pod's object says that it holds."""
    namespace = pod["metadata"]["namespace"]
    return Holding(_key(pod), frozenset((namespace, claim) for claim in volumes.claims_of(pod).values()))


class NodeAgent:
    """Run `run()` as a task."""

    def __init__(self, client: Client, caches: Caches, node: Node, events: EventRecorder) -> None:
        self._client, self._caches, self._node = client, caches, node
        self._api = KubePodApi(client, events)
        self._runners: dict[str, PodRunner] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._holdings: dict[str, Holding] = {}
        self._binding: set[str] = set()
        self._background: set[asyncio.Task[Any]] = set()
        self._adopting = True
        caches.subscribe(PODS, self._on_change)

    def find(self, namespace: str, name: str) -> PodRunner | None:
        """The runner of a pod, by name."""
        pod = self._caches.get(PODS, namespace, name)
        return self._runners.get(pod["metadata"]["uid"]) if pod else None

    def is_in_use(self, namespace: str, claim: str) -> bool:
        """Whether processes that use the claim may be alive."""
        # What an earlier agent left is not known yet: it counts as alive.
        return self._adopting or any(holding.may_hold((namespace, claim)) for holding in self._holdings.values())

    async def run(self) -> None:
        """Keep pods running until cancelled; the caches are synced. Cancelling touches no pod."""
        try:
            present = {pod["metadata"]["uid"]: pod for pod in self._caches.all(PODS)}
            self._node.addresses.remember(_addresses(present.values(), self._node.name))
            for folder in await asyncio.to_thread(lambda: list(self._node.pods.iterdir())):
                if folder.name not in present:
                    self._bury(folder)
            self._adopting = False
            for pod in self._caches.all(PODS):
                self._meet(pod)
            await self._show_node()
            await asyncio.Event().wait()
        finally:
            for task in (*self._lives.values(), *self._background):
                task.cancel()

    def _on_change(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if self._adopting:
            return
        if new is not None:
            self._meet(new)
        elif old is not None:
            uid = old["metadata"]["uid"]
            if uid in self._runners:
                self._runners[uid].vanish()
            elif uid in self._lives and self._lives[uid].done():
                del self._lives[uid]

    def _meet(self, pod: dict[str, Any]) -> None:
        uid, where = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        if not where:
            self._bind(pod)
        elif where == self._node.name:
            if uid in self._runners:
                self._runners[uid].update(pod)
            elif uid not in self._lives:
                self._holdings[uid] = holding_of(pod)
                self._lives[uid] = asyncio.create_task(self._live(uid, pod))

    async def _live(self, uid: str, pod: dict[str, Any]) -> None:
        """The whole life of a pod; afterwards its uid stays in `_lives` as long as the object is there."""
        try:
            await self._until_predecessors_are_dead(uid)
            while not await self._lived(uid, pod):
                pass
        finally:
            self._runners.pop(uid, None)
            self._holdings.pop(uid, None)
            now = self._caches.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            if now is None or now["metadata"]["uid"] != uid:
                self._lives.pop(uid, None)

    async def _lived(self, uid: str, pod: dict[str, Any]) -> bool:
        """Run the pod to its end. False after a failure of ours: the next runner takes over what runs."""
        try:
            now = self._caches.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            is_there = now is not None and now["metadata"]["uid"] == uid
            # One that vanished while it waited has left nothing, unless an earlier agent ran it.
            if not is_there and not (self._node.pods / uid).exists():
                return True
            runner = PodRunner(now if now and is_there else pod, self._node, self._api)
            if not is_there:
                runner.vanish()
            self._runners[uid] = runner
            await runner.run()
        except Exception:  # noqa: BLE001 - a bug met by one pod must not leave it without a runner
            _log.exception("the runner of a pod failed", pod=_key(pod), uid=uid)
            await asyncio.sleep(RETRY_S)
            return False
        return True

    async def _until_predecessors_are_dead(self, uid: str) -> None:
        holding = self._holdings[uid]
        while True:
            try:
                before = [
                    life
                    for other, life in self._lives.items()
                    if other != uid and not life.done() and self._is_in_the_way(other, uid, holding)
                ]
            except OSError as problem:
                _log.warning("predecessors of a pod not known yet", pod=holding.pod, problem=str(problem))
                await asyncio.sleep(RETRY_S)
                continue
            if not before:
                return
            await asyncio.wait(before, return_when=asyncio.FIRST_COMPLETED)

    def _is_in_the_way(self, other: str, uid: str, holding: Holding) -> bool:
        """A pod of the same name, or one that is ending and uses the same volume; or a ghost that may be either."""
        runner, its = self._runners.get(other), self._holdings.get(other)
        if its is None or (runner is None and not other.startswith(GHOST)):
            return False  # it has ended, or waits itself
        if its.claims is None:
            return not records.starts(self._node.pods / uid)  # what runs already has waited then
        ending = runner is None or runner.stopping.is_set()
        return its.pod == holding.pod or (ending and any(its.may_hold(claim) for claim in holding.claims or ()))

    def _bury(self, folder: Path) -> None:
        """End what an earlier agent started for a pod that has no object any more."""
        record, ghost = records.read(folder), GHOST + folder.name
        if record is not None:
            claims = frozenset((record.namespace, claim) for claim in record.claims)
            self._holdings[ghost] = Holding(f"{record.namespace}/{record.name}", claims)
        else:
            self._holdings[ghost] = Holding("", None if _may_have_started(folder) else frozenset())
        self._lives[ghost] = asyncio.create_task(self._end_ghost(ghost, folder, record))

    async def _end_ghost(self, ghost: str, folder: Path, record: PodRecord | None) -> None:
        pod = self._holdings[ghost].pod
        _log.warning(
            "ending a pod that has no object", pod=pod or "unknown: its record is unreadable", folder=str(folder)
        )
        while not await self._ended_ghost(folder, record):
            pass
        del self._holdings[ghost]
        if not any(pod == holding.pod for holding in self._holdings.values()):
            self._node.addresses.give_back(pod)

    async def _ended_ghost(self, folder: Path, record: PodRecord | None) -> bool:
        """False after a failure of ours: what cannot be told of at this moment may be alive, and keeps its holdings."""
        try:
            started = [container for start in records.starts(folder) if (container := containers.adopt(start))]
            await asyncio.gather(*(stopped(container, 0) for container in started))
            volumes.remove_folder(Path(record.runtime) if record else runtime_folder(self._node, folder.name))
            volumes.remove_folder(folder)
        except Exception:  # noqa: BLE001 - as for a pod: nobody else would end it
            _log.exception("a pod that has no object has not ended yet", folder=str(folder))
            await asyncio.sleep(RETRY_S)
            return False
        return True

    # scheduling: there is one node

    def _bind(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._binding or pod["metadata"].get("deletionTimestamp"):
            return
        self._binding.add(uid)
        task = asyncio.create_task(self._bind_to_us(pod))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _bind_to_us(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node.name},
        }
        try:
            await self._client.create(
                PODS, binding, namespace=metadata["namespace"], name=metadata["name"], subresource="binding"
            )
        except ApiError as problem:
            _log.info("pod not bound", pod=_key(pod), problem=str(problem))
        except KubeError:
            await asyncio.sleep(RETRY_S)
        finally:
            self._binding.discard(metadata["uid"])
            now = self._caches.get(PODS, metadata["namespace"], metadata["name"])
            if now and now["metadata"]["uid"] == metadata["uid"] and not now["spec"].get("nodeName"):
                asyncio.get_running_loop().call_later(RETRY_S, self._meet_again, metadata)

    def _meet_again(self, metadata: Mapping[str, Any]) -> None:
        if now := self._caches.get(PODS, metadata["namespace"], metadata["name"]):
            self._meet(now)

    async def _show_node(self) -> None:
        wanted = node_object(self._node)
        while True:
            try:
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(NODES, {"apiVersion": "v1", "kind": "Node", **wanted})
                await self._client.merge_patch(
                    NODES, self._node.name, {"status": wanted["status"]}, subresource="status"
                )
                return
            except KubeError as problem:
                _log.warning("node object not written", problem=str(problem))
                await asyncio.sleep(RETRY_S)


def _may_have_started(folder: Path) -> bool:
    try:
        return bool(records.starts(folder))
    except OSError:
        return True


def _key(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _addresses(pods: Iterable[Object], node: str) -> dict[str, str]:
    """Pod → address, as the statuses of this node's pods show them."""
    shown = {_key(pod): (pod.get("status") or {}).get("podIP") for pod in pods if pod["spec"].get("nodeName") == node}
    return {pod: address for pod, address in shown.items() if address}
