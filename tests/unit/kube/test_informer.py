"""How long an informer waits that was told to."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from howdah.kube.errors import ServerUnavailable
from howdah.kube.informer import LONGEST_ASKED_S, LONGEST_DELAY_S, Informer, PartialObject
from howdah.kube.resources import PODS

pytestmark = pytest.mark.looptime


class InMaintenance:
    """Lists nothing, and says when to come again; `asked` by the loop's clock."""

    def __init__(self, retry_after_s: float | None) -> None:
        self.asked: list[float] = []
        self._retry_after_s = retry_after_s

    async def pages(self, *_: Any, **__: Any) -> AsyncIterator[None]:
        self.asked.append(asyncio.get_running_loop().time())
        raise ServerUnavailable("list pods", status=503, retry_after_s=self._retry_after_s)
        yield


@pytest.mark.parametrize(
    ("retry_after_s", "waits_s"),
    [(None, LONGEST_DELAY_S), (10.0, 10.0), (3600.0, LONGEST_ASKED_S), (float("inf"), LONGEST_ASKED_S)],
)
async def test_a_server_that_asks_for_time_gets_it_up_to_a_limit(retry_after_s: float | None, waits_s: float) -> None:
    server = InMaintenance(retry_after_s)
    task = asyncio.create_task(Informer(server, PODS, PartialObject).run())  # type: ignore[arg-type]
    await asyncio.sleep(900)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    gaps = [round(later - earlier, 3) for earlier, later in zip(server.asked, server.asked[1:], strict=False)]
    assert max(gaps) <= waits_s
    assert retry_after_s is None or min(gaps) >= min(retry_after_s, waits_s)
