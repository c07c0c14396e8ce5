"""What the log of the API server says of watches that were open when it went away."""

from __future__ import annotations

import pytest
from bench.watches import open_watches, verdict

OURS, PATRONIS = "/api/v1/pods by admin with howdah", "/api/v1/namespaces/a/pods by pod with Patroni"


def log(*lines: str) -> str:
    return "".join(f"2026-01-01 12:00:00,000 INFO howdah.local.apiserver.http {line}\n" for line in lines)


def begun(*watches: str) -> str:
    return log(*(f"watch begins: {what}" for what in watches))


def refused(what: str) -> str:
    return log(f"watch begins: {what}", f"watch answered 410: {what}", f"watch ends: {what}")


def test_open_is_what_began_and_did_not_end() -> None:
    text = begun(OURS, OURS, PATRONIS) + log(f"watch ends: {OURS}", f"watch too far behind: {OURS}")
    assert open_watches(text) == {OURS: 1, PATRONIS: 1}


def test_every_watch_is_counted_and_who_listed_anew_is_named() -> None:
    after = refused(OURS) + refused(OURS) + begun(OURS, OURS, PATRONIS)
    assert verdict(begun(OURS, OURS, PATRONIS), after) == (
        f"2 of 3 watches that were open were answered 410; without asking listed anew: 1 {PATRONIS}; all were open again"
    )


def test_one_of_ours_that_was_not_answered_410_fails() -> None:
    with pytest.raises(RuntimeError, match=f"not answered 410: 1 {OURS}"):
        verdict(begun(OURS, OURS), refused(OURS) + begun(OURS, OURS))


def test_one_that_does_not_come_back_fails() -> None:
    with pytest.raises(RuntimeError, match=f"did not come back: 1 {PATRONIS}"):
        verdict(begun(OURS, PATRONIS), refused(OURS) + begun(OURS))
