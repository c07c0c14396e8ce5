"""What commands print: text for people, JSON or YAML for programs; colour only on a terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

import yaml

from howdah.cli.exits import Exit, Failed
from howdah.model.errors import Problem

TEXT, JSON, YAML = "text", "json", "yaml"
FORMATS = (TEXT, JSON, YAML)

_COLOURS: Mapping[str, str] = {"good": "32", "bad": "31", "busy": "33", "quiet": "2", "strong": "1"}
_UNITS: Sequence[tuple[int, str]] = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def check_format(output: str, formats: Sequence[str] = FORMATS) -> None:
    """Raises Failed (exit code 2) for a format that the command does not have."""
    if output not in formats:
        raise Failed(f"-o {output}: expected {' or '.join(formats)}", Exit.INVALID)


def say(line: str = "", *, to: TextIO | None = None) -> None:
    """One line, at once."""
    print(line, file=to or sys.stdout, flush=True)


def print_data(data: Any, output: str) -> None:
    """JSON or YAML, with sorted keys: the same data are the same bytes. A list in YAML is one document."""
    say(as_text(data, output))


def as_text(data: Any, output: str) -> str:
    """The data in a format for programs, without a line break at the end."""
    if output == JSON:
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False)
    return as_yaml(data).rstrip("\n")


def print_documents(bodies: Sequence[Mapping[str, Any]], output: str) -> None:
    """Kubernetes objects as `kubectl apply -f` reads them: YAML documents, or one JSON List."""
    if output == JSON:
        print_data({"apiVersion": "v1", "kind": "List", "items": list(bodies)}, JSON)
        return
    say("---\n".join(as_yaml(body) for body in bodies).rstrip("\n"))


def as_yaml(data: Any) -> str:
    """Sorted keys, block style, long lines left whole; values of several lines as blocks."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=10_000)


class _Dumper(yaml.SafeDumper):
    """No anchors, which people cannot read, and blocks for long text."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
_Dumper.add_multi_representer(tuple, lambda dumper, found: dumper.represent_list(list(found)))


def print_problems(problems: Iterable[Problem], *, where: str = "") -> None:
    """Every fault of an input on stderr, one a line, with path and hint."""
    for problem in problems:
        say(f"{where}: {problem}" if where else str(problem), to=sys.stderr)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns as kubectl prints them."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(visible_width(line[column]) for line in lines) for column in range(len(header))]
    return [
        "   ".join(_padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - visible_width(cell))


def visible_width(text: str) -> int:
    """Without colours."""
    width, inside = 0, False
    for character in text:
        inside = inside or character == "\033"
        width += not inside
        inside = inside and character != "m"
    return width


def age(since: dt.datetime | None, now: dt.datetime) -> str:
    """As kubectl says it, with one unit: `5m`; unknown is `-`."""
    if since is None:
        return "-"
    seconds = max(0, int((now - since).total_seconds()))
    size, unit = next((row for row in _UNITS if seconds >= 2 * row[0]), _UNITS[-1])
    return f"{seconds // size}{unit}"


def is_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person looks at it who can see lines change."""
    stream = stream or sys.stdout
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def coloured(text: str, meaning: str) -> str:
    """`meaning`: good, bad, busy, quiet or strong. Plain where no terminal is, or with NO_COLOR."""
    if os.environ.get("NO_COLOR") or not is_terminal():
        return text
    return f"\033[{_COLOURS[meaning]}m{text}\033[0m"
