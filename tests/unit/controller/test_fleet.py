"""How many clusters may roll for one cause, told from what the passes of all clusters saw."""

import datetime as dt
from collections import Counter
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.controller.fleet import Fleet
from howdah.core.intent import intent_of
from howdah.core.nodes import leave_nodes
from howdah.core.plan import FleetBudget, Held, Plan, ReplacePod, Switchover
from howdah.core.planners import IN_VAIN, decide, restarts
from howdah.core.pooler_rolls import UNKNOWN, pooler_causes
from howdah.core.rollout import causes
from howdah.model import names
from howdah.model.errors import ExternalError
from unit.core.clusters import NOW, OUTDATED, leader, lock, node, pod, situation, three
from unit.core.test_pooler_rolls import HALF_WAY as HALF
from unit.core.test_pooler_rolls import LEADER, deployment, old, seen

ONE, OTHER, THIRD = ("ns", "one"), ("ns", "other"), ("ns", "third")
QUIET = situation(*three())
DUE = situation(*three(revision=OUTDATED))
DRAINED = situation(leader(revision=OUTDATED), pod(1, revision=OUTDATED), pod(2))
NEW_POD_STARTS = situation(leader(), pod(1), pod(2, ready=False))
STOPPED = situation(leader(revision=OUTDATED), pod(1, revision=OUTDATED), pod(2, waiting="ErrImagePull"))
(CAUSE,) = causes(DUE.views)
LIMIT = 5
REPLACING = next(step for step in decide(DUE).steps if step.disruptive)


def announced(step):
    return {names.DISRUPTION: msgspec.json.encode(intent_of(step, NOW)).decode()}


ANNOUNCED = announced(REPLACING)
BEGUN = situation(*DRAINED.observed.pods, annotations=ANNOUNCED)


def fleet(**seen):
    made = Fleet(lambda: (ONE, OTHER, THIRD))
    for key, found in {ONE: seen.get("one"), OTHER: seen.get("other"), THIRD: seen.get("third")}.items():
        if found is not None:
            made.note(key, found, decide(found), ())
    return made


def test_a_fleet_is_complete_when_every_cluster_was_looked_at():
    made = fleet(one=QUIET, other=QUIET)
    assert not made.budget(ONE, LIMIT).is_complete
    made.seen(THIRD)
    assert made.budget(ONE, LIMIT).is_complete


def test_a_cluster_that_is_due_does_not_count_before_its_roll_has_begun():
    assert fleet(one=DUE, other=DUE).budget(THIRD, LIMIT).rolling == {}


def test_a_roll_counts_from_the_decision_on():
    made = fleet(one=DUE)
    made.begin(ONE, DUE, REPLACING)
    assert made.budget(OTHER, LIMIT).rolling == {CAUSE: 1}


def test_after_a_restart_of_the_operator_rolls_that_have_begun_are_seen():
    assert fleet(one=BEGUN, other=BEGUN).budget(THIRD, LIMIT).rolling == {CAUSE: 2}


def test_a_pod_that_a_drain_made_anew_is_no_roll():
    assert fleet(one=DRAINED).budget(ONE, LIMIT).mine == frozenset()
    assert fleet(one=DRAINED).budget(OTHER, LIMIT).rolling == {}


def test_an_announcement_of_something_else_is_no_roll():
    other = announced(replace(REPLACING, cause="something else"))
    assert fleet(one=situation(*DRAINED.observed.pods, annotations=other)).budget(ONE, LIMIT).mine == frozenset()


def test_the_switchover_of_a_roll_announces_it_too():
    last = situation(leader(revision=OUTDATED), pod(1), pod(2))
    (switchover,) = (step for step in decide(last).steps if step.disruptive)
    after = situation(
        pod(0, revision=OUTDATED), leader(1), pod(2), leader_lock=lock("acid-a-1"), annotations=announced(switchover)
    )
    assert fleet(one=after).budget(ONE, LIMIT).mine == {CAUSE}


def test_the_repair_of_a_broken_pod_is_no_leave_to_roll_the_others():
    broken = situation(*three(revision=OUTDATED)[:2], pod(2, revision=OUTDATED, waiting="ErrImagePull"))
    (repair,) = (step for step in decide(broken).steps if step.disruptive)
    made = fleet(one=broken)
    made.begin(ONE, broken, repair)
    made.note(ONE, broken, decide(broken), (repair,))
    assert made.budget(ONE, LIMIT).mine == frozenset()
    made.note(ONE, situation(*DRAINED.observed.pods, annotations=announced(repair)), Plan(), ())
    assert made.budget(ONE, LIMIT).mine == frozenset()


