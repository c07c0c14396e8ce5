"""What the structs of what was seen answer by themselves."""

import msgspec
import pytest

from howdah.model.observed import Revision, status_of

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}


def test_the_template_of_a_revision_is_that_of_its_stateful_set():
    data = {"spec": {"template": {**TEMPLATE, "$patch": "replace"}}}
    kept = msgspec.json.encode({"metadata": {"name": "r"}, "data": data})
    assert msgspec.json.decode(kept, type=Revision).template() == TEMPLATE


def test_a_revision_without_a_template_has_an_empty_one():
    assert msgspec.json.decode(b'{"metadata": {"name": "r"}}', type=Revision).template() == {}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, {"PostgresClusterStatus": ""}),
        ("Running", {"PostgresClusterStatus": "Running"}),
        ({"PostgresClusterStatus": "Running"}, {"PostgresClusterStatus": "Running"}),
        ({"conditions": [{}, {"type": "Ready"}], "members": [{}]}, {"conditions": [{"type": "Ready"}], "members": []}),
        ({"conditions": "none", "members": None}, {"conditions": [], "members": []}),
    ],
)
def test_a_status_says_what_an_older_definition_left_of_it(found, said):
    assert status_of(found) == said
