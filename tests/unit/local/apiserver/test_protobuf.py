"""Protobuf bodies read as the JSON they stand for. The bodies are answers of a real API server to the objects sent."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from howdah.local.apiserver.protobuf import MAGIC, NotProtobufError, decoded

RECORDED = json.loads(Path(__file__).with_name("protobuf_bodies.json").read_text())
BODIES = {r["sent"]["kind"]: r for r in RECORDED}


def _body(kind: str) -> bytes:
    return base64.b64decode(BODIES[kind]["protobuf"])


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and _contains(whole[k], v) for k, v in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(_contains, whole, part))
    return bool(whole == part and type(whole) is type(part))


@pytest.mark.parametrize("kind", BODIES)
def test_everything_that_was_sent_is_read_back(kind: str) -> None:
    assert _contains(decoded(_body(kind)), BODIES[kind]["sent"])


def test_a_zero_that_was_set_stays_and_one_that_go_adds_goes() -> None:
    spec = decoded(_body("StatefulSet"))["spec"]
    assert spec["replicas"] == 0  # a pointer in Go: set to zero
    assert "minReadySeconds" not in spec  # no pointer: Go writes its zero always


def test_an_empty_message_that_was_set_stays() -> None:
    volume = decoded(_body("StatefulSet"))["spec"]["template"]["spec"]["volumes"][0]
    assert volume == {"name": "v", "emptyDir": {}}


def test_fields_of_a_time_keep_their_precision() -> None:
    lease = decoded(_body("Lease"))
    assert lease["spec"]["renewTime"] == "2026-01-01T00:00:05.123456Z"
    assert "." not in lease["metadata"]["creationTimestamp"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"kind": "Pod"}', "expected prefix"),
        (_body("Secret")[:-20], "broken"),
        (MAGIC + b"\x0a\xff", "broken"),
        (MAGIC, "no kind"),
        (_body("Role").replace(b"Role", b"Rule", 1), 'no kind "Rule"'),
    ],
)
def test_what_is_no_object_is_refused_with_the_reason(body: bytes, why: str) -> None:
    with pytest.raises(NotProtobufError, match=why):
        decoded(body)
