"""`python -m bench [NAME…]`: measure, print the table, write JSON."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bench import local, pure, scale
from bench.figures import Figure
from bench.report import machine, table, write_json
from bench.world import Wishes, say

Measurement = Callable[[Wishes], Awaitable[list[Figure]]]

MEASUREMENTS: Mapping[str, Measurement] = {
    "help": pure.measure_help,
    "build": pure.measure_build,
    "roles": pure.measure_difference,
    "lifecycle": local.measure_lifecycle,
    "demo": local.measure_demo,
    "failures": local.measure_failures,
    "proved": local.measure_proved,
    "lease": local.measure_lease,
    "outage": local.measure_outage,
    "operator": local.measure_operator,
    "fleet-pass": pure.measure_pass,
    "fleet-start": scale.measure_start,
    "fleet-change": scale.measure_change,
    "fleet-events": scale.measure_events,
    "fleet-resyncs": scale.measure_resyncs,
    "fleet-churn": scale.measure_churn,
}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure howdah against what is asked of it.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure (all): {', '.join(MEASUREMENTS)}")
    parser.add_argument("--rounds", type=int, default=20, help="samples of each row (20)")
    parser.add_argument("--full", action="store_true", help="shorten nothing: 10 minutes without API server, …")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    found = parser.parse_args(argv)
    unknown = [name for name in found.names if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
    return found


async def measure(names: Sequence[str], wishes: Wishes) -> tuple[list[Figure], bool]:
    """The figures of all that could be measured, and whether that was everything."""
    figures: list[Figure] = []
    complete = True
    work = asyncio.current_task()
    if work is not None:  # so that what was started is taken down
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)
    for name in names or MEASUREMENTS:
        say(name)
        try:
            figures += await MEASUREMENTS[name](wishes)
        except Exception as error:  # noqa: BLE001 - the other rows are worth having
            complete = False
            say(f"  {name} was not measured: {type(error).__name__}: {error}")
    return figures, complete


def main(argv: Sequence[str]) -> int:
    """Exit code 1 where a row could not be measured; a missed figure is said, and is no failure."""
    asked = arguments(argv)
    figures, complete = asyncio.run(measure(asked.names, Wishes(asked.rounds, asked.full)))
    print(table(figures))
    print(f"\n{', '.join(f'{key}: {value}' for key, value in machine().items())}")
    if asked.json is not None:
        write_json(asked.json, figures, argv)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
