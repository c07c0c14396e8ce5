"""Our definitions at a start: what fails for a moment is tried again for a while, and what stays missing is said."""

import asyncio
from typing import Any

import pytest
import structlog

from howdah.controller.registration import Times, register, report_losses
from howdah.kube.client import Client
from howdah.kube.resources import CUSTOM_RESOURCE_DEFINITIONS
from howdah.kube.testing import FakeKubernetes
from howdah.model.crds import all_crds

NAMES = tuple(crd["metadata"]["name"] for crd in all_crds(("all",)))
TIMES = Times(call_s=0.2, first_pause_s=0.05, within_s=2.0)


async def _registered(client: Client, times: Times = TIMES) -> tuple[tuple[str, ...], list[Any]]:
    """What could not be registered, and the log."""
    with structlog.testing.capture_logs() as logged:
        return await register(client, ("all",), asyncio.Event(), times=times), logged


def _installed(kube: FakeKubernetes) -> set[str]:
    return {crd["metadata"]["name"] for crd in kube.store.select(CUSTOM_RESOURCE_DEFINITIONS, "", lambda _: True)}


@pytest.mark.parametrize("status", [0, 500, 503, 429, 403])
async def test_what_fails_for_a_moment_is_tried_again(status: int) -> None:
    async with FakeKubernetes() as kube, kube.client(timeout_s=5) as client:
        kube.fail_next(status, verb="apply", times=len(NAMES))

        missing, logged = await _registered(client)

        assert missing == ()
        assert _installed(kube) == set(NAMES)
        assert all(line["log_level"] == "info" for line in logged)


async def test_a_server_that_does_not_answer_is_given_up_after_a_while() -> None:
    async with FakeKubernetes() as kube, kube.client(timeout_s=30) as client:
        kube.stall_next(20.0, verb="apply", times=1000)
        began = asyncio.get_running_loop().time()

        missing, logged = await _registered(client)

        assert set(missing) == set(NAMES)
        assert asyncio.get_running_loop().time() - began < 5.0
        assert {line["crd"] for line in logged if line["log_level"] == "warning"} == set(NAMES)
        assert "no answer within 0.2 s" in str(logged)


async def test_a_refusal_says_what_is_missing_and_how_it_goes_on() -> None:
    async with FakeKubernetes() as kube, kube.client(timeout_s=5) as client:
        kube.fail_next(403, "Forbidden", verb="apply", times=1000)

        missing, logged = await _registered(client)

        assert set(missing) == set(NAMES)
        said = [line for line in logged if line["log_level"] == "warning"]
        assert {line["crd"] for line in said} == set(NAMES)
        for line in said:
            assert "create and patch customresourcedefinitions.apiextensions.k8s.io" in line["missing"]
            assert "goes on with the installed definition" in line["hint"]
        applies = [request for request in kube.requests if request.verb == "apply"]
        assert len(applies) == 2 * len(NAMES)


async def test_what_can_never_succeed_is_tried_once() -> None:
    async with FakeKubernetes() as kube, kube.client(timeout_s=5) as client:
        kube.fail_next(422, "Invalid", verb="apply", times=1000)
        missing, _ = await _registered(client)
        assert set(missing) == set(NAMES)
        assert len([request for request in kube.requests if request.verb == "apply"]) == len(NAMES)


async def test_a_process_told_to_stop_does_not_wait() -> None:
    async with FakeKubernetes() as kube, kube.client(timeout_s=5) as client:
        kube.fail_next(500, verb="apply", times=1000)
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        began = asyncio.get_running_loop().time()
        assert set(await register(client, ("all",), stop, times=Times(first_pause_s=60.0, within_s=600.0))) == set(
            NAMES
        )
        assert asyncio.get_running_loop().time() - began < 5.0


async def test_a_definition_that_may_not_be_changed_is_left_and_what_it_drops_is_known() -> None:
    old = {
        "metadata": {"name": "postgresqls.acid.zalan.do"},
        "spec": {
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"spec": {"type": "object", "properties": {"teamId": {"type": "string"}}}},
                        }
                    },
                }
            ]
        },
    }
    async with FakeKubernetes() as kube, kube.client(timeout_s=5) as client:
        kube.store.seed(CUSTOM_RESOURCE_DEFINITIONS, old)

        lost = await report_losses(client, ("all",))

        assert "postgresqls.acid.zalan.do: spec.numberOfInstances" in lost
        assert "postgresqls.acid.zalan.do: spec.teamId" not in lost
        assert kube.writes() == []
