"""The platform process: all controllers and the node agent, over one API server. Killing it harms no pod.

`python -m howdah.local.platform --dir DIR`
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections import Counter
from pathlib import Path

import structlog

from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.kube.events import EventRecorder
from howdah.kube.resources import NODES, PODS
from howdah.local import configuration, descriptors, log
from howdah.local.configuration import Platform
from howdah.local.controllers.caches import Caches
from howdah.local.controllers.garbage import GarbageCollector
from howdah.local.controllers.loop import World, run_all
from howdah.local.controllers.table import CACHED, controllers
from howdah.local.files import write_whole
from howdah.local.node import fencing, images, server
from howdah.local.node.addresses import Addresses
from howdah.local.node.agent import NodeAgent, machine_capacity
from howdah.local.node.fencing import Fence
from howdah.local.node.pod import Node

API_WAIT_S = 0.05

_log = structlog.get_logger("platform")


async def node_name(client: Client, directory: Path) -> str:
    """The node's name, for ever: every pod carries it, and a machine may be given another host name.

    One that was not kept yet is, of the nodes that were ever shown, that of most pods; else the machine's.
    """
    kept = directory / "node" / "name"
    with contextlib.suppress(OSError):
        if name := await asyncio.to_thread(lambda: kept.read_text().strip()):
            return name
    pods, nodes = (await client.list(PODS)).items, (await client.list(NODES)).items
    carried = Counter(pod["spec"].get("nodeName") for pod in pods)
    own = socket.gethostname().lower()
    shown: list[str] = [node["metadata"]["name"] for node in nodes]
    name = max(shown, key=lambda name: (carried[name], name == own), default=own)
    await asyncio.to_thread(_keep_name, kept, name)
    return name


def _keep_name(path: Path, name: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: it is found again next time
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, f"{name}\n".encode())


def make_node(platform: Platform, fence: Fence, api_url: str, name: str, descriptors: int | None = None) -> Node:
    """The node, with its folders."""
    shared = fence.user is not None
    runtime = configuration.make_runtime(platform, shared)
    make_folders(platform.directory, shared)
    search_path = images.as_in_images(os.environ.get("PATH", os.defpath))
    return Node(
        name=name,
        directory=platform.directory,
        runtime=runtime,
        fence=fence,
        roles=platform.roles,
        needs=platform.needs,
        pod_env={"PATH": fencing.open_path(search_path) if shared else search_path, **platform.pod_env},
        capacity=machine_capacity(),
        addresses=Addresses(platform.directory / "node" / "addresses.json", platform.identity),
        server=api_url,
        ca_file=platform.ca_file,
        descriptors=descriptors,
    )


def make_folders(directory: Path, shared: bool) -> None:
    """Our folders within the platform's are closed, or with `shared` to be passed through.

    The platform's own may have been there before, with a mode that somebody chose: at most, it is opened.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if shared and found.st_uid == os.getuid() and not found.st_mode & 0o001:
        _change_mode(directory, found.st_mode | 0o001)
    for folder in (directory / "node", directory / "node" / "pods", directory / "volumes"):
        folder.mkdir(mode=0o700, exist_ok=True)
        _change_mode(folder, 0o711 if shared else 0o700)


def _change_mode(folder: Path, mode: int) -> None:
    try:
        folder.chmod(stat.S_IMODE(mode))
    except PermissionError as problem:  # it is somebody else's, such as a mounted disk
        _log.warning("mode of folder not changed", folder=str(folder), problem=str(problem))


async def run(platform: Platform) -> None:
    """Run until cancelled."""
    former = descriptors.raise_limit()
    fence = fencing.choose(f"howdah-{platform.identity}")
    await _until_api_answers(platform)
    access = load_access(str(platform.kubeconfig))
    async with Client(access, concurrency=64, field_manager="howdah-local") as client:
        name = await node_name(client, platform.directory)
        node = make_node(platform, fence, access.server, name, former)
        with contextlib.suppress(OSError):  # who cleans at this moment has it; the supervisor tries again
            configuration.hold_runtime()
        _log.info("platform started", node=node.name, fencing=fence.name, addresses=node.addresses.block)
        events = EventRecorder(client, "howdah-local", instance=node.name)
        caches = Caches(client, CACHED)
        agent = NodeAgent(client, caches, node, events)
        world = World(client, caches, events, node.name)
        loops = controllers(world, platform.directory, fence.user, agent.is_in_use)
        listening = await server.serve(platform.node_socket, agent.find)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(events.run())
                group.create_task(caches.run())
                await caches.synced()
                group.create_task(agent.run())
                group.create_task(run_all(loops))
                group.create_task(GarbageCollector(client).run())
        finally:
            await listening.cleanup()


async def _until_api_answers(platform: Platform) -> None:
    while True:
        with contextlib.suppress(KubeError, OSError):
            async with Client(load_access(str(platform.kubeconfig))) as client:
                await client.get_raw("/version", timeout_s=5)
                return
        await asyncio.sleep(API_WAIT_S)


async def _run_until_told(platform: Platform) -> None:
    loop = asyncio.get_running_loop()
    work = asyncio.create_task(run(platform))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Controllers and node agent of the local platform.")
    parser.add_argument("--dir", type=Path, required=True, help="folder of the platform, made by `up`")
    log.configure()
    asyncio.run(_run_until_told(configuration.load(parser.parse_args().dir.resolve())))


if __name__ == "__main__":
    main()
