"""The same platform as an ordinary user, and as root on a machine without user namespaces."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from e2e.clusters import PostgresCluster
from e2e.local_world import end, ending, public_folder, start
from howdah.local.node import fencing
from lifetimes import guarded

pytestmark = pytest.mark.local_platform("whose processes a container's are is its own business")
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 100


async def once(directory: Path) -> str:
    """A cluster of two on a platform of its own, from nothing to nothing; how it was fenced."""
    with guarded(*ending(directory)):
        world = await start(directory, operators=1)
        try:
            async with world.client() as client:
                cluster = PostgresCluster(world, client, "acid-user")
                await cluster.create()
                await cluster.settled(60)
                await cluster.run("create table t (id int)")
                await cluster.delete()
                await cluster.gone()
            way = (directory / "fencing").read_text()
        finally:
            left = await end(world)
    assert left == [], left
    return way


def run_as(argv: list[str], directory: Path, **env: str) -> str:
    """This file as a program, by another user or under other conditions."""
    command = [*argv, sys.executable, __file__, str(directory)]
    path = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    whole = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run(command, env=whole, cwd="/", capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user; this run is an ordinary user's")
def test_platform_works_as_an_ordinary_user() -> None:
    parent = public_folder()
    os.chown(parent, 65534, 65534)
    try:
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
        probe = subprocess.run(
            [*argv, sys.executable, "-c", "import psycopg"], capture_output=True, cwd="/", timeout=20
        )
        if probe.returncode != 0:
            pytest.skip(f"an ordinary user cannot run {sys.executable}: it is in a private folder")
        way = run_as(argv, parent / "p", HOME=str(parent))
        assert way in ("namespace", "cgroup", "scan")
    finally:
        shutil.rmtree(parent)


@pytest.mark.skipif(os.getuid() != 0, reason="this is about root; this run is an ordinary user's")
def test_platform_works_as_root_without_user_namespaces() -> None:
    parent = public_folder()
    try:
        assert run_as([], parent / "p", HOME=str(parent), **{fencing.SWITCH: "scan"}) == "scan"
    finally:
        shutil.rmtree(parent)


if __name__ == "__main__":
    print(asyncio.run(once(Path(sys.argv[1]))))
