"""Service addresses: for each service port a listener on the cluster IP that leads to the ready endpoints.

A process of its own, so that a restart of anything else cuts no client. Connections to an endpoint that is gone are
cut at once; the listener closes when its service goes. `python -m howdah.local.services --dir DIR`
"""

import argparse
import asyncio
import contextlib
import itertools
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import structlog

from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.kube.events import EventRecorder, Reference
from howdah.kube.resources import ENDPOINTS, SERVICES
from howdah.local import configuration, descriptors, log
from howdah.local.controllers.caches import Caches, Object
from howdah.local.listeners import holder_of
from howdah.local.relay import Relay, close_at_once

LOOPBACK = IPv4Network("127.0.0.0/8")
CONNECT_TIMEOUT_S = 3.0
BIND_RETRY_S = 1.0
HOLDER_INTERVAL_S = 30.0  # to find who holds a port is a walk over every descriptor of the machine
BACKLOG = 1024

_log = structlog.get_logger("services")

Target = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Port:
    """An address that people connect to."""

    address: str
    number: int


def ports_of(service: Object) -> Mapping[Port, str]:
    """Listening ports of a service → the name of the service's port; none without a loopback cluster IP."""
    address = service["spec"].get("clusterIP") or ""
    if service["metadata"].get("deletionTimestamp") or not _is_loopback(address):
        return {}
    found = (port for port in service["spec"].get("ports") or () if port.get("protocol", "TCP") == "TCP")
    return {Port(address, int(port["port"])): port.get("name") or "" for port in found}


def _is_loopback(address: str) -> bool:
    try:
        return IPv4Address(address) in LOOPBACK
    except ValueError:
        return False


def targets_of(endpoints: Object | None, port_name: str) -> tuple[Target, ...]:
    """Ready addresses behind a port, which is found by name; a nameless one is the only one."""
    found: list[Target] = []
    for subset in (endpoints or {}).get("subsets") or ():
        ports: Sequence[Object] = subset.get("ports") or []
        number = next((port["port"] for port in ports if (port.get("name") or "") == port_name), None)
        if number is None and len(ports) == 1:
            number = ports[0]["port"]
        if number is not None:
            found += [(address["ip"], int(number)) for address in subset.get("addresses") or ()]
    return tuple(sorted(set(found)))


def why_closed(port: Port, problem: OSError) -> tuple[str, str]:
    """An event's reason and message: why this port cannot be opened."""
    if isinstance(problem, PermissionError):
        reason, why = "AddressForbidden", "an ordinary user may open ports from 1024 on; choose one, or run as root"
    else:
        holder = holder_of(port.address, port.number) or "somebody whom this user may not see"
        reason, why = "AddressTaken", f"it is held by {holder}"
    return reason, f"{port.address}:{port.number} cannot be opened ({problem.strerror}): {why}"


class Listener:
    """One port: accepts, chooses a target, hands the pair to the relay.

    While the port is taken it is tried again each second, whatever else happens, and each time `on_taken` hears why.
    """

    def __init__(self, port: Port, relay: Relay, on_taken: Callable[[Port, OSError], None]) -> None:
        self.port = port
        self._relay = relay
        self._on_taken = on_taken
        self._again: asyncio.TimerHandle | None = None
        self._targets: tuple[Target, ...] = ()
        self._turn = itertools.count()
        self._socket: socket.socket | None = None
        self._pairs: set[Any] = set()
        self._connecting: set[asyncio.Task[None]] = set()

    @property
    def is_bound(self) -> bool:
        """Whether it listens."""
        return self._socket is not None

    def open(self) -> None:
        """Listen, now or as soon as the port is free."""
        if not self.is_bound and self._again is None:
            self._try()

    def _try(self) -> None:
        self._again = None
        try:
            self._bind()
            _log.info("service address opened", address=self.port.address, port=self.port.number)
        except OSError as problem:
            self._again = asyncio.get_running_loop().call_later(BIND_RETRY_S, self._try)
            self._on_taken(self.port, problem)

    def _bind(self) -> None:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((self.port.address, self.port.number))
            found.listen(BACKLOG)
            found.setblocking(False)
        except OSError:
            found.close()
            raise
        self._socket = found
        asyncio.get_running_loop().add_reader(found, self._accept)

    def lead_to(self, targets: tuple[Target, ...]) -> None:
        """From now on to these; connections to others are cut."""
        self._targets = targets
        self._pairs = {pair for pair in self._pairs if not pair.closed}
        for pair in self._pairs:
            if pair.target not in targets:
                self._relay.cut(pair)

    def close(self) -> None:
        """Stop listening, or trying to, and cut what is connected."""
        if self._again is not None:
            self._again.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        self.lead_to(())

    def _accept(self) -> None:
        assert self._socket is not None
        for _ in range(BACKLOG):
            try:
                client = self._socket.accept()[0]
            except BlockingIOError:
                return
            except OSError as problem:
                _log.warning("connection not accepted", port=str(self.port), problem=str(problem))
                return
            client.setblocking(False)
            task = asyncio.create_task(self._connect(client))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: socket.socket) -> None:
        for target in self._in_turn():
            server = await _connected(target)
            if server is None:
                continue
            if target not in self._targets:  # it has gone while we connected
                close_at_once(server)
                continue
            if len(self._pairs) > 2 * len(self._relay.pairs) + 64:
                self._pairs = {pair for pair in self._pairs if not pair.closed}
            self._pairs.add(self._relay.add(client, server, target))
            return
        close_at_once(client)

    def _in_turn(self) -> Iterable[Target]:
        targets = self._targets
        first = next(self._turn)
        return [targets[(first + step) % len(targets)] for step in range(len(targets))]


