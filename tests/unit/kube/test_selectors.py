import pytest

from howdah.kube.testing.selectors import selection

OBJECT = {
    "metadata": {"name": "a-0", "labels": {"app": "pg", "role": "", "tier": "db"}},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("", True),
        ("app=pg", True),
        ("app==pg,tier=db", True),
        ("app=pg,tier=web", False),
        ("role=", True),
        ("app!=pg", False),
        ("missing!=x", True),
        ("app in (pg, mysql),tier notin (web)", True),
        ("missing notin (x)", True),
        ("missing in (x)", False),
        ("app", True),
        ("!app", False),
        ("!missing", True),
    ],
)
def test_label_selector_selects_as_kubernetes_does(selector: str, fits: bool) -> None:
    assert selection(selector, "")(OBJECT) is fits


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("metadata.name=a-0", True),
        ("metadata.name!=a-0", False),
        ("status.phase=Running,spec.nodeName=", True),
        ("status.phase==Failed", False),
    ],
)
def test_field_selector_selects_by_path(selector: str, fits: bool) -> None:
    assert selection("", selector)(OBJECT) is fits


@pytest.mark.parametrize(("labels", "fields"), [("a=b=c", ""), ("a in b", ""), ("", "metadata.name")])
def test_a_selector_that_is_not_understood_is_refused(labels: str, fields: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        selection(labels, fields)
