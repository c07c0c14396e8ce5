"""What may happen next to the pods of a cluster: every rule of the roll, one sentence per case."""

import datetime as dt
from dataclasses import replace

import pytest

from howdah.core.objects.build import build
from howdah.core.patroni.member import parse_member
from howdah.core.plan import FleetBudget, ReplacePod, Switchover
from howdah.core.planners import replacements
from howdah.core.rollout import HOPELESS, START_DEADLINE, has_failed, replacement, unhealthy_reason
from howdah.core.situation import look
from howdah.model import names
from howdah.model.observed import Claim
from unit.core.clusters import (
    CURRENT,
    NAMESPACE,
    NOW,
    OUTDATED,
    cluster,
    decoded,
    leader,
    lock,
    outdated,
    pod,
    situation,
    template_of,
    three,
)

TEMPLATE = template_of(build(cluster()))
IMAGE = "spec.containers[postgres].image"
CAUSE = replacement(pod(1), TEMPLATE, outdated(TEMPLATE))[1]
HOUR = dt.timedelta(hours=1)
MARK = {names.ROLLING_UPDATE_REQUIRED: "true"}
OLD_LEADER = leader(0, revision=OUTDATED)
OTHER_STARTS = FleetBudget(rolling={CAUSE: 1})


def next_step(*pods, **parts):
    """(what, whom) of the roll's next step; None without one."""
    steps = replacements(situation(*pods, **parts)).steps
    assert len(steps) <= 1, "one disruptive step at a time"
    if not steps:
        return None
    (step,) = steps
    if isinstance(step, Switchover):
        return "switchover", step.leader, step.candidate
    assert isinstance(step, ReplacePod)
    return "replace", step.name


