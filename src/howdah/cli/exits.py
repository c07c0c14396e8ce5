"""Exit codes, and the failure that carries one. They are part of the interface: see docs/reference/cli.md."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """0 is success."""

    FAILED = 1  # the outside world: no API, a refused command, a time-out
    INVALID = 2  # the manifest, the configuration or the arguments
    NOT_FOUND = 3  # no such resource
    NOT_READY = 4  # it is there, and is not what was waited for
    INTERRUPTED = 130


class Failed(Exception):  # noqa: N818 - it is told to people as it is
    """Ends the command with one message and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
