"""What can be wrong, as data: a user's mistakes all at once, and failures of the outside world."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding JSON from outside ends in where it cannot be read. The last of them tells of parts that are nested about as
deep as the interpreter's stack: a decoder gives up on these also where it only skips them."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault or warning of an input: where, what, and what to do about it."""

    path: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, path: str, error: ValueError) -> Self:
        """The problem that a parser's sentence tells; what follows its first semicolon is the hint."""
        message, _, hint = str(error).partition("; ")
        return cls(path, message, hint)

    def __str__(self) -> str:
        """One line: `spec.volume.size: "10GB" is not a quantity; write 10G or 10Gi`."""
        return f"{self.path}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class InvalidSpec(Exception):  # noqa: N818  # the word that users and the other rooms know
    """A user's mistakes: every problem that was found, in the order of their paths."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Sorts and keeps `problems`; there must be at least one."""
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ExternalError(Exception):
    """Something outside failed: `system` says which, `transient` whether trying again can help."""

    def __init__(self, system: str, *, transient: bool, message: str) -> None:
        """`message` is a sentence for people; it holds no credentials."""
        self.system = system
        self.transient = transient
        self.message = message
        super().__init__(f"{system}: {message}")
