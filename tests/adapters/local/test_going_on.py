"""A platform goes on: after an upgrade, under another host name, when a disk was full, in another folder; pods live."""

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.local.test_platform import (
    NS,
    READY,
    ROLES,
    alive,
    container,
    main_pid,
    pids,
    pod,
    public_folder,
    ready,
    until,
)
from e2e.local_world import ending
from howdah.kube.client import Client
from howdah.kube.credentials import load_access
from howdah.kube.errors import KubeError
from howdah.kube.resources import NODES, PODS
from howdah.local import configuration, supervisor, up
from howdah.local.configuration import Platform
from howdah.local.node import processes
from howdah.local.place import PlatformError
from lifetimes import guarded
from steady import HANGS_S

OWN = ("apiserver", "platform", "services")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for a platform; whatever runs of it is ended afterwards."""
    parent = public_folder()
    with guarded(*ending(parent / "p")):
        yield parent / "p"
        if (parent / "p" / configuration.FILE).exists():
            asyncio.run(up.down(parent / "p"))
    shutil.rmtree(parent)


@asynccontextmanager
async def api(platform: Platform) -> AsyncIterator[Client]:
    async with Client(load_access(str(platform.kubeconfig))) as client:
        yield client


async def running_pod(platform: Platform, name: str = "p") -> dict[str, Any]:
    async with api(platform) as client:
        await client.create(PODS, pod(name, container(**READY)))
        return await ready(client, name)


async def started_anew(platform: Platform, name: str, before: list[int]) -> None:
    async def question() -> bool:
        now = pids(platform, name)
        return bool(now) and now != before

    await until(question, f"{name} started anew")


def is_kept_from_cleaning(folder: Path) -> bool:
    """As systemd-tmpfiles asks: it leaves out a folder that it cannot lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


async def test_a_copy_harms_neither_pods_nor_data_of_the_original(place: Path) -> None:
    platform = Platform(place, ROLES)
    await up.up(platform)
    found = await running_pod(platform)
    running = main_pid(found["metadata"]["uid"])
    copy = place.with_name("copy")
    # What is written meanwhile may be cut off, as in any copy of what runs.
    subprocess.run(["cp", "-a", place, copy], check=True, timeout=HANGS_S)
    with pytest.raises(PlatformError, match="this is a copy, or it was moved"):
        await up.down(copy)
    with pytest.raises(PlatformError, match="is a copy of the platform"):
        await up.up(Platform(copy, ROLES))
    assert main_pid(found["metadata"]["uid"]) == running
    async with api(platform) as client:
        await ready(client, "p")


async def test_a_platform_that_was_moved_while_it_was_down_goes_on_where_it_is(place: Path) -> None:
    before = place.with_name("before")
    first = Platform(before, ROLES)
    await up.up(first)
    uid = (await running_pod(first))["metadata"]["uid"]
    await up.down(before, remove=False)
    before.rename(place)
    with pytest.raises(PlatformError, match=f"was made as {before}"):
        await up.down(place)
    moved = Platform(place, ROLES)
    await up.up(moved)
    async with api(moved) as client:

        async def restarted() -> Any:
            now = await client.get(PODS, "p", namespace=NS)
            return now["status"]["containerStatuses"][0]["restartCount"] == 1 and bool(alive(uid))

        await until(restarted, "the pod in its new folder")
    await up.down(place)
    assert not place.exists()
    assert alive(uid) == set()


async def test_pods_keep_their_node_when_the_machine_is_renamed(place: Path) -> None:
    """The platform is that of a machine with another name, first as it was kept, then as before names were kept."""
    platform = Platform(place, ROLES)
    await up.up(platform)
    (place / "node" / "name").write_text("former-name\n")
    for kept in (True, False):
        if not kept:
            (place / "node" / "name").unlink()
        before = pids(platform, "platform")
        os.kill(before[0], signal.SIGKILL)
        await started_anew(platform, "platform", before)
        name = f"p-{kept}".lower()
        found = await running_pod(platform, name)
        assert found["spec"]["nodeName"] == "former-name"
        assert (place / "node" / "name").read_text() == "former-name\n"
        async with api(platform) as client:
            assert "former-name" in {node["metadata"]["name"] for node in (await client.list(NODES)).items}


async def test_the_api_server_comes_back_when_a_full_disk_is_freed(place: Path) -> None:
    """Every write of the supervisor, and of what it starts, fails for some seconds."""
    platform = Platform(place, ROLES)
    await up.up(platform)
    (keeper,), (server,) = pids(platform, "supervisor"), pids(platform, "apiserver")
    soft, hard = resource.prlimit(keeper, resource.RLIMIT_FSIZE)
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (0, hard))
    os.kill(server, signal.SIGKILL)

    async def tried() -> bool:
        return not pids(platform, "apiserver")

    await until(tried, "the end of the API server")
    await asyncio.sleep(1.5)  # it is tried some times, in vain
    resource.prlimit(keeper, resource.RLIMIT_FSIZE, (soft, hard))
    assert pids(platform, "supervisor") == [keeper]

    async def answers() -> bool:
        with contextlib.suppress(KubeError):
            async with api(platform) as client:
                await client.list(PODS, timeout_s=2)
                return True
        return False

    await until(answers, "the API server")
    assert json.loads((place / "processes.json").read_bytes())["apiserver"]["restarts"] >= 1


