"""What is asked of howdah, as a table, and the samples that were measured for each row."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `median`, `maximum`: what is asked, in `unit`; None: nothing is asked."""

    key: str
    what: str
    unit: str
    median: float | None = None
    maximum: float | None = None


ROWS: tuple[Row, ...] = (
    Row("create-primary", "create → primary accepts writes through the service address", "s", 4, 8),
    Row("create-replica", "create → second member streams", "s", 10, 20),
    Row("demo", "`make demo`, dependencies there", "s", 20),
    Row("switchover", "switchover: gap in writes through the service address", "s", 2, 5),
    Row("leader-killed", "leader's processes killed, same pod restarts: gap in writes", "s", 5, 12),
    Row("leader-gone-proved", "leader's pod gone, death proved: gap in writes", "s", 1, 3),
    Row(
        "leader-gone-lease",
        "leader gone, only the lease can tell (ttl 30 s, loop_wait 10 s): gap in writes",
        "s",
        30,
        43,
    ),
    Row("api-away", "API server away, 3 members, history gone afterwards: failed writes", "writes", None, 0),
    Row("delete", "delete → nothing left", "s", 5, 10),
    Row("operator-killed", "operator killed → the other replica acts", "s", None, 20),
    Row("fleet-start", "500 × 3: operator start → caches full and every cluster decided", "s", 10),
    Row("fleet-change", "500 × 3: manifest changed → first write, p99, 50 clusters hanging", "s", None, 1),
    Row("fleet-rss-100", "operator memory (RSS) at 100 clusters × 3", "MiB", 100),
    Row("fleet-rss-500", "operator memory (RSS) at 500 clusters × 3", "MiB", 160),
    Row("fleet-churn", "… growth after 24 simulated hours of churn", "%", None, 5),
    Row("fleet-resync-writes", "60 resyncs, annotations changing: writes but the Lease", "writes", None, 0),
    Row("fleet-resync-gets", "60 resyncs: GETs per cluster and resync", "requests", None, 1),
    Row("fleet-event-cpu", "CPU per watched pod event that changes nothing", "µs", 60),
    Row("help", "`howdah --help`", "s", 0.3),
    Row("render-largest", "render of the largest manifest beyond start-up", "ms", 50),
    Row("resolve-build", "resolve and build of 1,000 clusters", "s", 3),
    Row("difference", "comparison of 200 users and 50 databases that lacks nothing", "ms", 50),
    Row("quiet-pass", "CPU of a no-change pass over one cluster, without SQL", "ms", 5),
)
BY_KEY: Mapping[str, Row] = {row.key: row for row in ROWS}


@dataclass(frozen=True, slots=True)
class Figure:
    """The samples of one row; `note` says how they differ from what the row asks (shortened, fewer clusters, …)."""

    row: Row
    samples: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def maximum(self) -> float:
        return max(self.samples)

    @property
    def is_met(self) -> bool:
        """Whether what is asked is reached; a row that asks nothing of a number is."""
        asked = ((self.row.median, self.median), (self.row.maximum, self.maximum))
        return all(limit is None or value <= limit for limit, value in asked)

    def plain(self) -> dict[str, object]:
        """For JSON."""
        return {
            "key": self.row.key,
            "what": self.row.what,
            "unit": self.row.unit,
            "asked_median": self.row.median,
            "asked_maximum": self.row.maximum,
            "median": self.median,
            "maximum": self.maximum,
            "rounds": len(self.samples),
            "is_met": self.is_met,
            "samples": list(self.samples),
            "note": self.note,
        }


def figure(key: str, samples: Iterable[float], note: str = "") -> Figure:
    """Raises KeyError for a row that the table has not."""
    return Figure(BY_KEY[key], tuple(samples), note)


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least `share` (0…1) of the samples do not exceed."""
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
