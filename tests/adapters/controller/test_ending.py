"""How an operator ends, at SIGTERM or with its configuration: whoever comes next can work at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs

from howdah.adapters.kubernetes import OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS, POSTGRESQLS
from howdah.controller.main import Operator, Options
from howdah.controller.metrics import Metrics
from howdah.kube.events import Reference
from howdah.kube.resources import LEASES
from howdah.kube.testing import FakeKubernetes
from howdah.kube.testing.faults import Request
from howdah.model.settings import default_settings
from steady import HANGS_S

NAMESPACE = "own"


def holder(kube: FakeKubernetes) -> str:
    lease = kube.store.find(LEASES, NAMESPACE, "howdah") or {"spec": {}}
    return str(lease["spec"].get("holderIdentity") or "")


async def until(question: Callable[[], object]) -> None:
    async with asyncio.timeout(HANGS_S):
        while not question():
            await asyncio.sleep(0.02)


async def test_the_lease_is_free_before_the_last_events_are_written_and_these_have_seconds() -> None:
    async with FakeKubernetes(POSTGRESQLS, OPERATOR_CONFIGURATIONS, POSTGRES_TEAMS) as kube, kube.client() as client:
        environment = {"WATCHED_NAMESPACE": NAMESPACE, "OPERATOR_NAMESPACE": NAMESPACE}
        options = Options(kube.access(NAMESPACE), environment, listen_host="127.0.0.1", listen_port=0)
        metrics = Metrics()
        operator = Operator(client, options, default_settings()[0], metrics)
        stop, never = asyncio.Event(), asyncio.create_task(asyncio.Event().wait())
        held_at_events: list[str] = []

        async def noted(request: Request) -> None:
            if request.resource == "events":
                held_at_events.append(holder(kube))

        with capture_logs() as logged:
            running = asyncio.create_task(operator.run(stop, never))
            await until(lambda: metrics.registry.get_sample_value("howdah_leading") == 1)
            kube.before = noted
            kube.stall_next(10 * HANGS_S, resource="events", times=1000)
            for n in range(10):
                operator.say(Reference(POSTGRESQLS, f"acid-{n}", NAMESPACE), "Normal", "Seen", "as it was")
            await until(lambda: len(held_at_events) == 1)
            stop.set()
            async with asyncio.timeout(HANGS_S):
                await running
        assert holder(kube) == ""
        first, *last = held_at_events
        assert first  # written while it worked
        assert set(last) == {""}
        assert [entry["events"] for entry in logged if entry["event"].startswith("events not written")] == [9]
