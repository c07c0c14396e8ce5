"""Volumes grow and get faster: what EC2 is asked for in each mode, what the claims are, and what never happens."""

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from howdah.core.findings import findings_of
from howdah.core.plan import GrowClaim, ModifyVolume, Plan
from howdah.core.planners import decide
from howdah.core.situation import VolumeLook
from howdah.core.status import Outcome, build_status
from howdah.core.volumes import ebs_volume_id, grow_claims, modify_volumes, running_claims
from howdah.model.observed import PersistentVolume
from howdah.model.volumes import CloudVolume, Refusal
from unit.core.clusters import NOW, claim, decoded, leader, situation, three

EBS, MIXED, OFF = ({"storage_resize_mode": mode} for mode in ("ebs", "mixed", "off"))
TO_GP3 = {"enable_ebs_gp3_migration": "true", "enable_ebs_gp3_migration_max_size": "100"}
GP3 = CloudVolume("vol-0", 1, "gp3", 3000, 125)
GP2 = CloudVolume("vol-0", 1, "gp2", 100)
CASES = Path(__file__).parents[2] / "compat" / "cases"


def seen(volume: CloudVolume | None, settings: Any, claimed: str = "1Gi", **asked: Any):
    """One member, whose volume EC2 describes like this; keywords are fields of spec.volume."""
    found = situation(
        leader(),
        spec={"numberOfInstances": 1, "volume": {"size": "1Gi", **asked}},
        settings=settings,
        claims=[claim(0, claimed, volume="pv-0")],
    )
    return replace(found, storage=VolumeLook({"pgdata-acid-a-0": volume}, is_known=True))


def modified(found: Any) -> list[dict[str, Any]]:
    steps = modify_volumes(found).steps
    fields = ("size_gib", "type", "iops", "throughput")
    return [{name: value for name in fields if (value := getattr(step, name)) is not None} for step in steps]


@pytest.mark.parametrize(
    ("volume", "settings", "asked", "change"),
    [
        (GP3, MIXED, {}, []),
        (GP3, MIXED, {"size": "2Gi"}, [{"size_gib": 2}]),
        (GP3, MIXED, {"size": "1500Mi"}, [{"size_gib": 2}]),
        (GP3, EBS, {"size": "2Gi"}, [{"size_gib": 2}]),
        (replace(GP3, size_gib=9), MIXED, {"size": "2Gi"}, []),
        (replace(GP3, size_gib=9), EBS, {"size": "2Gi"}, []),
        (GP3, {}, {"size": "2Gi", "iops": 4000}, []),
        (GP3, OFF, {"size": "2Gi", "iops": 4000}, []),
        (GP3, MIXED, {"iops": 4000, "throughput": 200}, [{"iops": 4000, "throughput": 200}]),
        (GP3, MIXED, {"iops": 4000, "size": "4Gi"}, [{"size_gib": 4, "iops": 4000}]),
        (replace(GP3, iops=4000), MIXED, {"iops": 3000}, [{"iops": 3000}]),
        (GP3, MIXED, {"iops": 2999, "throughput": 124}, []),
        (GP3, EBS, {"iops": 4000, "throughput": 200, "type": "io2"}, []),
        (GP2, MIXED, {"iops": 4000, "throughput": 200}, []),
        (GP2, MIXED, {"type": "gp3", "iops": 3500}, [{"type": "gp3", "iops": 3500, "throughput": 125}]),
        (GP3, MIXED, {"type": "io2", "iops": 3000}, [{"type": "io2", "iops": 3000}]),
        (GP2, TO_GP3, {}, [{"type": "gp3", "iops": 3000, "throughput": 125}]),
        (GP2, {**TO_GP3, **OFF}, {}, [{"type": "gp3", "iops": 3000, "throughput": 125}]),
        (replace(GP2, size_gib=100), TO_GP3, {}, []),
        (replace(GP2, size_gib=99), TO_GP3, {}, [{"type": "gp3", "iops": 3000, "throughput": 125}]),
        (replace(GP2, type="io1"), TO_GP3, {}, []),
        (GP2, {**TO_GP3, **MIXED}, {"type": "gp2"}, []),
        (None, MIXED, {"size": "2Gi", "iops": 4000}, []),
    ],
)
def test_one_modification_has_all_that_differs_and_nothing_shrinks(volume, settings, asked, change):
    assert modified(seen(volume, settings, **asked)) == change


