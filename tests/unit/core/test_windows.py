"""What waits for a maintenance window, and what does not."""

import datetime as dt

import pytest

from howdah.core.plan import FleetBudget, Held, ReplacePod, RestartMember, ScaleIn, Switchover
from howdah.core.planners import decide, replacements, restarts
from howdah.model import names
from unit.core.clusters import NOW, OUTDATED, leader, pod, situation, three

OPENS = dt.datetime(2026, 1, 5, 1, 0, tzinfo=dt.UTC)  # NOW is the Friday before
CLOSED = {"maintenanceWindows": ["Mon:01:00-02:00", "Tue:01:00-02:00"]}
OPEN = {"maintenanceWindows": ["Mon:01:00-02:00", "03:00-04:00"]}
MORE = {"max_connections": ("100", "200")}
SWITCHING = (leader(revision=OUTDATED), pod(1), pod(2))
MARK = {names.ROLLING_UPDATE_REQUIRED: "true"}


def kinds(steps):
    return [type(step) for step in steps]


@pytest.mark.parametrize(
    ("pods", "step"),
    [
        (three(revision=OUTDATED), ReplacePod),
        (SWITCHING, Switchover),
        (three(pending_restart=MORE), RestartMember),
    ],
    ids=["a roll", "its switchover", "a restart"],
)
def test_what_disturbs_a_healthy_member_waits_for_the_window(pods, step):
    plan = decide(situation(*pods, spec=CLOSED))
    assert not any(s.disruptive for s in plan.steps)
    (held,) = plan.held
    assert isinstance(held, Held)
    assert isinstance(held.step, step)
    assert (held.why, held.until) == ("the maintenance window opens at Mon 2026-01-05 01:00 UTC", OPENS)
    assert plan.next_look_s == (OPENS - NOW).total_seconds()
    inside = decide(situation(*pods, spec=OPEN))
    assert (kinds(s for s in inside.steps if s.disruptive), inside.held) == ([step], ())


@pytest.mark.parametrize(
    "pods",
    [
        (leader(), pod(1), pod(2, revision=OUTDATED, ready=False)),
        (leader(), pod(1), pod(2, revision=OUTDATED, state="in archive recovery")),
        (leader(), pod(1), pod(2, annotations=MARK)),
        (leader(annotations=MARK), pod(1), pod(2)),
    ],
    ids=["not ready", "does not stream", "marked", "a marked leader"],
)
def test_repairs_and_marked_pods_do_not_wait(pods):
    decision = replacements(situation(*pods, spec=CLOSED))
    assert kinds(decision.steps) in ([ReplacePod], [Switchover])
    assert not decision.held


@pytest.mark.parametrize(
    "sole",
    [
        leader(revision=OUTDATED, ready=False),
        leader(revision=OUTDATED, state="starting", role="primary"),
        leader(revision=OUTDATED, silent=True),
    ],
    ids=["missed a probe", "recovers", "not heard of"],
)
def test_a_single_member_that_has_not_failed_is_left_alone_outside_its_window(sole):
    assert replacements(situation(sole, spec={**CLOSED, "numberOfInstances": 1})).steps == ()


@pytest.mark.parametrize("why", [{"waiting": "ErrImagePull"}, {"no_node": "Insufficient cpu"}])
def test_a_single_member_that_has_failed_is_repaired_at_once(why):
    broken = leader(revision=OUTDATED, **why)
    assert kinds(replacements(situation(broken, spec={**CLOSED, "numberOfInstances": 1})).steps) == [ReplacePod]


def test_fewer_instances_do_not_wait():
    plan = decide(situation(*three(), spec={**CLOSED, "numberOfInstances": 2}, objects=_three_replicas()))
    assert ScaleIn in kinds(plan.steps)


def _three_replicas():
    return {place: found for place, found in situation(*three()).observed.objects.items() if place[0] == "StatefulSet"}


def test_the_operators_windows_hold_for_clusters_that_name_none():
    settings = {"maintenance_windows": "Mon:01:00-02:00"}
    assert replacements(situation(*three(revision=OUTDATED), settings=settings)).held
    off = {**settings, "enable_maintenance_windows": "false"}
    assert not replacements(situation(*three(revision=OUTDATED), settings=off)).held


# --- the fleet ---------------------------------------------------------------------------------------------------------

CAUSE = "restart for max_connections=200"
RESTARTING = three(pending_restart=MORE)


@pytest.mark.parametrize(
    ("claim", "budget", "expected"),
    [
        ("nobody else restarts", FleetBudget(), True),
        ("another one restarts, and none has finished", FleetBudget(rolling={CAUSE: 1}), False),
        ("one has finished", FleetBudget(rolling={CAUSE: 1}, finished=frozenset({CAUSE})), True),
        ("too many", FleetBudget(rolling={CAUSE: 5}, finished=frozenset({CAUSE})), False),
        ("it failed elsewhere", FleetBudget(failed={CAUSE: "other"}), False),
        ("for another reason", FleetBudget(rolling={"restart for max_connections=300": 1}), True),
        ("this one is under way", FleetBudget(rolling={CAUSE: 5}, mine=frozenset({CAUSE})), True),
        ("not every cluster was looked at", FleetBudget(is_complete=False), False),
        ("none may", FleetBudget(limit=0, mine=frozenset({CAUSE})), False),
    ],
)
def test_restarts_for_the_same_parameters_share_the_fleets_budget(claim, budget, expected):
    decision = restarts(situation(*RESTARTING, budget=budget))
    assert (kinds(decision.steps) == [RestartMember]) is expected, claim
    assert bool(decision.waits) is not expected


def test_without_known_parameters_a_restart_is_a_matter_of_its_own():
    views = situation(*three(pending_restart={})).views
    assert {view.restart_cause for view in views} == {"restart of ns/acid-a"}
