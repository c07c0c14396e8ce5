"""A platform on a full disk: its pods are kept, can be ended, and begin as soon as there is room. Real processes.

Each test ends a `platform` process and starts one itself, so that it has no room from its first moment on.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.local.test_platform import NS, ROLES, alive, container, gone, pids, pod, public_folder, ready, until
from full_disk import full_disk
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.resources import EVENTS, PODS
from howdah.local import supervisor, up
from howdah.local.configuration import Platform
from howdah.local.node import processes
from lifetimes import ended_with_us
from steady import HANGS_S


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    parent = public_folder()
    found = Platform(parent / "p", ROLES)
    asyncio.run(up.up(found))
    yield found
    asyncio.run(up.down(found.directory))
    parent.rmdir()


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[Client]:
    async with Client(load_access(str(platform.kubeconfig))) as found:
        yield found


@contextlib.contextmanager
def restarted_without_room(platform: Platform) -> Iterator[None]:
    """Another platform process instead of the supervisor's, which goes on afterwards."""
    keeper = pids(platform, "supervisor")[0]
    os.kill(keeper, signal.SIGSTOP)
    try:
        for pid in pids(platform, "platform"):
            os.kill(pid, signal.SIGKILL)
        env = {**os.environ, supervisor.MARK: supervisor.mark(platform.directory, "platform")}
        command = ended_with_us(sys.executable, "-m", "howdah.local.platform", "--dir", platform.directory)
        with (platform.directory / "log" / "test.log").open("ab") as log, full_disk():
            ours = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        try:
            yield
        finally:
            ours.kill()
            ours.wait(HANGS_S)
    finally:
        os.kill(keeper, signal.SIGCONT)


async def warning_about(client: Client, uid: str) -> Any:
    async def question() -> Any:
        found = (await client.list(EVENTS, namespace=NS)).items
        return next((e for e in found if e["involvedObject"].get("uid") == uid and e["type"] == "Warning"), None)

    return await until(question, "a warning")


async def test_a_pod_that_finds_no_room_says_so_and_begins_when_there_is(platform: Platform, client: Client) -> None:
    with full_disk(pids(platform, "platform")[0]):
        uid = (await client.create(PODS, pod("new", container())))["metadata"]["uid"]
        assert "File too large" in (await warning_about(client, uid))["message"]
        assert not alive(uid)
    await ready(client, "new")


async def test_a_pod_that_finds_no_room_can_be_deleted(platform: Platform, client: Client) -> None:
    with full_disk(pids(platform, "platform")[0]):
        uid = (await client.create(PODS, pod("unborn", container())))["metadata"]["uid"]
        await warning_about(client, uid)
        await client.delete(PODS, "unborn", namespace=NS)
        await gone(client, "unborn")


async def test_pods_are_taken_over_probed_and_ended_without_any_room(platform: Platform, client: Client) -> None:
    probe = {"exec": {"command": ["test", "-e", "well"]}, "periodSeconds": 1, "failureThreshold": 1}
    shell = container("x/shell:1", args=["touch well; sleep 1000"], readinessProbe=probe)
    uid = (await client.create(PODS, pod("kept", shell)))["metadata"]["uid"]
    await ready(client, "kept")
    before = alive(uid)
    record = platform.directory / "node" / "pods" / uid / "pod.json"
    written = record.read_bytes()
    with restarted_without_room(platform):
        (platform.directory / "node" / "pods" / uid / "work" / "main" / "well").unlink()

        async def unready() -> bool:
            return not (await client.get(PODS, "kept", namespace=NS))["status"]["containerStatuses"][0]["ready"]

        await until(unready, "the probe's no")
        assert record.read_bytes() == written
        assert before <= alive(uid) | {pid for pid in before if processes.stat(pid) is None}
        assert alive(uid)
        await client.delete(PODS, "kept", namespace=NS)
        await gone(client, "kept")
        assert not alive(uid)


async def test_the_force_of_a_deletion_is_felt_without_any_room(platform: Platform, client: Client) -> None:
    uid = (await client.create(PODS, pod("forced", container("x/daemon:1"))))["metadata"]["uid"]
    await ready(client, "forced")
    with restarted_without_room(platform):
        await client.delete(PODS, "forced", namespace=NS, grace_period_s=0)

        async def dead() -> bool:
            return not alive(uid)

        await until(dead, "the end of its processes")


async def test_a_torn_book_of_addresses_ends_nothing(platform: Platform, client: Client) -> None:
    uid = (await client.create(PODS, pod("addressed", container())))["metadata"]["uid"]
    address = (await ready(client, "addressed"))["status"]["podIP"]
    before = alive(uid)
    book = platform.directory / "node" / "addresses.json"
    old = pids(platform, "platform")[0]
    os.kill(old, signal.SIGSTOP)
    book.write_text("")
    os.kill(old, signal.SIGKILL)
    other = (await client.create(PODS, pod("beside", container())))["metadata"]["uid"]
    found = await ready(client, "beside")
    assert found["status"]["podIP"].rpartition(".")[0] == address.rpartition(".")[0]
    assert found["status"]["podIP"] != address
    assert (await client.get(PODS, "addressed", namespace=NS))["status"]["podIP"] == address
    assert alive(uid) == before
    assert alive(other)
    assert Path(book).read_text().count(address) == 1
