"""When a leader leaves its node, to whom it hands over, and what is said while it cannot."""

import datetime as dt
from typing import Any

import pytest

from howdah.core.findings import findings_of
from howdah.core.nodes import due_move, leader_move, leave_nodes
from howdah.core.plan import FleetBudget, Plan, Switchover
from howdah.core.planners import decide
from howdah.core.situation import Situation
from howdah.core.status import Outcome, build_status, transitions
from howdah.model import names
from howdah.model.observed import Node
from unit.core.clusters import NOW, OUTDATED, leader, lock, node, pod, situation

CORDONED, STAYS, OTHER = node("n0", cordoned=True), node("n1"), node("n2")
NODES = (CORDONED, STAYS, OTHER)
TIMEOUT_S = 1200
LEADER_MOVE_PENDING = "LeaderMovePending"


def seen(*pods: Any, nodes: tuple[Node, ...] = NODES, **more: Any) -> Situation:
    there = pods or (leader(0, node="n0"), pod(1, node="n1"), pod(2, node="n2"))
    return situation(*there, nodes=nodes, spec={"numberOfInstances": len(there), **more.pop("spec", {})}, **more)


def candidate(found: Situation) -> str | None:
    steps = leave_nodes(found).steps
    assert all(isinstance(step, Switchover) and step.leader == "acid-a-0" for step in steps)
    return steps[0].candidate if steps else None  # type: ignore[attr-defined]


def why_not(found: Situation) -> str:
    (held,) = leave_nodes(found).held
    return held.why


# who moves


def test_a_leader_on_a_cordoned_node_hands_over_to_a_replica_on_one_that_stays() -> None:
    plan = decide(seen())
    (step,) = [step for step in plan.steps if step.disruptive]
    assert step == Switchover(reason="acid-a-0 leads, and node n0 is cordoned", leader="acid-a-0", candidate="acid-a-1")


@pytest.mark.parametrize(
    ("claim", "nodes"),
    [
        ("nothing is known of any node", ()),
        ("nothing is known of the leader's node", (STAYS, OTHER)),
        (
            "its kubelet is silent, and whether PostgreSQL lives is Patroni's to judge",
            (node("n0", ready=False), STAYS, OTHER),
        ),
        ("all nodes stay", (node("n0"), STAYS, OTHER)),
        ("a replica's node is cordoned", (node("n0"), node("n1", cordoned=True), OTHER)),
    ],
)
def test_a_leader_stays_when(claim: str, nodes: tuple[Node, ...]) -> None:
    assert decide(seen(nodes=nodes)).is_quiet, claim
    assert leader_move(seen(nodes=nodes)) is None


@pytest.mark.parametrize(
    ("labels", "moves"), [({"lifecycle": "ready"}, False), ({"lifecycle": "draining"}, True), ({}, True)]
)
def test_a_cordoned_node_that_has_the_readiness_labels_still_counts_as_ready(
    labels: dict[str, str], moves: bool
) -> None:
    nodes = (node("n0", cordoned=True, **labels), node("n1", lifecycle="ready"), OTHER)
    found = seen(nodes=nodes, settings={"node_readiness_label": "lifecycle:ready"})
    assert (candidate(found) is not None) is moves


def test_a_leader_that_is_going_already_is_left_to_patroni() -> None:
    assert due_move(seen(leader(0, node="n0", deleting=True), pod(1, node="n1"))) is None
    assert due_move(seen(leader_lock=lock(age_s=100.0))) is None


# to whom


