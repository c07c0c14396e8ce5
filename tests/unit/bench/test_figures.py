"""What the benchmark says of samples."""

import pytest
from bench.__main__ import arguments
from bench.figures import ROWS, Figure, Row, figure, percentile
from bench.report import number, table


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([5.0], 0.99, 5.0),
        ([float(i) for i in range(1, 101)], 0.99, 99.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([3.0, 1.0, 2.0], 1.0, 3.0),
    ],
)
def test_percentile_is_the_smallest_sample_that_the_share_does_not_exceed(
    samples: list[float], share: float, expected: float
) -> None:
    assert percentile(samples, share) == expected


@pytest.mark.parametrize(
    ("median", "maximum", "samples", "is_met"),
    [
        (4.0, 8.0, (3.0, 4.0, 8.0), True),
        (4.0, 8.0, (3.0, 4.1, 5.0), False),
        (4.0, 8.0, (3.0, 4.0, 8.1), False),
        (None, 0.0, (0.0,), True),
        (None, 0.0, (1.0,), False),
        (2.0, None, (1.0, 1.0, 99.0), True),
    ],
)
def test_figure_is_met_when_median_and_maximum_are(
    median: float | None, maximum: float | None, samples: tuple[float, ...], is_met: bool
) -> None:
    assert Figure(Row("row", "what", "s", median, maximum), samples).is_met is is_met


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0, "0"), (1.0, "1"), (1.234, "1.23"), (12.34, "12.3"), (160.4, "160")]
)
def test_numbers_have_three_digits_at_most(value: float | None, text: str) -> None:
    assert number(value) == text


def test_rows_have_keys_of_their_own() -> None:
    assert len({row.key for row in ROWS}) == len(ROWS)


def test_table_says_what_is_missed_and_why() -> None:
    text = table([figure("help", [0.5], "a slow day")])
    assert "| missed |" in text
    assert "- help: a slow day" in text


def test_unknown_measurement_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["nothing"])
    assert "there are: help, build" in capsys.readouterr().err
