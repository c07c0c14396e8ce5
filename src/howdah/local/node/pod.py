"""One pod over its whole life on this node: prepare, initialise, run, stop, report. Its object goes only after its processes.

The runner never trusts an absence: while the API is away the containers run on, and a pod whose object has gone is
killed and proved dead before its folders and its address are given back.
"""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from howdah.kube.errors import Conflict, KubeError, NotFound
from howdah.kube.events import EventType
from howdah.local.node import environment, images, records, volumes
from howdah.local.node.addresses import Addresses, NoAddressError
from howdah.local.node.containers import Exit, Program
from howdah.local.node.environment import ConfigError, References
from howdah.local.node.fencing import Fence
from howdah.local.node.keeper import Keeper, Surroundings, UnknownImageError, termination_log, work_folder
from howdah.local.node.quantities import divided
from howdah.local.node.records import PodRecord
from howdah.local.node.status import ContainerView, PodView, Terminated, is_initialized, pod_status, seconds_of
from howdah.local.node.volumes import Account, Content

FIRST_RETRY_S = 0.03
LONGEST_RETRY_S = 2.0
FRESH_S = 2.0
DEFAULT_GRACE_S = 30

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of this node share."""

    name: str
    directory: Path
    runtime: Path
    fence: Fence
    roles: Mapping[str, Sequence[str]]
    needs: Mapping[str, tuple[str, str]]
    pod_env: Mapping[str, str]
    capacity: Mapping[str, str]
    addresses: Addresses
    server: str
    ca_file: Path
    descriptors: int | None = None
    """The soft limit that we were started with: for containers, where we have raised our own."""

    @property
    def pods(self) -> Path:
        """Where the folders of pods are, by uid."""
        return self.directory / "node" / "pods"


def runtime_folder(node: Node, uid: str) -> Path:
    """Where a pod's sockets live; their paths must be short."""
    return node.runtime / uid[:8]


class PodApi(Protocol):
    """What a pod needs from the API."""

    async def references(self, namespace: str, secrets: set[str], config_maps: set[str]) -> References: ...

    async def claim_uid(self, namespace: str, name: str) -> str | None:
        """The uid of a bound claim; `None` while it is not."""
        ...

    async def token(self, namespace: str, account: str) -> str: ...

    async def services(self, namespace: str) -> Mapping[str, tuple[str, int]]:
        """Name → address and first port of each service that has an address."""
        ...

    async def write_status(self, pod: Object, status: Object) -> None: ...

    async def remove(self, pod: Object) -> None:
        """Delete the object for good, if it still is this one."""
        ...

    def event(self, pod: Object, kind: EventType, reason: str, message: str) -> None: ...