# --- what goes next ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "pods", "parts", "expected"),
    [
        ("nothing is due", three(), {}, None),
        ("the last replica begins", three(revision=OUTDATED), {}, ("replace", "acid-a-2")),
        ("then the next", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2)), {}, ("replace", "acid-a-1")),
        ("the leader hands over last", (OLD_LEADER, pod(1), pod(2)), {}, ("switchover", "acid-a-0", "acid-a-1")),
        (
            "to the replica that lacks least",
            (OLD_LEADER, pod(1, lsn=10), pod(2, lsn=20)),
            {},
            ("switchover", "acid-a-0", "acid-a-2"),
        ),
        (
            "or to the synchronous one",
            (OLD_LEADER, pod(1, lsn=10), pod(2, lsn=20)),
            {"synchronous": ["acid-a-1"]},
            ("switchover", "acid-a-0", "acid-a-1"),
        ),
        (
            "the synchronous standby is the last of the replicas",
            three(revision=OUTDATED),
            {"synchronous": ["acid-a-2"]},
            ("replace", "acid-a-1"),
        ),
        (
            "the former leader is a replica like any other",
            (pod(0, revision=OUTDATED), leader(1), pod(2)),
            {"leader_lock": lock("acid-a-1")},
            ("replace", "acid-a-0"),
        ),
        (
            "a single member is replaced in place",
            (OLD_LEADER,),
            {"spec": {"numberOfInstances": 1}},
            ("replace", "acid-a-0"),
        ),
        (
            "a leader nobody can follow waits",
            (OLD_LEADER, pod(1, state="starting"), pod(2, state="starting")),
            {},
            None,
        ),
        (
            "a replica that failsafe mode does not know yet is no candidate",
            (OLD_LEADER, pod(1), pod(2)),
            {"leader_lock": lock(failsafe=["acid-a-0", "acid-a-2"])},
            ("switchover", "acid-a-0", "acid-a-2"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_order_of_a_roll(claim, pods, parts, expected):
    assert next_step(*pods, **parts) == expected, claim


@pytest.mark.parametrize(
    ("claim", "pods", "expected"),
    [
        ("while a pod is going", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, deleting=True)), None),
        ("while a pod is missing", (OLD_LEADER, pod(1, revision=OUTDATED)), None),
        ("while the new pod is not ready", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, ready=False)), None),
        ("while the new pod does not stream", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, state="starting")), None),
        ("while the new pod is silent", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, silent=True)), None),
        ("while the new pod is on another timeline", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, timeline=2)), None),
        ("while the leader is not well", (leader(0, state="stopping"), pod(1, revision=OUTDATED), pod(2)), None),
        (
            "a broken pod of the old template goes whatever else is wrong",
            (OLD_LEADER, pod(1, ready=False, revision=OUTDATED), pod(2, waiting="ErrImagePull")),
            ("replace", "acid-a-1"),
        ),
        (
            "also when the others are not made yet, for they may wait for it",
            (OLD_LEADER, pod(1, ready=False, revision=OUTDATED)),
            ("replace", "acid-a-1"),
        ),
        (
            "a broken leader is not among those",
            (leader(0, ready=False, revision=OUTDATED), pod(1), pod(2, ready=False)),
            None,
        ),
        (
            "a ready replica that does not stream is replaced first under a good leader",
            (OLD_LEADER, pod(1, revision=OUTDATED, state="in archive recovery"), pod(2, revision=OUTDATED)),
            ("replace", "acid-a-1"),
        ),
        (
            "but not while it starts",
            (OLD_LEADER, pod(1, revision=OUTDATED, state="starting"), pod(2, revision=OUTDATED)),
            None,
        ),
        (
            "nor while it copies the database, which may take hours",
            (OLD_LEADER, pod(1), pod(2, revision=OUTDATED, state="creating replica", ready=False, age=6 * HOUR)),
            None,
        ),
        (
            "nor while a clone is restored",
            (
                OLD_LEADER,
                pod(1),
                pod(2, revision=OUTDATED, state="starting after custom bootstrap", ready=False, age=6 * HOUR),
            ),
            None,
        ),
        (
            "unless it does so in vain",
            (OLD_LEADER, pod(1), pod(2, revision=OUTDATED, state="creating replica", waiting="CrashLoopBackOff")),
            ("replace", "acid-a-2"),
        ),
        (
            "or is marked for replacement",
            (OLD_LEADER, pod(1), pod(2, annotations=MARK, state="creating replica", ready=False)),
            ("replace", "acid-a-2"),
        ),
        (
            "one that is late to start is",
            (OLD_LEADER, pod(1), pod(2, revision=OUTDATED, state="starting", ready=False, age=HOUR)),
            ("replace", "acid-a-2"),
        ),
        (
            "but not under a leader that is not well, which it may be about to follow",
            (leader(0, state="stopping", revision=OUTDATED), pod(1, state="starting", revision=OUTDATED), pod(2)),
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_else_is_touched_while_a_member_is_not_well(claim, pods, expected):
    assert next_step(*pods) == expected, claim


@pytest.mark.parametrize(
    ("claim", "sole", "expected"),
    [
        ("in crash recovery", leader(revision=OUTDATED, state="starting", role="primary", ready=False), None),
        ("in crash recovery, and Ready still", leader(revision=OUTDATED, state="starting", role="primary"), None),
        ("after one missed probe", leader(revision=OUTDATED, ready=False), None),
        ("not Ready for too long", leader(revision=OUTDATED, ready=False, age=HOUR), ("replace", "acid-a-0")),
        ("broken by its template", leader(revision=OUTDATED, waiting="ErrImagePull"), ("replace", "acid-a-0")),
        ("too large for any node", leader(revision=OUTDATED, no_node="Insufficient cpu"), ("replace", "acid-a-0")),
        ("not heard of", leader(revision=OUTDATED, silent=True), ("replace", "acid-a-0")),
    ],
)
@pytest.mark.parametrize("lock", [lock(), {}], ids=["leader", "without the lock"])
def test_a_single_member_is_not_killed_while_it_recovers(claim, sole, expected, lock):
    assert next_step(sole, spec={"numberOfInstances": 1}, leader_lock=lock) == expected, claim


@pytest.mark.parametrize("reason", sorted(HOPELESS))
def test_a_first_pod_that_cannot_start_stops_the_roll(reason):
    decision = replacements(situation(OLD_LEADER, pod(1, revision=OUTDATED), pod(2, waiting=reason)))
    assert decision.steps == ()
    assert decision.stopped == (
        f"Pod acid-a-2 waits: {reason}{'' if reason == 'CrashLoopBackOff' else ': because'}; "
        "not replaced because of it: acid-a-0, acid-a-1"
    )


def test_a_pod_that_is_not_healthy_after_ten_minutes_stops_the_roll_too():
    late = pod(2, state="starting", ready=False, age=START_DEADLINE + dt.timedelta(seconds=1))
    assert replacements(situation(OLD_LEADER, pod(1, revision=OUTDATED), late)).stopped is not None
    soon = pod(2, state="starting", ready=False, age=START_DEADLINE - dt.timedelta(seconds=1))
    assert replacements(situation(OLD_LEADER, pod(1, revision=OUTDATED), soon)).stopped is None


def test_no_pod_fails_because_our_clock_is_ahead():
    """The lock was renewed a second ago by its holder's clock, too, which made the pod a minute ago."""
    pods = (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, state="starting", ready=False))
    seen = situation(*pods)
    place = seen.cluster.names.leader_object
    ahead = replace(
        seen.observed,
        now=NOW + HOUR,
        unrenewed_s={place: 1.0},
        renewals_seen=frozenset({place}),
    )
    assert [view.has_failed for view in look(seen.cluster, seen.intended, ahead).views] == [False, False, False]
    unheard = replace(ahead, renewals_seen=frozenset())
    assert [view.has_failed for view in look(seen.cluster, seen.intended, unheard).views] == [False, False, True]


