"""EC2's query API: described, changed, refused; what is not to be read in an error, and how long a question lasts."""

import asyncio
from dataclasses import replace

import pytest

from adapters.aws.rig import KEYS, REGION, Volume, aws, scripted
from howdah.adapters.aws.ec2 import Ec2
from howdah.adapters.aws.query import Refused
from howdah.model.errors import ExternalError
from howdah.model.volumes import CloudVolume

UNCHANGED = {"size_gib": None, "kind": None, "iops": None, "throughput": None, "permit": lambda: None}
ERROR = "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"


def gp3() -> Volume:
    return Volume(10, "gp3", 3000, 125)


async def test_a_volume_is_described_changed_and_described_anew():
    async with aws(vol_1=gp3(), vol_2=Volume(5, "standard")) as server:
        ec2 = Ec2(REGION, server.environment)
        seen = CloudVolume("vol-1", 10, "gp3", 3000, 125)
        assert await ec2.describe(["vol-1", "vol-2"]) == {"vol-1": seen, "vol-2": CloudVolume("vol-2", 5, "standard")}
        await ec2.modify("vol-1", size_gib=20, kind="io2", iops=4000, throughput=None, permit=lambda: None)
        after = replace(seen, size_gib=20, type="io2", iops=4000, modification="completed")
        assert await ec2.describe(["vol-1"]) == {"vol-1": after}
        wanted = {"VolumeId": "vol-1", "Size": "20", "VolumeType": "io2", "Iops": "4000"}
        assert server.modifications() == [wanted]


async def test_a_volume_that_is_gone_does_not_fail_the_question_about_others():
    async with aws(vol_1=gp3()) as server:
        assert list(await Ec2(REGION, server.environment).describe(["vol-0", "vol-1"])) == ["vol-1"]


@pytest.mark.parametrize("code", ["VolumeModificationRateExceeded", "IncorrectModificationState"])
async def test_what_ec2_refuses_has_its_code(code):
    async with aws(vol_1=gp3()) as server:
        server.refuses = code
        with pytest.raises(Refused, match=f"EC2: {code}: refused by this test") as refused:
            await Ec2(REGION, server.environment).modify("vol-1", **{**UNCHANGED, "size_gib": 20})
    assert refused.value.code == code


async def test_more_volumes_than_a_filter_takes_are_asked_for_in_parts():
    ids = [f"vol-{number:017x}" for number in range(450)]
    async with aws() as server:
        server.volumes = {one: gp3() for one in ids}
        assert sorted(await Ec2(REGION, server.environment).describe(ids)) == ids
        assert len(server.asked) == 6


async def test_an_answer_in_pages_is_read_to_its_end():
    async with aws(vol_1=gp3(), vol_2=gp3(), vol_3=gp3()) as server:
        server.page = 1
        assert len(await Ec2(REGION, server.environment).describe(["vol-1", "vol-2", "vol-3"])) == 3


@pytest.mark.parametrize(("state", "said"), [("modifying", ""), ("optimizing", ""), ("failed", "no room")])
async def test_the_state_of_a_modification_is_read(state, said):
    async with aws(vol_1=replace(gp3(), state=state, said=said)) as server:
        (found,) = (await Ec2(REGION, server.environment).describe(["vol-1"])).values()
    assert (found.modification, found.modification_error) == (state, said)


async def test_no_error_holds_a_credential():
    """AWS answers a wrong signature with the request's headers, the session token among them."""
    quoted = "The canonical string was 'host:x x-amz-security-token:TOKENOFTEST'"
    answers = [
        (403, ERROR.format(code="SignatureDoesNotMatch", message=quoted)),
        (403, ERROR.format(code="UnauthorizedOperation", message="no. Encoded authorization failure message: dG9r")),
        (500, "SECRETOFTEST TOKENOFTEST"),
    ]
    for answer in answers:
        async with scripted({"/": answer}) as server:
            with pytest.raises(ExternalError) as failed:
                await Ec2(REGION, {**KEYS, "AWS_ENDPOINT_URL_EC2": server.url}).describe(["vol-1"])
        assert not any(word in str(failed.value) for word in ("TOKENOFTEST", "SECRETOFTEST", "dG9r"))


async def test_an_ec2_that_does_not_answer_is_given_up():
    async with scripted({"/": (200, "")}, delay_s=5) as server:
        ec2 = Ec2(REGION, {**KEYS, "AWS_ENDPOINT_URL_EC2": server.url}, timeout_s=0.2)
        async with asyncio.timeout(2):
            with pytest.raises(ExternalError, match=r"no answer in 0\.2 s"):
                await ec2.describe(["vol-1"])


async def test_an_ec2_that_cannot_be_reached_and_a_missing_region_are_said():
    with pytest.raises(ExternalError, match="cannot be reached"):
        await Ec2(REGION, {**KEYS, "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1"}).describe(["vol-1"])
    with pytest.raises(ExternalError, match="set aws_region"):
        await Ec2("", KEYS).describe(["vol-1"])


async def test_an_answer_that_is_no_xml_is_said():
    async with scripted({"/": (200, "<html>")}) as server:
        with pytest.raises(ExternalError, match="not in XML"):
            await Ec2(REGION, {**KEYS, "AWS_ENDPOINT_URL_EC2": server.url}).describe(["vol-1"])
