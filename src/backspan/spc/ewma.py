"""EWMA: an exponentially weighted mean of standardised values, for small lasting shifts.

    E_t = lam z_t + (1 - lam) E_{t-1},   E_0 = 0,   limit  width sqrt(lam / (2 - lam) [1 - (1 - lam)^(2t)])

Sources: S. W. Roberts, "Control chart tests based on geometric moving averages", Technometrics 1 (1959);
J. M. Lucas, M. S. Saccucci, "Exponentially weighted moving average control schemes", Technometrics 32 (1990), whose
pairs of ``lam`` and ``width`` with an in-control run length of 500 are in `DESIGNS`. Run lengths:
`backspan.spc.arl.ewma`.

Feed z-scores (`pchart.z_scores`, `uchart.z_scores`, `variables.Process.z`): then windows of any size can follow each
other. The values are correlated by construction, so run rules do not apply to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import expm1, log1p, sqrt
from typing import NamedTuple

from backspan.spc.points import Limits, Point, Side, check_finite, check_side

LAM = 0.2
"""Weight of the newest value."""
WIDTH = 2.962
"""Limit in standard deviations of the EWMA; with `LAM`, two-sided: 500 windows to a false alarm."""
DESIGNS = {0.05: 2.615, 0.10: 2.814, 0.20: 2.962, 0.25: 2.998, 0.40: 3.054}
"""``lam`` -> ``width`` for 500 windows to a false alarm, two-sided, constant limits (Lucas and Saccucci 1990)."""


class EwmaReading(NamedTuple):
    """What `Ewma.step` returns: the statistic, its limit (both signs for two sides) and whether it signals now."""

    value: float
    limit: float
    out: bool


def limit(lam: float = LAM, width: float = WIDTH, t: int | None = None) -> float:
    """Half width of the limits after ``t`` >= 1 values; default: for t without end.

    Raises ValueError unless 0 < lam <= 1, width > 0 and t >= 1.
    """
    if not 0.0 < lam <= 1.0 or not width > 0 or (t is not None and t < 1):
        raise ValueError(f"an EWMA needs 0 < lam <= 1, width > 0 and t >= 1, got lam={lam}, width={width}, t={t}")
    share = 1.0 if t is None or lam == 1.0 else -expm1(2 * t * log1p(-lam))
    return width * sqrt(lam / (2.0 - lam) * share)


class Ewma:
    """The detector of one stream of z-scores: feed `step`; a missing window is simply not fed.

    ``exact``: limits that widen with the number of values, so that the first ones can signal too; otherwise constant
    ones (what `DESIGNS` is for). It goes on after a signal and clears by itself. Not thread-safe.
    Raises ValueError for a bad ``lam``, ``width``, ``side`` or ``state``.
    """

    __slots__ = ("_seen", "_value", "exact", "lam", "side", "width")

    def __init__(
        self,
        lam: float = LAM,
        width: float = WIDTH,
        *,
        exact: bool = True,
        side: Side = "both",
        state: tuple[float, int] = (0.0, 0),
    ) -> None:
        limit(lam, width)
        check_side(side)
        value, seen = state
        check_finite(state=value)
        if seen < 0:
            raise ValueError(f"a state needs a number of values of at least 0, got {seen}")
        self.lam, self.width, self.exact, self.side = lam, width, exact, side
        self._value, self._seen = float(value), int(seen)

    @property
    def state(self) -> tuple[float, int]:
        """The statistic and the number of values so far. JSON can carry it; give it back as ``state``."""
        return self._value, self._seen

    def step(self, z: float) -> EwmaReading:
        """Take the next z-score. Raises ValueError if it is not finite; the state is then unchanged."""
        check_finite(z=z)
        self._value = self.lam * z + (1.0 - self.lam) * self._value
        self._seen += 1
        bound = limit(self.lam, self.width, self._seen if self.exact else None)
        above = self.side != "down" and self._value > bound
        below = self.side != "up" and self._value < -bound
        return EwmaReading(self._value, bound, above or below)


def chart(
    values: Sequence[float],
    *,
    centre: float = 0.0,
    sigma: float = 1.0,
    lam: float = LAM,
    width: float = WIDTH,
    exact: bool = True,
    side: Side = "both",
) -> tuple[Point, ...]:
    """The chart, one point a value, in the unit of ``values``; the defaults of centre and sigma fit z-scores.

    ``n`` of each point is 1. A side that is not watched keeps its line but does not signal.
    Raises ValueError as `Ewma` does, or unless sigma > 0.
    """
    if not sigma > 0:
        raise ValueError(f"an EWMA chart needs sigma > 0, got {sigma}")
    detector = Ewma(lam, width, exact=exact, side=side)
    points: list[Point] = []
    for value in values:
        seen = detector.step((value - centre) / sigma)
        half = sigma * seen.limit
        bounds = Limits(centre - half, centre, centre + half)
        points.append(Point(centre + sigma * seen.value, bounds.lower, centre, bounds.upper, 1, seen.out))
    return tuple(points)