def test_a_pod_that_is_going_is_waited_for_before_a_broken_one_is_touched():
    pods = (OLD_LEADER, pod(1, revision=OUTDATED, ready=False), pod(2, deleting=True))
    decision = replacements(situation(*pods))
    assert decision.steps == ()
    assert [wait.why for wait in decision.waits] == ["Pod acid-a-2 is being deleted"]


def test_a_broken_pod_needs_no_budget():
    pods = (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, revision=OUTDATED, ready=False))
    assert next_step(*pods, budget=FleetBudget(rolling={CAUSE: 9})) == ("replace", "acid-a-2")


def test_a_replacement_names_exactly_the_pod_that_was_seen():
    (step,) = replacements(situation(*three(revision=OUTDATED))).steps
    assert (step.uid, step.resource_version) == ("uid-of-pod-2", "202")
    assert step.disruptive
    assert IMAGE in step.reason


# --- the fleet ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "budget", "starts"),
    [
        ("nobody rolls", FleetBudget(), True),
        ("one rolls, and none has shown that it works", OTHER_STARTS, False),
        ("one rolls, and one has finished", replace(OTHER_STARTS, finished=frozenset({CAUSE})), True),
        ("the limit is used up", FleetBudget(rolling={CAUSE: 5}, finished=frozenset({CAUSE})), False),
        ("one below the limit", FleetBudget(rolling={CAUSE: 4}, finished=frozenset({CAUSE})), True),
        ("others roll for another cause", FleetBudget(rolling={"another": 9}), True),
        ("one has stopped", FleetBudget(failed={CAUSE: "acid-b"}, finished=frozenset({CAUSE})), False),
        ("one has stopped for another cause", FleetBudget(failed={"another": "acid-b"}), True),
        ("not every cluster was looked at", FleetBudget(is_complete=False), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_new_roll_starts_only_as_the_fleet_allows(claim, budget, starts):
    decision = replacements(situation(*three(revision=OUTDATED), budget=budget))
    assert bool(decision.steps) is starts, claim
    assert starts or decision.waits, "who is held looks again"
    assert starts or decision.held or not budget.is_complete


HALF_WAY = (OLD_LEADER, pod(1, revision=OUTDATED), pod(2))


def test_a_roll_that_has_begun_goes_on_without_asking():
    begun = FleetBudget(rolling={CAUSE: 9}, failed={CAUSE: "acid-b"}, mine=frozenset({CAUSE}), is_complete=False)
    assert next_step(*HALF_WAY, budget=begun) == ("replace", "acid-a-1")


@pytest.mark.parametrize("budget", [OTHER_STARTS, FleetBudget(failed={CAUSE: "acid-b"}), FleetBudget(limit=0)])
def test_a_pod_that_a_drain_or_a_larger_number_made_anew_begins_no_roll(budget):
    assert next_step(*HALF_WAY) is not None
    assert next_step(*HALF_WAY, budget=budget) is None


def test_a_limit_of_0_holds_what_has_begun_as_well():
    decision = replacements(situation(*HALF_WAY, budget=FleetBudget(limit=0, mine=frozenset({CAUSE}))))
    assert [held.why for held in decision.held] == ["max_rolling_clusters is 0"]
    assert decision.steps == ()


@pytest.mark.parametrize(
    ("claim", "seen", "expected"),
    [
        ("a person's mark", pod(1, annotations=MARK), ("replace", "acid-a-1")),
        ("a broken pod", pod(1, revision=OUTDATED, waiting="ErrImagePull"), ("replace", "acid-a-1")),
        ("a healthy pod", pod(1, revision=OUTDATED), None),
    ],
)
def test_what_a_limit_of_0_does_not_hold(claim, seen, expected):
    pods = (OLD_LEADER, seen, pod(2, revision=OUTDATED))
    assert next_step(*pods, budget=FleetBudget(limit=0)) == expected, claim


@pytest.mark.parametrize(
    "budget",
    [OTHER_STARTS, FleetBudget(failed={CAUSE: "acid-b"}), FleetBudget(is_complete=False), FleetBudget(limit=0)],
    ids=["another rolls", "another stopped", "not all were looked at", "0"],
)
@pytest.mark.parametrize(
    ("claim", "seen", "expected"),
    [
        ("the last", (OLD_LEADER, pod(1, revision=OUTDATED), pod(2, annotations=MARK)), ("replace", "acid-a-2")),
        ("not the last", (OLD_LEADER, pod(1, annotations=MARK), pod(2, revision=OUTDATED)), ("replace", "acid-a-1")),
        (
            "the first",
            (leader(annotations=MARK), pod(1, revision=OUTDATED, lsn=9), pod(2, revision=OUTDATED, lsn=10)),
            ("switchover", "acid-a-0", "acid-a-2"),
        ),
        (
            "another one is not well",
            (OLD_LEADER, pod(1, annotations=MARK), pod(2, revision=OUTDATED, state="in archive recovery")),
            None,
        ),
        (
            "and neither is it",
            (OLD_LEADER, pod(1, revision=OUTDATED, state="running"), pod(2, annotations=MARK, state="running")),
            ("replace", "acid-a-2"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_fleet_holds_no_pod_that_is_marked_and_lets_go_no_other(claim, seen, expected, budget):
    assert next_step(*seen, budget=budget) == expected, claim


def test_a_leader_whose_cause_is_allowed_waits_for_replicas_that_are_held():
    """Pods of two revisions are due for two causes."""
    seen = situation(*three(revision=OUTDATED), budget=FleetBudget(failed={CAUSE: "acid-b"}))
    first = replace(seen.views[0], cause="another")
    assert replacements(replace(seen, views=(first, *seen.views[1:]))).steps == ()
    well = replace(seen.views[2], cause="another")
    assert [s.name for s in replacements(replace(seen, views=(*seen.views[:2], well))).steps] == ["acid-a-2"]


def copying(minutes, **parts):
    return pod(2, state="creating replica", ready=False, age=dt.timedelta(minutes=minutes), **parts)


@pytest.mark.parametrize("revision", [CURRENT, OUTDATED])
def test_a_copy_that_takes_long_is_left_alone_and_said(revision):
    rest = (OLD_LEADER, pod(1, revision=OUTDATED))
    soon = replacements(situation(*rest, copying(9, revision=revision)))
    assert (soon.steps, soon.stopped) == ((), None)
    late = replacements(situation(*rest, copying(600, revision=revision)))
    assert late.steps == ()
    assert late.stopped == (
        "Pod acid-a-2 still copies the database; mark it for replacement "
        "(zalando-postgres-operator-rolling-update-required=true) if it never gets further"
    )
    marked = copying(600, revision=revision, annotations=MARK)
    assert next_step(*rest, marked) == ("replace", "acid-a-2"), "what it says helps"


@pytest.mark.parametrize("state", ["creating replica", "initializing new cluster"])
def test_a_single_member_whose_copy_takes_long_goes_when_it_is_marked(state):
    alone = {"spec": {"numberOfInstances": 1}, "leader_lock": {}}
    assert next_step(pod(0, state=state, ready=False, revision=OUTDATED, age=HOUR), **alone) is None
    assert next_step(pod(0, state=state, ready=False, annotations=MARK), **alone) is None, "it has just begun"
    stuck = pod(0, state=state, ready=False, annotations=MARK, age=HOUR)
    assert next_step(stuck, **alone) == ("replace", "acid-a-0")


@pytest.mark.parametrize(("rolling", "who"), [(1, "acid-b"), (2, "acid-b and others")])
def test_who_waits_for_the_fleet_is_told_for_whom(rolling, who):
    budget = FleetBudget(rolling={CAUSE: rolling}, first={CAUSE: "acid-b"})
    (held,) = replacements(situation(*three(revision=OUTDATED), budget=budget)).held
    assert held.why == f"{rolling} cluster(s) roll for the same cause already ({who}), 1 may"


def test_what_the_fleet_holds_is_said_with_the_step():
    (held,) = replacements(situation(*three(revision=OUTDATED), budget=FleetBudget(failed={CAUSE: "acid-b"}))).held
    assert isinstance(held.step, ReplacePod)
    assert held.why == "the roll of acid-b for the same cause stopped"


# --- one pod -----------------------------------------------------------------------------------------------------------


def judged(seen, *, is_leader=False, head=None):
    return unhealthy_reason(seen, parse_member(seen.name, seen.metadata.annotations), head, is_leader=is_leader)


HEAD = parse_member("acid-a-0", leader().metadata.annotations)


def test_pod_without_a_node_names_the_claim_that_the_scheduler_does_not_name():
    seen = pod(1, no_node="pod has unbound immediate PersistentVolumeClaims")
    body = {"metadata": {"name": "pgdata-acid-a-1", "namespace": NAMESPACE}, "spec": {"storageClassName": "late"}}
    pending = decoded(Claim, body | {"status": {"phase": "Pending"}})
    said = unhealthy_reason(seen, None, None, is_leader=False, claim=pending)
    assert said == (
        "has no node: pod has unbound immediate PersistentVolumeClaims; "
        "its claim pgdata-acid-a-1 of storage class late is pending"
    )
    bound = decoded(Claim, body | {"status": {"phase": "Bound"}})
    assert "pgdata" not in (unhealthy_reason(seen, None, None, is_leader=False, claim=bound) or "")


@pytest.mark.parametrize(
    ("seen", "is_leader", "reason"),
    [
        (pod(1), False, None),
        (leader(), True, None),
        (pod(1, deleting=True), False, "is being deleted"),
        (pod(1, waiting="ImagePullBackOff"), False, "waits: ImagePullBackOff: because"),
        (pod(1, waiting="CrashLoopBackOff"), False, "waits: CrashLoopBackOff"),
        (pod(1, terminated=3), False, "ended with code 3"),
        (pod(1, no_node="3 Insufficient cpu."), False, "has no node: 3 Insufficient cpu."),
        (pod(1, ready=False), False, "is not ready (phase Running)"),
        (pod(1, silent=True), False, "has not reported to Patroni yet"),
        (leader(state="starting", role="primary"), True, "leads, but PostgreSQL is starting"),
        (pod(1, state="starting"), False, "does not stream (state starting)"),
        (pod(1, state="in archive recovery"), False, "does not stream (state in archive recovery)"),
        (pod(1, timeline=2), False, "is on timeline 2, the leader on 1"),
        (pod(1, timeline=None), False, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_member_does_not_do_its_part(seen, is_leader, reason):
    assert judged(seen, is_leader=is_leader, head=HEAD) == reason


def test_without_a_leader_no_timeline_is_wrong():
    assert judged(pod(1, timeline=7), head=None) is None


@pytest.mark.parametrize(
    ("claim", "seen", "unhealthy", "failed"),
    [
        ("healthy", pod(1, age=START_DEADLINE * 2), None, False),
        ("unhealthy, but young", pod(1), "does not stream", False),
        ("not ready and old", pod(1, age=START_DEADLINE * 2, ready=False), "is not ready", True),
        ("Ready, and behind for a moment", pod(1, age=START_DEADLINE * 2), "does not stream", False),
        ("waits for an image", pod(1, waiting="ErrImagePull"), "waits", True),
        (
            "copies the database",
            pod(1, age=START_DEADLINE * 2, ready=False, state="creating replica"),
            "is not ready",
            False,
        ),
        ("waits for a volume", pod(1, waiting="ContainerCreating"), "waits", False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_when_waiting_helps_no_more(claim, seen, unhealthy, failed):
    member = parse_member(seen.name, seen.metadata.annotations)
    assert has_failed(seen, unhealthy, NOW, member) is failed, claim


@pytest.mark.parametrize(
    ("claim", "seen", "made_from", "expected"),
    [
        ("made from what is intended", pod(1), TEMPLATE, ("", "")),
        ("nothing is known of its template", pod(1), None, ("", "")),
        (
            "marked",
            pod(1, annotations=MARK),
            TEMPLATE,
            ("it is marked for replacement", "mark of ns/acid-a"),
        ),
        (
            "marked with a reason",
            pod(1, annotations={**MARK, names.REPLACE_REASON: "because"}),
            None,
            ("because", "mark of ns/acid-a"),
        ),
        ("marked as not needed", pod(1, annotations={names.ROLLING_UPDATE_REQUIRED: "false"}), TEMPLATE, ("", "")),
        (
            "made from another image",
            pod(1),
            outdated(TEMPLATE),
            (
                f"its template differs: {IMAGE} is registry.example/spilo:old and shall be "
                f"{TEMPLATE['spec']['containers'][0]['image']}",
                CAUSE,
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_why_a_pod_has_to_be_replaced(claim, seen, made_from, expected):
    assert replacement(seen, TEMPLATE, made_from) == expected, claim


def test_a_new_image_alone_waits_where_images_are_lazy():
    assert replacement(pod(1), TEMPLATE, outdated(TEMPLATE), is_image_lazy=True) == ("", "")
    other = outdated(TEMPLATE)
    other["spec"]["serviceAccountName"] = "another"
    because, cause = replacement(pod(1), TEMPLATE, other, is_image_lazy=True)
    assert cause.startswith("spec.serviceAccountName (")
    assert "image" not in because


def test_what_others_write_into_the_stateful_set_does_not_roll():
    injected = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "hostAliases": [{"ip": "10.0.0.9"}]}}
    assert replacement(pod(1), TEMPLATE, injected, injected) == ("", "")
    assert replacement(pod(1), TEMPLATE, injected)[1].startswith("spec.hostAliases (")


def test_a_pod_is_not_replaced_by_one_that_would_be_the_same():
    """As long as the StatefulSet has the other image: held for adoption, or rewritten by a webhook."""
    theirs = outdated(TEMPLATE)
    assert replacement(pod(1), TEMPLATE, theirs, theirs) == ("", "")
    moved_on = {**theirs, "spec": {**theirs["spec"], "serviceAccountName": "another"}}
    because, _ = replacement(pod(1), TEMPLATE, moved_on, theirs)
    assert "serviceAccountName" in because
    assert "image" not in because


def test_the_same_field_with_another_value_is_another_cause():
    other = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "serviceAccountName": "mine"}}
    another = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "serviceAccountName": "yours"}}
    assert replacement(pod(1), other, TEMPLATE)[1] != replacement(pod(1), another, TEMPLATE)[1]


def test_a_reason_holds_no_value_of_a_variable():
    secret = {"name": "TOKEN", "value": "s3cret"}
    container = TEMPLATE["spec"]["containers"][0]
    changed = {**container, "env": [*container["env"], secret]}
    template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "containers": [changed]}}
    made_from = {
        **TEMPLATE,
        "spec": {
            **TEMPLATE["spec"],
            "containers": [{**container, "env": [*container["env"], {**secret, "value": "old-s3cret"}]}],
        },
    }
    because, cause = replacement(pod(1), template, made_from)
    assert "TOKEN" in because
    assert "s3cret" not in because + cause


def test_the_revision_decides_and_not_the_live_pod():
    assert next_step(leader(), pod(1, revision=CURRENT), pod(2, revision="revision-unknown")) is None
