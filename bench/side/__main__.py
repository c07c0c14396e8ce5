"""`python -m bench.side`: howdah and the reference in turn on the same control plane with the same simulated nodes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.report import machine
from bench.side.measure import OPERATORS, STEADY_S, Result, measure
from bench.side.plane import missing
from bench.side.table import pages
from bench.world import say

CLUSTERS = (10, 100, 500)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.side", description=__doc__)
    parser.add_argument("--operators", nargs="+", choices=OPERATORS, default=list(OPERATORS), metavar="NAME")
    parser.add_argument("--clusters", nargs="+", type=int, default=list(CLUSTERS), metavar="N")
    parser.add_argument(
        "--longest", type=int, default=100, help="most clusters for the reference with its own limit (100)"
    )
    parser.add_argument("--steady", type=float, default=STEADY_S, help=f"seconds of doing nothing ({STEADY_S:g})")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep every figure; those that are there already stay"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing; the table of what --json FILE holds")
    return parser.parse_args(argv)


def known(path: Path | None) -> list[Result]:
    """What an earlier run kept."""
    if path is None or not path.exists():
        return []
    return [
        Result(**{**found, "change_s": tuple(found["change_s"])}) for found in json.loads(path.read_text())["results"]
    ]


def keep(path: Path | None, results: Sequence[Result], argv: Sequence[str]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"command": list(argv), "machine": machine(), "results": [dataclasses.asdict(r) for r in results]}
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def main(argv: Sequence[str]) -> int:
    """Exit code 1 where a figure could not be had, 2 where this machine cannot run the lane."""
    asked = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is taken down
    results, complete = known(asked.json), True
    if not asked.report and (why := missing()) is not None:
        say(why)
        return 2
    for clusters in () if asked.report else asked.clusters:
        for name in asked.operators:
            if name == "reference" and clusters > asked.longest:
                say(f"{name}, {clusters}: left out, it would take hours (--longest {clusters})")
                continue
            say(f"{name}, {clusters} clusters")
            try:
                result = measure(name, clusters, steady_s=asked.steady)
            except (RuntimeError, TimeoutError) as error:
                complete = False
                say(f"  not measured: {error}")
                continue
            results = [r for r in results if (r.operator, r.clusters) != (name, clusters)] + [result]
            keep(asked.json, results, argv)
    print(pages(results))
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
