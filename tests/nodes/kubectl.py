"""kubectl as a person at the lane's control plane runs it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from e2e.nodes_world import NodesWorld

TIMEOUT_S = 180


async def run(world: NodesWorld, *arguments: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Whatever becomes of it."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the plugin is beside our interpreter
    env = os.environ | {"PATH": path, "KUBECONFIG": str(world.directory / "kubeconfig")}
    return await asyncio.to_thread(
        subprocess.run, ["kubectl", *arguments], env=env, capture_output=True, text=True, timeout=timeout_s
    )


async def said(world: NodesWorld, *arguments: str) -> str:
    """Its standard output; it must succeed."""
    done = await run(world, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout
