"""How long ago, in the few letters that kubectl shows: 5s, 3m20s, 4h, 12d."""

from __future__ import annotations

from datetime import datetime

from .objects import parsed_time

_YEAR_H = 24 * 365


def _pair(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def human(seconds: int) -> str:
    """Fewer digits the longer it is."""
    minutes, hours = seconds // 60, seconds // 3600
    days = hours // 24
    years = hours // _YEAR_H
    steps: tuple[tuple[bool, str], ...] = (
        (seconds < -1, "<invalid>"),
        (seconds < 0, "0s"),
        (seconds < 120, f"{seconds}s"),
        (minutes < 10, _pair(minutes, "m", seconds % 60, "s")),
        (minutes < 180, f"{minutes}m"),
        (hours < 8, _pair(hours, "h", minutes % 60, "m")),
        (hours < 48, f"{hours}h"),
        (hours < 24 * 8, _pair(days, "d", hours % 24, "h")),
        (hours < 2 * _YEAR_H, f"{days}d"),
        (hours < 8 * _YEAR_H, _pair(years, "y", days % 365, "d")),
    )
    return next((text for fits, text in steps if fits), f"{years}y")


def since(moment: str | None, now: datetime) -> str:
    """The age of a time."""
    if not moment:
        return "<unknown>"
    try:
        return human(int((now - parsed_time(moment)).total_seconds()))
    except ValueError:
        return "<unknown>"
