"""The level of the log: HOWDAH_LOG_LEVEL for a process, else what option debug_logging says; changed while it runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from howdah.model.errors import InvalidSpec, Problem
from howdah.model.settings import Settings

VARIABLE = "HOWDAH_LOG_LEVEL"
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogLevel:
    """A processor of structlog that drops what is below the level; the level of the process's own word wins."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """Raises InvalidSpec for a level that there is not."""
        written = (environment or {}).get(VARIABLE, "").lower()
        if written and written not in LEVELS:
            raise InvalidSpec((Problem(VARIABLE, f'"{written}" is no level', f"write {', '.join(LEVELS)}"),))
        self._is_fixed = bool(written)
        self._level = LEVELS[written or "info"]

    def take_up(self, settings: Settings) -> None:
        """From now on, as the configuration says."""
        if not self._is_fixed:
            self._level = logging.DEBUG if settings.debug_logging else logging.INFO

    def __call__(self, _: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if LEVELS.get(method, logging.ERROR) < self._level:
            raise structlog.DropEvent
        return event
