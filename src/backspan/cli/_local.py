"""What the demo and the stack share: programs of this machine, asked by HTTP and quoted from their output."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

_TAIL_LINES = 20
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Talks to this machine only, whatever proxy the environment names."""


def answers(url: str) -> bool:
    """Tell whether ``url`` answers with a 2xx."""
    try:
        with _OPENER.open(url, timeout=2) as response:
            return 200 <= response.status < 300
    except (urllib.error.URLError, OSError):
        return False


def fetch(url: str) -> bytes:
    """The body at ``url``. Raises OSError (URLError is one) unless the answer is a 2xx."""
    with _OPENER.open(url, timeout=10) as response:
        return response.read()


def quoted(lines: Sequence[str]) -> str:
    """The last 20 of ``lines`` as a quotation, for the message of a failure."""
    return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:]) or "  | (it printed nothing)"


def tail(log: Path) -> str:
    """The end of a log file as a quotation."""
    return quoted(log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else [])
