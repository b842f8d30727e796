"""What the charts of `backspan.spc` share: a drawn point, limits, sides, the moving range, Phase I screening.

Every chart function returns points of one shape, so that whatever draws them needs to know one shape only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import fsum, isfinite, pi, sqrt
from typing import Literal, TypeVar

WIDTH = 3.0
"""Limits lie this many standard deviations from the centre line (Shewhart)."""
D2 = 1.128
"""Mean moving range of two standard normal values, to the three places of the printed tables (Montgomery, appendix
VI) that Laney and Minitab use. Turns a mean moving range into a standard deviation."""
D2_EXACT = 2.0 / sqrt(pi)
"""The same, exact (1.12838). Software that uses it (R's qcc, `shewhart`) finds sigmas smaller by 0.03 %."""

Side = Literal["up", "down", "both"]
"""Which way out of control is looked for: above the centre, below it, or both."""
SIDES: tuple[Side, ...] = ("up", "down", "both")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Limits:
    """Control limits of one point: ``lower <= centre <= upper``, in the unit of what is plotted."""

    lower: float
    centre: float
    upper: float

    def holds(self, rate: float) -> bool:
        """True if ``rate`` lies within the limits; a point on a limit is in control."""
        return self.lower <= rate <= self.upper

    def point(self, value: float, n: float) -> Point:
        """The point ``value`` of size ``n`` between these limits."""
        return Point(value, self.lower, self.centre, self.upper, n, not self.holds(value))


@dataclass(frozen=True)
class Point:
    """One point of any chart: the ``value`` plotted, its own limits, its size ``n``, and whether it is out of limits.

    ``n`` is what the limits follow: events of a p-chart, exposure of a u-chart, values of a subgroup, gaps of a sum.
    """

    value: float
    lower: float
    centre: float
    upper: float
    n: float
    out: bool


@dataclass(frozen=True)
class PhaseOne:
    """Result of `screen`: the centre line of the windows kept, and the positions (from 0) of those removed."""

    centre: float
    removed: tuple[int, ...]


def check_side(side: str) -> None:
    """Raises ValueError unless ``side`` is one of `SIDES`."""
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")


def check_finite(**values: float) -> None:
    """Raises ValueError that names the first of ``values`` which is infinite or not a number."""
    for name, value in values.items():
        if not isfinite(value):
            raise ValueError(f"{name} must be a finite number, got {value}")


def mean_moving_range(values: Sequence[float]) -> float:
    """Mean of ``|x_i - x_{i-1}|``. Raises ValueError for fewer than two values."""
    if len(values) < 2:
        raise ValueError("sigma from moving ranges needs at least two values")
    return fsum(abs(b - a) for a, b in zip(values, values[1:], strict=False)) / (len(values) - 1)


def screen(
    items: Sequence[_T],
    centre_line: Callable[[Sequence[_T]], float],
    points_out: Callable[[Sequence[_T], float], Sequence[int]],
    passes: int = 2,
) -> PhaseOne:
    """Phase I: remove ``items`` out of limits and fit the centre line again, at most ``passes`` times.

    Montgomery, *Introduction to Statistical Quality Control*, 7.2: points go only with an assignable cause; more
    passes would trim ordinary variation and draw the limits too tight. Raises ValueError if nothing is given or left.
    """
    kept = list(range(len(items)))
    centre = centre_line(items)
    for _ in range(passes):
        out = {kept[i] for i in points_out([items[i] for i in kept], centre)}
        if not out:
            break
        kept = [i for i in kept if i not in out]
        if not kept:
            raise ValueError("every window is out of limits: nothing is left to fit")
        centre = centre_line([items[i] for i in kept])
    gone = set(range(len(items))) - set(kept)
    return PhaseOne(centre, tuple(sorted(gone)))
