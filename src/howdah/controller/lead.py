"""Whether this process may still write: asked before each step, call, command and statement is sent."""

from __future__ import annotations

from collections.abc import Callable

from howdah.model.permit import Permit


class NotLeading(Exception):  # noqa: N818 - a state, not an error
    """The Lease was lost: nothing may be written any more."""


def permit(may_write: Callable[[], bool]) -> Permit:
    """What it raises is NotLeading."""

    def check() -> None:
        if not may_write():
            raise NotLeading

    return check
