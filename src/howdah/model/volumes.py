"""Volumes as EC2 describes them. What is to become of one is decided in `core.volumes`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

MODIFYING, OPTIMIZING, FAILED = "modifying", "optimizing", "failed"


@dataclass(frozen=True, slots=True)
class Refusal:
    """EC2 did not take a modification of this volume; it is not asked again before `until`."""

    why: str
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class CloudVolume:
    """An EBS volume. `throughput` in MiB/s; None where the type has none of its own.

    `modification` is the state of the last one: modifying, optimizing, completed or failed; empty without any.
    """

    id: str
    size_gib: int
    type: str
    iops: int | None = None
    throughput: int | None = None
    modification: str = ""
    modification_error: str = ""
    refusal: Refusal | None = None

    @property
    def is_busy(self) -> bool:
        """EC2 takes no other modification while one is under way, which may be hours."""
        return self.modification in (MODIFYING, OPTIMIZING)
