"""A manifest that asks EC2 for more: the volumes of a real protocol change, then the claims; and what is said where not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from adapters.aws.rig import REGION, AwsServer, Volume, aws
from adapters.controller.rig import LABELS, NAME, NAMESPACE, Rig, rig
from howdah.adapters.aws.ec2 import Ec2
from howdah.adapters.kubernetes import POSTGRESQLS
from howdah.core.plan import GrowClaim, ModifyVolume
from howdah.kube.resources import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES
from howdah.model import names
from steady import HANGS_S

LARGER = {"spec": {"volume": {"size": "2Gi"}}}
CLAIM, DRIVER = f"pgdata-{NAME}-", "ebs.csi.aws.com"


@asynccontextmanager
async def cluster_on_ec2(ec2: Ec2, mode: str) -> AsyncIterator[Rig]:
    """Three members with an EBS volume of 1 GiB each, all as asked."""
    async with rig(options={"storage_resize_mode": mode}, cloud=ec2) as made:
        for ordinal in range(3):
            claimed = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": f"pv-{ordinal}"}
            metadata = {"name": f"{CLAIM}{ordinal}", "namespace": NAMESPACE, "labels": LABELS}
            claim = {"metadata": metadata, "spec": claimed, "status": {"phase": "Bound"}}
            at_ec2 = {"csi": {"driver": DRIVER, "volumeHandle": f"vol-{ordinal}"}}
            volume = {"metadata": {"name": f"pv-{ordinal}"}, "spec": at_ec2}
            made.kube.store.seed(PERSISTENT_VOLUMES, volume)
            made.kube.store.seed(PERSISTENT_VOLUME_CLAIMS, claim)
        made.create({names.USE_KEPT_VOLUMES: "true"})
        await made.one_pass()
        await made.one_pass()
        made.populate()
        await until(made, lambda: made.status.get("PostgresClusterStatus") == "Running")
        made.forget()
        yield made


async def until(made: Rig, is_so: Callable[[], bool]) -> None:
    """Passes until it is so; EC2 is heard between them."""
    async with asyncio.timeout(HANGS_S):
        while not is_so():
            await made.one_pass()
            await asyncio.sleep(0.05)


def sizes(made: Rig) -> set[str]:
    claims = [made.read(PERSISTENT_VOLUME_CLAIMS, f"{CLAIM}{ordinal}") for ordinal in range(3)]
    return {claim["spec"]["resources"]["requests"]["storage"] for claim in claims}


@pytest.mark.parametrize("mode", ["mixed", "ebs"])
async def test_volumes_grow_at_ec2_and_then_their_claims(mode):
    async with three_volumes() as server, cluster_on_ec2(Ec2(REGION, server.environment), mode) as made:
        made.change(POSTGRESQLS, NAME, LARGER)
        await until(made, lambda: sizes(made) == {"2Gi"})
        steps = [type(step) for step, error in made.told if error is None]
        ours = [step for step in steps if step in (ModifyVolume, GrowClaim)]
        assert ours == [ModifyVolume] * 3 + [GrowClaim] * 3
        assert server.modifications() == [{"VolumeId": f"vol-{n}", "Size": "2"} for n in range(3)]
        await until(made, lambda: made.condition("Degraded")[0] == "False")


async def test_what_ec2_has_had_enough_of_is_asked_once_and_said():
    async with three_volumes() as server, cluster_on_ec2(Ec2(REGION, server.environment), "mixed") as made:
        server.refuses = "VolumeModificationRateExceeded"
        made.change(POSTGRESQLS, NAME, {"spec": {"volume": {"size": "1Gi", "iops": 4000}}})
        await until(made, lambda: made.condition("Degraded")[1] == "VolumesNotAsAsked")
        assert "refused by this test; the next try is at" in made.condition("Degraded")[2]
        for _ in range(10):
            await made.one_pass()
        assert len(server.modifications()) == 3


async def test_what_ec2_does_not_allow_stays_said_and_is_not_asked_again_at_once():
    async with three_volumes() as server, cluster_on_ec2(Ec2(REGION, server.environment), "mixed") as made:
        server.refuses = "UnauthorizedOperation"
        made.change(POSTGRESQLS, NAME, {"spec": {"volume": {"size": "1Gi", "iops": 4000}}})
        await until(made, lambda: made.condition("Degraded")[1] == "StepFailed")
        for _ in range(10):
            await made.one_pass()
            assert "UnauthorizedOperation: refused by this test" in made.condition("Degraded")[2]
            await asyncio.sleep(0.05)
        assert 3 <= len(server.modifications()) <= 9


async def test_an_ec2_that_is_away_is_said_and_claims_of_mixed_grow_nevertheless():
    away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    async with cluster_on_ec2(Ec2(REGION, away), "mixed") as made:
        made.change(POSTGRESQLS, NAME, LARGER)
        await until(made, lambda: sizes(made) == {"2Gi"})
        await until(made, lambda: made.condition("Degraded")[1] == "VolumesNotAsAsked")
        assert made.condition("Degraded")[2] == "EC2: cannot be reached (ClientConnectorError)"


def three_volumes() -> AbstractAsyncContextManager[AwsServer]:
    return aws(**{f"vol_{ordinal}": Volume(1, "gp3", 3000, 125) for ordinal in range(3)})
