"""Containers for tests: every way of fencing that this machine allows, and programs that try to get away."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from howdah.local.node import fencing

WAYS = ("namespace", "cgroup", "scan")


@pytest.fixture(params=WAYS)
def fence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[fencing.Fence]:
    """Each way in turn; a way that this machine forbids is skipped with that reason."""
    monkeypatch.setenv(fencing.SWITCH, request.param)
    name = f"howdah-test-{os.getpid()}"
    try:
        yield fencing.choose(name)
    except RuntimeError as problem:
        pytest.skip(str(problem))
    fencing.remove_cgroup(name)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that an unprivileged container user can reach."""
    path = tmp_path_factory.mktemp("c")
    for parent in (path, *path.parents):
        if parent.is_relative_to("/tmp") and parent != Path("/tmp") and parent.owner() == Path("/proc/self").owner():
            parent.chmod(parent.stat().st_mode | 0o111)
    path.chmod(0o777)
    return path


DAEMONISER = textwrap.dedent(
    """
    import os, sys, time
    # A grandchild in a session of its own, as pg_ctl makes postgres.
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open("daemon.started", "w").close()
            time.sleep(600)
        os._exit(0)
    os.wait()
    print("main is up", flush=True)
    time.sleep(float(sys.argv[1]))
    """
)
