import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.kube.outline import outline

DEEP = b"[" * 9000 + b"]" * 9000
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('a"\\[]{}é\n'), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\[', max_size=2), inner, max_size=3),
)


def put_back(value: object, parts: tuple[msgspec.Raw, ...], left: int) -> object:
    """`value` at the level of the parts; its numbers are theirs, for the values under test have other ones as texts."""
    if left == 0:
        return msgspec.json.decode(parts[value]) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, list):
        return [put_back(one, parts, left - 1) for one in value]
    if isinstance(value, dict):
        return {name: put_back(one, parts, left - 1) for name, one in value.items()}
    return value


def without_numbers(value: object) -> object:
    if isinstance(value, list):
        return [without_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: without_numbers(one) for name, one in value.items()}
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@given(VALUES.map(without_numbers), st.integers(0, 3))
def test_an_outline_and_its_parts_are_the_whole(value: object, depth: int) -> None:
    short, parts = outline(msgspec.json.encode(value), depth)
    assert put_back(msgspec.json.decode(short), parts, depth) == value


def test_what_no_decoder_reads_is_a_part_like_others() -> None:
    text = b'{"items":[{"a":"}]"},' + DEEP + b',{"b":[1]}]}'
    with pytest.raises(RecursionError):
        msgspec.json.decode(text)
    short, parts = outline(text, 2)
    assert short == b'{"items":[0,1,2]}'
    assert [bytes(part) for part in parts] == [b'{"a":"}]"}', DEEP, b'{"b":[1]}']


@pytest.mark.parametrize("text", [b'{"a":[1}', b"[", b"]", b'{"a":"[]'])
def test_what_does_not_end_is_no_outline(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        outline(text, 1)
