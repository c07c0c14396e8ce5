"""How many replicas a StatefulSet gets: nobody who is there goes by the way, and nobody at all while nobody who stays leads."""

from typing import Any

import pytest
from msgspec.structs import replace

from howdah.core.alignment import align_objects
from howdah.core.objects.build import build
from howdah.core.plan import Apply, Create, Decision, Delete, Plan, ScaleIn, Switchover
from howdah.core.planners import decide
from howdah.core.scaling import scale_in
from howdah.core.situation import Situation
from howdah.model import names
from howdah.model.observed import Live, Pod
from unit.core.clusters import NAME, claim, cluster, leader, live, lock, pod, situation, three

STATEFUL_SET = ("StatefulSet", NAME)
DELETES = {"persistent_volume_claim_retention_policy": "when_deleted:retain,when_scaled:delete"}
LAST_LEADS = (pod(0), pod(1), leader(2))
LAST = lock("acid-a-2")
NOBODY: dict[str, str] = {}
EXPIRED = {**LAST, names.LOCK_EXPIRED: f"{LAST['renewTime']}/1"}


def of_three(settings: dict[str, str] | None = None, **fields: Any) -> dict[tuple[str, str], Live]:
    """The StatefulSet with three replicas."""
    body = next(b for b in build(cluster(None, settings, numberOfInstances=3)) if b["kind"] == "StatefulSet")
    return {STATEFUL_SET: live({**body, "spec": {**body["spec"], **fields}})}


def asked(instances: int, *pods: Pod, **parts: Any) -> Situation:
    """A cluster of three members in which so many are asked for."""
    spec = {"numberOfInstances": instances, **parts.pop("spec", {})}
    objects = {} if "StatefulSet" in parts.get("without", ()) else of_three(parts.get("settings"))
    return situation(*(pods or three()), spec=spec, **{"objects": objects, **parts})


def kinds(plan: Plan) -> list[type]:
    return [type(step) for step in plan.steps]


def made(seen: Situation) -> Create:
    (step,) = (step for step in decide(seen).steps if isinstance(step, Create) and step.body["kind"] == "StatefulSet")
    return step


# --- a StatefulSet that is made ----------------------------------------------------------------------------------------

LOST: dict[str, Any] = {"without": ("StatefulSet",)}
PEOPLES = replace(pod(20261126), metadata=replace(pod(20261126).metadata, labels={"cluster-name": NAME}))


