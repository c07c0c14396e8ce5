"""What goes wrong on purpose: faults that wait for a request that they fit, and the record of all requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

READING = frozenset({"get", "list", "watch"})


@dataclass(slots=True)
class Request:
    """One request as the server understood it; `status` is what it was answered, 0 for a cut connection."""

    verb: str
    resource: str
    """The plural, with the subresource: `pods`, `pods/status`."""
    namespace: str
    name: str
    params: dict[str, str] = field(default_factory=dict)
    content_type: str = ""
    body: Any = None
    status: int = 0

    @property
    def is_write(self) -> bool:
        """Whether it changes something (a dry run does not)."""
        return self.verb not in READING and not self.params.get("dryRun")


Fits = Callable[[Request], bool]
Hook = Callable[[Request], Awaitable[None]]


@dataclass(slots=True)
class Fault:
    """How to answer the next `times` requests that fit.

    `status` 0 cuts the connection. `after_effect` does the work first, so that the caller cannot know. `delay_s` waits before.
    """

    fits: Fits
    status: int = 500
    reason: str = "InternalError"
    message: str = "a fault of the test"
    retry_after_s: int | None = None
    after_effect: bool = False
    delay_s: float = 0.0
    only_delay: bool = False
    times: int = 1


def fitting(verb: str = "", resource: str = "", name: str = "", namespace: str = "") -> Fits:
    """A predicate; what is left empty fits everything. `verb` may be "write" for all that change something."""

    def fits(request: Request) -> bool:
        return (
            (not verb or request.verb == verb or (verb == "write" and request.is_write))
            and resource in {"", request.resource}
            and name in {"", request.name}
            and namespace in {"", request.namespace}
        )

    return fits


class Faults:
    """The faults that wait, in order."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Wait for fitting requests."""
        self._waiting.append(fault)

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()

    @property
    def pending(self) -> int:
        """Faults that have not happened yet."""
        return len(self._waiting)

    def take(self, request: Request) -> Fault | None:
        """The first fault that fits; it is used up when it has happened `times` times."""
        for fault in self._waiting:
            if fault.fits(request):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None
