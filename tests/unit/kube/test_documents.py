"""YAML as kubectl reads it; what is expected here is what `kubectl annotate --local -o json` 1.32 prints."""

import pytest
import yaml

from howdah.kube.documents import read_documents


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
