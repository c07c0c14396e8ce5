"""The figures of both operators as Markdown, for docs/performance-kube.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.report import number
from bench.side.measure import Result

HEADS: Mapping[str, str] = {
    "howdah": "howdah",
    "reference": "reference",
    "reference-qps": "reference, `-kubeqps 1000`",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line. `asked`: the most that howdah may need, by number of clusters."""

    what: str
    unit: str
    value: Callable[[Result], float]
    asked: Mapping[int, float] | None = None
    is_optional: bool = False  # 0: of a run that did not note it


ROWS: tuple[Row, ...] = (
    Row("apply → every object made", "s", lambda r: r.objects_s, {100: 10, 500: 60}),
    Row("apply → every cluster is said to run", "s", lambda r: r.running_s),
    Row("operator restarted → every cluster decided", "s", lambda r: r.restart_s, {500: 15}),
    Row("manifest changed while all resync → first write, median of 20", "s", lambda r: r.median_change_s),
    Row("… the slowest of 20", "s", lambda r: max(r.change_s)),
    Row("requests to create a cluster", "", lambda r: sum(r.create_requests.values())),
    Row("reads per unchanged cluster and resync", "", lambda r: r.resync_reads, {10: 1, 100: 1, 500: 1}),
    Row("writes per unchanged cluster and resync", "", lambda r: r.resync_writes, {10: 0, 100: 0, 500: 0}),
    Row("writes in a minute in which nothing happens", "", lambda r: r.steady_writes, {10: 0, 100: 0, 500: 0}),
    Row("CPU to make the clusters", "s", lambda r: r.create_cpu_s),
    Row("… of the control plane and kwok meanwhile", "s", lambda r: r.plane_cpu_s, is_optional=True),
    Row("CPU of the restart", "s", lambda r: r.restart_cpu_s),
    Row("CPU in a minute in which nothing happens", "s", lambda r: r.steady_cpu_s),
    Row("memory (RSS) at the end", "MiB", lambda r: r.rss_mib),
    Row("load average of the machine while clusters were made", "", lambda r: r.load, is_optional=True),
    Row("… after the restart", "", lambda r: r.restart_load, is_optional=True),
)


def pages(results: Sequence[Result]) -> str:
    """The table of each number of clusters, then the requests by verb and kind of the largest."""
    sizes = sorted({r.clusters for r in results})
    parts = [_table(size, [r for r in results if r.clusters == size]) for size in sizes]
    return "\n\n".join(
        [*parts, *(_requests(r) for r in results if r.clusters == 100 and r.operator != "reference-qps")]
    )


def _table(size: int, results: Sequence[Result]) -> str:
    there = sorted(results, key=lambda r: list(HEADS).index(r.operator))
    lines = [_line([f"{size} clusters × 3", "unit", "asked", *(HEADS[r.operator] for r in there)])]
    lines.append(_line(["---"] * (3 + len(there))))
    for row in ROWS:
        limit = (row.asked or {}).get(size)
        asked = "" if limit is None else f"≤ {number(limit)}"
        lines.append(_line([row.what, row.unit, asked, *(_cell(row, r, limit) for r in there)]))
    return "\n".join(lines)


def _cell(row: Row, result: Result, limit: float | None) -> str:
    value = row.value(result)
    if row.is_optional and not value:
        return ""
    is_missed = limit is not None and result.operator == "howdah" and value > limit
    return f"{number(value)}{' (missed)' if is_missed else ''}"


def _requests(result: Result) -> str:
    kinds = sorted({*result.create_requests, *result.resync_requests}, key=lambda k: (k.split()[1], k))
    lines = [
        _line([f"{HEADS[result.operator]}: requests per cluster", "create", "unchanged resync"]),
        _line(["---"] * 3),
    ]
    for kind in kinds:
        shown = [number(found) if (found := part.get(kind, 0.0)) >= 0.005 else "" for part in (
            result.create_requests, result.resync_requests)]  # fmt: skip
        if any(shown):
            lines.append(_line([kind, *shown]))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