class PodRunner:
    """Run `run()` as a task; tell it of changes by `update` and `vanish`."""

    def __init__(self, pod: Object, node: Node, api: PodApi) -> None:
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.namespace: str = pod["metadata"]["namespace"]
        self.name: str = pod["metadata"]["name"]
        self.folder = node.pods / self.uid
        self.runtime = runtime_folder(node, self.uid)
        self.vanished = False
        self.stopping = asyncio.Event()
        self.init_keepers: list[Keeper] = []
        self.keepers: list[Keeper] = []
        self._node, self._api = node, api
        self._volumes: Mapping[str, Path] = {}
        self._references = References({}, {})
        self._services: Mapping[str, tuple[str, int]] = {}
        self._ip = str((pod.get("status") or {}).get("podIP") or "")
        self._has_place = False
        self._made = -FRESH_S
        self._begin = time.time()
        self._finished = False
        self._grace_s: float | None = None
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._written: Object | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._stop_task: asyncio.Task[None] | None = None
        self._make_keepers()

    # from the agent

    @property
    def key(self) -> str:
        """NAMESPACE/NAME."""
        return f"{self.namespace}/{self.name}"

    def update(self, pod: Object) -> None:
        """The object changed; a deletion that is asked for begins, or is hurried."""
        self.pod = pod
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            grace_s = metadata.get("deletionGracePeriodSeconds")
            self._stop(DEFAULT_GRACE_S if grace_s is None else grace_s)

    def vanish(self) -> None:
        """The object has gone without us: everything ends now."""
        self.vanished = True
        self._stop(0)

    def keeper(self, container: str) -> Keeper | None:
        """The keeper of a container by name; of the first one for ""."""
        if not container:
            return self.keepers[0]
        named = (keeper for keeper in (*self.keepers, *self.init_keepers) if keeper.spec["name"] == container)
        return next(named, None)

    # life

    async def run(self) -> None:
        """Returns when everything of the pod is proved dead and its traces are removed.

        Cancelling, or an error, leaves the processes alone: another runner takes over from the records.
        """
        try:
            await self._run()
        finally:
            for task in self._background:
                task.cancel()

    async def _run(self) -> None:
        writer = self._spawn(self._keep_status())
        self.update(self.pod)
        await self._live()
        if not self.stopping.is_set():
            self._finished = True
            self._changed()
            await self.stopping.wait()
        self._finished = True
        async with self._writing:
            # Not in the middle of a write: a late "running" must not come after the proof of death.
            writer.cancel()
        await self._say_last_words()
        self._remove_traces()

    async def _live(self) -> None:
        if not await self._prepared():
            return
        for keeper in self.init_keepers:
            if not is_initialized([keeper.view]):
                await keeper.keep()
            if self.stopping.is_set() or not is_initialized([keeper.view]):
                await self._keep_adopted()
                return
        await _keep_all(self.keepers)

    async def _keep_adopted(self) -> None:
        """A pod that is stopped while initialising has no containers, unless a crash left some: they end here."""
        left = [keeper for keeper in self.keepers if (keeper.folder / "run.json").exists()]
        await _keep_all(left)

    async def _prepared(self) -> bool:
        """Address, folders, volumes; tries until all is there. False when the pod is stopped before."""
        if records.starts(self.folder):
            self._take_over()
            return True
        delay_s = FIRST_RETRY_S
        told = ""
        while not self.stopping.is_set():
            try:
                self._make_place()
                self._changed()
                await self._make_volumes()
                return True
            except (ConfigError, KubeError, OSError) as problem:
                if str(problem) != told and delay_s > 1:
                    told = str(problem)
                    self._tell_unprepared(problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self.stopping.wait()
            delay_s = min(delay_s * 2, LONGEST_RETRY_S)
        return False

    def _take_over(self) -> None:
        """What was started before is kept and can be ended, whatever the API says now and however full the disk is."""
        try:
            self._make_place()
        except OSError as problem:
            self._tell_unprepared(problem)

    def _tell_unprepared(self, problem: Exception) -> None:
        reason = "FailedScheduling" if isinstance(problem, NoAddressError) else "FailedMount"
        self._event("Warning", reason, str(problem))

    def _make_place(self) -> None:
        self._ip = self._node.addresses.take(self.key)
        self._make_folders()
        self._has_place = True

    def _make_folders(self) -> None:
        user = self._node.fence.user
        shared = 0o711 if user else 0o700
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(shared)
        (self.folder / "work").mkdir(exist_ok=True)
        (self.folder / "work").chmod(shared)
        volumes.make_folder(self.runtime, user)
        claims = tuple(sorted(set(volumes.claims_of(self.pod).values())))
        records.write(self.folder, PodRecord(self.namespace, self.name, str(self.runtime), claims))
        for keeper in (*self.init_keepers, *self.keepers):
            volumes.make_folder(work_folder(self.folder, keeper.spec["name"]), user)

    async def _make_volumes(self) -> None:
        spec = self.pod["spec"]
        account = spec.get("serviceAccountName") or "default"
        self._references, token, claims, self._services = await asyncio.gather(
            self._api.references(self.namespace, *environment.referenced(spec)),
            self._api.token(self.namespace, account),
            self._claim_folders(),
            self._api.services(self.namespace),
        )
        ca = self._node.ca_file.read_text()
        content = Content(self._references, Account(token, ca, self.namespace), claims)
        user = self._node.fence.user
        self._volumes = volumes.make_volumes(self._as_seen(), self.folder / "volumes", content, user)
        self._made = time.monotonic()
        authority = self.folder / "volumes" / ".ca.crt"
        volumes.write_file(authority, ca, user)
        text = kubeconfig(self._node.server, authority, token, self.namespace)
        volumes.write_file(self.folder / "volumes" / ".kubeconfig", text, user)

    async def _claim_folders(self) -> dict[str, Path]:
        found = {}
        for claim in set(volumes.claims_of(self.pod).values()):
            uid = await self._api.claim_uid(self.namespace, claim)
            if uid is None:
                raise ConfigError(f'persistentvolumeclaim "{claim}" is not bound')
            found[claim] = volumes.claim_folder(self._node.directory, self.namespace, claim, uid)
            if not found[claim].is_dir():
                raise ConfigError(f'the folder of persistentvolumeclaim "{claim}" is missing: {found[claim]}')
        return found

    async def _program(self, container: Object) -> Program:
        """What a container runs now, with Secrets and ConfigMaps as they are now (or were, while the API is away)."""
        image = container.get("image", "")
        argv = self._node.roles.get(images.role(image))
        if argv is None:
            raise UnknownImageError(images.unknown_image(image, self._node.roles))
        missing = images.missing_program(image, self._node.needs, self._node.pod_env["PATH"])
        if missing is not None:
            raise UnknownImageError(missing)
        if not self._has_place:  # what was taken over, on a full disk
            self._make_place()
        if time.monotonic() - self._made > FRESH_S:
            try:
                await self._make_volumes()
            except KubeError as problem:
                if not self._volumes:
                    raise ConfigError(str(problem)) from problem
        user = self._node.fence.user
        mounts = [*volumes.mounts_of(container, self._volumes, user)]
        last_words = termination_log(self.folder, container["name"])
        last_words.unlink(missing_ok=True)
        mounts.append((container.get("terminationMessagePath") or "/dev/termination-log", str(last_words)))
        env = environment.service_links(self._services, self.pod["spec"])
        env |= self._base_env(container) | environment.container_env(
            container, self._as_seen(), self._references, mounts=mounts, capacity=self._node.capacity
        )
        env |= self._node_env(last_words)
        return Program(
            environment.command_line(container, argv, env, mounts),
            env,
            self._working_folder(container, mounts),
            (str(self.folder), *(str(self._volumes[name]) for name in volumes.claims_of(self.pod))),
            self._node.descriptors,
        )

    def _base_env(self, container: Mapping[str, Any]) -> dict[str, str]:
        """A home of its own, whose `bin` comes first in PATH: a container's program may put tools for people there."""
        home = work_folder(self.folder, container["name"])
        env = {"HOME": str(home), **self._node.pod_env}
        env["PATH"] = f"{home / 'bin'}:{env.get('PATH', os.defpath)}"
        limit = ((container.get("resources") or {}).get("limits") or {}).get("memory")
        # Without a cgroup of its own a container cannot see what it may use.
        return env | ({"HOWDAH_MEMORY_LIMIT_BYTES": divided(str(limit), "1")} if limit else {})

    def _node_env(self, last_words: Path) -> dict[str, str]:
        return {
            "POD_UID": self.uid,
            "POD_IP": self._ip,
            "HOSTNAME": self.pod["spec"].get("hostname") or self.name,
            "RW_DIR": str(self.runtime),
            "KUBECONFIG": str(self.folder / "volumes" / ".kubeconfig"),
            "TERMINATION_LOG": str(last_words),
        }

    def _working_folder(self, container: Object, mounts: environment.Mounts) -> str:
        folder = environment.rewritten(container.get("workingDir") or "", mounts)
        # A path of the image does not exist here.
        return folder if folder and Path(folder).is_dir() else str(work_folder(self.folder, container["name"]))

    def _as_seen(self) -> dict[str, Any]:
        """The object with the status it is going to have, for references to its own fields."""
        addresses = {"podIP": self._ip, "podIPs": [{"ip": self._ip}], "hostIP": "127.0.0.1"}
        status = {**(self.pod.get("status") or {}), **addresses, "hostIPs": [{"ip": "127.0.0.1"}]}
        return {**self.pod, "status": status}

    # stopping

    def _stop(self, grace_s: float) -> None:
        if self._grace_s is not None and grace_s >= self._grace_s:
            return
        self._grace_s = grace_s
        self.stopping.set()
        if self._stop_task is not None:
            self._stop_task.cancel()
        self._stop_task = self._spawn(self._stop_containers(grace_s))

    async def _stop_containers(self, grace_s: float) -> None:
        await asyncio.gather(*(keeper.stop(grace_s) for keeper in (*self.keepers, *self.init_keepers)))

    async def _say_last_words(self) -> None:
        """First the proof of death in the status, then the removal; both until they succeed or the object is gone."""
        delay_s = FIRST_RETRY_S
        while not self.vanished:
            try:
                await self._write_status()
                await self._api.remove(self.pod)
                return
            except (NotFound, Conflict):
                return  # gone, or another pod of the same name
            except KubeError:
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LONGEST_RETRY_S)

    def _remove_traces(self) -> None:
        volumes.remove_folder(self.runtime)
        volumes.remove_folder(self.folder)
        self._node.addresses.give_back(self.key)

    # status

    def _changed(self) -> None:
        self._dirty.set()

    def _event(self, kind: EventType, reason: str, message: str) -> None:
        self._api.event(self.pod, kind, reason, message)

    def status(self) -> dict[str, Any]:
        """What the pod's status should be now."""
        view = PodView(
            containers=tuple(self._shown(keeper) for keeper in self.keepers),
            init_containers=tuple(self._shown(keeper) for keeper in self.init_keepers),
            pod_ip=self._ip,
            started_at=self._begin,
            finished=self._finished,
        )
        return pod_status(view, self.pod, time.time())

    def _shown(self, keeper: Keeper) -> ContainerView:
        view = keeper.view
        if self._finished and self.stopping.is_set() and view.ended is None:
            # It never ran, or waited for its next start: for whoever waits for its end, this is the end.
            now = time.time()
            end = view.last or Terminated(Exit(0 if view.last is None else 137, 0, now, now), view.container_id)
            return ContainerView(
                view.name, view.image, ended=end, restarts=view.restarts, container_id=view.container_id
            )
        return view

    async def _write_status(self) -> None:
        status = self.status()
        if status != self._written:
            await self._api.write_status(self.pod, status)
            self._written = status

    async def _keep_status(self) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                async with self._writing:
                    await self._write_status()
                delay_s = FIRST_RETRY_S
            except (NotFound, Conflict):
                continue
            except KubeError:
                self._dirty.set()
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, LONGEST_RETRY_S)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _make_keepers(self) -> None:
        spec, status = self.pod["spec"], self.pod.get("status") or {}
        around = Surroundings(
            pod_uid=self.uid,
            pod_ip=lambda: self._ip,
            folder=self.folder,
            fence=self._node.fence,
            restart_policy=spec.get("restartPolicy") or "Always",
            grace_s=float(spec.get("terminationGracePeriodSeconds") or DEFAULT_GRACE_S),
            program=self._program,
            stopping=self.stopping,
            changed=self._changed,
            event=self._event,
        )
        if begun := status.get("startTime"):
            self._begin = seconds_of(begun)
        for field, target, init in (("initContainers", self.init_keepers, True), ("containers", self.keepers, False)):
            before = {entry["name"]: entry for entry in status.get(f"{field[:-1]}Statuses") or ()}
            for container in spec.get(field) or ():
                view = view_of(container, before.get(container["name"]) or {})
                # A sidecar (an init container that always restarts) is kept like any other container.
                sidecar = init and container.get("restartPolicy") == "Always"
                kept = self.keepers if sidecar else target
                kept.append(Keeper(container, around, view, is_init=init and not sidecar))


