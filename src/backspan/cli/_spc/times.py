"""Moments and lengths of time as people write and read them. Everything is UTC unless an offset is said."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from math import isfinite

from backspan.cli._spc.errors import Fault

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def duration(text: str, option: str) -> float:
    """Seconds of a length such as ``90m``, ``30d`` or ``1h30m``. Raises `Fault` that names ``option``."""
    parts = _LENGTH.findall(text)
    if not parts or "".join(a + b for a, b in parts) != text or not any(float(a) for a, _ in parts):
        raise Fault(f"{option}: {text!r} is no length of time; write it as 90m, 6h, 30d or 2w")
    return sum(float(amount) * _UNITS[unit] for amount, unit in parts)


def moment(text: str, now: float, option: str) -> float:
    """Unix seconds of ``2026-11-20``, ``2026-11-20T03:00Z``, Unix seconds, ``now``, or ``30d`` (so long ago).

    Raises `Fault` that names ``option``.
    """
    if text == "now":
        return now
    if _LENGTH.match(text) and text[-1] in _UNITS:
        return now - duration(text, option)
    found = instant(text)
    if found is None:
        raise Fault(f"{option}: {text!r} is no moment; write 2026-11-20, 2026-11-20T03:00Z, Unix seconds, or 30d (ago)")
    return found


def instant(text: str) -> float | None:
    """Unix seconds of an ISO 8601 date or time, or of a number; None for anything else."""
    try:
        value = float(text)
        return value if isfinite(value) and value >= 0 else None
    except ValueError:
        pass
    try:
        said = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        return None
    return (said if said.tzinfo else said.replace(tzinfo=timezone.utc)).timestamp()


def stamp(unix: float, seconds: bool = False) -> str:
    """``2026-11-20 03:00Z``."""
    form = "%Y-%m-%d %H:%M:%SZ" if seconds else "%Y-%m-%d %H:%MZ"
    return datetime.fromtimestamp(unix, timezone.utc).strftime(form)


def iso(unix: float) -> str:
    """``2026-11-20T03:00:00Z``, for JSON and files."""
    return datetime.fromtimestamp(unix, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def length(seconds: float) -> str:
    """A length of time in the unit that suits it: ``45 s``, ``12 min``, ``5.3 h``, ``14 d``."""
    if not isfinite(seconds):
        return "never"
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= (2 if unit == "d" else 1) * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{seconds:.0f} s"