def test_the_recorded_modifications_of_the_reference_are_made():
    case = CASES / "update-volume-mixed"
    first, second = ({"iops": 3500, "throughput": 200, "type": "gp3"}, {"iops": 4000, "throughput": 200, "type": "gp3"})
    steps = [
        (case / "ec2.json", replace(GP2, throughput=125), first),
        (case / "ec2-2.json", CloudVolume("vol-0", 1, "gp3", 3500, 200), {**second, "size": "4Gi"}),
    ]
    ours = {"size_gib": "Size", "type": "VolumeType", "iops": "Iops", "throughput": "Throughput"}
    for recorded, volume, asked in steps:
        wanted = json.loads(recorded.read_text())[0]
        del wanted["ModifyVolume"]
        (step,) = modified(seen(volume, MIXED, **asked))
        assert {ours[name]: str(value) for name, value in step.items()} == wanted


@pytest.mark.parametrize("state", ["modifying", "optimizing"])
def test_while_ec2_changes_a_volume_the_next_change_waits_and_says_so(state):
    decision = modify_volumes(seen(replace(GP3, modification=state), MIXED, iops=4000))
    assert decision.steps == ()
    (wait,) = decision.waits
    assert state in wait.why
    assert "iops 3000 instead of 4000" in wait.why
    assert modify_volumes(seen(replace(GP3, modification=state), MIXED)).waits == ()


def test_what_ec2_has_had_enough_of_is_held_until_its_time_and_said():
    refusal = Refusal("you have reached the limit; the next try is at 04:04 UTC", NOW + dt.timedelta(hours=1))
    found = seen(replace(GP3, refusal=refusal), MIXED, iops=4000)
    plan = decide(found)
    assert not any(isinstance(step, ModifyVolume) for step in plan.steps)
    assert [(held.why, held.until) for held in plan.held] == [(refusal.why, refusal.until)]
    assert plan.next_look_s == 3600
    assert "the next try is at 04:04 UTC" in degraded(found, plan)["message"]


@pytest.mark.parametrize(
    ("volume", "words"),
    [
        (GP2, "gp2, which takes no spec.volume.iops: set spec.volume.type"),
        (replace(GP3, modification="failed", modification_error="no room"), "the last modification failed: no room"),
    ],
)
def test_what_a_person_has_to_know_is_in_the_condition(volume, words):
    found = seen(volume, MIXED, iops=4000)
    assert words in degraded(found, decide(found))["message"]


def degraded(found: Any, plan: Plan) -> dict[str, Any]:
    status = build_status({"PostgresClusterStatus": "Running"}, findings_of(found), plan, Outcome(), NOW)
    (condition,) = [one for one in status["conditions"] if one["type"] == "Degraded"]
    assert condition["status"] == "True"
    return condition


def test_volumes_that_may_not_be_seen_are_said_and_only_the_claims_of_mixed_grow():
    for settings, grown in ((MIXED, 1), (EBS, 0)):
        blind = replace(seen(GP3, settings, size="2Gi", iops=4000), storage=VolumeLook(unseen="persistentvolumes: no"))
        plan = decide(blind)
        assert [type(step) for step in plan.steps] == [GrowClaim] * grown
        assert degraded(blind, plan)["reason"] == "NotPermitted"


