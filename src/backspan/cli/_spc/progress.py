"""How far long work is: one line on stderr, redrawn, and only where stderr is a terminal."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import TracebackType

_BAR = 24
_EVERY = 0.1


class Progress:
    """A bar of ``total`` steps. Use it as a context: the line is gone at the end, whatever happened."""

    def __init__(self, text: str, total: float, quiet: bool = False) -> None:
        self._text, self._total = text, max(total, 1.0)
        self._live = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = 0.0

    def __enter__(self) -> Progress:
        self.at(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def at(self, done: float, text: str = "") -> None:
        """``done`` of the total; may be called as often as one likes."""
        now = time.monotonic()
        if not self._live or (done and now - self._shown < _EVERY):
            return
        self._shown = now
        filled = min(_BAR, int(_BAR * done / self._total))
        line = f"  {'█' * filled}{'░' * (_BAR - filled)} {self._text} {text}"
        sys.stderr.write("\r\x1b[K" + line[: shutil.get_terminal_size((80, 24)).columns - 1])
        sys.stderr.flush()


def note(text: str) -> None:
    """A line on stderr: what is being done, or what the reader should know."""
    print(f"backspan spc: {text}", file=sys.stderr)
