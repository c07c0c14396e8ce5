"""Our signatures are those that Amazon's own library makes of the same requests (botocore 1.44.8 has made these)."""

import datetime as dt

import pytest

from howdah.adapters.aws.signature import Credentials, signed_headers

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
FORM = "application/x-www-form-urlencoded; charset=utf-8"
ACTION, TOKEN = b"Action=DescribeVolumes&Version=2016-11-15", "a/session+token=="
EC2, STS = ("ec2", "eu-central-1"), ("sts", "cn-north-1")


@pytest.mark.parametrize(
    ("place", "token", "body", "signature"),
    [
        (EC2, "", ACTION, "4c4e270600173db61d45a275fd2f757a1c3a175c1dec9d18c8b7735f799b88be"),
        (EC2, "", b"", "18fdd1e383945777eee346c199a4a98b97c735402baa5b2d73405e7dac3117f5"),
        (STS, "", ACTION, "54d2e7602b96db2d72ed4902de23cbb605d5b0c175172a973978a0abda8573ce"),
        (EC2, TOKEN, ACTION, "f6e5e293388c87c385fcb614aa93eebfba1a4c4fe65415a53b1799f9e861bf4f"),
        (STS, TOKEN, ACTION, "875b4d00ee4810043425e1fbd2025022b12469700dc3644ed4f52f126c49e8aa"),
        (STS, TOKEN, b"", "417f7be4dcc4f35c26a93ec3864de976220daca5eee8701e6e51e2776b92bb51"),
    ],
)
def test_a_signature_is_that_of_amazons_library(place, token, body, signature):
    service, region = place
    found = signed_headers(
        Credentials("AKID", "SECRET", token),
        service=service,
        region=region,
        host=f"{service}.{region}.amazonaws.com",
        content=(FORM, body),
        now=NOW,
    )
    names = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
    who = f"Credential=AKID/20260102/{region}/{service}/aws4_request"
    assert found["authorization"] == f"AWS4-HMAC-SHA256 {who}, SignedHeaders={names}, Signature={signature}"
    assert found["x-amz-date"] == "20260102T030405Z"
    assert found.get("x-amz-security-token", "") == token


def test_credentials_do_not_print_what_is_secret():
    assert "SECRET" not in repr(Credentials("AKID", "SECRET", "TOKEN")) + str(Credentials("AKID", "SECRET", "TOKEN"))
    assert "TOKEN" not in repr(Credentials("AKID", "SECRET", "TOKEN"))
