"""The differences that we accept, each with its reason; a row that matches nothing any more is itself an error."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

from differential.compare import Difference

FILE = Path(__file__).parent / "known.yaml"


@dataclass(frozen=True, slots=True)
class Known:
    """Shell patterns that a difference must match, all of them, and why it stays."""

    reason: str
    sequence: str = "*"
    step: str = "*"
    path: str = "*"
    weight: str = "*"  # one of compare.WEIGHTS
    real: str = "*"
    ours: str = "*"
    kubectl: bool = False  # a difference in what kubectl shows
    sometimes: bool = False  # depends on the clock: a run without it is no reason to remove the row

    def matches(self, sequence: str, step: str, difference: Difference) -> bool:
        return all(
            fnmatchcase(found, pattern)
            for found, pattern in (
                (sequence, self.sequence),
                (step, self.step),
                (difference.path, self.path),
                (difference.weight, self.weight),
                (str(difference.real), self.real),
                (str(difference.ours), self.ours),
            )
        )

    def __str__(self) -> str:
        return f"{self.sequence} · {self.step} · {self.weight} {self.path}: {self.reason}"


def known(file: Path = FILE) -> tuple[Known, ...]:
    return tuple(Known(**row) for row in yaml.safe_load(file.read_text()) or ())
