"""How long dumps are kept: `2 weeks`, as the options of the reference say it, and which dumps are older than that."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_PART = re.compile(r"(\d+)\s*(second|sec|minute|min|hour|day|week|fortnight|month|year)s?", re.IGNORECASE)
_DAYS = {"day": 1, "week": 7, "fortnight": 14}
_SECONDS = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3600}
_MONTHS = {"month": 1, "year": 12}
CLOCKS_DIFFER = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Retention:
    """A span of the calendar: `months` are as long as they are."""

    months: int
    span: dt.timedelta

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2 weeks`, `3 months`, `1 year 6 months`. Raises ValueError with a sentence."""
        rest, parts = text.strip().removesuffix("ago").strip(), list(_PART.finditer(text))
        if not parts or re.sub(r"[\s,]|and", "", _PART.sub("", rest)):
            raise ValueError(f'"{text}" is no span of time; write such as 14 days, 2 weeks, 3 months or 1 year')
        months, span = 0, dt.timedelta()
        try:
            for part in parts:
                number, unit = int(part[1]), part[2].lower()
                months += number * _MONTHS.get(unit, 0)
                span += dt.timedelta(days=number * _DAYS.get(unit, 0), seconds=number * _SECONDS.get(unit, 0))
        except OverflowError:
            raise ValueError(f'"{text}" is longer than can be reckoned with; write such as 10 years') from None
        if not months and not span:
            raise ValueError(f'"{text}" keeps nothing; write such as 14 days, 2 weeks, 3 months or 1 year')
        return cls(months, span)

    def cutoff(self, now: dt.datetime) -> dt.datetime:
        """What is older may go: nothing, where the calendar ends before. A day that its month has not is the month's last."""
        month = now.year * 12 + now.month - 1 - self.months
        year, month = month // 12, month % 12 + 1
        day = min(now.day, calendar.monthrange(year, month)[1])
        try:
            return now.replace(year=year, month=month, day=day) - self.span
        except (ValueError, OverflowError):  # of the year, of the span
            return dt.datetime.min.replace(tzinfo=now.tzinfo)


def outdated(times: Iterable[int], retention: Retention, now: dt.datetime) -> tuple[int, ...]:
    """Of dumps, by the Unix time of each, those that are too old. The newest stays, however old it is."""
    known = sorted(times)
    limit = retention.cutoff(now).timestamp()
    return tuple(time for time in known[:-1] if time < limit)


def reckoned_from(began: dt.datetime, ended: dt.datetime, written: dt.datetime) -> dt.datetime | None:
    """The moment from which ages count: the earlier one of the dump's begin and of when the store says it was `written`.

    None where our clock and the store's differ by more than an hour: then nothing is known to be old. Amazon's says when the
    upload began, others when it was complete, so that anything from our begin to our end is right.
    """
    is_agreed = began - CLOCKS_DIFFER <= written <= ended + CLOCKS_DIFFER
    return min(began, written) if is_agreed else None
