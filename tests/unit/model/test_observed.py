"""What the structs of what was seen answer by themselves."""

import msgspec

from howdah.model.observed import Revision

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}


def test_the_template_of_a_revision_is_that_of_its_stateful_set():
    data = {"spec": {"template": {**TEMPLATE, "$patch": "replace"}}}
    kept = msgspec.json.encode({"metadata": {"name": "r"}, "data": data})
    assert msgspec.json.decode(kept, type=Revision).template() == TEMPLATE


def test_a_revision_without_a_template_has_an_empty_one():
    assert msgspec.json.decode(b'{"metadata": {"name": "r"}}', type=Revision).template() == {}
