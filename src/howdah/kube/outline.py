"""JSON whose parts are nested too deeply to be decoded, taken apart without going into them.

A decoder gives up on what is nested about as deep as the interpreter's stack (RecursionError), also in parts that it only
skips, and an API server stores what is nested ten times as deep. This is much slower than a decoder: only for what one has
given up on. Not here: whether such a part may be decoded by itself.
"""

from __future__ import annotations

import re

import msgspec

_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[][{}]', re.DOTALL)
"""Texts, for what is in them does not count, and all that begins and ends a part."""
_BEGINS, _ENDS = b"[{", b"]}"


def outline(text: bytes, depth: int) -> tuple[bytes, tuple[msgspec.Raw, ...]]:
    """The text with a number in place of each array and object that lies in `depth` others, and these parts by number.

    Raises DecodeError where not all that begins ends.
    """
    kept: list[bytes] = []
    parts: list[msgspec.Raw] = []
    level = begin = rest = 0
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign in _BEGINS:
            if level == depth:
                begin = token.start()
            level += 1
        elif sign in _ENDS:
            level -= 1
            if level == depth:
                kept += (text[rest:begin], b"%d" % len(parts))
                rest = token.end()
                parts.append(msgspec.Raw(text[begin:rest]))
    if level != 0:
        raise msgspec.DecodeError("JSON is malformed: what begins does not end")
    return b"".join((*kept, text[rest:])), tuple(parts)
