"""A test process that is killed leaves nothing: neither what its fixtures start, nor what has detached itself from it."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from howdah.instance.binaries import installations
from howdah.local.node import processes
from lifetimes import ended_with_us
from steady import HANGS_S

TESTS = Path(__file__).parents[1]
NEWEST = max(installations(os.environ.get("PATH", "")), key=lambda build: build.major, default=None)
API_SERVER = """
from pathlib import Path
from adapters.apiserver.client import Server
Server(Path(folder) / "state").start()
"""
STORE = """
from adapters.backup.stores import s3
held = s3()
held.__enter__()
"""
POSTGRES = f"""
from pathlib import Path
from adapters.postgres.servers import start
start({NEWEST.major if NEWEST else 0}, Path({str(NEWEST.bin_dir) if NEWEST else ""!r}))
"""
POOLER_LIKE = """
import subprocess
from adapters.postgres.servers import unprivileged
from lifetimes import ended_with_us
subprocess.Popen(ended_with_us(*unprivileged(), "sh", "-c", "sleep 600 & sleep 600"))
"""
DETACHED = """
import subprocess
from lifetimes import guarded
found = subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True).stdout
held = guarded("kill", "-KILL", found.strip())
held.__enter__()
print(found, flush=True)
"""
WELL = """
import subprocess
from pathlib import Path
from lifetimes import guarded
with guarded("touch", Path(folder) / "ended"):
    pass
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="howdah-lifetimes-", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _parent(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process in the place of a test worker: it has run `code`, says so, and waits for its end."""
    script = f"folder = {str(folder)!r}\n{code}\nimport time\nprint('ready', flush=True)\ntime.sleep(600)\n"
    paths = f"{TESTS}:{TESTS.parent / 'src'}:{TESTS.parent}"
    return subprocess.Popen(
        ended_with_us(sys.executable, "-c", script),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder)},
    )


def _said(parent: subprocess.Popen[str]) -> list[str]:
    assert parent.stdout is not None
    lines: list[str] = []
    for line in parent.stdout:
        if line.strip() == "ready":
            return lines
        lines.append(line.strip())
    raise AssertionError(f"ended with {parent.wait(HANGS_S)}")


def _alive(found: list[processes.Identity]) -> list[processes.Identity]:
    deadline = time.monotonic() + HANGS_S
    while (left := [who for who in found if processes.is_alive(who)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


CASES = {"api": API_SERVER, "s3": STORE, "user": POOLER_LIKE, "detached": DETACHED}
if NEWEST:
    CASES["postgres"] = POSTGRES


@pytest.mark.parametrize("code", CASES.values(), ids=CASES)
def test_a_killed_process_leaves_nothing_of_what_it_started(code: str, folder: Path) -> None:
    with _parent(code, folder) as parent:
        told = [int(line) for line in _said(parent) if line.isdigit()]
        started = processes.descendants([parent.pid]) | set(told)
        found = [who for pid in started if (who := processes.identity(pid)) is not None]
        assert found
        parent.kill()
        parent.wait(HANGS_S)
        left = _alive(found)
        for who in left:
            os.kill(who.pid, signal.SIGKILL)
        assert left == []


def test_what_ended_well_is_not_ended_again(folder: Path) -> None:
    with _parent(WELL, folder) as parent:
        _said(parent)
        parent.kill()
    time.sleep(0.2)
    assert not (folder / "ended").exists()


# Starts that need no such word: what they start ends by itself, or cannot have it.
ENDS_OTHERWISE = {
    "both.py": "it is who starts the tests, and hands on its end",
    "lifetimes.py": "it outlives us on purpose, to end what we leave",
    "images/container.py": "it becomes the image's user, by which the signal is lost; only with HOWDAH_WITH_IMAGES",
}


def test_every_process_that_a_test_starts_ends_with_it() -> None:
    """A new fixture cannot forget: each call that starts one names `ended_with_us`, or a variable made by it."""
    free = []
    for file in sorted(TESTS.rglob("*.py")):
        name = str(file.relative_to(TESTS))
        tree = ast.parse(file.read_text())
        made = {
            target.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and _names(node.value, {"ended_with_us"})
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        free += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("Popen", "create_subprocess_exec", "create_subprocess_shell"))
            and name not in ENDS_OTHERWISE
            and not any(_names(argument, {"ended_with_us", *made}) for argument in node.args)
        ]
    assert free == []


def _names(tree: ast.AST, wanted: set[str]) -> bool:
    return any(isinstance(node, ast.Name) and node.id in wanted for node in ast.walk(tree))