async def test_a_process_that_cannot_be_started_is_tried_again(place: Path) -> None:
    platform = Platform(place, ROLES)
    await up.up(platform)
    log = place / "log" / "services.log"
    log.unlink()
    log.mkdir()  # no log, no start
    before = pids(platform, "services")
    os.kill(before[0], signal.SIGKILL)

    async def gone() -> bool:
        return not pids(platform, "services")

    await until(gone, "the end of the services' process")
    await asyncio.sleep(0.5)
    log.rmdir()
    await started_anew(platform, "services", before)


async def test_sockets_are_kept_from_cleaning_while_supervisor_or_node_live(place: Path) -> None:
    platform = Platform(place, ROLES)
    await up.up(platform)
    root = configuration.runtime_root()
    for name in ("supervisor", "platform"):
        (pid,) = pids(platform, name)
        held = {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
        assert str(root) in held, name
    assert is_kept_from_cleaning(root)


def upped(source: Path, place: Path) -> None:
    """`up` by the code of another folder."""
    script = (
        "import asyncio, sys; from pathlib import Path; from howdah.local import up; "
        "from howdah.local.configuration import Platform; "
        f"asyncio.run(up.up(Platform(Path({str(place)!r}), {ROLES!r}), timeout_s={HANGS_S}))"
    )
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def test_up_after_an_upgrade_starts_everything_anew_but_the_pods(place: Path) -> None:
    source = place.with_name("src")
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    await asyncio.to_thread(upped, source, place)
    platform = Platform(place, ROLES)
    names = ("supervisor", *OWN)
    running = main_pid((await running_pod(platform))["metadata"]["uid"])

    first = {name: pids(platform, name) for name in names}
    await asyncio.to_thread(upped, source, place)
    assert {name: pids(platform, name) for name in names} == first

    with (source / "howdah" / "local" / "node" / "shim.py").open("a") as module:
        module.write("# another release\n")
    await asyncio.to_thread(upped, source, place)
    second = {name: pids(platform, name) for name in names}
    assert [name for name in names if len(second[name]) != 1 or second[name] == first[name]] == []
    async with api(platform) as client:
        found = await ready(client, "p")
    assert main_pid(found["metadata"]["uid"]) == running
    assert found["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_changed_command_is_followed_by_a_supervisor_that_was_away(place: Path) -> None:
    sleeper = configuration.Command((sys.executable, "-S", "-c", "import time; time.sleep(1e6)"))
    platform = Platform(place, ROLES, {"extra": sleeper})
    await up.up(platform)
    before = {name: pids(platform, name) for name in (*OWN, "extra")}
    await supervisor.stop(supervisor.running(place, "supervisor"), HANGS_S)
    await up.up(Platform(place, ROLES, {"extra": configuration.Command((*sleeper.argv, "another"))}))
    await started_anew(platform, "extra", before["extra"])
    assert all(processes.identity(pid) is None for pid in before["extra"])
    assert {name: pids(platform, name) for name in OWN} == {name: before[name] for name in OWN}


async def test_what_is_not_wanted_any_more_ends_under_a_supervisor_that_never_kept_it(place: Path) -> None:
    sleeper = configuration.Command((sys.executable, "-S", "-c", "import time; time.sleep(1e6)"))
    await up.up(Platform(place, ROLES, {"operator-0": sleeper, "operator-1": sleeper}))
    platform = Platform(place, ROLES, {"operator-0": sleeper})
    before = {name: pids(platform, name) for name in (*OWN, "operator-0")}
    await supervisor.stop(supervisor.running(place, "supervisor"), HANGS_S)
    uid = (await running_pod(platform))["metadata"]["uid"]
    await up.up(platform)
    assert pids(platform, "operator-1") == []
    assert {name: pids(platform, name) for name in before} == before
    assert alive(uid)


async def test_an_unreadable_configuration_ends_nothing(place: Path) -> None:
    sleeper = configuration.Command((sys.executable, "-S", "-c", "import time; time.sleep(1e6)"))
    platform = Platform(place, ROLES, {"operator-0": sleeper})
    await up.up(platform)
    before = {name: pids(platform, name) for name in (*OWN, "operator-0")}
    (place / configuration.FILE).write_text("{")
    (keeper,) = supervisor.running(place, "supervisor")
    os.kill(keeper.pid, signal.SIGHUP)
    await asyncio.sleep(1)
    assert {name: pids(platform, name) for name in before} == before
    configuration.save(platform)


async def test_a_platform_whose_folder_became_a_link_while_it_ran_is_ended_and_goes_on(place: Path) -> None:
    platform, disk = Platform(place, ROLES), place.with_name("disk")
    await up.up(platform)
    uid = (await running_pod(platform))["metadata"]["uid"]
    place.rename(disk)
    place.symlink_to(disk)
    with pytest.raises(PlatformError, match=r"was started under the former name; end it"):
        await up.up(platform)
    await up.down(place, remove=False)
    assert (alive(uid), supervisor.names(place)) == (set(), set())
    await up.up(platform)
    async with api(platform) as client:

        async def restarted() -> Any:
            now = await client.get(PODS, "p", namespace=NS)
            return now["status"]["containerStatuses"][0]["restartCount"] == 1 and bool(alive(uid))

        await until(restarted, "the pod in its folder on the other disk")
    await up.down(place)
    assert alive(uid) == set()
    assert not disk.exists()
