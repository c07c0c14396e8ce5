"""Quantities, durations, positions, versions and windows, parsed once at the edge into exact, ordered values.

`parse` of each raises ValueError with a sentence that says what is wrong and what to write.
Cron expressions are not here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

CPU_PATTERN = r"^(\d+m|\d+(\.\d{1,3})?)$"
"""Amounts of CPU that a manifest may say."""
SIZE_PATTERN = r"^(\d+(e\d{1,2})?|\d+(\.\d+)?([EPTGM]i?|Ki|k)?)$"
"""Sizes that a manifest may say; wider than the reference's by `k` and by fractions without a suffix."""
CRON_PATTERN = r"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|\S+(\s+\S+){4})$"
"""The outline of a cron schedule: five fields, or a name."""
WINDOW_PATTERN = r"^ *((Mon|Tue|Wed|Thu|Fri|Sat|Sun):)?(2[0-3]|[01]?\d):[0-5]\d-(2[0-3]|[01]?\d):[0-5]\d *$"
"""Maintenance windows."""

_NANO = 10**9
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL_EXPONENT = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL_EXPONENT.items()}
_QUANTITY = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?([A-Za-z]*|[eE][+-]?\d{1,3})")


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An exact Kubernetes quantity; values compare by amount, `1Gi` equals `1024Mi`.

    Follows apimachinery's resource.Quantity: finer than nano is rounded away from zero; `str` is canonical.
    """

    nanos: int
    notation: str = field(default="decimal", compare=False)
    """How the canonical form is written: decimal, binary or exponent."""
    written: str = field(default="", compare=False, repr=False)
    """The text it was parsed from; written back unchanged."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The quantity that `text` says: `500m`, `1.5`, `10G`, `10Gi`, `1e3`."""
        match = _QUANTITY.fullmatch(text)
        if match is None or not (match[2] or match[3]):
            raise ValueError(_not_a_quantity(text))
        sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
        digits, scale = int(whole + fraction or "0"), 10 ** len(fraction)
        if suffix in _BINARY:
            numerator, notation = digits * _BINARY[suffix] * _NANO, "binary"
        elif suffix in _DECIMAL_EXPONENT:
            numerator, notation = digits * 10 ** (_DECIMAL_EXPONENT[suffix] + 9), "decimal"
        elif len(suffix) > 1 and suffix[1:].lstrip("+-").isdigit():
            exponent = int(suffix[1:]) + 9
            numerator, notation = digits * 10 ** max(exponent, 0), "exponent"
            scale *= 10 ** max(-exponent, 0)
        else:
            raise ValueError(_not_a_quantity(text))
        nanos = -(-numerator // scale)
        return cls(-nanos if sign == "-" else nanos, notation, text)

    def __int__(self) -> int:
        """Whole units (bytes of a memory size), rounded away from zero."""
        return _away_from_zero(self.nanos, _NANO)

    @property
    def milli(self) -> int:
        """Thousandths (milli-CPU), rounded away from zero."""
        return _away_from_zero(self.nanos, _NANO // 1000)

    def __bool__(self) -> bool:
        """False for zero only."""
        return self.nanos != 0

    def __str__(self) -> str:
        """The canonical form, as the API server writes it."""
        if self.notation == "binary" and abs(self.nanos) >= 1024 * _NANO and self.nanos % _NANO == 0:
            return _binary_text(self.nanos // _NANO)
        return _decimal_text(self.nanos, exponent_notation=self.notation == "exponent")


def _not_a_quantity(text: str) -> str:
    suffix = re.sub(r"^[+-]?[\d.]*", "", text.strip())
    number = text.strip()[: len(text.strip()) - len(suffix)] or "1"
    first = suffix[:1].upper()
    if text != text.strip():
        hint = f'write "{text.strip()}" without blanks'
    elif first == "K":
        hint = f"write {number}k or {number}Ki"
    elif first and first in "MGTPE":
        hint = f"write {number}{first} or {number}{first}i"
    else:
        hint = "write a number with a suffix such as 500m, 10G or 10Gi"
    return f'"{text}" is not a quantity; {hint}'


def _away_from_zero(value: int, divisor: int) -> int:
    return -(-value // divisor) if value >= 0 else value // divisor


def _binary_text(value: int) -> str:
    for suffix, factor in reversed(_BINARY.items()):
        if value % factor == 0:
            return f"{value // factor}{suffix}"
    return str(value)


def _decimal_text(nanos: int, *, exponent_notation: bool) -> str:
    exponent = -9
    while nanos and nanos % 1000 == 0 and exponent < 18:
        nanos //= 1000
        exponent += 3
    if not nanos:
        return "0"
    if exponent_notation:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[exponent]}"


_DURATION_UNIT_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time in whole nanoseconds, written in Go's syntax: `1h30m`, `10s`, `100ms`."""

    nanoseconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The duration that `text` says; `0` needs no unit."""
        body = text[1:] if text[:1] in ("+", "-") else text
        if body == "0":
            return cls(0)
        parts = _DURATION_PART.findall(body)
        if not parts or "".join(number + unit for number, unit in parts) != body:
            raise ValueError(f'"{text}" is not a duration; write a number with a unit, such as 30s, 10m or 1h30m')
        total = sum(_scaled(number, _DURATION_UNIT_NS[unit]) for number, unit in parts)
        return cls(-total if text.startswith("-") else total)

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        return self.nanoseconds / 10**9

    def __bool__(self) -> bool:
        """False for zero only."""
        return self.nanoseconds != 0

    def __str__(self) -> str:
        """Go's form of it: `1h30m0s`, `5m0s`, `1.5s`, `100ms`."""
        sign, rest = ("-" if self.nanoseconds < 0 else ""), abs(self.nanoseconds)
        if 0 < rest < 10**9:
            unit, size = next((u, n) for u, n in (("ms", 10**6), ("µs", 10**3), ("ns", 1)) if rest >= n)
            return f"{sign}{_decimal(rest, size)}{unit}"
        hours, rest = divmod(rest, 3600 * 10**9)
        minutes, rest = divmod(rest, 60 * 10**9)
        text = f"{_decimal(rest, 10**9)}s"
        if hours or minutes:
            text = f"{minutes}m{text}"
        return sign + (f"{hours}h{text}" if hours else text)


def _scaled(number: str, unit_ns: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole or "0") * unit_ns + int(int(fraction or "0") * unit_ns // 10 ** len(fraction))


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(rest).zfill(len(str(unit)) - 1).rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


@dataclass(frozen=True, slots=True, order=True)
class Lsn:
    """A position in the write-ahead log; the difference of two is bytes."""

    position: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The position that PostgreSQL writes as `16/B374D848`."""
        match = re.fullmatch(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", text)
        if match is None:
            raise ValueError(f'"{text}" is not a log position; write it as 16/B374D848')
        return cls(int(match[1], 16) << 32 | int(match[2], 16))

    def __sub__(self, other: "Lsn") -> int:
        """Bytes from `other` to this position."""
        return self.position - other.position

    def __str__(self) -> str:
        """As PostgreSQL writes it."""
        return f"{self.position >> 32:X}/{self.position & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True, order=True)
class PgVersion:
    """A PostgreSQL major version."""

    major: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The major version that `text` says: `18`."""
        if re.fullmatch(r"[1-9][0-9]{0,3}", text) is None:
            raise ValueError(f'"{text}" is not a major version; write it as "18"')
        return cls(int(text))

    @classmethod
    def of_server(cls, server_version_num: int) -> Self:
        """The major of a server's `server_version_num`: 180001 is 18."""
        return cls(server_version_num // 10_000)

    def __str__(self) -> str:
        """The major as manifests have it."""
        return str(self.major)


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WINDOW = re.compile(r"(?:(Mon|Tue|Wed|Thu|Fri|Sat|Sun):)?(2[0-3]|[01]?\d):([0-5]\d)-(2[0-3]|[01]?\d):([0-5]\d)")


@dataclass(frozen=True, slots=True, order=True)
class MaintenanceWindow:
    """A time of day, of one weekday or of all, in UTC; its last minute belongs to it.

    An end before the start is on the next day: `Sat:22:00-04:00` ends on Sunday. (The reference refuses
    that, and takes the local time of its container.)
    """

    weekday: int | None
    """0 is Monday; None means every day."""
    start_minute: int
    end_minute: int
    written: str = field(default="", compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The window that `Mon:01:00-02:00` or `01:00-02:00` says; blanks around it do not matter."""
        match = _WINDOW.fullmatch(text.strip(" "))
        if match is None:
            raise ValueError(
                f'"{text}" is not a maintenance window; write Mon:01:00-02:00 or 01:00-02:00, '
                f"in UTC, the day one of {' '.join(_DAYS)}"
            )
        start, end = int(match[2]) * 60 + int(match[3]), int(match[4]) * 60 + int(match[5])
        return cls(_DAYS.index(match[1]) if match[1] else None, start, end, text)

    def contains(self, now: datetime) -> bool:
        """Is `now` (aware) inside?"""
        utc = now.astimezone(UTC)
        minute = utc.hour * 60 + utc.minute
        if self.start_minute <= self.end_minute:
            return self._is_on(utc.weekday()) and self.start_minute <= minute <= self.end_minute
        opened_today = self._is_on(utc.weekday()) and minute >= self.start_minute
        opened_yesterday = self._is_on((utc.weekday() - 1) % 7) and minute <= self.end_minute
        return opened_today or opened_yesterday

    def next_start(self, now: datetime) -> datetime:
        """The first start at or after `now` (aware), in UTC."""
        utc = now.astimezone(UTC)
        midnight = utc.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = (midnight + timedelta(days=day, minutes=self.start_minute) for day in range(8))
        return next(start for start in starts if start >= utc and self._is_on(start.weekday()))

    def _is_on(self, weekday: int) -> bool:
        return self.weekday is None or self.weekday == weekday

    def __str__(self) -> str:
        """The canonical form: `Mon:01:00-02:00`."""
        day = "" if self.weekday is None else f"{_DAYS[self.weekday]}:"
        start, end = divmod(self.start_minute, 60), divmod(self.end_minute, 60)
        return f"{day}{start[0]:02}:{start[1]:02}-{end[0]:02}:{end[1]:02}"


def next_opening(windows: Sequence[MaintenanceWindow], now: datetime) -> datetime | None:
    """When the next of `windows` opens; None inside one, and without any."""
    if not windows or any(window.contains(now) for window in windows):
        return None
    return min(window.next_start(now) for window in windows)
