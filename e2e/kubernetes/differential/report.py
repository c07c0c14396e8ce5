"""What a person reads of a run: a table by sequence, the differences with their weight, and those that many steps share."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from collections.abc import Sequence as Many
from typing import Any

from differential.compare import WEIGHTS, Difference
from differential.run import Compared

LONGEST = 300


def table(results: Many[Compared]) -> Iterator[str]:
    """One line per sequence: requests, equal, explained, different."""
    by_sequence: dict[str, list[Compared]] = defaultdict(list)
    for result in results:
        by_sequence[result.sequence].append(result)
    yield f"{'sequence':58} requests  equal  explained  different"
    for name, steps in [*by_sequence.items(), ("all", list(results))]:
        different = sum(bool(s.unexplained) for s in steps)
        explained = sum(bool(s.explained) and not s.unexplained for s in steps)
        equal = len(steps) - different - explained
        yield f"{name:58} {len(steps):8}  {equal:5}  {explained:9}  {different:9}"


def details(results: Many[Compared]) -> Iterator[str]:
    """Every unexplained difference, under its sequence and step."""
    for result in results:
        if result.unexplained:
            yield f"\n{result.sequence}: {result.step}"
            for d in result.unexplained:
                yield f"  [{d.weight}] {d.path}"
                yield f"    real: {_short(d.real)}".replace("\n", "\n          ")
                yield f"    ours: {_short(d.ours)}".replace("\n", "\n          ")


def digest(results: Many[Compared]) -> Iterator[str]:
    """The same differences grouped, heaviest and most frequent first."""
    groups: dict[tuple[str, str, str, str], list[Compared]] = defaultdict(list)
    for result in results:
        for d in result.unexplained:
            groups[_signature(d)].append(result)
    ranked = sorted(groups.items(), key=lambda g: (WEIGHTS.index(g[0][0]), -len(g[1])))
    for (weight, path, real, ours), where in ranked:
        yield f"- [{weight}] `{path}` × {len(where)}"
        yield f"  - real: {real}"
        yield f"  - ours: {ours}"
        shown = list(dict.fromkeys(f"{c.sequence}: {c.step}" for c in where))
        yield from (f"  - {s}" for s in shown[:3])
        if len(shown) > 3:
            yield f"  - and {len(shown) - 3} more"


def _signature(d: Difference) -> tuple[str, str, str, str]:
    return (d.weight, re.sub(r"\b\d+\b", "*", d.path), _short(d.real), _short(d.ours))


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
