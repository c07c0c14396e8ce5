"""Runs two parts of the tests at once: `python tests/both.py LOG FIRST... -- SECOND...`.

The first needs processors, and has the lower priority; the second mostly waits, and measures times. What the first says is
seen as it is said; what the second says is in LOG, and shown when both have ended. Fails where one of them does.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

NICE = ("nice", "-n", "10")


def run(log: Path, first: Sequence[str], second: Sequence[str]) -> list[int]:
    """The exit codes of both."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who runs in a shell's background ignores it, and so would both
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        parts = [
            subprocess.Popen([*NICE, *first], stdin=subprocess.DEVNULL),
            subprocess.Popen(second, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT),
        ]

        def end(number: int, _: FrameType | None) -> None:
            for part in parts if number == signal.SIGTERM else ():  # a terminal's Ctrl-C reaches them by itself
                part.send_signal(signal.SIGINT)

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        return [part.wait() for part in parts]


def main(log: str, *commands: str) -> int:
    middle = commands.index("--")
    print(f"end-to-end tests run beside these; what they say comes afterwards, and is in {log}", flush=True)
    codes = run(Path(log), commands[:middle], commands[middle + 1 :])
    print(f"end-to-end tests:\n{Path(log).read_text(errors='replace')}", flush=True)
    for part, code in zip(("all but the end-to-end tests", "the end-to-end tests"), codes, strict=True):
        print(f"{part}: {'passed' if code == 0 else f'failed ({code})'}")
    return max(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
