import ast
import json
from pathlib import Path

import pytest

import howdah
from howdah.kube.errors import (
    UNREADABLE,
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerUnavailable,
    TooManyRequests,
    Unauthorized,
    api_error,
)
from howdah.model import errors as model


def status(code: int, reason: str, message: str = "said", **details: object) -> bytes:
    return json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    ).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind", "transient"),
    [
        (400, "BadRequest", ApiError, False),
        (401, "Unauthorized", Unauthorized, False),
        (403, "Forbidden", Forbidden, False),
        (404, "NotFound", NotFound, False),
        (409, "Conflict", Conflict, False),
        (409, "AlreadyExists", AlreadyExists, False),
        (410, "Expired", Gone, False),
        (422, "Invalid", Invalid, False),
        (429, "TooManyRequests", TooManyRequests, True),
        (500, "InternalError", ServerUnavailable, True),
        (503, "ServiceUnavailable", ServerUnavailable, True),
        (504, "Timeout", ServerUnavailable, True),
    ],
)
def test_status_becomes_its_own_type(code: int, reason: str, kind: type[ApiError], transient: bool) -> None:
    error = api_error("get pods a/b", code, status(code, reason))
    assert type(error) is kind
    assert error.transient is transient
    assert (error.status, error.reason, error.message) == (code, reason, "said")
    assert str(error) == f"get pods a/b: {code} {reason}: said"


def test_answer_of_a_proxy_is_quoted_shortly() -> None:
    error = api_error("get pods", 502, b"<html>Bad Gateway" + b"x" * 10_000)
    assert isinstance(error, ServerUnavailable)
    assert "Bad Gateway" in str(error)
    assert len(str(error)) < 300


def test_retry_after_comes_from_header_or_body() -> None:
    body = status(429, "TooManyRequests", retryAfterSeconds=7)
    assert api_error("x", 429, body).retry_after_s == 7
    assert api_error("x", 429, body, retry_after_s=3).retry_after_s == 3
    assert api_error("x", 429, status(429, "TooManyRequests")).retry_after_s is None


@pytest.mark.parametrize("code", [400, 422])
def test_refusal_of_a_secret_names_the_field_and_not_the_value(code: int) -> None:
    causes = [{"field": "data[key]", "message": 'Invalid value: "hunter2"'}]
    body = status(code, "Invalid", 'data: Invalid value: "hunter2"', causes=causes)
    error = api_error("create secrets a/b", code, body, withhold=True)
    assert "hunter2" not in str(error) + repr(error.details)
    if code == 422:
        assert "data[key]" in str(error)


def catches_one_kind_only(source: str) -> bool:
    handlers = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler) and node.type)
    caught = (ast.unparse(handler.type) for handler in handlers if handler.type is not None)
    return any("msgspec.DecodeError" in kinds or "msgspec.MsgspecError" in kinds for kinds in caught)


def test_whoever_decodes_is_ready_for_all_that_cannot_be_read() -> None:
    """What is nested too deeply ends in no DecodeError, and whoever may write one annotation must not end the operator."""
    assert catches_one_kind_only("try:\n    pass\nexcept (msgspec.DecodeError, ValueError):\n    pass")
    sources = Path(howdah.__file__).parent.rglob("*.py")
    assert [str(source) for source in sources if catches_one_kind_only(source.read_text())] == []
    assert set(UNREADABLE) == set(model.UNREADABLE), "of two rows that import nothing of each other"


def test_an_answer_that_nobody_can_read_is_still_an_error_with_its_status() -> None:
    assert api_error("x", 409, b"[" * 5000).status == 409