def test_without_ec2_the_condition_says_so_and_the_claims_of_mixed_grow():
    for settings, grown in ((MIXED, 1), (EBS, 0)):
        away = replace(seen(GP3, settings, size="2Gi"), storage=VolumeLook(error="EC2: no answer in 15 s"))
        plan = decide(away)
        assert [type(step) for step in plan.steps] == [GrowClaim] * grown
        assert degraded(away, plan)["reason"] == "VolumesNotAsAsked"
        assert plan.next_look_s is not None


def test_a_quiet_cluster_awaits_nothing_of_ec2():
    unasked = replace(seen(GP3, MIXED), storage=VolumeLook())
    assert decide(unasked).is_quiet
    assert decide(seen(replace(GP3, modification="optimizing"), MIXED)).is_quiet


# --- claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "spec", "settings", "grown"),
    [
        (("1Gi", "1Gi"), {}, {}, []),
        (("1Gi", "1Gi"), {"volume": {"size": "2Gi"}}, {}, ["pgdata-acid-a-0", "pgdata-acid-a-1"]),
        (("2Gi", "1Gi"), {"volume": {"size": "2048Mi"}}, {}, ["pgdata-acid-a-1"]),
        (("5Gi", "1Gi"), {}, {}, []),
        (("1Gi", "1Gi"), {"volume": {"size": "2Gi"}}, OFF, []),
    ],
    ids=["as asked", "both smaller", "one smaller", "a smaller size in the manifest", "switched off"],
)
def test_volumes_grow_and_never_shrink(sizes, spec, settings, grown):
    claims = [claim(ordinal, size) for ordinal, size in enumerate(sizes)]
    found = situation(*three(), claims=claims, spec=spec, settings=settings)
    assert [step.name for step in grow_claims(found).steps] == grown


def test_size_and_speed_go_to_ec2_before_the_claim_grows():
    plan = decide(seen(GP3, MIXED, size="2Gi", iops=4000))
    assert [type(step) for step in plan.steps] == [ModifyVolume, GrowClaim]
    unasked = replace(seen(GP3, MIXED, size="2Gi", iops=4000), storage=VolumeLook())
    assert decide(unasked).steps == ()
    assert decide(unasked).waits


@pytest.mark.parametrize(
    ("volume", "grows"),
    [
        (GP3, False),
        (replace(GP3, size_gib=2, modification="modifying"), False),
        (replace(GP3, size_gib=2, modification="optimizing"), True),
        (replace(GP3, size_gib=2, modification="completed"), True),
        (None, True),
    ],
    ids=["too small", "under way", "optimizing", "done", "not of EC2"],
)
def test_with_ebs_a_claim_follows_its_volume(volume, grows):
    assert bool(grow_claims(seen(volume, EBS, size="2Gi")).steps) is grows


def test_claims_that_earlier_members_left_are_no_concern_of_ec2():
    claims = [claim(0, volume="pv-0"), claim(1, volume="pv-1"), claim(2)]
    found = situation(leader(), claims=claims, settings=EBS, spec={"volume": {"size": "2Gi"}})
    assert [one.metadata.name for one in running_claims(found.observed)] == ["pgdata-acid-a-0"]
    known = replace(found, storage=VolumeLook({"pgdata-acid-a-0": replace(GP3, size_gib=2)}, is_known=True))
    assert [step.name for step in grow_claims(known).steps] == ["pgdata-acid-a-0"]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1"}}, "vol-1"),
        ({"csi": {"driver": "pd.csi.storage.gke.io", "volumeHandle": "projects/p/disk"}}, None),
        ({"awsElasticBlockStore": {"volumeID": "aws://eu-central-1a/vol-1"}}, "vol-1"),
        ({"awsElasticBlockStore": {"volumeID": "vol-1"}}, "vol-1"),
        ({"hostPath": {"path": "/data"}}, None),
    ],
)
def test_the_volume_of_ec2_is_found_in_each_of_its_forms(spec, found):
    assert ebs_volume_id(decoded(PersistentVolume, {"spec": spec})) == found
