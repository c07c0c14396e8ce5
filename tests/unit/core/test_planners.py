"""What a pass decides: every planner, their order, and what a pause holds. One sentence per case."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from howdah.core.plan import (
    AnnotatePod,
    Apply,
    Create,
    CreateSecret,
    FleetBudget,
    GrowClaim,
    PatchDynamicConfiguration,
    Plan,
    ReleaseLeader,
    ReplacePod,
    RestartMember,
    RunStatements,
    SetFinalizers,
    Switchover,
    Wait,
)
from howdah.core.planners import (
    IN_VAIN,
    NO_LESS,
    NO_STANDBY,
    PLANNERS,
    awaited,
    databases,
    dead_leader,
    decide,
    dynamic_configuration,
    finalizer,
    former_leaders,
    hold_paused,
    kept_volumes,
    promotion,
    restarts,
    system_passwords,
)
from howdah.core.situation import DatabaseLook
from howdah.model import names
from howdah.model.observed import Departed
from howdah.model.postgres.desired import PasswordSource
from howdah.model.postgres.statements import Kind, NewPassword, Statement
from unit.core.clusters import (
    NAME,
    NOW,
    OUTDATED,
    QUIET,
    claim,
    labelled,
    leader,
    pod,
    situation,
    three,
)

ALTER = Statement(Kind.ALTER_ROLE, "foo", "postgres", sql.SQL("ALTER ROLE foo").format(), "role foo may log in")
LACKING = replace(QUIET, statements=(("postgres", (ALTER,)),))
EDITED = replace(QUIET, edited=frozenset({"standby"}), statements=(("postgres", (ALTER,)),))
GONE = Departed(f"{NAME}-0", "uid-of-pod-0", was_proved_dead=True, gone_s=60)
TWO = (pod(1), pod(2))


def kinds(plan):
    return [type(step) for step in plan.steps]


def test_a_quiet_cluster_has_an_empty_plan():
    assert decide(situation(*three())).is_quiet


def test_a_new_cluster_gets_its_finalizer_then_its_secrets_then_its_objects():
    everything = ("StatefulSet", "Service", "PodDisruptionBudget", "ServiceAccount", "RoleBinding")
    plan = decide(situation(finalizers=(), secrets=False, without=everything, initialize=None))
    found = kinds(plan)
    assert found[0] is SetFinalizers
    assert found[1:3] == [CreateSecret, CreateSecret]
    assert set(found[3:]) == {Create}
    last = plan.steps[-1]
    assert isinstance(last, Create)
    assert not any(step.disruptive for step in plan.steps)


# --- finalizer ---------------------------------------------------------------------------------------------------------


def test_a_resource_gets_our_finalizer_beside_those_of_others():
    (step,) = finalizer(situation(*three(), finalizers=("others/finalizer",))).steps
    assert step.finalizers == ("others/finalizer", names.FINALIZER)
    assert step.resource_version == "50"
    assert finalizer(situation(*three())).steps == ()


# --- a dead leader -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "pods", "parts", "released", "waits"),
    [
        ("its pod is there", three(), {"departed": (GONE,)}, False, False),
        ("its pod is gone, and proved dead", TWO, {"departed": (GONE,)}, True, False),
        (
            "its pod is gone, and nothing is proved",
            TWO,
            {"departed": (replace(GONE, was_proved_dead=False),)},
            False,
            False,
        ),
        ("its pod is gone, and nobody saw it go", TWO, {}, False, False),
        ("another pod is gone", TWO, {"departed": (replace(GONE, name="acid-a-9"),)}, False, False),
        ("it is gone since a moment", TWO, {"departed": (replace(GONE, gone_s=0),)}, False, True),
        (
            "it is gone since a moment, and a standby has all commits",
            TWO,
            {"departed": (replace(GONE, gone_s=0),), "synchronous": ["acid-a-1"]},
            True,
            False,
        ),
        (
            "its new pod has not started yet",
            (leader(0, waiting="ContainerCreating"), *TWO),
            {"departed": (GONE,)},
            True,
            False,
        ),
        ("nobody holds the lock", TWO, {"departed": (GONE,), "leader_lock": {}}, False, False),
        (
            "what was seen last counts: its second pod is not proved dead",
            TWO,
            {"departed": (GONE, replace(GONE, was_proved_dead=False))},
            False,
            False,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_lock_of_a_leader_is_released_only_when_its_death_is_proved(claim, pods, parts, released, waits):
    decision = dead_leader(situation(*pods, **parts))
    assert [type(step) for step in decision.steps] == ([ReleaseLeader] if released else []), claim
    assert bool(decision.waits) is waits


@pytest.mark.parametrize(
    ("claim", "pods", "lock", "unlabelled"),
    [
        ("it holds the lock", (labelled(leader(), "master"), *TWO), None, []),
        ("another one took the lock", (labelled(leader(), "master"), *TWO), "acid-a-1", ["acid-a-0"]),
        ("newer Patroni's word", (labelled(leader(), "primary"), *TWO), "acid-a-1", ["acid-a-0"]),
        ("nobody holds the lock", (labelled(leader(), "master"), *TWO), "", []),
        ("the lock names no pod that is there", (labelled(leader(), "master"), *TWO), "acid-a-9", []),
        ("a replica", (leader(), labelled(pod(1), "replica")), "acid-a-0", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_former_leader_loses_the_label_that_services_go_by(claim, pods, lock, unlabelled):
    parts = {} if lock is None else {"leader_lock": {"leader": lock} if lock else {}}
    assert [step.name for step in former_leaders(situation(*pods, **parts)).steps] == unlabelled, claim


def test_the_release_names_the_lock_that_was_seen():
    (step,) = dead_leader(situation(*TWO, departed=(GONE,))).steps
    assert (step.object_kind, step.name, step.uid) == ("ConfigMap", "acid-a-leader", "uid-of-leader")
    assert (step.resource_version, step.leader) == ("300", "acid-a-0")


# --- kept volumes ------------------------------------------------------------------------------------------------------

NEW = {"without": ("StatefulSet",), "initialize": None, "claims": [claim(0)]}


def test_volumes_of_an_earlier_cluster_are_not_taken_up_without_a_word():
    decision = kept_volumes(situation(**NEW))
    assert decision.ends
    assert decision.stopped is not None
    assert "pgdata-acid-a-0" in decision.stopped
    plan = decide(situation(**NEW))
    assert Create not in kinds(plan)


@pytest.mark.parametrize(
    ("claim", "pods", "parts"),
    [
        ("with the word they are", (), {**NEW, "annotations": {names.USE_KEPT_VOLUMES: "true"}}),
        ("there are none", (), {**NEW, "claims": []}),
        ("Patroni's state is there: it is the same cluster", (), {**NEW, "initialize": "7000"}),
        ("the StatefulSet is there", (), {**NEW, "without": ()}),
        ("pods are there: the StatefulSet is being made anew", (leader(),), NEW),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_volumes_are_no_obstacle_when(claim, pods, parts):
    assert not kept_volumes(situation(*pods, **parts)).ends, claim


# --- dynamic configuration ---------------------------------------------------------------------------------------------


def test_what_the_manifest_says_of_patroni_is_patched_when_it_differs():
    asked = {"spec": {"patroni": {"ttl": 45}}}
    (step,) = dynamic_configuration(situation(*three(), **asked, dynamic={"ttl": 30})).steps
    assert isinstance(step, PatchDynamicConfiguration)
    assert step.patch == {"ttl": 45}
    assert dynamic_configuration(situation(*three(), **asked, dynamic={"ttl": 45})).steps == ()


@pytest.mark.parametrize(
    ("claim", "pods", "parts"),
    [
        ("its leader does not do its part", (leader(state="starting", role="primary"), *TWO), {}),
        ("Patroni has not written it yet", three(), {"initialize": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_patroni_is_not_configured_while(claim, pods, parts):
    seen = situation(*pods, spec={"patroni": {"ttl": 45}}, dynamic={"ttl": 30}, **parts)
    assert dynamic_configuration(seen).steps == (), claim


# --- passwords and databases -------------------------------------------------------------------------------------------


def test_an_edited_password_of_a_system_role_marks_every_pod_before_the_role_is_altered():
    plan = decide(situation(*three(), database=EDITED))
    marks, (alter,) = plan.steps[:3], plan.steps[3:]
    assert [mark.name for mark in marks if isinstance(mark, AnnotatePod)] == ["acid-a-0", "acid-a-1", "acid-a-2"]
    assert all(mark.annotations[names.ROLLING_UPDATE_REQUIRED] == "true" for mark in marks)
    assert isinstance(alter, RunStatements)


def test_a_pod_is_marked_once():
    marked = {names.ROLLING_UPDATE_REQUIRED: "true"}
    assert system_passwords(situation(*three(annotations=marked), database=EDITED)).steps == ()


def test_a_paused_cluster_alters_no_role_whose_pods_may_not_roll():
    plan = decide(situation(*three(), database=EDITED, annotations={names.PAUSE: "disruptive"}))
    assert plan.steps == ()
    assert {type(held.step) for held in plan.held} == {AnnotatePod}


def test_the_statements_of_a_database_are_one_step_with_their_reasons():
    (step,) = databases(situation(*three(), database=LACKING)).steps
    assert (step.database, step.statements, step.reason) == ("postgres", (ALTER,), "role foo may log in")


def test_many_statements_are_summed_up():
    many = replace(QUIET, statements=(("postgres", (ALTER,) * 5),))
    (step,) = databases(situation(*three(), database=many)).steps
    assert step.reason == "role foo may log in; role foo may log in; role foo may log in and 2 more"


def password_of(role, group="postgres"):
    new = NewPassword(role, PasswordSource(role, "ns"))
    made = Statement(Kind.PASSWORD, role, "postgres", sql.SQL("ALTER ROLE x").format(), "the password differs", new)
    return replace(QUIET, statements=((group, (ALTER, made)),))


@pytest.mark.parametrize(
    ("role", "holds_up"), [("standby", True), ("postgres", True), ("pooler", True), ("foo", False), (None, False)]
)
def test_only_passwords_that_pods_start_with_keep_pods_from_being_replaced(role, holds_up):
    looked = LACKING if role is None else password_of(role)
    (step,) = databases(situation(*three(), spec={"enableConnectionPooler": True}, database=looked)).steps
    assert (step.holds_up, step.holds_up_disruption) == (False, holds_up)


MARKED = {
    names.ROLLING_UPDATE_REQUIRED: "true",
    names.REPLACE_REASON: "the password of standby was changed in its Secret",
}


@pytest.mark.parametrize(
    ("claim", "looked", "is_replaced"),
    [
        ("the server was read and lacks nothing", QUIET, True),
        ("it is being read", replace(QUIET, is_due=True), False),
        ("it was not read yet", DatabaseLook(), False),
        ("the role is being altered", replace(QUIET, at_work=frozenset({"postgres"})), False),
        ("another database is being made", replace(QUIET, at_work=frozenset({"alpha"})), True),
        ("it cannot be read", DatabaseLook(error="no route"), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_marked_for_an_edited_password_is_replaced_when_the_server_knows_it(claim, looked, is_replaced):
    plan = decide(situation(*three(annotations=MARKED), database=looked))
    assert (ReplacePod in kinds(plan)) is is_replaced, claim


def test_a_pod_marked_for_an_edited_password_that_is_not_ready_waits_for_nobody_who_reads():
    pods = (leader(), pod(1), pod(2, annotations=MARKED, ready=False))
    (step,) = (s for s in decide(situation(*pods, database=DatabaseLook(error="no route"))).steps if s.disruptive)
    assert step.name == "acid-a-2"


def test_a_pod_marked_for_another_reason_waits_for_nobody_who_reads():
    marked = {names.ROLLING_UPDATE_REQUIRED: "true"}
    assert ReplacePod in kinds(decide(situation(*three(annotations=marked), database=replace(QUIET, is_due=True))))


def test_statements_that_take_long_are_waited_for():
    plan = decide(situation(*three(), database=replace(QUIET, at_work=frozenset({"beta", "alpha"}))))
    assert [wait.why for wait in plan.waits] == ["statements for database alpha, beta take their time"]


def test_databases_that_cannot_be_read_are_waited_for():
    decision = databases(situation(*three(), database=DatabaseLook(error="no route")))
    assert [wait.why for wait in decision.waits] == ["no route"]


# --- restarts ----------------------------------------------------------------------------------------------------------

MORE = {"max_connections": ("100", "200")}
FEWER = {"max_connections": ("200", "100")}


@pytest.mark.parametrize(
    ("claim", "pods", "first"),
    [
        ("nothing is pending", three(), None),
        ("replicas first for an increase", three(pending_restart=MORE), "acid-a-2"),
        ("the leader first for a decrease", three(pending_restart=FEWER), "acid-a-0"),
        ("the leader when it is the last", (leader(pending_restart=MORE), *TWO), "acid-a-0"),
        ("not while a member is sick", (leader(pending_restart=MORE), pod(1), pod(2, ready=False)), None),
        ("not while a member restarts", (leader(pending_restart=MORE), pod(1), pod(2, state="restarting")), None),
        ("not while pods are to be replaced", three(pending_restart=MORE, revision=OUTDATED), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_restart_at_a_time(claim, pods, first):
    steps = restarts(situation(*pods)).steps
    assert [step.name for step in steps] == ([first] if first else []), claim
    assert all(isinstance(step, RestartMember) and step.disruptive for step in steps)


# --- waiting -----------------------------------------------------------------------------------------------------------


SYNCHRONOUS: dict[str, Any] = {"dynamic": {"synchronous_mode": True}}


@pytest.mark.parametrize(
    ("pods", "parts", "why"),
    [
        (three(), {}, None),
        ((), {"spec": {"numberOfInstances": 0}, "initialize": None}, None),
        ((), {"initialize": None}, "the first member initialises the database"),
        (
            (pod(0, waiting="ContainerCreating", silent=True),),
            {"initialize": None},
            "the first member initialises the database",
        ),
        ((pod(0, no_node="no room"),), {"initialize": None}, "Pod acid-a-0 has no node: no room"),
        (
            (pod(0, waiting="ErrImagePull", silent=True),),
            {"initialize": None},
            "Pod acid-a-0 waits: ErrImagePull: because",
        ),
        ((leader(state="starting", role="primary"), *TWO), {}, "no member accepts writes"),
        ((leader(), pod(1), pod(2, ready=False)), {}, "Pod acid-a-2 is not ready (phase Running)"),
        ((leader(), pod(1)), {}, "2 of 3 pods exist"),
        (three(), {"database": DatabaseLook(is_due=True)}, "roles and databases are being read"),
        (three(), SYNCHRONOUS, NO_STANDBY),
        (three(), {**SYNCHRONOUS, "synchronous": ["acid-a-1"]}, None),
        ((leader(),), {**SYNCHRONOUS, "spec": {"numberOfInstances": 1}}, None),
        (three(), {"dynamic": {"synchronous_mode": "quorum"}}, None),
    ],
)
def test_what_a_cluster_waits_for(pods, parts, why):
    assert [wait.why for wait in awaited(situation(*pods, **parts)).waits] == ([why] if why else [])


def test_a_restart_that_would_bring_nothing_is_held_and_said():
    fewer = {"max_connections": ("200", "100")}
    pods = (leader(role="standby_leader", pending_restart=fewer), pod(1, pending_restart=fewer))
    spec = {"numberOfInstances": 2, "standby": {"standby_host": "elsewhere"}}
    following = situation(*pods, spec=spec, dynamic={"standby_cluster": {"host": "elsewhere"}})
    decision = restarts(following)
    assert decision.steps == ()
    assert [(held.step.target, held.why, held.is_lasting) for held in decision.held] == [
        ("PostgreSQL of acid-a-0", NO_LESS, True),
        ("PostgreSQL of acid-a-1", NO_LESS, True),
    ]
    assert decide(following).unsettled == ()
    before = {"acid-a-2 waits for a restart": NOW - dt.timedelta(minutes=59)}
    unknown = situation(leader(), pod(1), pod(2, pending_restart={}), budget=FleetBudget(restarted=before))
    assert [held.why for held in restarts(unknown).held] == [IN_VAIN]
    later = replace(unknown, observed=replace(unknown.observed, now=NOW + dt.timedelta(minutes=2)))
    assert [step.target for step in restarts(later).steps] == ["PostgreSQL of acid-a-2"]


@pytest.mark.parametrize(("tagged", "waits"), [((1, 2), []), ((1,), [NO_STANDBY])])
def test_nobody_waits_for_a_synchronous_standby_that_no_replica_may_be(tagged, waits):
    found = situation(*three(), **SYNCHRONOUS)
    members = {
        name: replace(member, tags={"nosync": True}) if name in {f"acid-a-{n}" for n in tagged} else member
        for name, member in found.members.items()
    }
    assert [wait.why for wait in awaited(replace(found, members=members)).waits] == waits


def test_after_a_restart_of_the_operator_a_settled_cluster_waits_for_nothing():
    settled = {"PostgresClusterStatus": "Running", "observedGeneration": 1}
    unread = DatabaseLook(is_due=True)
    assert not situation(*three(), database=unread, status=settled).awaits_databases
    assert situation(*three(), database=unread, status={**settled, "observedGeneration": 0}).awaits_databases


def test_a_manifest_that_takes_synchronous_replication_out_ends_it():
    waiting = {"synchronous_mode": True, "synchronous_mode_strict": True}
    assert dynamic_configuration(situation(*three(), dynamic=waiting)).steps == ()
    (step,) = dynamic_configuration(situation(*three(), spec={"patroni": {}}, dynamic=waiting)).steps
    assert step.patch == {"synchronous_mode": False, "synchronous_mode_strict": False}
    assert step.reason == "synchronous_mode: true → false; synchronous_mode_strict: true → false"


# --- promotion ---------------------------------------------------------------------------------------------------------

FOLLOWING = {"standby_cluster": {"host": "other"}}


STANDBYS = (leader(role="standby_leader"), pod(1), pod(2))


def promoted(seen):
    return replace(seen, cluster=replace(seen.cluster, is_promoted=True))


def test_a_cluster_whose_manifest_was_a_standbys_is_promoted_first_of_all():
    seen = promoted(situation(*STANDBYS, dynamic=FOLLOWING, without=("StatefulSet",)))
    steps = decide(seen).steps
    assert [type(step) for step in steps[:2]] == [PatchDynamicConfiguration, Create]
    assert steps[0].patch == {"standby_cluster": None}
    assert promotion(promoted(situation(*three()))).steps == ()


def test_a_standby_cluster_that_people_made_by_hand_is_not_promoted():
    assert promotion(situation(*STANDBYS, dynamic=FOLLOWING)).steps == ()


@pytest.mark.parametrize(
    ("claim", "members", "parts"),
    [
        ("Patroni's configuration is not there", three(), {"initialize": None}),
        ("it was scaled to nothing", (), {"dynamic": FOLLOWING}),
        ("nobody leads", (pod(0), pod(1), pod(2)), {"dynamic": FOLLOWING}),
        ("its pods do not start", (leader(waiting="ImagePullBackOff"),), {"dynamic": FOLLOWING}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_promotion_that_cannot_be_told_yet_holds_up_nothing_that_it_may_need(claim, members, parts):
    decision = promotion(promoted(situation(*members, **parts)))
    assert decision.waits, claim
    assert (decision.steps, decision.ends) == ((), False), claim


# --- together ----------------------------------------------------------------------------------------------------------


def test_the_planners_are_asked_in_this_order():
    assert [planner.__name__ for planner in PLANNERS] == [
        "blind",
        "finalizer",
        "former_leaders",
        "dead_leader",
        "expired_lock",
        "silent_leader",
        "kept_volumes",
        "scale_in",
        "promotion",
        "missing_secrets",
        "copied_secrets",
        "user_lists",
        "remove_poolers",
        "align_objects",
        "obsolete_objects",
        "align_pod_annotations",
        "inherit",
        "modify_volumes",
        "grow_claims",
        "rotations",
        "dynamic_configuration",
        "system_passwords",
        "databases",
        "event_streams",
        "leave_nodes",
        "roll_poolers",
        "replacements",
        "restarts",
        "awaited",
        "kept_roles",
    ]


def test_what_disturbs_nobody_comes_before_what_does():
    claims = [claim(0), claim(1), claim(2)]
    asked = {"spec": {"volume": {"size": "2Gi"}, "patroni": {"ttl": 45}}}
    plan = decide(situation(*three(revision=OUTDATED), **asked, claims=claims, dynamic={"ttl": 30}, database=LACKING))
    assert kinds(plan) == [GrowClaim, GrowClaim, GrowClaim, PatchDynamicConfiguration, RunStatements, ReplacePod]


def test_a_planner_that_ends_keeps_the_later_ones_from_being_asked():
    before = situation(*three(), finalizers=(), without=("Service",), database=LACKING)
    assert RunStatements in kinds(decide(before))
    ended = situation(**NEW, finalizers=(), secrets=False)
    assert kinds(decide(ended)) == [SetFinalizers]


def test_only_one_disruptive_step_is_planned():
    plan = decide(situation(*three(revision=OUTDATED, pending_restart=MORE)))
    assert sum(step.disruptive for step in plan.steps) == 1


STEPS = (
    Apply(reason="r", body={"kind": "Service", "metadata": {"name": "a"}}, uid="u"),
    ReplacePod(reason="r", name="a", uid="u", resource_version="1"),
    Switchover(reason="r", leader="a", candidate="b"),
    RestartMember(reason="r", name="a", uid="u"),
)


@pytest.mark.parametrize(
    ("pause", "kept", "held"),
    [
        (names.Pause.NONE, STEPS, ()),
        (names.Pause.DISRUPTIVE, STEPS[:1], STEPS[1:]),
        (names.Pause.ALL, (), STEPS),
    ],
)
def test_a_pause_holds_what_it_covers_and_forgets_nothing(pause, kept, held):
    plan = hold_paused(Plan(steps=STEPS, waits=(Wait(1.0, "w"),), stopped="s"), pause)
    assert plan.steps == kept
    assert tuple(one.step for one in plan.held) == held
    assert (plan.waits, plan.stopped) == ((Wait(1.0, "w"),), "s")
    assert all(one.why == f"annotation howdah.dev/pause: {pause.value}" for one in plan.held)


def test_a_paused_cluster_is_left_alone():
    everything_differs = {"database": LACKING, "finalizers": (), "without": ("Service",), "secrets": False}
    plan = decide(situation(*three(revision=OUTDATED), annotations={names.PAUSE: "all"}, **everything_differs))
    assert plan.steps == ()
    assert plan.held
