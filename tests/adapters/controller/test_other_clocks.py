"""Whose clock says what: a leader that is seen to renew its lock leads, and a departure before that was another pod's."""

import asyncio
import datetime as dt
from dataclasses import replace

import pytest

from adapters.controller.rig import KEY, NAME, NAMESPACE, Rig, rig
from howdah.controller.observe import from_caches, live, utc_now
from howdah.kube.resources import CONFIGMAPS, PODS
from howdah.kube.testing.store import Writer

POD, LOCK = (NAMESPACE, f"{NAME}-0"), f"{NAME}-leader"


def renew(operator: Rig) -> None:
    said = operator.read(CONFIGMAPS, LOCK)["metadata"]
    annotations = {**said["annotations"], "renewTime": dt.datetime.now(dt.UTC).isoformat()}
    operator.change(CONFIGMAPS, LOCK, {"metadata": {**said, "annotations": annotations}})


def kubelet_says(operator: Rig, **status: object) -> None:
    by = Writer("kubelet", subresource="status")
    operator.kube.store.patch(PODS, POD, lambda body: {**body, "status": {**body["status"], **status}}, by)


@pytest.mark.parametrize("ahead_s", [-3600, 90, 3600])
async def test_a_wrong_clock_of_the_operator_makes_no_leader_silent(ahead_s: float) -> None:
    async with rig() as operator:
        await operator.running()
        operator.reconciler._clock = lambda: dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead_s)
        renew(operator)
        await operator.caught_up()
        await operator.one_pass()
        assert operator.status["PostgresClusterStatus"] == "Running"
        assert operator.condition("Ready")[0] == "True"


async def test_a_renewal_between_the_caches_and_the_live_look_ends_a_silence() -> None:
    place = ("ConfigMap", LOCK)
    async with rig() as operator:
        await operator.running()
        cached = from_caches(operator.watch, KEY, utc_now())
        assert cached is not None
        renew(operator)
        seen = await live(
            operator.client, cached, selector=f"cluster-name={NAME}", patroni_kind="ConfigMap", now=utc_now()
        )
        assert seen is not None
        assert seen.unrenewed_s[place] == 0.0
        assert place in seen.renewals_seen


async def test_a_departure_of_long_ago_takes_the_lock_from_nobody_whose_container_starts_again() -> None:
    """It was replaced in order; what leads now is another pod of its name, and starts again by itself before its ttl."""
    async with rig() as operator:
        await operator.running()
        operator.kube.store.patch(
            PODS, POD, lambda body: {**body, "spec": {**body["spec"], "nodeName": "n0"}}, Writer("scheduler")
        )
        operator.kube.store.delete(PODS, POD)
        ended = {"name": "postgres", "state": {"terminated": {"exitCode": 0}}}
        kubelet_says(operator, phase="Succeeded", containerStatuses=[ended])
        await operator.caught_up()
        operator.kube.store.delete(PODS, POD, grace_s=0)
        async with asyncio.timeout(30):
            while not [gone for gone in operator.watch.departed if gone.was_proved_dead]:
                await asyncio.sleep(0.01)
        an_hour_ago = [replace(gone, at_s=gone.at_s - 3600) for gone in operator.watch.departed]
        operator.watch.departed.clear()
        operator.watch.departed.extend(an_hour_ago)
        operator.pod(0)
        renew(operator)
        await operator.passes()
        crashing = {
            "name": "postgres",
            "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }
        kubelet_says(operator, conditions=[{"type": "Ready", "status": "False"}], containerStatuses=[crashing])
        await operator.one_pass()
        assert operator.read(CONFIGMAPS, LOCK)["metadata"]["annotations"].get("leader") == f"{NAME}-0"
