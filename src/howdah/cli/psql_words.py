"""Whose the words of `howdah psql NAME …` are: ours up to the first that we do not know, and psql's from there on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typer.core import TyperCommand


class UpToPsql(TyperCommand):
    """Its last words are another program's, whatever they look like: click would look for ours within `-fdump.sql`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_value = {
            name: not getattr(option, "is_flag", False) for option in self.get_params(ctx) for name in option.opts
        }
        ours, theirs = split(args, {name: takes for name, takes in takes_value.items() if name.startswith("-")})
        super().parse_args(ctx, ours)
        ctx.args = theirs
        return theirs


def split(words: Sequence[str], options: Mapping[str, bool]) -> tuple[list[str], list[str]]:
    """Ours and psql's. `options`: ours, and whether they take a value; a `--` between ours and psql's is nobody's."""
    place, is_named = 0, False
    while place < len(words):
        word = words[place]
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in options:
            place += 2 if options[name] and word == name else 1
        elif not word.startswith("-") and not is_named:
            place, is_named = place + 1, True
        else:
            break
    return list(words[:place]), list(words[place + (words[place : place + 1] == ["--"]) :])
