"""YAML as kubectl reads it; what is expected here is what `kubectl annotate --local -o json` 1.32 prints."""

import pytest
import yaml

from howdah.kube.documents import MOST_DIGITS, MOST_LEVELS, read_documents


@pytest.mark.parametrize(
    ("word", "means"),
    [
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("2001-12-14", "2001-12-14"),
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("N", False),
        ("tRue", "tRue"),
        ("017", 15),
        ("0o17", 15),
        ("08", 8),
        ("-0x1F", -31),
        ("0b11", 3),
        ("0b2", "0b2"),
        ("1_000", 1000),
        ("_1", "_1"),
        ("1_000.5", 1000.5),
        ("1e3", 1000),
        ("1.5e", "1.5e"),
        ("+.5", 0.5),
        ("-0", 0),
        ("~", None),
        ("", None),
        ("=", "="),
        ("<<", "<<"),
        ("!!str 5", "5"),
        ("{1: a, true: b, 1.5: c}", {"1": "a", "true": "b", "1.5": "c"}),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
        ("{a: 1, a: 2}", {"a": 2}),
    ],
)
def test_a_plain_word_means_what_it_means_to_kubectl(word: str, means: object) -> None:
    ((found,),) = read_documents(f"- {word}\n")
    assert (found, type(found)) == (means, type(means))


@pytest.mark.parametrize("text", ["{[1]: 2}", "{~: 2}", "a: [", "!!python/name:os.system"])
def test_what_kubectl_refuses_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        list(read_documents(text))


def nested(levels: int) -> str:
    return "[" * levels + "hunter2" + "]" * levels


@pytest.mark.parametrize(
    "text",
    [
        "!!int hunter2",
        "!!int ''",
        "!!float hunter2",
        "!!bool hunter2",
        "!!timestamp hunter2",
        "!!timestamp 2001-99-99",
        "9" * 5000,
        "0x" + "f" * 5000,
        f"{{? 0x{'f' * 5000} : 1}}",
    ],
)
def test_a_word_that_is_not_what_its_tag_says_is_refused_with_its_place_and_without_it(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        list(read_documents(f"a: 1\nb: {text}\n"))
    assert isinstance(caught.value, yaml.MarkedYAMLError)
    assert caught.value.problem_mark is not None
    assert caught.value.problem_mark.line == 1
    assert str(caught.value.problem).startswith("this is no ")
    assert all(word not in str(caught.value) for word in ("hunter2", "2001", "9999", "ffff"))


@pytest.mark.parametrize(
    "text",
    [
        nested(MOST_LEVELS),
        nested(MOST_LEVELS + 100),
        nested(5_000),
        nested(200_000),  # in a process without a limit there would be no process any more
        "".join(f"{' ' * level}a:\n" for level in range(2_000)),
        "&a {b: *a}",
        "&a [[*a]]",
        "&a {<<: *a}",
        "&a {? {c: *a} : b}",
        f"[&a {nested(MOST_LEVELS // 2)}, {nested(MOST_LEVELS // 2).replace('hunter2', '*a')}]",
    ],
    ids=range(10),
)
def test_what_is_in_itself_or_too_deep_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        list(read_documents(text))
    assert "nested in itself, or deeper than 200 levels" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_may_be_deep_and_named_often_is_read() -> None:
    (found,) = read_documents(nested(MOST_LEVELS - 1))
    for _ in range(MOST_LEVELS - 1):
        (found,) = found
    assert found == "hunter2"
    assert list(read_documents("a: &a {x: 1}\nb: [*a, *a]\n")) == [{"a": {"x": 1}, "b": [{"x": 1}] * 2}]
    assert list(read_documents("9" * MOST_DIGITS)) == [int("9" * MOST_DIGITS)]
    many = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60))
    ((*_, last),) = read_documents(f"a0: &a0 x\n{many}\n")
    assert last == "a59", "names are looked through once"
