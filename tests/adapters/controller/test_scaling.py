"""Fewer instances, against an API server: with all that may come at the same time, and with what comes in between."""

import asyncio
import datetime as dt
import json

import pytest

from adapters.controller.rig import KEY, NAME, Rig, rig
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.kube.resources import CONFIGMAPS, PODS, STATEFUL_SETS
from howdah.kube.testing import Fault, fitting
from howdah.model import names

DELETES = {"persistent_volume_claim_retention_policy": "when_deleted:retain,when_scaled:delete"}
FEWER = {"numberOfInstances": 2}
LAST, FIRST = f"{NAME}-2", f"{NAME}-0"


def replicas(operator: Rig) -> int | None:
    found = operator.find(STATEFUL_SETS)
    return None if found is None else found["spec"]["replicas"]


def annotate(operator: Rig, resource, name: str, **annotations: str) -> None:
    metadata = operator.read(resource, name)["metadata"]
    merged = {**(metadata.get("annotations") or {}), **annotations}
    operator.change(resource, name, {"metadata": {**metadata, "annotations": merged}})


def lead(operator: Rig, ordinal: int, *, candidates: bool) -> None:
    """Another member leads. Without candidates no other one can."""
    operator.api.leader = ordinal
    for number in range(3):
        state = {**operator.api.state(number), "api_url": operator.api.url(number), "xlog_location": 1000}
        if not candidates and number != ordinal:
            state |= {"replication_state": None, "state": "starting"}
        annotate(operator, PODS, f"{NAME}-{number}", status=json.dumps(state))
    now = dt.datetime.now(dt.UTC).isoformat()
    annotate(operator, CONFIGMAPS, f"{NAME}-leader", leader=f"{NAME}-{ordinal}", renewTime=now)


async def some_passes(operator: Rig) -> None:
    for _ in range(6):
        await operator.one_pass()


@pytest.mark.parametrize("why", ["nobody can take over", "paused", "Patroni's maintenance mode"])
@pytest.mark.parametrize("how", ["with a larger volume", "after its StatefulSet was deleted by hand"])
async def test_a_leader_is_not_left_out_by_a_stateful_set_that_is_made_anew(why: str, how: str) -> None:
    async with rig(options=DELETES) as operator:
        await operator.running()
        lead(operator, 2, candidates=why != "nobody can take over")
        if why == "paused":
            annotate(operator, POSTGRESQLS, NAME, **{names.PAUSE: "disruptive"})
        if why == "Patroni's maintenance mode":
            annotate(operator, CONFIGMAPS, f"{NAME}-config", config=json.dumps({"ttl": 30, "pause": True}))
        await operator.passes()
        before = operator.read(STATEFUL_SETS)["metadata"]["uid"]
        volume = {"volume": {"size": "2Gi"}} if how == "with a larger volume" else {}
        operator.change(POSTGRESQLS, NAME, {"spec": {**FEWER, **volume}})
        if not volume:
            operator.kube.store.delete(STATEFUL_SETS, KEY)
        await some_passes(operator)
        assert operator.read(STATEFUL_SETS)["metadata"]["uid"] != before
        assert replicas(operator) == 3
        assert operator.api.commands == []


async def test_it_gets_smaller_in_its_own_step_when_somebody_who_stays_leads() -> None:
    async with rig() as operator:
        await operator.running()
        lead(operator, 2, candidates=True)
        operator.change(POSTGRESQLS, NAME, {"spec": {**FEWER, "volume": {"size": "2Gi"}}})
        await some_passes(operator)
        assert replicas(operator) == 3
        assert {command[:2] for command in operator.api.commands} == {(LAST, "/switchover")}
        lead(operator, 0, candidates=True)
        await some_passes(operator)
        assert replicas(operator) == 2


async def test_a_cluster_without_leader_keeps_its_members_and_says_why() -> None:
    async with rig(options=DELETES) as operator:
        await operator.running()
        annotate(operator, CONFIGMAPS, f"{NAME}-leader", leader="")
        operator.change(POSTGRESQLS, NAME, {"spec": FEWER})
        await some_passes(operator)
        assert replicas(operator) == 3
        assert (
            "nobody leads, and the newest commits may be in a volume that would go"
            in operator.condition("Progressing")[2]
        )


@pytest.mark.parametrize("refused", [("patch", "postgresqls"), ("apply", "statefulsets")], ids=lambda one: one[1])
async def test_a_server_that_is_busy_makes_no_old_decision_come_true(refused: tuple[str, str]) -> None:
    """The leader changes while the API server lets the operator wait, before and after its announcement."""
    async with rig() as operator:
        await operator.running()
        operator.change(POSTGRESQLS, NAME, {"spec": FEWER})
        fault = Fault(fitting(*refused), status=429, reason="TooManyRequests", retry_after_s=1)
        operator.kube.faults.add(fault)
        task = asyncio.create_task(operator.one_pass())
        async with asyncio.timeout(5):
            while operator.kube.faults.pending:
                await asyncio.sleep(0.01)
        annotate(operator, CONFIGMAPS, f"{NAME}-leader", leader=LAST)
        await task
        assert replicas(operator) == 3


async def test_a_leader_that_changes_after_the_look_keeps_everybody() -> None:
    async with rig() as operator:
        await operator.running()
        operator.change(POSTGRESQLS, NAME, {"spec": FEWER})

        async def another_one_leads(request) -> None:
            if (request.verb, request.resource) == ("patch", "postgresqls"):
                annotate(operator, CONFIGMAPS, f"{NAME}-leader", leader=LAST)

        operator.kube.before = another_one_leads
        await operator.one_pass()
        assert replicas(operator) == 3
        assert "apply" not in {request.verb for request in operator.writes()}


async def test_no_instances_keep_the_volumes_whatever_the_policy_says() -> None:
    async with rig(options=DELETES) as operator:
        await operator.running()
        policy = operator.read(STATEFUL_SETS)["spec"]["persistentVolumeClaimRetentionPolicy"]
        assert policy["whenScaled"] == "Delete"
        operator.change(POSTGRESQLS, NAME, {"spec": {"numberOfInstances": 0}})
        await some_passes(operator)
        spec = operator.read(STATEFUL_SETS)["spec"]
        assert (spec["replicas"], spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"]) == (0, "Retain")
        asked = [r.body["spec"] for r in operator.writes() if (r.verb, r.resource) == ("apply", "statefulsets")]
        assert [one["replicas"] for one in asked] == [3, 0], "the volumes are kept before anybody goes"