async def _keep_all(keepers: Sequence[Keeper]) -> None:
    async with asyncio.TaskGroup() as group:
        for keeper in keepers:
            group.create_task(keeper.keep())


def _terminated(state: Object | None) -> Terminated | None:
    if not state or "exitCode" not in state:
        return None
    moments = [seconds_of(state[key]) if state.get(key) else 0.0 for key in ("startedAt", "finishedAt")]
    ended = Exit(state["exitCode"], state.get("signal") or 0, *moments)
    return Terminated(ended, state.get("containerID") or "", state.get("message") or "")


def view_of(container: Object, status: Object) -> ContainerView:
    """A container as its last written status shows it: a new agent goes on from there."""
    return ContainerView(
        name=container["name"],
        image=container.get("image", ""),
        ended=_terminated((status.get("state") or {}).get("terminated")),
        last=_terminated((status.get("lastState") or {}).get("terminated")),
        restarts=status.get("restartCount") or 0,
        ready=bool(status.get("ready")),
        started=bool(status.get("started")),
        container_id=status.get("containerID") or "",
    )


def kubeconfig(server: str, ca: Path, token: str, namespace: str) -> str:
    """Access to the API as the pod's service account (JSON is YAML).

    Patroni reads `token`, not `tokenFile`; and what stands in place of a file it writes into one of its own in /tmp, which
    stays there when it is killed.
    """
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": str(ca)}}],
            "users": [{"name": "pod", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": "pod", "namespace": namespace}}],
            "current-context": "local",
        }
    )
