"""Two parts of the tests at once: both are seen, either fails the whole, and both end where it is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lifetimes import ended_with_us

BOTH = Path(__file__).parents[1] / "both.py"
ENDED = """
import pathlib, sys, time
place = pathlib.Path(sys.argv[1])
place.with_suffix(".began").touch()
try:
    time.sleep(60)
except KeyboardInterrupt:
    place.write_text("ended in order")
"""


def command(log: Path, first: list[str], second: list[str]) -> list[str]:
    return [sys.executable, str(BOTH), str(log), *first, "--", *second]


def saying(what: str, code: int = 0) -> list[str]:
    return [sys.executable, "-c", f"print({what!r}); raise SystemExit({code})"]


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 1), (2, 5)])
def test_either_fails_the_whole_and_what_both_say_is_seen(first: int, second: int, tmp_path: Path) -> None:
    asked = command(tmp_path / "new" / "log", saying("one", first), saying("two", second))
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == max(first, second)
    assert (tmp_path / "new" / "log").read_text() == "two\n"
    lines = done.stdout.splitlines()
    assert lines.index("one") < lines.index("two")
    for line, code in zip(lines[-2:], (first, second), strict=True):
        assert line.endswith("passed" if code == 0 else f"failed ({code})")


def test_ended_from_outside_it_ends_both_in_order_also_in_the_background_of_a_shell(tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    asked = command(tmp_path / "log", *([sys.executable, "-c", ENDED, str(place)] for place in places))
    in_background = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *asked]
    with subprocess.Popen(ended_with_us(*in_background)) as both:
        deadline = time.monotonic() + 60
        while not all(place.with_suffix(".began").exists() for place in places) and time.monotonic() < deadline:
            time.sleep(0.05)
        both.send_signal(signal.SIGTERM)
        both.wait(60)
    assert [place.read_text() for place in places] == ["ended in order", "ended in order"]
