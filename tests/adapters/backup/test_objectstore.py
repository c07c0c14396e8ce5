"""An object store over a real S3: whole objects or none, and failures as sentences."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from adapters.backup.stores import BUCKET, KEY, S3, SECRET, Answer, behind, s3
from howdah.adapters.objectstore import Store
from howdah.model.backups import Parts, StoreRequest
from howdah.model.errors import ExternalError
from steady import HANGS_S

MIB = 1024 * 1024
PARTS = Parts(size_bytes=5 * MIB, at_once=4, timeout_s=60)


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
        yield bytes([index]) * MIB


def test_a_stream_of_many_parts_arrives_whole(server: S3, request_of: StoreRequest) -> None:
    store = Store(request_of)
    store.put("whole/large", megabytes(40), PARTS)
    described = store.described("whole/large")
    assert described is not None
    assert described.size_bytes == 40 * MIB
    assert abs(described.written.timestamp() - time.time()) < HANGS_S
    assert server.read("whole/large") == b"".join(megabytes(40))
    store.put("whole/small", iter([b"few"]), PARTS)
    assert store.keys("whole") == ("whole/large", "whole/small")
    store.delete(["whole/large"])
    assert store.described("whole/large") is None
    assert store.keys("whole") == ("whole/small",)


def part_numbers(paths: list[str]) -> list[int]:
    return sorted(int(found[1]) for path in paths if (found := re.search(r"partNumber=(\d+)", path)))


def test_an_object_is_cut_as_asked_so_that_a_store_takes_all_of_it(server: S3, request_of: StoreRequest) -> None:
    """S3 refuses the 10,001st part, this one the fifth."""
    asked: list[str] = []

    def says(method: str, path: str) -> Answer | None:
        asked.append(f"{method} {path}")
        return (400, {}) if max(part_numbers([path]), default=0) > 4 else None

    with behind(server, says) as limited:
        store = Store(replace(request_of, endpoint=limited.endpoint))
        with pytest.raises(ExternalError, match="400"):
            store.put("cut/small", megabytes(40), replace(PARTS, at_once=1))
        assert not [key for key in server.objects() if key.startswith("cut")]
        assert [one for one in asked if one.startswith("DELETE")], (
            "parts that are left cost money, and nobody sees them"
        )
        asked.clear()
        store.put("cut/large", megabytes(40), replace(PARTS, size_bytes=10 * MIB))
    assert part_numbers(asked) == [1, 2, 3, 4]
    assert len(server.read("cut/large")) == 40 * MIB


def test_who_may_only_write_is_told_that_it_may_not_look(server: S3, request_of: StoreRequest) -> None:
    with behind(server, lambda method, _: (403, {}) if method == "HEAD" else None) as refusing:
        store = Store(replace(request_of, endpoint=refusing.endpoint))
        store.put("refused/one", iter([b"x"]), PARTS)
        with pytest.raises(ExternalError, match="privileges"):
            store.described("refused/one")


def test_a_source_that_fails_leaves_no_object(server: S3, request_of: StoreRequest) -> None:
    def broken() -> Iterator[bytes]:
        yield from megabytes(40)
        raise RuntimeError("the dump failed")

    with pytest.raises(RuntimeError, match="the dump failed"):
        Store(request_of).put("broken/one", broken(), PARTS)
    assert not [key for key in server.objects() if key.startswith("broken")]


def test_why_a_source_failed_is_told_where_giving_up_is_refused_too(server: S3, request_of: StoreRequest) -> None:
    def broken() -> Iterator[bytes]:
        yield from megabytes(12)
        raise RuntimeError("the dump failed")

    with (
        behind(server, lambda method, _: (403, {}) if method == "DELETE" else None) as refusing,
        pytest.raises(RuntimeError, match="the dump failed"),
    ):
        Store(replace(request_of, endpoint=refusing.endpoint)).put("broken/two", broken(), PARTS)


def test_a_wrong_secret_is_said_without_the_secret(request_of: StoreRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the one")
    with pytest.raises(ExternalError, match="SignatureDoesNotMatch") as error:
        Store(request_of).put("x", iter([b"x"]), PARTS)
    assert "not the one" not in str(error.value)
    assert "Debug source" not in str(error.value)


def test_a_bucket_that_does_not_exist_is_said(request_of: StoreRequest) -> None:
    with pytest.raises(ExternalError, match="NoSuchBucket"):
        Store(replace(request_of, container="nowhere")).put("x", iter([b"x"]), PARTS)