STOPPED_ELSEWHERE = FleetBudget(failed={CAUSE: "other"})


def taken(made, **parts):
    """The budget after a disruptive step of a cluster all of whose pods are due, for what stopped elsewhere."""
    due = situation(*parts.pop("pods"), budget=STOPPED_ELSEWHERE, **parts)
    (step,) = (step for step in decide(due).steps if step.disruptive)
    made.begin(ONE, due, step)
    made.note(ONE, due, decide(due), (step,))
    return step, made.budget(ONE, LIMIT)


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        ("a leader that is due leaves its node", {"nodes": ("n0",)}),
        ("the leader is scaled away", {"spec": {"numberOfInstances": 2}, "leads": 2}),
    ],
)
def test_a_switchover_that_is_none_of_the_roll_is_no_leave_to_roll(claim, parts):
    leads, cordoned = parts.pop("leads", 0), parts.pop("nodes", ())
    pods = [(leader if n == leads else pod)(n, revision=OUTDATED, node=f"n{n}") for n in range(3)]
    nodes = [node(f"n{n}", cordoned=f"n{n}" in cordoned) for n in range(3)]
    step, budget = taken(fleet(), pods=pods, nodes=nodes, leader_lock=lock(f"acid-a-{leads}"), **parts)
    assert isinstance(step, Switchover), claim
    assert budget.mine == frozenset(), claim


def test_a_mark_is_no_leave_to_roll_those_without():
    marked = pod(1, revision=OUTDATED, annotations={names.ROLLING_UPDATE_REQUIRED: "true"})
    pods = (leader(revision=OUTDATED), marked, pod(2, revision=OUTDATED))
    step, budget = taken(fleet(), pods=pods)
    assert step.name == "acid-a-1"
    assert budget.mine == {"mark of ns/acid-a"}
    made = fleet(one=situation(*pods, annotations=announced(step)))
    assert made.budget(ONE, LIMIT).mine == {"mark of ns/acid-a"}, "nor after a restart of the operator"


def test_nobody_waits_for_a_roll_in_which_a_replica_copies_and_copies():
    made = fleet(one=BEGUN)
    for age, rolling in ((dt.timedelta(minutes=9), {CAUSE: 1}), (dt.timedelta(minutes=11), {})):
        copying = pod(2, state="creating replica", ready=False, age=age)
        seen = situation(*DRAINED.observed.pods[:2], copying, annotations=ANNOUNCED)
        made.note(ONE, seen, decide(seen), ())
        assert made.budget(OTHER, LIMIT).rolling == rolling
        assert made.budget(ONE, LIMIT).mine == {CAUSE}
        assert made.budget(OTHER, LIMIT).failed == {}, "it is no failure"


def test_a_cluster_does_not_count_against_itself():
    assert fleet(one=BEGUN).budget(ONE, LIMIT).rolling == {}


def test_a_roll_is_finished_when_every_new_pod_does_its_part():
    made = fleet(one=BEGUN)
    made.note(ONE, NEW_POD_STARTS, Plan(), ())
    assert made.budget(OTHER, LIMIT).finished == frozenset()
    assert made.budget(OTHER, LIMIT).rolling == {CAUSE: 1}, "its last pod is not there yet"
    made.note(ONE, QUIET, Plan(), ())
    assert made.budget(OTHER, LIMIT).finished == {CAUSE}
    assert made.budget(OTHER, LIMIT).rolling == {}


def test_a_cluster_that_never_rolled_proves_nothing():
    made = fleet(one=DUE)
    made.note(ONE, QUIET, Plan(), ())
    assert made.budget(OTHER, LIMIT).finished == frozenset()


def test_a_roll_that_stopped_is_told_to_the_others_by_name():
    made = fleet(one=STOPPED, other=STOPPED)
    assert made.budget(THIRD, LIMIT).failed == {CAUSE: "one"}
    assert made.budget(ONE, LIMIT).failed == {CAUSE: "other"}
    made.note(ONE, BEGUN, Plan(), ())
    assert made.budget(THIRD, LIMIT).failed == {CAUSE: "other"}, "it goes on"
    assert made.budget(OTHER, LIMIT).failed == {}


WAYS = st.sampled_from([QUIET, DUE, BEGUN, NEW_POD_STARTS, STOPPED, None])