async def _connected(target: Target) -> socket.socket | None:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(server, target)
    except (OSError, TimeoutError):
        server.close()
        return None
    return server


@dataclass(slots=True)
class Taken:
    """What was told of a port that cannot be opened; `asked_at` (seconds of the loop): when its holder was looked for."""

    asked_at: float
    told: str = ""


class Proxy:
    """Keeps listeners as services and endpoints want them."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        events: EventRecorder,
        why: Callable[[Port, OSError], tuple[str, str]] = why_closed,
    ) -> None:
        """`why` may take its time: it is asked in a thread."""
        self._client, self._caches, self._events, self._why = client, caches, events, why
        self._relay = Relay()
        self._listeners: dict[Port, tuple[tuple[str, str], Listener]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._taken: dict[Port, Taken] = {}
        caches.subscribe(SERVICES, self._on_change)
        caches.subscribe(ENDPOINTS, self._on_change)

    def start(self) -> None:
        """Begin; the caches may still be empty."""
        self._relay.start()

    def stop(self) -> None:
        """Close everything."""
        for _, listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._relay.stop()

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        item = new or old
        if item is not None:
            self._adjust((item["metadata"]["namespace"], item["metadata"]["name"]))

    def _adjust(self, key: tuple[str, str]) -> None:
        service = self._caches.get(SERVICES, *key)
        endpoints = self._caches.get(ENDPOINTS, *key)
        wanted = ports_of(service) if service else {}
        for port in [port for port, (owner, _) in self._listeners.items() if owner == key and port not in wanted]:
            self._listeners.pop(port)[1].close()
            self._taken.pop(port, None)
        for port, name in wanted.items():
            owner, listener = self._listeners.setdefault(port, (key, Listener(port, self._relay, self._on_taken)))
            if owner != key:
                continue  # the address passes on when its former service is seen to be gone
            listener.lead_to(targets_of(endpoints, name))
            listener.open()
        if service is not None:
            self._show_ingress(service)

    def _on_taken(self, port: Port, problem: OSError) -> None:
        now = asyncio.get_running_loop().time()
        taken = self._taken.setdefault(port, Taken(-HOLDER_INTERVAL_S))
        if now - taken.asked_at >= HOLDER_INTERVAL_S:
            taken.asked_at = now
            self._spawn(self._tell_taken(port, problem, taken))

    async def _tell_taken(self, port: Port, problem: OSError, taken: Taken) -> None:
        reason, message = await asyncio.to_thread(self._why, port, problem)
        key, listener = self._listeners.get(port, (None, None))
        service = self._caches.get(SERVICES, *key) if key else None
        if key is None or listener is None or listener.is_bound or service is None or taken.told == message:
            return
        taken.told = message
        _log.warning("service address closed", service="/".join(key), message=message)
        about = Reference(SERVICES, key[1], key[0], service["metadata"]["uid"])
        self._events.record(about, reason, message, type="Warning")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _show_ingress(self, service: Object) -> None:
        """A load balancer's address is the cluster IP: everybody is on this machine."""
        if service["spec"].get("type") != "LoadBalancer" or not _is_loopback(service["spec"].get("clusterIP") or ""):
            return
        wanted = [{"ip": service["spec"]["clusterIP"]}]
        shown: Sequence[Any] = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
        if [{"ip": entry.get("ip")} for entry in shown] != wanted:
            self._spawn(self._write_ingress(service, wanted))

    async def _write_ingress(self, service: Object, ingress: list[dict[str, str]]) -> None:
        metadata = service["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"loadBalancer": {"ingress": ingress}}}
        # The next change of the service tries again.
        with contextlib.suppress(KubeError):
            await self._client.merge_patch(
                SERVICES, metadata["name"], patch, namespace=metadata["namespace"], subresource="status"
            )


def _wait_for(path: Path) -> None:
    """At the first start of a platform the API server is still writing it."""
    while not path.exists():
        time.sleep(0.05)


async def run(kubeconfig: Path) -> None:
    """Run until cancelled."""
    descriptors.raise_limit()
    await asyncio.to_thread(_wait_for, kubeconfig)
    async with Client(load_access(str(kubeconfig)), field_manager="howdah-services") as client:
        events = EventRecorder(client, "howdah-services")
        caches = Caches(client, (SERVICES, ENDPOINTS))
        proxy = Proxy(client, caches, events)
        proxy.start()
        try:
            await asyncio.gather(caches.run(), events.run())
        finally:
            proxy.stop()


async def _run_until_told(kubeconfig: Path) -> None:
    work = asyncio.create_task(run(kubeconfig))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Service addresses of the local platform.")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the platform, made by `up`")
    directory: Path = parser.parse_args().dir
    log.configure()
    asyncio.run(_run_until_told(configuration.load(directory.resolve()).kubeconfig))


if __name__ == "__main__":
    main()
