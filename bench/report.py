"""Figures as a table for people and as JSON for machines."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure

_HEAD = ("what", "unit", "asked median", "asked max", "median", "max", "rounds", "")


def table(figures: Sequence[Figure]) -> str:
    """Markdown, so that it can be pasted into docs/performance.md."""
    lines = [_line(_HEAD), _line(("---",) * len(_HEAD))]
    lines += [_line(_cells(figure)) for figure in figures]
    notes = [f"- {figure.row.key}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(figure: Figure) -> tuple[str, ...]:
    row = figure.row
    return (
        row.what,
        row.unit,
        number(row.median),
        number(row.maximum),
        number(figure.median),
        number(figure.maximum),
        str(len(figure.samples)),
        "" if figure.is_met else "missed",
    )


def number(value: float | None) -> str:
    """Three digits, without needless ones."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def machine() -> dict[str, object]:
    """Where the figures come from."""
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory_mib,
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "time": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_json(path: Path, figures: Sequence[Figure], command: Sequence[str]) -> None:
    """Everything that was measured, every sample included."""
    document = {"command": list(command), "machine": machine(), "figures": [figure.plain() for figure in figures]}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
