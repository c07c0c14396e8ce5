"""Bodies of requests, as far as they are more than JSON."""

import pytest

from howdah.local.apiserver.requests import repeated_fields

JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"", []),
        (b'{"a":1,"b":{"a":2}}', []),
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"data":{"a":"1","a":"2","b":"3"}}', ["data.a"]),
        (b'{"l":[{"x":1},{"x":1,"x":2}]}', ["l[1].x"]),
    ],
)
def test_repeated_keys_are_found_with_their_paths(body: bytes, paths: list[str]) -> None:
    assert repeated_fields(body, JSON) == paths


def test_only_json_bodies_are_searched() -> None:
    assert repeated_fields(b"a: 1", "application/yaml") == []
