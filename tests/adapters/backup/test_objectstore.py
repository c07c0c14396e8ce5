"""An object store over a real S3: whole objects or none, and failures as sentences."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.backup.stores import BUCKET, KEY, S3, SECRET, s3
from howdah.adapters.objectstore import Store
from howdah.model.backups import StoreRequest
from howdah.model.errors import ExternalError


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3() as running:
        yield running


@pytest.fixture
def request_of(server: S3, monkeypatch: pytest.MonkeyPatch) -> StoreRequest:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return StoreRequest("s3", BUCKET, "f", endpoint=server.endpoint)


def megabytes(number: int) -> Iterator[bytes]:
    for index in range(number):
        yield bytes([index]) * 1024 * 1024


def test_a_stream_of_many_parts_arrives_whole(server: S3, request_of: StoreRequest) -> None:
    store = Store(request_of)
    store.put("whole/large", megabytes(40))
    assert store.size_bytes("whole/large") == 40 * 1024 * 1024
    assert server.read("whole/large") == b"".join(megabytes(40))
    store.put("whole/small", iter([b"few"]))
    assert store.keys("whole") == ("whole/large", "whole/small")
    store.delete(["whole/large"])
    assert store.keys("whole") == ("whole/small",)


def test_a_source_that_fails_leaves_no_object(server: S3, request_of: StoreRequest) -> None:
    def broken() -> Iterator[bytes]:
        yield from megabytes(40)
        raise RuntimeError("the dump failed")

    with pytest.raises(RuntimeError, match="the dump failed"):
        Store(request_of).put("broken/one", broken())
    assert not [key for key in server.objects() if key.startswith("broken")]


def test_a_wrong_secret_is_said_without_the_secret(request_of: StoreRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the one")
    with pytest.raises(ExternalError, match="SignatureDoesNotMatch") as error:
        Store(request_of).put("x", iter([b"x"]))
    assert "not the one" not in str(error.value)
    assert "Debug source" not in str(error.value)


def test_a_bucket_that_does_not_exist_is_said(request_of: StoreRequest) -> None:
    with pytest.raises(ExternalError, match="NoSuchBucket"):
        Store(replace(request_of, container="nowhere")).put("x", iter([b"x"]))
