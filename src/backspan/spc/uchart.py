"""The u-chart: events per unit of exposure and window, with limits that follow the window's exposure.

For counts that are not a share of the events: regenerations per 100 answers, reason codes per rating, tokens per
answer (always overdispersed: use u'). Sources. u-chart with variable exposure: Montgomery, *Introduction to
Statistical Quality Control*, 7.3. Laney's u': D. B. Laney, "Improved control charts for attributes", Quality
Engineering 14 (2002).

Like `backspan.spc.pchart` it is for eyes, not for paging.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, floor, fsum, inf, isfinite, lgamma, log, sqrt

from backspan.spc import points
from backspan.spc.points import D2, WIDTH, Limits, PhaseOne, Point, Side, check_side, mean_moving_range


@dataclass(frozen=True)
class Window:
    """One point of the chart: ``count`` events in ``exposure`` units (answers, hours). Both may be fractions."""

    exposure: float
    count: float

    def __post_init__(self) -> None:
        if not (0 < self.exposure < inf and 0 <= self.count < inf):
            raise ValueError(f"a window needs exposure > 0 and count >= 0, got {self.exposure}, {self.count}")

    @property
    def rate(self) -> float:
        """Events per unit of exposure."""
        return self.count / self.exposure


def centre_line(windows: Sequence[Window]) -> float:
    """Centre line: all events over all exposure (not the mean of the rates). Raises ValueError if empty."""
    if not windows:
        raise ValueError("a centre line needs at least one window")
    return fsum(w.count for w in windows) / fsum(w.exposure for w in windows)


def limits(u: float, exposure: float, *, sigma_z: float = 1.0, width: float = WIDTH) -> Limits:
    """Limits of a window of ``exposure`` units around centre ``u``: ``u ± width · sigma_z · sqrt(u / exposure)``.

    ``sigma_z`` = 1 gives the u-chart, `laney_sigma_z` gives Laney's u'. The lower one is at least 0.
    Raises ValueError unless u >= 0, exposure > 0, sigma_z >= 0 and width > 0.
    """
    if not (0 <= u < inf and exposure > 0 and sigma_z >= 0 and width > 0):
        raise ValueError(
            f"limits need u >= 0, exposure > 0, got u={u}, exposure={exposure}, sigma_z={sigma_z}, width={width}"
        )
    half = width * sigma_z * sqrt(u / exposure)
    return Limits(max(0.0, u - half), u, u + half)


def z_scores(windows: Sequence[Window], u: float) -> list[float]:
    """Standardised rates ``(u_i - u) / sqrt(u / exposure_i)``. Raises ValueError unless u > 0."""
    if not 0 < u < inf:
        raise ValueError(f"z-scores need u > 0, got {u}")
    return [(w.rate - u) / sqrt(u / w.exposure) for w in windows]


def laney_sigma_z(windows: Sequence[Window], u: float | None = None, *, d2: float = D2) -> float:
    """Laney's sigma_z: mean moving range of the z-scores over ``d2``. 1 = Poisson, above 1 = overdispersed.

    ``u`` is the centre line; default: that of ``windows``. See `backspan.spc.pchart.laney_sigma_z`.
    Raises ValueError for fewer than two windows or a centre of 0.
    """
    if len(windows) < 2:
        raise ValueError("sigma_z needs at least two windows")
    return mean_moving_range(z_scores(windows, centre_line(windows) if u is None else u)) / d2


def chart(
    windows: Sequence[Window], u: float | None = None, *, sigma_z: float = 1.0, width: float = WIDTH
) -> tuple[Point, ...]:
    """The chart, one point a window. ``u`` is the accepted rate; default: the centre line of ``windows`` (Phase I).

    ``sigma_z`` = 1 draws the u-chart, `laney_sigma_z` draws Laney's u'. Raises ValueError as `limits` does.
    """
    centre = centre_line(windows) if u is None else u
    return tuple(limits(centre, w.exposure, sigma_z=sigma_z, width=width).point(w.rate, w.exposure) for w in windows)


def points_out(windows: Sequence[Window], u: float, *, sigma_z: float = 1.0, width: float = WIDTH) -> list[int]:
    """Positions (from 0) of the windows whose rate lies outside their own limits around ``u``."""
    return [i for i, point in enumerate(chart(windows, u, sigma_z=sigma_z, width=width)) if point.out]


def screen(windows: Sequence[Window], *, passes: int = 2) -> PhaseOne:
    """Phase I: remove windows out of limits and fit again, at most ``passes`` times (see `points.screen`)."""
    return points.screen(windows, centre_line, points_out, passes)


def upper_tail(x: int, mean: float) -> float:
    """P(X > x) for X Poisson(mean). Raises ValueError unless mean > 0."""
    _check_mean(mean)
    first = max(x + 1, 0)
    if first <= mean:
        return max(0.0, 1.0 - lower_tail(first, mean))
    return min(1.0, fsum(_falling_terms(first, mean)))


def lower_tail(x: int, mean: float) -> float:
    """P(X < x) for X Poisson(mean). Raises ValueError unless mean > 0."""
    _check_mean(mean)
    return min(1.0, fsum(_term(k, mean) for k in range(max(x, 0))))


def _check_mean(mean: float) -> None:
    if not (mean > 0 and isfinite(mean)):
        raise ValueError(f"a tail needs a mean above 0, got {mean}")


def _term(k: int, mean: float) -> float:
    return exp(k * log(mean) - mean - lgamma(k + 1))


def _falling_terms(first: int, mean: float) -> list[float]:
    """The terms from ``first`` > mean on, where each is smaller than the one before, until they no longer count."""
    terms = [_term(first, mean)]
    while terms[-1] > 1e-18 * terms[0] and terms[-1] > 0.0:
        terms.append(terms[-1] * mean / (first + len(terms)))
    return terms


def run_length(u0: float, exposure: float, u: float | None = None, *, width: float = WIDTH, side: Side = "up") -> float:
    """Mean number of windows of ``exposure`` until the chart signals on ``side``, exactly, for Poisson counts.

    ``u0`` is the centre line, ``u`` the true rate (default ``u0``: the run length to a false alarm). Windows must not
    overlap. Infinite if no limit of that side can be passed. Raises ValueError unless both rates are above 0.
    """
    check_side(side)
    bounds, mean = limits(u0, exposure, width=width), (u0 if u is None else u) * exposure
    _check_mean(mean)
    chance = 0.0 if side == "down" else upper_tail(_highest_inside(bounds.upper, exposure), mean)
    chance += 0.0 if side == "up" else lower_tail(_lowest_inside(bounds.lower, exposure), mean)
    return 1.0 / chance if chance > 0 else inf


def _highest_inside(upper: float, exposure: float) -> int:
    """The largest count whose rate, computed as the chart does, is not above ``upper``."""
    guess = floor(upper * exposure) + 1
    return next(x for x in range(guess, -1, -1) if x / exposure <= upper)


def _lowest_inside(lower: float, exposure: float) -> int:
    guess = max(0, floor(lower * exposure) - 1)
    return next(x for x in range(guess, guess + 4) if x / exposure >= lower)
