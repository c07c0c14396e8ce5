"""When EC2 is asked: with a reason only, together with others, and never again at once after a refusal."""

import asyncio
import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from howdah.adapters.aws.query import Refused
from howdah.controller.lead import permit
from howdah.controller.volumes import REFUSED_FOR, Volumes
from howdah.core.plan import ModifyVolume
from howdah.kube.errors import Forbidden
from howdah.model.errors import ExternalError
from howdah.model.observed import PersistentVolume
from howdah.model.volumes import CloudVolume
from unit.core.clusters import NOW, claim, decoded, leader, situation

pytestmark = pytest.mark.looptime
KEY, OTHER = ("ns", "acid-a"), ("ns", "acid-b")
GP3 = CloudVolume("vol-pv-0", 1, "gp3", 3000, 125)


class Api:
    """Persistent volumes by name; each is the EC2 volume of that name."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.forbidden = False

    async def get(self, resource: Any, name: str, *, type: Any) -> Any:  # noqa: A002 - as the client's
        del resource, type
        self.asked.append(name)
        if self.forbidden:
            raise Forbidden("get persistentvolumes", status=403, message="persistentvolumes is forbidden")
        body = {"spec": {"csi": {"driver": "ebs.csi.aws.com", "volumeHandle": f"vol-{name}"}}}
        return decoded(PersistentVolume, body)


class Cloud:
    region = "eu-central-1"

    def __init__(self) -> None:
        self.volumes = {"vol-pv-0": GP3, "vol-pv-1": replace(GP3, id="vol-pv-1")}
        self.asked: list[tuple[str, ...]] = []
        self.modified: list[str] = []
        self.error: ExternalError | None = None

    async def describe(self, ids: Iterable[str]) -> dict[str, CloudVolume]:
        self.asked.append(tuple(sorted(ids)))
        if self.error is not None:
            raise self.error
        return {one: self.volumes[one] for one in self.asked[-1] if one in self.volumes}

    async def modify(self, volume_id: str, **asked: Any) -> None:
        del asked
        self.modified.append(volume_id)
        if self.error is not None:
            raise self.error


class World:
    def __init__(self) -> None:
        self.api, self.cloud, self.notified = Api(), Cloud(), []
        self.started = asyncio.get_running_loop().time()
        self.volumes = Volumes(
            self.api,  # type: ignore[arg-type]
            self.cloud,
            notify=self.notified.append,
            refresh_s=1800,
            permit=permit(lambda: True),
            clock=lambda: NOW + dt.timedelta(seconds=asyncio.get_running_loop().time() - self.started),
        )

    def look(self, key=KEY, volume="pv-0", mode="mixed", **asked: Any):
        settings, spec = {"storage_resize_mode": mode}, {"volume": {"size": "1Gi", **asked}}
        found = situation(leader(), claims=[claim(0, volume=volume)], settings=settings, spec=spec)
        return self.volumes.look(key, found.cluster, found.observed)

    async def looked(self, **asked: Any):
        self.look(**asked)
        await asyncio.sleep(1)
        return self.look(**asked)


def modification(**asked: Any) -> ModifyVolume:
    return ModifyVolume(reason="because", claim="pgdata-acid-a-0", volume_id="vol-pv-0", **asked)


async def test_a_quiet_cluster_asks_once_until_the_resync():
    world = World()
    assert not world.look().is_known
    await asyncio.sleep(1)
    for _ in range(100):
        assert world.look().volumes == {"pgdata-acid-a-0": GP3}
        await asyncio.sleep(10)
    assert world.cloud.asked == [("vol-pv-0",)]
    await asyncio.sleep(1800)
    await world.looked()
    assert len(world.cloud.asked) == 2
    assert world.api.asked == ["pv-0"]


async def test_who_has_nothing_to_do_with_ec2_asks_nobody():
    world = World()
    assert not (await world.looked(mode="pvc", iops=4000)).is_known
    assert world.api.asked == world.cloud.asked == []


async def test_clusters_that_ask_at_the_same_time_share_a_question():
    world = World()
    world.look()
    world.look(OTHER, "pv-1")
    await asyncio.sleep(1)
    assert world.cloud.asked == [("vol-pv-0", "vol-pv-1")]
    assert world.look().volumes["pgdata-acid-a-0"].id == "vol-pv-0"
    assert world.look(OTHER, "pv-1").volumes["pgdata-acid-a-0"].id == "vol-pv-1"
    assert sorted(world.notified) == [KEY, OTHER]


async def test_a_changed_manifest_is_not_decided_by_what_was_seen_before():
    world = World()
    await world.looked()
    assert not world.look(iops=4000).is_known
    await asyncio.sleep(1)
    assert world.look(iops=4000).is_known
    assert len(world.cloud.asked) == 2


async def test_after_a_modification_ec2_is_asked_anew_and_what_it_does_not_show_yet_is_under_way():
    world = World()
    await world.looked(iops=4000)
    await world.volumes.modify(KEY, modification(iops=4000))
    for _ in range(2):
        assert world.look(iops=4000).volumes["pgdata-acid-a-0"].modification == "modifying"
        await asyncio.sleep(1)
    assert len(world.cloud.asked) == 2
    world.cloud.volumes["vol-pv-0"] = replace(GP3, iops=4000, modification="optimizing")
    await asyncio.sleep(10)
    assert (await world.looked(iops=4000)).volumes["pgdata-acid-a-0"] == world.cloud.volumes["vol-pv-0"]


async def test_what_was_read_while_a_modification_was_asked_for_counts_for_nothing():
    world = World()
    world.look(iops=4000)
    await asyncio.sleep(0.1)
    await world.volumes.modify(KEY, modification(iops=4000))
    await asyncio.sleep(0.2)
    assert not world.look(iops=4000).is_known


@pytest.mark.parametrize(
    ("error", "questions"),
    [
        (Refused("EC2", "UnauthorizedOperation", "no", transient=False), 1),
        (Refused("EC2", "IncorrectModificationState", "busy", transient=True), 2),
        (ExternalError("EC2", transient=True, message="no answer in 15 s"), 2),
    ],
    ids=["not allowed", "under way", "no answer"],
)
async def test_after_a_failure_ec2_is_asked_anew_where_the_volume_may_have_changed(error, questions):
    world = World()
    await world.looked(iops=4000)
    world.cloud.error = error
    with pytest.raises(ExternalError):
        await world.volumes.modify(KEY, modification(iops=4000))
    world.cloud.error = None
    assert (await world.looked(iops=4000)).is_known
    assert len(world.cloud.asked) == questions


async def test_a_volume_that_ec2_has_had_enough_of_rests():
    world = World()
    await world.looked(iops=4000)
    world.cloud.error = Refused("EC2", "VolumeModificationRateExceeded", "wait", transient=True)
    with pytest.raises(ExternalError):
        await world.volumes.modify(KEY, modification(iops=4000))
    world.cloud.error = None
    refusal = (await world.looked(iops=4000)).volumes["pgdata-acid-a-0"].refusal
    assert "wait; the next try is at 04:04 UTC" in refusal.why
    await asyncio.sleep(REFUSED_FOR.total_seconds())
    assert (await world.looked(iops=4000)).volumes["pgdata-acid-a-0"].refusal is None


async def test_an_ec2_that_is_away_is_asked_once_in_a_while_for_all():
    world = World()
    world.cloud.error = ExternalError("EC2", transient=True, message="no answer in 15 s")
    for _ in range(60):
        world.look()
        world.look(OTHER, "pv-1")
        await asyncio.sleep(1)
    assert world.look().error == "EC2: no answer in 15 s"
    assert len(world.cloud.asked) == 1
    world.cloud.error = None
    await asyncio.sleep(60)
    assert (await world.looked()).is_known


async def test_what_was_seen_holds_while_ec2_is_away():
    world = World()
    await world.looked()
    world.cloud.error = ExternalError("EC2", transient=True, message="away")
    await asyncio.sleep(1900)
    assert (await world.looked()).volumes == {"pgdata-acid-a-0": GP3}
    assert len(world.cloud.asked) == 2


async def test_volumes_that_may_not_be_seen_are_said():
    world = World()
    world.api.forbidden = True
    assert "persistentvolumes is forbidden" in (await world.looked()).unseen
    assert world.cloud.asked == []


async def test_a_volume_that_ec2_does_not_know_names_the_region():
    world = World()
    world.cloud.volumes.clear()
    assert "no volume vol-pv-0 in region eu-central-1 (aws_region)" in (await world.looked()).error


async def test_while_ec2_changes_a_volume_it_is_looked_at_again_and_again():
    world = World()
    world.cloud.volumes["vol-pv-0"] = replace(GP3, modification="modifying")
    await world.looked()
    await asyncio.sleep(10)
    await world.looked()
    assert len(world.cloud.asked) == 2
