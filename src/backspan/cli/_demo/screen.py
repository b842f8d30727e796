"""What the demo writes to a terminal: colours where wanted, a progress line on a TTY, else a line every few seconds."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from typing import Final, TextIO

MIN_WIDTH, MAX_WIDTH = 60, 110
EVERY_S = 3.0
_BAR = 24
_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def wants_colour(stream: TextIO) -> bool:
    """`NO_COLOR` wins, then `FORCE_COLOR`, then whether ``stream`` is a terminal that is not dumb."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def terminal_width() -> int:
    """Columns to use: those of the terminal (80 where there is none), within 60 to 110."""
    return max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size((80, 24)).columns))


class Paint:
    """Colours text, or leaves it alone."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __call__(self, text: str, *styles: str) -> str:
        """``text`` in the given styles: bold, dim, red, green, yellow, cyan."""
        if not self.on or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def wrap(text: str, width: int, first: str = "", rest: str = "") -> str:
    """``text`` folded at ``width`` columns, the first line after ``first``, the others after ``rest``."""
    lines = textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
    return "\n".join(lines)


class Progress:
    """Says on stderr how far we are. `update` may be called as often as one likes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._paint = Paint(wants_colour(self._stream))
        self._said = 0.0

    def say(self, text: str, *styles: str) -> None:
        """A line that stays."""
        self._clear()
        self._write(self._paint(text, *styles) + "\n")
        self._said = time.monotonic()

    def update(self, done: int, total: int, text: str) -> None:
        """Progress of a stretch: redraws one line on a terminal, else adds a line every few seconds."""
        if self._live:
            filled = _BAR * done // max(total, 1)
            line = f"  {'█' * filled}{'░' * (_BAR - filled)} {text}"
            self._write("\r\x1b[K" + line[: shutil.get_terminal_size((80, 24)).columns - 1])
        elif time.monotonic() - self._said >= EVERY_S:
            self.say(f"  {done}/{total} {text}")

    def _clear(self) -> None:
        if self._live:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
