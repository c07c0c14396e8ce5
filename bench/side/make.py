"""`python -m bench.side.make KUBECONFIG < MANIFESTS`: many manifests at once, as a script of a platform team would send them.

kubectl sends one after the other, which for hundreds takes longer than an operator takes to act on them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube.client import Client
from howdah.kube.credentials import load_access

AT_ONCE = 16


async def make(kubeconfig: str, bodies: list[dict[str, Any]]) -> None:
    """Raises what the API server refuses."""
    async with Client(load_access(kubeconfig), concurrency=AT_ONCE, timeout_s=120, field_manager="people") as client:
        await asyncio.gather(*(client.create(POSTGRESQLS, body) for body in bodies))


if __name__ == "__main__":
    asyncio.run(make(sys.argv[1], json.load(sys.stdin)))
