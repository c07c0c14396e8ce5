"""The lane of real nodes leaves no trace: processes, mounts, networks, cgroups and folders end with it.

What it lacks it names in one line.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart.rendering import CACHE, IS_WANTED, ROOT
from howdah.local.node import processes
from lifetimes import guarded

SCRIPTS = ROOT / "e2e" / "kubernetes"
IS_BUILT = any(CACHE.glob("*/bin/kubelet"))
MACHINE = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="no real nodes: they need root")
needs_kubelet = pytest.mark.skipif(
    not (IS_BUILT or IS_WANTED), reason="no real nodes: no kubelet is built, `make kube-build-nodes`"
)


def nodes(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [str(SCRIPTS / "nodes.sh"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=200, env=os.environ | env, check=False)


def traces() -> dict[str, object]:
    """What a lane may touch of this machine."""
    return {
        "mounts": sorted(line for line in Path("/proc/mounts").read_text().splitlines() if "/nodes-" in line),
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "netns": sorted(map(str, Path("/run/netns").glob("*"))),
        "settings": [Path(f"/proc/sys/{name}").read_text() for name in MACHINE],
        "var": sorted(
            str(path) for name in ("cni", "kubelet", "containerd") for path in Path("/var/lib", name).glob("*")
        ),
    }


def residents(holder: int) -> list[processes.Identity]:
    """Who lives in the lane: everybody below its first process, with which all of them end."""
    found = (processes.identity(pid) for pid in {holder} | processes.descendants([holder]))
    return [who for who in found if who is not None]


def cgroups(folder: Path) -> list[Path]:
    """The lane's own, in every hierarchy."""
    number = subprocess.run(["cksum"], input=str(folder).encode(), capture_output=True, check=True).stdout.split()[0]
    return sorted(Path("/sys/fs/cgroup").glob(f"**/howdah-{number.decode()}"))


@pytest.fixture
def folder() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="howdah-lane-", dir="/tmp"))
    with guarded(SCRIPTS / "nodes.sh", "down", parent / "nodes-a"):
        yield parent / "nodes-a"
    if (parent / "nodes-a" / "run").is_dir():
        nodes("down", str(parent / "nodes-a"))
    shutil.rmtree(parent, ignore_errors=True)


@needs_root
@needs_kubelet
def test_a_node_comes_up_and_leaves_no_trace(folder: Path) -> None:
    before = traces()
    done = nodes("up", str(folder), "1")
    assert done.returncode == 0, done.stderr
    seen = nodes("in", str(folder), "kubectl", "get", "nodes", "-o", "name")
    assert seen.stdout == "node/node-0\n", seen.stderr
    assert traces()["links"] == before["links"]
    assert traces()["settings"] == before["settings"]
    assert nodes("in", str(folder), "sh", "-c", "exit 7").returncode == 7
    everybody = residents(int((folder / "run" / "lane").read_text()))
    assert len(everybody) > 8
    assert cgroups(folder)
    (folder / "mine").write_text("not the lane's")

    done = nodes("down", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"not the lane's, and left: {folder}/mine\n"
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert not [who for who in everybody if processes.is_alive(who)]
    assert cgroups(folder) == []
    assert traces() == before
    assert nodes("in", str(folder), "true").stderr == f"nodes.sh: no nodes were started from {folder}\n"


@needs_root
def test_a_folder_of_no_lane_is_left_alone(folder: Path) -> None:
    (folder / "run").mkdir(parents=True)
    (folder / "log").mkdir()
    done = nodes("down", str(folder))
    assert done.returncode == 1
    assert done.stderr == f"nodes.sh: no nodes were started from {folder} (there is no run/lane); nothing is removed\n"
    assert sorted(path.name for path in folder.iterdir()) == ["log", "run"]


@needs_root
def test_what_is_missing_is_named_in_one_line(folder: Path) -> None:
    done = nodes("up", str(folder), "1", KUBE_BIN="/nowhere")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("nodes.sh: etcd is not built: run 'make kube-build'")
    copy = folder.parent / "scripts"  # another user may not pass through the checkout's folders
    shutil.copytree(SCRIPTS, copy)
    folder.parent.chmod(0o777)
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(copy / "nodes.sh"), "up", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "nodes.sh: real nodes need root: run it as root, or leave the lane with real nodes out\n"
