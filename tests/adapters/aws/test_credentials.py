"""Credentials come from where AWS's own libraries look for them, in their order, and are renewed before they end."""

import datetime as dt

import pytest

from adapters.aws.rig import REGION, scripted, temporary
from howdah.adapters.aws.credentials import CredentialChain, endpoint
from howdah.model.errors import ExternalError

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "SECRETOFTEST"}
PLACE = "/latest/meta-data/iam/security-credentials/"


async def test_keys_of_the_environment_come_first():
    said = {**KEYS, "AWS_SESSION_TOKEN": "TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE": "/none", "AWS_ROLE_ARN": "arn"}
    found = await CredentialChain(said, REGION).current()
    assert (found.access_key_id, found.secret_access_key, found.token) == ("AKIDTEST", "SECRETOFTEST", "TOKEN")


ROLE = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>TOKENROLE</SessionToken><SecretAccessKey>SECRETROLE</SecretAccessKey>
<Expiration>2100-01-01T00:00:00Z</Expiration><AccessKeyId>AKIDROLE</AccessKeyId></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""


async def test_a_web_identity_is_exchanged_for_a_role(tmp_path):
    token = tmp_path / "token"
    token.write_text("a.web.identity\n")
    async with scripted({"/": (200, ROLE)}) as sts:
        said = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:role"}
        found = await CredentialChain(said, REGION).current()
        ((_, _, headers, asked),) = sts.seen
    assert (found.access_key_id, found.secret_access_key, found.token) == ("AKIDROLE", "SECRETROLE", "TOKENROLE")
    assert found.expires == dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
    assert "Action=AssumeRoleWithWebIdentity" in asked
    assert "WebIdentityToken=a.web.identity&" in asked + "&"
    assert "authorization" not in headers


async def test_a_role_that_is_refused_says_why_without_the_token(tmp_path):
    token = tmp_path / "token"
    token.write_text("a.web.identity")
    body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>"
    async with scripted({"/": (403, body)}) as sts:
        said = {"AWS_ENDPOINT_URL_STS": sts.url, "AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:role"}
        with pytest.raises(ExternalError, match="STS: AccessDenied: Not authorized"):
            await CredentialChain(said, REGION).current()
        ((_, _, _, asked),) = sts.seen
    assert "WebIdentityToken=a.web.identity" in asked
    assert "RoleArn=arn%3Arole" in asked


async def test_a_pod_identity_is_asked_with_its_token(tmp_path):
    token = tmp_path / "token"
    token.write_text("of-the-pod")
    async with scripted({"/v1/credentials": (200, temporary())}) as agent:
        said = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        assert (await CredentialChain(said, REGION).current()).token == "TOKENNEAR"
        assert agent.seen[0][2]["authorization"] == "of-the-pod"


async def test_the_token_of_a_pod_is_sent_nowhere_else_without_tls():
    said = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.org/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t"}
    with pytest.raises(ExternalError, match="without TLS"):
        await CredentialChain(said, REGION).current()


async def test_an_instance_is_asked_with_a_token_of_its_own():
    answers = {"/latest/api/token": (200, "imds"), PLACE: (200, "node-role\n"), f"{PLACE}node-role": (200, temporary())}
    async with scripted(answers) as instance:
        found = await CredentialChain({"AWS_EC2_METADATA_SERVICE_ENDPOINT": instance.url}, REGION).current()
        first, *later = instance.seen
    assert found.access_key_id == "AKIDNEAR"
    assert first[0] == "PUT"
    assert [headers["x-aws-ec2-metadata-token"] for _, _, headers, _ in later] == ["imds", "imds"]


@pytest.mark.parametrize(("ends_in", "asked"), [(dt.timedelta(hours=1), 1), (dt.timedelta(minutes=4), 2)])
async def test_temporary_credentials_are_kept_until_shortly_before_they_end(ends_in, asked):
    async with scripted({"/c": (200, temporary(ends_in))}) as agent:
        chain = CredentialChain({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/c"}, REGION)
        await chain.current()
        await chain.current()
        assert len(agent.seen) == asked
        chain.forget()
        await chain.current()
        assert len(agent.seen) == asked + 1


@pytest.mark.parametrize("answer", [(200, "{}"), (200, "no JSON"), (500, temporary()), (200, '{"AccessKeyId": "a"}')])
async def test_a_wrong_answer_is_said_and_not_quoted(answer):
    async with scripted({"/c": answer}) as agent:
        with pytest.raises(ExternalError, match="AWS credentials: there are none") as failed:
            await CredentialChain({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.url}/c"}, REGION).current()
    assert "NEAR" not in str(failed.value)


async def test_without_any_source_that_is_said():
    with pytest.raises(ExternalError, match="the environment names no source"):
        await CredentialChain({"AWS_EC2_METADATA_DISABLED": "true"}, REGION).current()


def test_addresses_follow_the_region_and_the_environment():
    assert endpoint({}, "ec2", "eu-central-1") == "https://ec2.eu-central-1.amazonaws.com/"
    assert endpoint({}, "sts", "cn-north-1") == "https://sts.cn-north-1.amazonaws.com.cn/"
    both = {"AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_EC2": "http://ec2/"}
    assert endpoint(both, "ec2", "x") == "http://ec2/"
    assert endpoint(both, "sts", "x") == "http://all/"
