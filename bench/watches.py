"""Watches of the local API server, as its log tells them: which are open, and which were answered 410 (Gone)."""

from __future__ import annotations

import re
from collections import Counter

_LINE = re.compile(r"watch (begins|ends|answered 410): (.+)$", re.MULTILINE)

Watches = Counter[str]
"""How many there are of each: path, user and program."""


def open_watches(log: str) -> Watches:
    """Those that began and did not end."""
    told = _LINE.findall(log)
    return Counter(what for word, what in told if word == "begins") - Counter(
        what for word, what in told if word == "ends"
    )


def verdict(before: str, after: str) -> str:
    """What became of the watches that were open at the end of the log `before`, by the log of the next server.

    Raises RuntimeError where the operator's own were not answered 410, or where one did not come back.
    """
    was, now = open_watches(before), open_watches(after)
    gone = Counter(what for word, what in _LINE.findall(after) if word == "answered 410")
    if lost := was - now:
        raise RuntimeError(f"watches that did not come back: {_listed(lost)}")
    unasked = was - gone
    if ours := Counter({what: count for what, count in unasked.items() if what.endswith(" with howdah")}):
        raise RuntimeError(f"watches that were not answered 410: {_listed(ours)}")
    text = f"{(was & gone).total()} of {was.total()} watches that were open were answered 410"
    return text + (f"; without asking listed anew: {_listed(unasked)}" if unasked else "") + "; all were open again"


def _listed(watches: Watches) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(watches.items()))
