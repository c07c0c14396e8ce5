import msgspec

from howdah.model.observed import Meta, Revision


def test_the_template_of_a_revision_is_that_of_its_stateful_set() -> None:
    """The directive is no difference; with one, each pass would compare each pod's template field by field."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    data = {"spec": {"template": {**template, "$patch": "replace"}}}
    assert Revision(Meta(name="a-1"), msgspec.Raw(msgspec.json.encode(data))).template() == template


def test_a_revision_without_a_template_has_an_empty_one() -> None:
    assert Revision(Meta(name="a-1")).template() == {}
