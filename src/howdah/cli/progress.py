"""Live progress: a line for each thing that happened, and on a terminal one more that says what goes on now."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from howdah.cli.output import coloured, is_terminal, visible_width

_WHEEL = "|/-\\"


class Progress:
    """`told` what happened; `now` what is waited for. Where no terminal is, only what happened is printed."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._is_live = is_terminal(self._stream)
        self._begin = time.monotonic()
        self._turns = 0
        self._shown = False

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._begin

    def told(self, line: str) -> None:
        """Something happened."""
        self._clear()
        self._write(f"{coloured(f'{self.elapsed_s:5.1f} s', 'quiet')}  {line}\n")

    def now(self, line: str) -> None:
        """What is waited for; replaced by the next line."""
        if not self._is_live:
            return
        self._clear()
        width = shutil.get_terminal_size().columns - 12
        cut = line if visible_width(line) <= width else line[: width - 1] + "…"
        self._turns += 1
        wheel = _WHEEL[self._turns % len(_WHEEL)]
        self._write(f"{coloured(f'{self.elapsed_s:5.1f} s', 'quiet')} {wheel} {coloured(cut, 'busy')}")
        self._shown = True

    def end(self) -> None:
        """Nothing more is waited for."""
        self._clear()

    def _clear(self) -> None:
        if self._shown:
            self._write("\r\033[K")
            self._shown = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