@pytest.mark.parametrize(
    ("claim", "one", "other", "expected"),
    [
        ("cordoned, too", {"node": "n3"}, {"node": "n2"}, "acid-a-2"),
        ("on a node that is not ready", {"node": "n4"}, {"node": "n2"}, "acid-a-2"),
        ("on a node that nobody knows", {"node": "n9"}, {"node": "n2"}, "acid-a-2"),
        ("does not stream", {"node": "n1", "state": "starting"}, {"node": "n2"}, "acid-a-2"),
        ("is going", {"node": "n1", "deleting": True}, {"node": "n2"}, "acid-a-2"),
        ("is far behind", {"node": "n1", "lsn": 1000}, {"node": "n2", "lsn": 2**30}, "acid-a-2"),
        ("all are far behind", {"node": "n1", "lsn": 1000}, {"node": "n2", "lsn": 1000}, None),
        ("nobody can", {"node": "n3"}, {"node": "n4"}, None),
    ],
)
def test_only_a_healthy_replica_on_a_node_that_stays_takes_over(
    claim: str, one: dict[str, Any], other: dict[str, Any], expected: str | None
) -> None:
    nodes = (*NODES, node("n3", cordoned=True), node("n4", ready=False))
    found = seen(
        leader(0, node="n0", lsn=2**30),
        pod(1, **{"lsn": 2**30, **one}),
        pod(2, **{"lsn": 2**30, **other}),
        nodes=nodes,
        leader_lock=lock(optime=2**30),
    )
    assert candidate(found) == expected, claim


def test_what_is_wrong_with_each_replica_is_said() -> None:
    nodes = (*NODES, node("n3", cordoned=True))
    found = seen(leader(0, node="n0"), pod(1, node="n3"), pod(2, node="n2", state="starting"), nodes=nodes)
    assert why_not(found) == (
        "acid-a-1 is on node n3, which is cordoned, too; it comes to another one when that is drained; "
        "acid-a-2 does not stream (state starting)"
    )


def test_a_replica_that_the_drain_takes_away_holds_nothing_up() -> None:
    assert candidate(seen(leader(0, node="n0"), pod(1, node="n0", deleting=True), pod(2, node="n2"))) == "acid-a-2"


def test_with_synchronous_replication_only_a_synchronous_standby_takes_over() -> None:
    more: dict[str, Any] = {"dynamic": {"synchronous_mode": True}, "spec": {"patroni": {"synchronous_mode": True}}}
    assert candidate(seen(synchronous=("acid-a-2",), **more)) == "acid-a-2"
    nodes = (CORDONED, STAYS, node("n2", cordoned=True))
    said = why_not(seen(synchronous=("acid-a-2",), nodes=nodes, **more))
    assert said.startswith(
        "acid-a-1 is not a synchronous standby, and Patroni hands over to no other; acid-a-2 is on node n2"
    )


def test_only_members_that_failsafe_mode_knows_take_over() -> None:
    assert candidate(seen(leader_lock=lock(failsafe=("acid-a-0", "acid-a-2")))) == "acid-a-2"


def test_the_only_member_stays_and_what_a_person_can_do_is_said() -> None:
    found = seen(leader(0, node="n0"))
    assert leave_nodes(found).steps == ()
    assert "it is the only member" in why_not(found)
    assert "mark its pod for replacement" in why_not(found)
    assert decide(found).next_look_s == TIMEOUT_S, "nothing is looked at again and again for weeks"


def test_a_pod_that_is_marked_goes_although_it_is_the_only_one() -> None:
    plan = decide(seen(leader(0, node="n0", annotations={names.ROLLING_UPDATE_REQUIRED: "true"})))
    assert [type(step).__name__ for step in plan.steps] == ["ReplacePod"]


# what may hold it


def test_no_window_holds_it() -> None:
    assert candidate(seen(spec={"maintenanceWindows": ["Mon:01:00-02:00"]})) == "acid-a-1"


def test_a_pause_and_patronis_maintenance_mode_hold_it() -> None:
    for held in (decide(seen(annotations={names.PAUSE: "disruptive"})), decide(seen(dynamic={"pause": True}))):
        assert not any(step.disruptive for step in held.steps)
        assert [type(one.step) for one in held.held] == [Switchover]


@pytest.mark.parametrize(
    ("budget", "moves"),
    [
        (FleetBudget(moving=4), True),
        (FleetBudget(moving=5), False),
        (FleetBudget(limit=0), False),
        (FleetBudget(rolling={"x": 9}, is_complete=False), True),
    ],
)
def test_so_many_hand_over_at_a_time_as_may_roll(budget: FleetBudget, moves: bool) -> None:
    assert (candidate(seen(budget=budget)) is not None) is moves