@given(st.lists(st.tuples(st.sampled_from([ONE, OTHER]), WAYS), max_size=12))
def test_what_others_do_is_counted_once_whatever_happened_before(history):
    """The third sees just what the two do now: sums that are kept up to date are those of a fleet counted anew."""
    made = fleet()
    for key, found in history:
        made.forget(key) if found is None else made.note(key, found, decide(found), ())
    each = [made.budget(key, LIMIT).mine for key in (ONE, OTHER)]
    assert made.budget(THIRD, LIMIT).rolling == Counter(cause for causes in each for cause in causes)
    has_stopped = any(_is_stopped(history, key) for key in (ONE, OTHER))
    assert (CAUSE in made.budget(THIRD, LIMIT).failed) is has_stopped


def _is_stopped(history, key):
    return next((found is STOPPED for other, found in reversed(history) if other == key), False)


def test_a_cluster_that_cannot_be_seen_is_no_failed_roll():
    forbidden = ExternalError("kubernetes", transient=True, message="listing secrets is not permitted")
    blind = replace(DUE, observed=replace(DUE.observed, problems=(forbidden,)))
    assert decide(blind).stopped is not None
    assert fleet(one=blind).budget(OTHER, LIMIT).failed == {}


def unseen(found):
    forbidden = ExternalError("kubernetes", transient=True, message="listing pods is not permitted")
    return replace(found, observed=replace(found.observed, problems=(forbidden,)))


def test_nobody_waits_for_the_roll_of_a_cluster_that_may_not_be_seen_any_more():
    made = fleet(one=BEGUN)
    assert made.budget(OTHER, LIMIT).rolling == {CAUSE: 1}
    made.note(ONE, unseen(BEGUN), decide(unseen(BEGUN)), ())
    assert made.budget(OTHER, LIMIT).rolling == {}
    made.note(ONE, BEGUN, decide(BEGUN), ())
    assert made.budget(OTHER, LIMIT).rolling == {CAUSE: 1}, "it is seen again"


def test_a_failed_roll_stays_a_warning_when_its_cluster_may_not_be_seen_any_more():
    made = fleet(one=STOPPED)
    made.note(ONE, unseen(STOPPED), decide(unseen(STOPPED)), ())
    assert made.budget(OTHER, LIMIT).failed == {CAUSE: "one"}


def test_a_pass_that_ends_early_takes_no_warning_back_and_keeps_nobody_waiting():
    made = fleet(one=STOPPED, other=BEGUN)
    for key in (ONE, OTHER):
        made.seen(key)  # the one of the note
        made.seen(key)  # and of a pass without
    assert made.budget(THIRD, LIMIT).failed == {CAUSE: "one"}
    assert made.budget(THIRD, LIMIT).rolling == {}


def test_a_cluster_that_is_gone_is_forgotten():
    made = fleet(one=BEGUN)
    made.forget(ONE)
    assert made.budget(OTHER, LIMIT).rolling == {}
    assert not made.is_complete


def test_the_first_of_many_rolls_alone_then_as_many_as_the_limit_says():
    made = fleet(one=BEGUN, other=DUE, third=QUIET)
    held = situation(*three(revision=OUTDATED), budget=made.budget(OTHER, LIMIT))
    assert decide(held).steps == ()
    made.note(ONE, QUIET, Plan(), ())
    free = situation(*three(revision=OUTDATED), budget=made.budget(OTHER, LIMIT))
    assert [type(step) for step in decide(free).steps] == [ReplacePod]


RESTARTING = situation(*three(pending_restart={"max_connections": ("100", "200")}))
(RESTART,) = causes(RESTARTING.views)


def test_a_restart_counts_from_its_decision_until_no_member_waits_for_one():
    made = fleet(one=RESTARTING, other=RESTARTING)
    assert made.budget(THIRD, LIMIT).rolling == {}, "nobody has begun"
    (restart,) = restarts(RESTARTING).steps
    made.begin(ONE, RESTARTING, restart)
    made.note(ONE, RESTARTING, Plan(), ())
    assert made.budget(OTHER, LIMIT).rolling == {RESTART: 1}
    assert made.budget(ONE, LIMIT).mine == {RESTART}
    made.note(ONE, QUIET, Plan(), ())
    assert made.budget(OTHER, LIMIT).finished == {RESTART}
    assert made.budget(OTHER, LIMIT).rolling == {}


