"""Quantities, durations, positions, versions and windows are exact, and say what is wrong with what they refuse."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from howdah.model.units import Duration, Lsn, MaintenanceWindow, PgVersion, Quantity


@pytest.mark.parametrize(
    ("text", "canonical", "whole", "milli"),
    [
        ("1024Mi", "1Gi", 2**30, 2**30 * 1000),
        ("1.5Gi", "1536Mi", 1536 * 2**20, 1536 * 2**20 * 1000),
        ("0.5Ki", "512", 512, 512_000),
        ("1.1Ki", "1126400m", 1127, 1_126_400),
        ("0.5", "500m", 1, 500),
        ("1500m", "1500m", 2, 1500),
        ("-1.5", "-1500m", -2, -1500),
        ("100m", "100m", 1, 100),
        ("1e3", "1e3", 1000, 1_000_000),
        ("1E3", "1e3", 1000, 1_000_000),
        ("12E", "12E", 12 * 10**18, 12 * 10**21),
        ("10000000000", "10G", 10**10, 10**13),
        ("0", "0", 0, 0),
        ("0.1n", "1n", 1, 1),
        (".5", "500m", 1, 500),
    ],
)
def test_a_quantity_reads_as_kubernetes_reads_it(text: str, canonical: str, whole: int, milli: int) -> None:
    quantity = Quantity.parse(text)

    assert (str(quantity), int(quantity), quantity.milli) == (canonical, whole, milli)
    assert quantity.written == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10GB", "write 10G or 10Gi"),
        ("10gb", "write 10G or 10Gi"),
        ("1K", "write 1k or 1Ki"),
        (" 1", 'write "1" without blanks'),
        ("", "such as 500m"),
        ("1.1.1", "such as 500m"),
        ("1i", "such as 500m"),
        (".", "such as 500m"),
        ("1e", "write 1E or 1Ei"),
        ("0.1mi", "write 0.1M or 0.1Mi"),
    ],
)
def test_what_is_no_quantity_is_refused_with_a_way_out(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity; ") as refused:
        Quantity.parse(text)
    assert hint in str(refused.value)


@given(
    st.decimals(min_value=0, max_value=10**6, places=3),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3"]),
)
def test_the_canonical_form_is_the_same_amount(number: Decimal, suffix: str) -> None:
    quantity = Quantity.parse(f"{number:f}{suffix}")

    again = Quantity.parse(str(quantity))

    assert again == quantity
    assert hash(again) == hash(quantity)
    assert str(again) == str(quantity)


def test_quantities_are_ordered_by_amount_whatever_their_suffix() -> None:
    written = ["1Gi", "1G", "1024Mi", "500m", "1", "999M"]

    assert sorted(map(Quantity.parse, written)) == [
        Quantity.parse(text) for text in ("500m", "1", "999M", "1G", "1Gi", "1024Mi")
    ]


@pytest.mark.parametrize(
    ("text", "seconds", "written"),
    [
        ("1h30m", 5400, "1h30m0s"),
        ("5m", 300, "5m0s"),
        ("1.5s", 1.5, "1.5s"),
        ("100ms", 0.1, "100ms"),
        ("1us", 1e-6, "1µs"),
        ("0", 0, "0s"),
        ("-5s", -5, "-5s"),
        ("90m", 5400, "1h30m0s"),
    ],
)
def test_a_duration_reads_as_go_reads_it(text: str, seconds: float, written: str) -> None:
    assert Duration.parse(text).seconds == seconds
    assert str(Duration.parse(text)) == written


@given(st.integers(-(10**18), 10**18))
def test_a_written_duration_reads_as_itself(nanoseconds: int) -> None:
    assert Duration.parse(str(Duration(nanoseconds))) == Duration(nanoseconds)


@pytest.mark.parametrize("text", ["5", "", "1x", "h", "1h 5m", "1,5s"])
def test_a_duration_without_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30s, 10m or 1h30m"):
        Duration.parse(text)


def test_a_log_position_counts_bytes() -> None:
    assert Lsn.parse("16/B374D848") - Lsn.parse("16/B374D000") == 0x848
    assert str(Lsn.parse("0/0")) == "0/0"
    assert Lsn.parse("1/0") > Lsn.parse("0/FFFFFFFF")
    with pytest.raises(ValueError, match="16/B374D848"):
        Lsn.parse("16-B374D848")


def test_a_major_version_is_a_whole_number() -> None:
    assert PgVersion.parse("9") < PgVersion.parse("18")
    assert PgVersion.of_server(180001) == PgVersion(18)
    for text in ("18.1", "018", "v18", ""):
        with pytest.raises(ValueError, match='write it as "18"'):
            PgVersion.parse(text)


_MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("window", "day", "clock", "is_inside"),
    [
        ("01:00-02:00", 0, "01:00", True),
        ("01:00-02:00", 3, "02:00", True),  # the last minute belongs to it
        ("01:00-02:00", 0, "02:01", False),
        ("Mon:01:00-02:00", 0, "01:30", True),
        ("Mon:01:00-02:00", 1, "01:30", False),
        ("Sat:22:00-04:00", 5, "23:59", True),
        ("Sat:22:00-04:00", 6, "03:00", True),  # ends on Sunday
        ("Sat:22:00-04:00", 5, "03:00", False),
        ("22:00-04:00", 2, "03:00", True),
        ("Sun:23:00-01:00", 0, "00:30", True),  # over the end of the week
        (" 1:00-2:00 ", 0, "01:30", True),
    ],
)
def test_a_window_knows_its_minutes(window: str, day: int, clock: str, is_inside: bool) -> None:
    hour, minute = map(int, clock.split(":"))
    now = _MONDAY + timedelta(days=day, hours=hour, minutes=minute, seconds=30)

    assert MaintenanceWindow.parse(window).contains(now) is is_inside


def test_a_window_is_in_utc_whatever_zone_the_clock_has() -> None:
    one_in_berlin = datetime(2026, 11, 23, 2, 30, tzinfo=timezone(timedelta(hours=1)))

    assert MaintenanceWindow.parse("01:00-02:00").contains(one_in_berlin)


def test_the_next_start_is_found_within_a_week() -> None:
    window = MaintenanceWindow.parse("Mon:01:00-02:00")

    assert window.next_start(_MONDAY) == _MONDAY + timedelta(hours=1)
    assert window.next_start(_MONDAY + timedelta(hours=2)) == _MONDAY + timedelta(days=7, hours=1)


@pytest.mark.parametrize("text", ["Mo:01:00-02:00", "01:00", "01:00-25:00", "mon:01:00-02:00", "01:5-02:00"])
def test_what_is_no_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a maintenance window; write"):
        MaintenanceWindow.parse(text)