@pytest.mark.parametrize(
    ("claim", "seen", "replicas"),
    [
        ("as many as asked for in a new cluster", situation(without=("StatefulSet",), initialize=None), 3),
        ("one for each pod that is there", asked(2, **LOST), 3),
        ("also where the leader stays alone", asked(1, leader(), pod(2), **LOST), 3),
        (
            "and for the holder of the lock, whose pod is away",
            asked(2, pod(0), pod(1), leader_lock=LAST, claims=[claim(n) for n in range(3)], **LOST),
            3,
        ),
        (
            "a lock of an earlier life, of which there is no volume",
            asked(2, pod(0), pod(1), leader_lock=LAST, **LOST),
            2,
        ),
        ("a pod that people made", asked(2, pod(0), pod(1), PEOPLES, leader_lock=NOBODY, **LOST), 2),
        ("more are asked for than there are", asked(5, **LOST), 5),
        ("a pod that is going is still there", asked(2, leader(), pod(1), pod(2, deleting=True), **LOST), 3),
        ("nobody, and there is nobody", situation(spec={"numberOfInstances": 0}, leader_lock=LAST, **LOST), 0),
        ("nobody, and they are there", asked(0, **LOST), 3),
        ("who holds the lock is no pod of it", asked(2, pod(0), pod(1), leader_lock=lock("acid-b-7"), **LOST), 2),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_stateful_set_is_made_with_room_for_everybody(claim: str, seen: Situation, replicas: int) -> None:
    assert made(seen).body["spec"]["replicas"] == replicas, claim


def test_its_reason_says_why_there_are_more_than_asked_for() -> None:
    assert made(asked(2, **LOST)).reason == (
        "StatefulSet acid-a does not exist; it is made with 3 replicas, for acid-a-2 is there: fewer is a step of its own"
    )
    assert made(situation(without=("StatefulSet",), initialize=None)).reason == "StatefulSet acid-a does not exist"


def test_one_edit_for_a_new_stateful_set_and_fewer_instances_is_two_things() -> None:
    objects = of_three(podManagementPolicy="Parallel")
    plan = decide(asked(2, *LAST_LEADS, leader_lock=LAST, objects=objects))
    assert kinds(plan) == [Switchover, Delete]
    paused = decide(asked(2, *LAST_LEADS, leader_lock=LAST, annotations={names.PAUSE: "disruptive"}, **LOST))
    assert [step.body["spec"]["replicas"] for step in paused.steps if isinstance(step, Create)] == [3]
    assert [type(held.step) for held in paused.held] == [Switchover]


# --- fewer instances ---------------------------------------------------------------------------------------------------


def test_a_leader_that_is_to_go_hands_over_to_a_member_that_stays() -> None:
    seen = asked(1, *LAST_LEADS, leader_lock=LAST)
    (step,) = scale_in(seen).steps
    assert isinstance(step, Switchover)
    assert (step.leader, step.candidate) == ("acid-a-2", "acid-a-0")
    assert kinds(decide(seen)) == [Switchover]


def test_nothing_shrinks_while_the_leader_cannot_hand_over() -> None:
    pods = (pod(0, state="starting"), pod(1), leader(2))
    plan = decide(asked(1, *pods, leader_lock=LAST))
    assert plan.steps == ()
    assert "acid-a-0 is in state starting" in plan.waits[0].why


@pytest.mark.parametrize(
    ("leads", "pods", "synchronous", "expected"),
    [
        (2, (pod(0), pod(1), leader(2)), "acid-a-0", "acid-a-0"),
        (2, (pod(0), pod(1), leader(2)), "acid-a-1", "acid-a-1"),
        (1, (pod(0), leader(1), pod(2)), "acid-a-2", 2),
        (1, (pod(0), leader(1), pod(2)), "acid-a-0", "acid-a-0"),
        (1, (pod(0), leader(1), pod(2)), "", "no synchronous standby is chosen yet"),
        (2, (pod(0), pod(1), leader(2)), "", "not a synchronous standby"),
        (2, (pod(0, state="starting"), pod(1), leader(2)), "acid-a-1", "acid-a-0 is in state starting"),
        (1, (pod(0, state="starting"), leader(1), pod(2)), "acid-a-2", "acid-a-0 is in state starting"),
    ],
)
def test_a_leader_with_synchronous_standbys_comes_down_by_turns_to_one_that_stays(
    leads: int, pods: tuple[Pod, ...], synchronous: str, expected: str | int
) -> None:
    parts: dict[str, Any] = {"leader_lock": lock(f"acid-a-{leads}"), "dynamic": {"synchronous_mode": True}}
    plan = decide(asked(1, *pods, **parts, synchronous=[synchronous] if synchronous else []))
    if isinstance(expected, int):
        (step,) = plan.steps
        assert isinstance(step, ScaleIn)
        assert step.body["spec"]["replicas"] == expected
        assert "down to 2 first" in step.reason
    elif plan.steps:
        (step,) = plan.steps
        assert isinstance(step, Switchover)
        assert step.candidate == expected
    else:
        assert expected in plan.waits[0].why


NEWEST = 200 * 2**30


@pytest.mark.parametrize(
    ("claim", "instances", "leads", "stays", "expected"),
    [
        ("far behind", 1, 1, pod(0, state="in archive recovery", lsn=1000), "acid-a-0 lacks more than 33554432 bytes"),
        ("far behind, though it streams", 1, 1, pod(0, lsn=1000), "acid-a-0 lacks more than 33554432 bytes"),
        ("without a stream", 1, 1, pod(0, state="in archive recovery", lsn=NEWEST), "acid-a-0 does not stream"),
        ("not ready", 1, 1, pod(0, ready=False, lsn=NEWEST), "acid-a-0 is not ready"),
        ("near", 1, 1, pod(0, lsn=NEWEST - 1000), 2),
        ("far behind beside a leader that stays", 2, 0, pod(1, lsn=1000), "acid-a-1 lacks more than 33554432 bytes"),
        ("not there", 2, 0, None, "no pod is there"),
        ("near", 2, 0, pod(1, lsn=NEWEST), 2),
        ("far behind, and to go itself", 1, 0, pod(1, lsn=1000), 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_only_synchronous_standby_stays_until_one_that_stays_is_fit_to_be_it(
    claim: str, instances: int, leads: int, stays: Pod | None, expected: str | int
) -> None:
    there = (stays, leader(leads, lsn=NEWEST), pod(2, lsn=NEWEST))
    pods = sorted((one for one in there if one is not None), key=lambda one: one.ordinal)
    held = lock(f"acid-a-{leads}", optime=NEWEST)
    mode = {"synchronous_mode": True, "maximum_lag_on_failover": 32 * 2**20}
    plan = decide(asked(instances, *pods, leader_lock=held, dynamic=mode, synchronous=["acid-a-2"], settings=DELETES))
    scaled = [step.body["spec"]["replicas"] for step in plan.steps if isinstance(step, ScaleIn)]
    if isinstance(expected, int):
        assert scaled == [expected], claim
    else:
        assert (scaled, plan.steps) == ([], ()), claim
        assert expected in plan.waits[0].why


@pytest.mark.parametrize("mode", [False, True, "quorum"])
def test_a_member_that_patroni_would_refuse_is_not_asked_to_take_over(mode: bool | str) -> None:
    """Not asked for minutes, while the steps of the same pass wait: the reason is said instead."""
    pods = (pod(0, lsn=1000), pod(1, lsn=NEWEST), leader(2, lsn=NEWEST))
    held = lock("acid-a-2", optime=NEWEST)
    plan = decide(asked(1, *pods, leader_lock=held, dynamic={"synchronous_mode": mode}, synchronous=["acid-a-0"]))
    assert plan.steps == ()
    assert "acid-a-0 lacks more than" in plan.waits[0].why


def test_quorum_commit_hands_over_to_one_that_it_counts() -> None:
    parts: dict[str, Any] = {"leader_lock": LAST, "dynamic": {"synchronous_mode": "quorum"}}
    (step,) = scale_in(asked(2, *LAST_LEADS, **parts, synchronous=["acid-a-1"])).steps
    assert isinstance(step, Switchover)
    assert step.candidate == "acid-a-1"
    (step,) = scale_in(asked(2, *LAST_LEADS, **parts)).steps
    assert isinstance(step, Switchover), "before it counts anybody, Patroni lets every member take over"
    assert step.candidate == "acid-a-0"


@pytest.mark.parametrize(
    ("claim", "seen"),
    [
        ("the leader stays", asked(1)),
        ("no member is to stay", asked(0, *LAST_LEADS, leader_lock=LAST)),
        ("nobody leads, and nobody is to go", situation(*three(), leader_lock=NOBODY)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nobody_hands_over_when(claim: str, seen: Situation) -> None:
    assert scale_in(seen) == Decision(), claim


BEHIND = (pod(0, state="starting"), pod(1, state="starting"))
FORMER = pod(2, state="stopped", lsn=10**12, ready=False)


@pytest.mark.parametrize(
    ("claim", "pods", "held", "why"),
    [
        ("the lock was released", (*BEHIND, FORMER), NOBODY, "nobody leads"),
        ("the lock has expired", (*BEHIND, FORMER), EXPIRED, "acid-a-2 holds the leader lock and does not lead now"),
        ("the leader that stays is not up", (leader(ready=False), pod(1), pod(2)), None, "acid-a-0 holds the leader"),
        ("its pod is away", (pod(1), pod(2)), lock("acid-a-0"), "acid-a-0 holds the leader lock"),
        ("it takes over just now", (pod(0, state="running", role="replica"), pod(1), FORMER), None, "acid-a-0 holds"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_member_goes_while_nobody_who_stays_leads(
    claim: str, pods: tuple[Pod, ...], held: dict[str, str] | None, why: str
) -> None:
    plan = decide(asked(2, *pods, leader_lock=held, settings=DELETES))
    assert not [step for step in plan.steps if step.disruptive], claim
    assert why in plan.waits[0].why
    assert plan.waits[0].why.startswith("numberOfInstances 2 waits: ")


UNBORN = (pod(0, silent=True, ready=False), pod(1, silent=True, ready=False))


@pytest.mark.parametrize(
    ("claim", "parts", "shrinks"),
    [
        ("there is no room for anybody yet", {"initialize": None}, True),
        ("the first member makes its data", {"initialize": ""}, True),
        ("there are data", {"initialize": "7000"}, False),
        ("there may be data of an earlier cluster", {"annotations": {names.USE_KEPT_VOLUMES: "true"}}, False),
        ("a member says something", {"pods": (pod(0, state="starting"), UNBORN[1])}, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cluster_that_holds_nothing_yet_gets_smaller_without_a_leader(
    claim: str, parts: dict[str, Any], shrinks: bool
) -> None:
    seen = asked(1, *parts.pop("pods", UNBORN), leader_lock=NOBODY, **{"initialize": None, **parts})
    assert (ScaleIn in kinds(decide(seen))) is shrinks, claim


def test_a_step_that_makes_it_smaller_names_the_version_and_the_leader_that_were_seen() -> None:
    (step,) = (step for step in decide(asked(2)).steps if isinstance(step, ScaleIn))
    assert (step.uid, step.resource_version) == ("uid-of-StatefulSet-acid-a", "100")
    assert (step.leader, step.object_kind, step.object_name) == ("acid-a-0", "ConfigMap", "acid-a-leader")
    assert step.body["spec"]["replicas"] == 2


def test_a_standby_cluster_has_a_leader_too() -> None:
    standby = {"spec": {"standby": {"standby_host": "other"}}}
    head = leader(role="standby_leader")
    objects = {STATEFUL_SET: live(_with_three(asked(2, head, pod(1), pod(2), **standby)))}
    assert ScaleIn in kinds(decide(asked(2, head, pod(1), pod(2), objects=objects, **standby)))


def _with_three(seen: Situation) -> dict[str, Any]:
    body = next(body for body in seen.intended if body["kind"] == "StatefulSet")
    return {**body, "spec": {**body["spec"], "replicas": 3}}


def test_everything_else_of_the_stateful_set_waits_for_no_leader() -> None:
    objects = of_three(minReadySeconds=7, persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"})
    (step,) = (step for step in align_objects(asked(2, leader_lock=NOBODY, objects=objects)).steps)
    assert isinstance(step, Apply)
    assert not isinstance(step, ScaleIn)
    assert step.body["spec"]["replicas"] == 3


# --- none --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [None, NOBODY, LAST], ids=["somebody leads", "nobody leads", "the last one leads"])
def test_no_instances_stop_all_members_whoever_leads(held: dict[str, str] | None) -> None:
    (step,) = (step for step in decide(asked(0, leader_lock=held)).steps if isinstance(step, ScaleIn))
    assert step.leader is None


def test_no_instances_keep_every_volume_for_one_of_them_is_the_leaders() -> None:
    seen = asked(0, settings=DELETES)
    (first,) = (step for step in decide(seen).steps if isinstance(step, Apply))
    policy = first.body["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert (policy["whenScaled"], first.body["spec"]["replicas"]) == ("Retain", 3), "before anything is made smaller"
    one = asked(1, settings=DELETES)
    (smaller,) = (step for step in decide(one).steps if isinstance(step, ScaleIn))
    assert smaller.body["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"


def test_in_etcd_nobody_sees_who_leads_and_a_person_makes_it_smaller() -> None:
    settings = {"etcd_host": "etcd.example"}
    plan = decide(asked(2, settings=settings, leader_lock=NOBODY, initialize=None))
    assert ScaleIn not in kinds(plan)
    assert "kubectl scale statefulset acid-a --replicas=2" in plan.waits[0].why
