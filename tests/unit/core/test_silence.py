"""A leader that nobody hears of: when its members are called, and when services leave it."""

from dataclasses import replace

import pytest

from howdah.core.patroni.member import call_value
from howdah.core.plan import CallElection, UnlabelLeader
from howdah.core.planners import decide
from howdah.core.silence import expired_lock, silent_leader, successors
from howdah.model import names
from unit.core.clusters import NAME, labelled, leader, lock, pod, situation, three

CALLED = {**lock(), names.LOCK_EXPIRED: call_value(lock()["renewTime"], 1)}
PODS = (labelled(leader(), "master"), pod(1), pod(2))


def unrenewed(seconds, *pods, successor=None, **parts):
    found = situation(*(pods or three()), **parts)
    place = found.cluster.names.leader_object
    return replace(found, observed=replace(found.observed, unrenewed_s={place: seconds}), successor=successor)


# --- calls -------------------------------------------------------------------------------------------------------------


def test_members_are_called_once_the_lock_has_not_been_renewed_for_its_ttl():
    assert not expired_lock(unrenewed(30.0)).steps
    (step,) = expired_lock(unrenewed(30.1)).steps
    assert isinstance(step, CallElection)
    assert (step.object_kind, step.name) == ("ConfigMap", f"{NAME}-leader")
    assert (step.uid, step.resource_version) == ("uid-of-leader", "300")
    assert step.mark == f"{lock()['renewTime']}/1"
    assert not step.disruptive


def test_members_are_not_called_again_before_it_is_time():
    assert not expired_lock(unrenewed(30.4, leader_lock=CALLED)).steps
    (step,) = expired_lock(unrenewed(30.5, leader_lock=CALLED)).steps
    assert step.mark.endswith("/2")


def test_in_maintenance_mode_nobody_is_called():
    assert not expired_lock(unrenewed(31.0, dynamic={"pause": True})).steps


def test_a_cluster_whose_members_were_called_accepts_no_writes():
    assert situation(*three()).accepts_writes
    assert not situation(*three(), leader_lock=CALLED).accepts_writes


# --- the label ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "asked", "pods", "seconds", "parts"),
    [
        ("the server confirmed that there was no renewal", [1, 2], PODS, 30.2, {}),
        ("newer Patroni's word", [1, 2], (labelled(leader(), "primary"), *PODS[1:]), 30.2, {}),
        ("it did not confirm it yet", [], PODS, 30.2, {"leader_lock": lock()}),
        (
            "it confirmed it of an earlier renewal",
            [],
            PODS,
            30.2,
            {"leader_lock": {**lock(), names.LOCK_EXPIRED: "2025-01-01T00:00:00+00:00/3"}},
        ),
        ("we have not watched for so long", [], PODS, 29.0, {}),
        ("nobody took over in the time in which it would help", [], PODS, 32.1, {}),
        ("no service leads to it", [], three(), 30.2, {}),
        ("maintenance mode", [], PODS, 30.2, {"dynamic": {"pause": True}}),
        ("services go by the lock", [], PODS, 30.2, {"settings": {"kubernetes_use_configmaps": "false"}}),
        ("there is no other member", [], PODS[:1], 30.2, {"spec": {"numberOfInstances": 1}}),
        ("one may not lead in failsafe mode", [2], PODS, 30.2, {"failsafe": (f"{NAME}-0", f"{NAME}-2")}),
        ("nobody is named synchronous yet", [1, 2], PODS, 30.2, {"dynamic": {"synchronous_mode": True}}),
        ("one is on another timeline", [2], (PODS[0], pod(1, timeline=7), PODS[2]), 30.2, {}),
        ("one takes no connections", [2], (PODS[0], pod(1, ready=False), PODS[2]), 30.2, {}),
        ("one is being made", [2], (PODS[0], pod(1, state="creating replica"), PODS[2]), 30.2, {}),
        ("one goes", [2], (PODS[0], pod(1, deleting=True), PODS[2]), 30.2, {}),
        ("one lacks too much", [2], (PODS[0], pod(1, lsn=1000), pod(2, lsn=2_000_000)), 30.2, {"optime": 2_000_000}),
        (
            "as much is allowed",
            [1, 2],
            (PODS[0], pod(1, lsn=1000), pod(2, lsn=2_000_000)),
            30.2,
            {"optime": 2_000_000, "dynamic": {"maximum_lag_on_failover": 2_000_000}},
        ),
        (
            "one is synchronous",
            [2],
            PODS,
            30.2,
            {"synchronous": [f"{NAME}-2"], "dynamic": {"synchronous_mode": True}},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_is_asked_before_services_leave_a_silent_leader(claim, asked, pods, seconds, parts):
    parts = dict(parts)
    held = dict(parts.pop("leader_lock", CALLED))
    if (failsafe := parts.pop("failsafe", None)) is not None:
        held |= {"failsafe": lock(failsafe=failsafe)["failsafe"]}
    if (optime := parts.pop("optime", None)) is not None:
        held |= {"optime": str(optime)}
    found = unrenewed(seconds, *pods, leader_lock=held, successor=f"{NAME}-2", **parts)
    assert [member.name for member in successors(found)] == [f"{NAME}-{ordinal}" for ordinal in asked], claim
    assert [step.name for step in silent_leader(found).steps] == ([f"{NAME}-0"] if asked else []), claim


def test_without_a_member_that_says_that_it_may_take_over_the_leader_keeps_its_services():
    assert not silent_leader(unrenewed(30.2, *PODS, leader_lock=CALLED)).steps


def test_the_label_goes_off_the_pod_that_was_seen_after_the_renewal_that_was_seen():
    (step,) = silent_leader(unrenewed(30.2, *PODS, leader_lock=CALLED, successor=f"{NAME}-2")).steps
    assert isinstance(step, UnlabelLeader)
    assert (step.name, step.uid, step.resource_version) == (f"{NAME}-0", "uid-of-pod-0", "200")
    assert (step.object_kind, step.object_name, step.leader) == ("ConfigMap", f"{NAME}-leader", f"{NAME}-0")
    assert step.renewed == lock()["renewTime"]
    assert not step.disruptive


def test_the_next_call_goes_before_the_label():
    plan = decide(unrenewed(30.6, *PODS, leader_lock=CALLED, successor=f"{NAME}-2"))
    assert [type(step) for step in plan.steps[:2]] == [CallElection, UnlabelLeader]