def test_a_roll_that_waits_for_its_window_keeps_nobody_waiting():
    made, waiting = fleet(one=BEGUN), half_way(spec={"maintenanceWindows": ["Mon:01:00-02:00"]})
    made.note(ONE, waiting, decide(waiting), ())
    assert made.budget(OTHER, LIMIT).rolling == {}
    assert made.budget(ONE, LIMIT).mine == {CAUSE}, "it goes on without asking when the window opens"


def half_way(*, annotations=None, **parts):
    """Begun, and held by something in `parts`."""
    found = situation(*DRAINED.observed.pods, annotations={**ANNOUNCED, **(annotations or {})}, **parts)
    assert decide(found).held
    return found


@pytest.mark.parametrize(
    "held",
    [
        half_way(annotations={names.PAUSE: "disruptive"}),
        half_way(annotations={names.PAUSE: "all"}),
        half_way(dynamic={"pause": True}),
        half_way(budget=FleetBudget(limit=0)),
    ],
    ids=["paused", "paused altogether", "in Patroni's maintenance mode", "all rolls are stopped"],
)
def test_a_roll_that_is_held_keeps_nobody_waiting(held):
    made = fleet(one=BEGUN)
    assert made.budget(OTHER, LIMIT).first == {CAUSE: "one"}
    made.note(ONE, held, decide(held), ())
    assert made.budget(OTHER, LIMIT).rolling == {}
    made.note(ONE, BEGUN, decide(BEGUN), ())
    assert made.budget(OTHER, LIMIT).rolling == {CAUSE: 1}, "it goes on"


def later(found, seconds):
    return replace(found, observed=replace(found.observed, now=found.observed.now + dt.timedelta(seconds=seconds)))


def test_a_roll_for_which_nobody_can_lead_keeps_the_others_waiting_for_ten_minutes():
    stuck = situation(
        leader(revision=OUTDATED), pod(1), pod(2), annotations=ANNOUNCED, leader_lock=lock(failsafe=["acid-a-0"])
    )
    assert not [step for step in decide(stuck).steps if step.disruptive]
    made = fleet(one=BEGUN)
    for seconds, rolling in ((0, {CAUSE: 1}), (590, {CAUSE: 1}), (610, {})):
        made.note(ONE, later(stuck, seconds), decide(stuck), ())
        assert made.budget(OTHER, LIMIT).rolling == rolling
    assert CAUSE not in made.budget(OTHER, LIMIT).finished, "it has shown nothing"


def test_a_restart_that_brought_nothing_is_known_until_the_leaders():
    unknown = situation(*three(pending_restart={}))
    steps = {}
    made = fleet(one=unknown, other=QUIET, third=QUIET)
    for name in ("acid-a-2", "acid-a-1", "acid-a-0"):
        (steps[name],) = restarts(replace(unknown, budget=made.budget(ONE, LIMIT))).steps
        assert steps[name].name == name
        made.note(ONE, unknown, Plan(), (steps[name],))
    (after,) = restarts(replace(unknown, budget=made.budget(ONE, LIMIT))).steps
    assert after.name == "acid-a-2"
    made.note(ONE, unknown, Plan(), (after,))
    hours = later(unknown, 7201)
    names_again = []
    for _ in range(2):
        (again,) = restarts(replace(hours, budget=made.budget(ONE, LIMIT))).steps
        names_again.append(again.name)
        made.note(ONE, hours, Plan(), (again,))
    assert names_again == ["acid-a-2", "acid-a-1"], "replicas every hour"
    idle = restarts(replace(hours, budget=made.budget(ONE, LIMIT)))
    assert (idle.steps, {held.why for held in idle.held}) == ((), {IN_VAIN}), "the leader never"
    another = situation(*three(pending_restart={"wal_level": ("replica", "logical")}))
    (restart,) = restarts(replace(another, budget=made.budget(ONE, LIMIT))).steps
    assert restart.reason.endswith("wal_level replica → logical"), "another reason is another restart"
    replicas = later(situation(leader(), *(pod(n, pending_restart={}) for n in (1, 2))), 10802)
    assert [s.name for s in restarts(replace(replicas, budget=made.budget(ONE, LIMIT))).steps] == ["acid-a-2"]
    made.note(ONE, QUIET, Plan(), ())
    assert (made.budget(ONE, LIMIT).restarted, made.budget(ONE, LIMIT).restarted_leading) == ({}, None)


# --- poolers -----------------------------------------------------------------------------------------------------------

