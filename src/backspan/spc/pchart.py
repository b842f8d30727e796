"""The p-chart: the share of bad events per window, with limits that follow the window's size.

Sources. Shewhart's p-chart and the two-phase use of it: Montgomery, *Introduction to Statistical Quality Control*,
chapter 7. Laney's p': D. B. Laney, "Improved control charts for attributes", Quality Engineering 14 (2002).
Wilson's interval: E. B. Wilson, JASA 22 (1927).

The chart is for eyes. It does not page: evaluated often over a sliding window it has no usable false-alarm rate
(see `backspan.spc.shiryaev` for the detector that has one).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, lgamma, log, log1p, sqrt

from backspan.spc import points
from backspan.spc.points import D2, WIDTH, Limits, PhaseOne, Point, Side, check_side, mean_moving_range

__all__ = [
    "WIDTH",
    "Limits",
    "PhaseOne",
    "Window",
    "centre_line",
    "chart",
    "laney_sigma_z",
    "limits",
    "lower_tail",
    "points_out",
    "run_length",
    "screen",
    "upper_tail",
    "wilson",
    "z_scores",
]


@dataclass(frozen=True)
class Window:
    """One point of the chart: ``bad`` of ``n`` rated events. ``n`` may differ from window to window."""

    n: int
    bad: int

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.bad <= self.n:
            raise ValueError(f"a window needs n >= 1 and 0 <= bad <= n, got n={self.n}, bad={self.bad}")

    @property
    def rate(self) -> float:
        """Share of bad events, 0..1."""
        return self.bad / self.n


def centre_line(windows: Sequence[Window]) -> float:
    """Centre line: all bad events over all events (not the mean of the rates). Raises ValueError if empty."""
    if not windows:
        raise ValueError("a centre line needs at least one window")
    return sum(w.bad for w in windows) / sum(w.n for w in windows)


def limits(p: float, n: float, *, sigma_z: float = 1.0, width: float = WIDTH) -> Limits:
    """Limits of a window of ``n`` events around centre ``p``: ``p ± width · sigma_z · sqrt(p (1 - p) / n)``.

    ``sigma_z`` = 1 gives the p-chart, `laney_sigma_z` gives Laney's p'. Clipped to 0..1.
    Raises ValueError unless 0 <= p <= 1, n > 0, sigma_z >= 0 and width > 0.
    """
    if not 0.0 <= p <= 1.0 or not n > 0 or not sigma_z >= 0 or not width > 0:
        raise ValueError(f"limits need 0 <= p <= 1, n > 0, got p={p}, n={n}, sigma_z={sigma_z}, width={width}")
    half = width * sigma_z * sqrt(p * (1.0 - p) / n)
    return Limits(max(0.0, p - half), p, min(1.0, p + half))


def z_scores(windows: Sequence[Window], p: float) -> list[float]:
    """Standardised rates ``(p_i - p) / sqrt(p (1 - p) / n_i)``. Raises ValueError unless 0 < p < 1."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"z-scores need 0 < p < 1, got {p}")
    return [(w.rate - p) / sqrt(p * (1.0 - p) / w.n) for w in windows]


def laney_sigma_z(windows: Sequence[Window], p: float | None = None, *, d2: float = D2) -> float:
    """Laney's sigma_z: mean moving range of the z-scores over ``d2``. 1 = binomial, above 1 = overdispersed.

    ``p`` is the centre line; default: that of ``windows``. A special cause inside ``windows`` inflates the result,
    so screen first. ``d2`` is 1.128 as Laney and Minitab have it; `points.D2_EXACT` gives what other software prints.
    Slow waves hide from it: the moving range sees neighbours only.
    Raises ValueError for fewer than two windows or a centre of 0 or 1.
    """
    if len(windows) < 2:
        raise ValueError("sigma_z needs at least two windows")
    z = z_scores(windows, centre_line(windows) if p is None else p)
    return mean_moving_range(z) / d2


def chart(
    windows: Sequence[Window], p: float | None = None, *, sigma_z: float = 1.0, width: float = WIDTH
) -> tuple[Point, ...]:
    """The chart, one point a window. ``p`` is the accepted rate; default: the centre line of ``windows`` (Phase I).

    ``sigma_z`` = 1 draws the p-chart, `laney_sigma_z` draws Laney's p'. Raises ValueError as `limits` does.
    """
    centre = centre_line(windows) if p is None else p
    return tuple(limits(centre, w.n, sigma_z=sigma_z, width=width).point(w.rate, w.n) for w in windows)


def points_out(windows: Sequence[Window], p: float, *, sigma_z: float = 1.0, width: float = WIDTH) -> list[int]:
    """Positions (from 0) of the windows whose rate lies outside their own limits around ``p``."""
    out: list[int] = []
    for i, w in enumerate(windows):
        if not limits(p, w.n, sigma_z=sigma_z, width=width).holds(w.rate):
            out.append(i)
    return out


def screen(windows: Sequence[Window], *, passes: int = 2) -> PhaseOne:
    """Phase I: remove windows out of limits and fit again, at most ``passes`` times.

    More passes would trim ordinary variation and draw the limits too tight. Every removed window needs a reason that
    a person writes down; this function only says which. Raises ValueError if nothing is given
    or nothing is left.
    """
    return points.screen(windows, centre_line, points_out, passes)


def wilson(bad: int, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's score interval for a share of ``bad`` in ``n`` (default 95 %), as (low, high) within 0..1.

    Raises ValueError unless 0 <= bad <= n and n >= 1.
    """
    p = Window(n, bad).rate
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def upper_tail(x: int, n: int, p: float) -> float:
    """P(X > x) for X binomial(n, p), summed exactly from the far end. Raises ValueError unless 0 < p < 1, n >= 1."""
    return min(1.0, fsum(_terms(range(n, max(x, -1), -1), n, p)))


def lower_tail(x: int, n: int, p: float) -> float:
    """P(X < x) for X binomial(n, p), summed exactly from the far end. Raises ValueError unless 0 < p < 1, n >= 1."""
    return min(1.0, fsum(_terms(range(0, min(x, n + 1)), n, p)))


def _terms(counts: range, n: int, p: float) -> list[float]:
    if n < 1 or not 0.0 < p < 1.0:
        raise ValueError(f"a tail needs n >= 1 and 0 < p < 1, got n={n}, p={p}")
    log_p, log_q, log_n = log(p), log1p(-p), lgamma(n + 1)
    return [exp(log_n - lgamma(k + 1) - lgamma(n - k + 1) + k * log_p + (n - k) * log_q) for k in counts]


def run_length(p0: float, n: int, p: float | None = None, *, width: float = WIDTH, side: Side = "up") -> float:
    """Mean number of windows of size ``n`` until the chart signals on ``side``, exactly.

    ``p0`` is the centre line, ``p`` the true rate (default ``p0``: the run length to a false alarm). Windows must not
    overlap. It is ``1 / P(X / n out of limits)``, infinite if no limit of that side can be passed.
    """
    check_side(side)
    bounds, true = limits(p0, n, width=width), p0 if p is None else p
    highest = max(x for x in range(n + 1) if x / n <= bounds.upper)
    lowest = min(x for x in range(n + 1) if x / n >= bounds.lower)
    chance = 0.0 if side == "down" else upper_tail(highest, n, true)
    chance += 0.0 if side == "up" else lower_tail(lowest, n, true)
    return 1.0 / chance if chance > 0 else inf
