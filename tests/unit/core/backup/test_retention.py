"""How long dumps are kept: spans as people write them, months as long as they are, and never the last dump."""

import datetime as dt

import pytest

from howdah.core.backup.retention import Retention, outdated, reckoned_from

NOW = dt.datetime(2026, 3, 31, 12, 0, tzinfo=dt.UTC)


def day(text: str) -> int:
    return int(dt.datetime.fromisoformat(f"{text}T12:00:00+00:00").timestamp())


@pytest.mark.parametrize(
    ("text", "cutoff"),
    [
        ("2 weeks", "2026-03-17"),
        ("14 days", "2026-03-17"),
        ("1 day ago", "2026-03-30"),
        ("1 month", "2026-02-28"),
        ("3 months", "2025-12-31"),
        ("1 year 1 month, 1 day", "2025-02-27"),
        ("2Weeks", "2026-03-17"),
        ("48 hours", "2026-03-29"),
    ],
)
def test_a_span_goes_back_from_now(text: str, cutoff: str) -> None:
    assert Retention.parse(text).cutoff(NOW).date().isoformat() == cutoff


@pytest.mark.parametrize(
    "text", ["", "soon", "2 moons", "weeks", "2 weeks or so", "0 days", "-2 weeks", "9999999999 days"]
)
def test_what_is_no_span_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ValueError, match="write such as"):
        Retention.parse(text)


@pytest.mark.parametrize("text", ["9999 years", "1000000 days", "2000 years 30000 days", "99999999999999 months"])
def test_a_span_longer_than_the_calendar_keeps_everything(text: str) -> None:
    assert outdated([0, 1], Retention.parse(text), NOW) == ()


def test_only_what_is_older_goes() -> None:
    times = [day("2026-03-16"), day("2026-03-18"), day("2026-03-01"), day("2026-03-31")]
    assert outdated(times, Retention.parse("2 weeks"), NOW) == (day("2026-03-01"), day("2026-03-16"))


def test_the_newest_stays_however_old_it_is() -> None:
    assert outdated([day("2020-01-01"), day("2020-01-02")], Retention.parse("1 day"), NOW) == (day("2020-01-01"),)
    assert outdated([], Retention.parse("1 day"), NOW) == ()


HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("took", "written", "expected"),
    [
        (5 * HOUR, 5 * HOUR, 0 * HOUR),  # complete when we ended
        (5 * HOUR, 0 * HOUR, 0 * HOUR),  # Amazon's: when the upload began
        (0 * HOUR, -HOUR / 2, -HOUR / 2),
        (0 * HOUR, HOUR / 2, 0 * HOUR),
        (0 * HOUR, -2 * HOUR, None),  # our clock is ahead: what is young looks old
        (0 * HOUR, 2 * HOUR, None),
        (5 * HOUR, 7 * HOUR, None),
    ],
)
def test_ages_count_from_a_moment_that_job_and_store_agree_about(
    took: dt.timedelta, written: dt.timedelta, expected: dt.timedelta | None
) -> None:
    found = reckoned_from(NOW, NOW + took, NOW + written)
    assert found == (None if expected is None else NOW + expected)
