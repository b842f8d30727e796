"""What the demo and the stack share: programs of this machine, asked by HTTP and quoted from their output."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_TAIL_LINES = 20
_TAIL_BYTES = 100_000
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Talks to this machine only, whatever proxy the environment names."""


def answers(url: str) -> bool:
    """Tell whether ``url`` answers with a 2xx."""
    try:
        with _OPENER.open(url, timeout=2) as response:
            return 200 <= response.status < 300
    except (urllib.error.URLError, OSError):
        return False


def health(url: str) -> str | None:
    """None if ``url`` answers with a 2xx, else in one line why not."""
    try:
        with _OPENER.open(url, timeout=2):
            return None
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(200).decode(errors="replace").strip().partition("\n")[0]
        return f"{error.code} {said}".strip()
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)


def last_line(log: Path) -> str | None:
    """The last line of a log that is not empty."""
    return next((line for line in reversed(_lines(log)) if line.strip()), None)


def fetch(url: str) -> bytes:
    """The body at ``url``. Raises OSError (URLError is one) unless the answer is a 2xx."""
    with _OPENER.open(url, timeout=10) as response:
        return response.read()


def quoted(lines: Sequence[str]) -> str:
    """The last 20 of ``lines`` as a quotation, for the message of a failure."""
    return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:]) or "  | (it printed nothing)"


def tail(log: Path, mark: str | None = None) -> str:
    """The end of a log file as a quotation; only what follows the last line that begins with ``mark``."""
    lines = _lines(log)
    starts = [number for number, line in enumerate(lines, 1) if mark and line.startswith(mark)]
    return quoted(lines[starts[-1]:] if starts else lines)


def _lines(log: Path) -> list[str]:
    """The end of a log file; logs of programs that run for weeks are long."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace").splitlines()