def test_it_comes_before_a_roll() -> None:
    found = seen(leader(0, node="n0"), pod(1, node="n1"), pod(2, node="n2", revision=OUTDATED))
    (first, *_) = [step for step in decide(found).steps if step.disruptive]
    assert isinstance(first, Switchover)


# a leader that hands over for another reason


def test_a_roll_hands_over_to_a_replica_on_a_node_that_stays_if_there_is_one() -> None:
    rolled = (leader(0, node="n1", revision=OUTDATED), pod(1, node="n0", lsn=2000), pod(2, node="n2"))
    (step,) = [step for step in decide(seen(*rolled)).steps if step.disruptive]
    assert isinstance(step, Switchover)
    assert step.candidate == "acid-a-2"
    alone = (leader(0, node="n1", revision=OUTDATED), pod(1, node="n0"))
    (step,) = [step for step in decide(seen(*alone)).steps if step.disruptive]
    assert isinstance(step, Switchover)
    assert step.candidate == "acid-a-1", "there is no other"


# what the status says


def status_of(found: Situation, previous: dict[str, Any], now: dt.datetime = NOW) -> dict[str, Any]:
    return build_status(previous, findings_of(found), decide(found), Outcome(), now)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((c for c in status["conditions"] if c["type"] == kind), None)


BEFORE = {"PostgresClusterStatus": "Running"}
STUCK = (leader(0, node="n0"),)


def test_a_move_that_waits_is_a_condition_with_an_event_and_no_fault() -> None:
    status = status_of(seen(*STUCK), BEFORE)
    said = condition(status, LEADER_MOVE_PENDING)
    assert said is not None
    assert (said["status"], said["reason"]) == ("True", "OnlyMember")
    assert said["message"].startswith("acid-a-0 leads, and node n0 is cordoned: it is the only member")
    assert (status["PostgresClusterStatus"], condition(status, "Degraded")["status"]) == ("Running", "False")  # type: ignore[index]
    assert LEADER_MOVE_PENDING in [event.reason for event in transitions(BEFORE, status)]
    assert condition(status_of(seen(nodes=(node("n0"), STAYS, OTHER)), status), LEADER_MOVE_PENDING) is None


def test_after_master_pod_move_timeout_it_is_a_fault_also_after_a_restart_of_the_operator() -> None:
    status = status_of(seen(*STUCK), BEFORE, NOW - dt.timedelta(seconds=TIMEOUT_S - 10))
    almost = seen(*STUCK, status=status)
    assert condition(status_of(almost, status), "Degraded")["status"] == "False"  # type: ignore[index]
    assert decide(almost).next_look_s == 10
    status = status_of(seen(*STUCK), BEFORE, NOW - dt.timedelta(seconds=TIMEOUT_S))
    degraded = condition(status_of(seen(*STUCK, status=status), status), "Degraded")
    assert degraded is not None
    assert (degraded["status"], degraded["reason"]) == ("True", "LeaderNotMoved")
    longer = seen(*STUCK, status=status, settings={"master_pod_move_timeout": "2h"})
    assert condition(status_of(longer, status), "Degraded")["status"] == "False"  # type: ignore[index]


def test_where_nodes_may_not_be_seen_that_is_said_and_nothing_else_changes() -> None:
    found = seen(nodes=(), nodes_unseen="leaders are not moved off cordoned nodes: forbidden")
    status = status_of(found, BEFORE)
    said = condition(status, LEADER_MOVE_PENDING)
    assert said is not None
    assert (said["status"], said["reason"]) == ("Unknown", "NodesNotVisible")
    assert decide(found) == Plan()
    assert (status["PostgresClusterStatus"], condition(status, "Degraded")["status"]) == ("Running", "False")  # type: ignore[index]


# what a node tells


def test_a_heartbeat_of_a_node_is_no_news() -> None:
    before = node("n0")
    beats = [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "True"}]
    import msgspec

    after = msgspec.convert(
        {"metadata": {"name": "n0", "labels": {}, "resourceVersion": "9"}, "spec": {}, "status": {"conditions": beats}},
        Node,
    )
    assert before.significant() == after.significant()
    assert before.significant() != node("n0", cordoned=True).significant()
    assert before.significant() != node("n0", ready=False).significant()
    assert before.significant() != node("n0", lifecycle="ready").significant()
