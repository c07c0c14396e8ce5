"""Text for people, data for programs."""

import datetime as dt
import json

import pytest

from howdah.cli import output
from howdah.cli.exits import Exit, Failed

NOW = dt.datetime(2026, 11, 24, 12, 0, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (864000, "10d"), (-5, "0s")],
)
def test_age_has_one_unit(seconds: int, said: str) -> None:
    assert output.age(NOW - dt.timedelta(seconds=seconds), NOW) == said


def test_unknown_age_is_a_dash() -> None:
    assert output.age(None, NOW) == "-"


def test_columns_are_as_wide_as_their_widest_cell_without_colours() -> None:
    lines = output.table(("NAME", "STATE", "AGE"), [("a-long-name", "\033[32mRunning\033[0m", "1m"), ("b", "-", "2m")])
    assert lines == [
        "NAME          STATE     AGE",
        "a-long-name   \033[32mRunning\033[0m   1m",
        "b             -         2m",
    ]


def test_nothing_is_coloured_where_no_terminal_is() -> None:
    assert output.coloured("Running", "good") == "Running"


def test_json_and_yaml_say_the_same_sorted() -> None:
    data = {"b": 1, "a": ["x", {"d": None, "c": "two\nlines"}]}
    assert json.loads(output.as_text(data, "json")) == data
    assert output.as_text(data, "yaml") == "a:\n- x\n- c: |-\n    two\n    lines\n  d: null\nb: 1"


def test_shared_parts_are_written_out() -> None:
    part = {"key": "value"}
    assert "&" not in output.as_yaml({"a": part, "b": part})


@pytest.mark.parametrize("asked", ["xml", "", "JSON", "wide"])
def test_unknown_format_is_a_mistake_of_the_arguments(asked: str) -> None:
    with pytest.raises(Failed, match="expected text or json or yaml") as caught:
        output.check_format(asked)
    assert caught.value.code is Exit.INVALID
