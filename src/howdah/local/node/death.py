"""Waiting for the death of a process. Apart from `processes`, which the small shim imports and which has no event loop."""

import asyncio
import os

from howdah.local.node import processes
from howdah.local.node.processes import Identity


async def until_dead(who: Identity) -> None:
    """Returns when this very process is dead."""
    descriptor = processes.open_pidfd(who)
    if descriptor is None:
        return
    loop = asyncio.get_running_loop()
    dead = asyncio.Event()
    loop.add_reader(descriptor, dead.set)
    try:
        await dead.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