OLD_POOLER, HALF_WAY = seen(old(LEADER)), seen(deployment(LEADER, HALF))
FRESH = seen()
(POOLER_CAUSE,) = pooler_causes(OLD_POOLER)
(ROLLING,) = [step for step in decide(OLD_POOLER).steps if step.disruptive]


def test_a_roll_of_a_pooler_counts_until_its_pods_are_new():
    made = fleet(one=OLD_POOLER)
    assert made.budget(OTHER, LIMIT).rolling == {}
    made.begin(ONE, OLD_POOLER, ROLLING)
    assert made.budget(OTHER, LIMIT).rolling == {POOLER_CAUSE: 1}
    made.note(ONE, HALF_WAY, Plan(), (ROLLING,))
    assert made.budget(OTHER, LIMIT).rolling[POOLER_CAUSE] == 1
    made.note(ONE, FRESH, Plan(), ())
    assert made.budget(OTHER, LIMIT).rolling == {}
    assert made.budget(OTHER, LIMIT).finished >= {POOLER_CAUSE}


def test_a_pooler_that_fails_stops_the_others():
    made = fleet(one=OLD_POOLER)
    made.begin(ONE, OLD_POOLER, ROLLING)
    given_up = {
        **HALF,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
    }
    made.note(ONE, seen(deployment(LEADER, given_up)), Plan(), ())
    assert made.budget(OTHER, LIMIT).failed == {POOLER_CAUSE: "one"}


def test_a_pooler_that_fails_stops_the_others_also_while_the_other_pooler_is_held():
    made = fleet(one=OLD_POOLER)
    made.begin(ONE, OLD_POOLER, ROLLING)
    given_up = {
        **HALF,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
    }
    made.note(ONE, seen(deployment(LEADER, given_up)), Plan(held=(Held(ROLLING, "a person looks at it"),)), ())
    assert made.budget(OTHER, LIMIT).failed == {POOLER_CAUSE: "one"}


def test_after_a_restart_of_the_operator_a_poolers_roll_is_seen_if_not_its_cause():
    assert fleet(one=HALF_WAY).budget(OTHER, LIMIT).rolling == {UNKNOWN: 1}


def test_a_roll_of_a_pooler_is_no_permission_to_roll_members():
    both = seen(old(LEADER), pods=three(revision=OUTDATED))
    made = fleet(one=both)
    made.begin(ONE, both, ROLLING)
    made.note(ONE, both, Plan(), (ROLLING,))
    assert made.budget(ONE, LIMIT).mine == {POOLER_CAUSE}


# --- leaders that leave a node -----------------------------------------------------------------------------------------

NODES = (node("n0", cordoned=True), node("n1"), node("n2"))
STAYING = situation(*three())
MOVING = situation(leader(0, node="n0"), pod(1, node="n1"), pod(2, node="n2"), nodes=NODES)
(MOVE,) = leave_nodes(MOVING).steps


def test_a_move_counts_from_the_decision_until_the_leader_is_elsewhere():
    made = fleet(one=MOVING)
    made.begin(ONE, MOVING, MOVE)
    assert (made.budget(OTHER, LIMIT).moving, made.budget(ONE, LIMIT).moving) == (1, 0)
    made.note(ONE, MOVING, Plan(), (MOVE,))
    assert made.budget(OTHER, LIMIT).moving == 1
    made.note(ONE, STAYING, Plan(), ())
    assert made.budget(OTHER, LIMIT).moving == 0


def test_a_move_that_patroni_refuses_holds_up_the_others_for_a_minute_at_most():
    made = fleet(one=MOVING)
    made.begin(ONE, MOVING, MOVE)
    later = replace(MOVING, observed=replace(MOVING.observed, now=MOVING.observed.now + dt.timedelta(seconds=61)))
    made.note(ONE, later, Plan(), ())
    assert made.budget(OTHER, LIMIT).moving == 0


def test_a_move_is_no_permission_to_roll():
    waiting = {"max_connections": ("100", "200")}
    replicas = (pod(1, node="n1", pending_restart=waiting), pod(2, node="n2", pending_restart=waiting))
    due = situation(leader(0, node="n0"), *replicas, nodes=NODES)
    made = fleet(one=due)
    made.begin(ONE, due, MOVE)
    made.note(ONE, due, Plan(), (MOVE,))
    assert made.budget(OTHER, LIMIT).moving == 1
    assert made.budget(ONE, LIMIT).mine == frozenset()
