"""How many events a counter stands for, exactly: the rules of `backspan.rules.counting` on samples at regular moments.

A counter that grows counts its growth. One that falls began again: what it shows now, and what it had grown before it
fell (`Peak`). One that was not there counts from 0 only if it was seen at 0 (`Floor`); with an unknown past it counts
nothing at first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Peak = Callable[[float], float]
"""The highest value within the step that ends at a moment."""
Floor = Callable[[float], float]
"""The lowest value within the ten minutes that end at a moment."""


def births(points: Sequence[tuple[float, float]], start: float, lookback: float) -> list[float]:
    """Moments at which the counter appears with a value: after ``start``, or after an absence of ``lookback``."""
    found: list[float] = []
    before: float | None = None
    for at, value in points:
        new = at > start if before is None else at - before > lookback
        if new and value > 0:
            found.append(at)
        before = at
    return found


def resets(points: Sequence[tuple[float, float]], lookback: float) -> list[float]:
    """Moments at which the counter has fallen."""
    pairs = zip(points, points[1:], strict=False)
    return [at for (then, before), (at, value) in pairs if value < before and at - then <= lookback]


def growth(
    points: Sequence[tuple[float, float]], start: float, lookback: float, peak: Peak, floor: Floor
) -> list[tuple[float, float]]:
    """(moment, new events since the moment before), without moments that bring none.

    ``points`` are (Unix time, value) in order of time. What the counter shows at ``start`` is where it counts from.
    """
    out: list[tuple[float, float]] = []
    before: tuple[float, float] | None = None
    for at, value in points:
        new = 0.0
        if before is None or at - before[0] > lookback:
            if at > start and value > 0 and floor(at) == 0:
                new = value
        elif value >= before[1]:
            new = value - before[1]
        else:
            new = value + max(peak(at) - before[1], 0.0)
        if new > 0:
            out.append((at, new))
        before = at, value
    return out
