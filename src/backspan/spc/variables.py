"""Charts of measured values: X-bar-S for subgroups of any size, I-MR for single values.

For stars and judge scores (means per window), log latency, log tokens. Where only a few values are large, the share
above a limit in a p-chart sees more than a mean does.

Sources. Charts and factors c4, A3, B3-B6, D4: Montgomery, *Introduction to Statistical Quality Control*, 6.3, 6.4
and appendix VI; here each factor is computed from its formula. Sigma from subgroups of unequal size: I. W. Burr,
"Control charts for measurements with varying sample sizes", Journal of Quality Technology 1 (1969): the linear
unbiased estimate with the smallest variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, fsum, inf, isfinite, lgamma, log, pi, sqrt

from backspan.spc.points import D2, WIDTH, Limits, Point, check_finite, mean_moving_range

D4 = 1.0 + 3.0 * sqrt(pi / 2.0 - 1.0)
"""Upper limit of a moving range of two over its mean: 3.267. ``1 + 3 d3 / d2``, both in closed form for n = 2."""


@lru_cache(maxsize=4096)
def c4(n: int) -> float:
    """Mean standard deviation of ``n`` standard normal values: ``sqrt(2 / (n-1)) Γ(n/2) / Γ((n-1)/2)``.

    Raises ValueError for n < 2.
    """
    if n < 2:
        raise ValueError(f"c4 needs n >= 2, got {n}")
    return exp(0.5 * log(2.0 / (n - 1)) + lgamma(n / 2.0) - lgamma((n - 1) / 2.0))


def a3(n: int) -> float:
    """Half width of the limits of a mean, in mean standard deviations: ``3 / (c4 sqrt(n))``."""
    return WIDTH / (c4(n) * sqrt(n))


def b3(n: int) -> float:
    """Lower limit of a standard deviation over its mean: ``max(0, 1 - 3 sqrt(1 - c4²) / c4)``."""
    return max(0.0, 1.0 - WIDTH * _spread(n) / c4(n))


def b4(n: int) -> float:
    """Upper limit of a standard deviation over its mean: ``1 + 3 sqrt(1 - c4²) / c4``."""
    return 1.0 + WIDTH * _spread(n) / c4(n)


def _spread(n: int) -> float:
    """Standard deviation of the standard deviation of ``n`` standard normal values: ``sqrt(1 - c4²)``."""
    return sqrt(max(0.0, 1.0 - c4(n) ** 2))


@dataclass(frozen=True)
class Subgroup:
    """One point of an X-bar-S chart: the size, mean and standard deviation (n - 1 in the divisor) of its values.

    A subgroup of one value has standard deviation 0 and takes part in the chart of means only.
    """

    n: int
    mean: float
    sd: float = 0.0

    def __post_init__(self) -> None:
        if self.n < 1 or not isfinite(self.mean) or not 0 <= self.sd < inf:
            raise ValueError(
                f"a subgroup needs n >= 1, a finite mean and sd >= 0, got n={self.n}, mean={self.mean}, sd={self.sd}"
            )

    @classmethod
    def of(cls, values: Sequence[float]) -> Subgroup:
        """The subgroup of these values. Raises ValueError if there are none or one is not finite."""
        if not values:
            raise ValueError("a subgroup needs at least one value")
        mean = fsum(values) / len(values)
        return cls(len(values), mean, sqrt(fsum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)))

    @classmethod
    def from_sums(cls, n: int, total: float, squares: float) -> Subgroup:
        """The subgroup of ``n`` values with this sum and sum of squares, as counters carry them.

        Digits are lost where the mean is large against the standard deviation; centre such values first.
        """
        if n < 1:
            raise ValueError(f"a subgroup needs n >= 1, got n={n}")
        return cls(n, total / n, sqrt(max(0.0, squares - total * total / n) / max(1, n - 1)))


@dataclass(frozen=True)
class Process:
    """What a chart of values is drawn against: the accepted mean ``centre`` and the ``sigma`` of single values."""

    centre: float
    sigma: float

    def __post_init__(self) -> None:
        check_finite(centre=self.centre, sigma=self.sigma)
        if self.sigma < 0:
            raise ValueError(f"a process needs sigma >= 0, got {self.sigma}")

    def z(self, mean: float, n: int = 1) -> float:
        """The mean of ``n`` values, standardised: what EWMA, CUSUM and run rules take. Raises ValueError at sigma 0."""
        if self.sigma == 0:
            raise ValueError("z-scores need sigma > 0: the values do not vary")
        return (mean - self.centre) * sqrt(n) / self.sigma


def fit(subgroups: Sequence[Subgroup], *, pooled: bool = False) -> Process:
    """Phase I of X-bar-S: the mean of all values, and sigma within subgroups.

    Sigma by Burr's weights ``c4² / (1 - c4²)`` on ``sd / c4``; for equal sizes that is the usual ``mean sd / c4``.
    ``pooled``: root of the pooled variance over c4 of its degrees of freedom + 1 (more exact if normal, less robust).
    Raises ValueError unless some subgroup has two values.
    """
    wide = [g for g in subgroups if g.n > 1]
    if not wide:
        raise ValueError("sigma within subgroups needs a subgroup of at least two values")
    centre = fsum(g.n * g.mean for g in subgroups) / sum(g.n for g in subgroups)
    return Process(centre, _pooled_sigma(wide) if pooled else _burr_sigma(wide))


def _burr_sigma(subgroups: Sequence[Subgroup]) -> float:
    weights = [(c4(g.n) / _spread(g.n)) ** 2 for g in subgroups]
    return fsum(w * g.sd / c4(g.n) for w, g in zip(weights, subgroups, strict=True)) / fsum(weights)


def _pooled_sigma(subgroups: Sequence[Subgroup]) -> float:
    freedom = sum(g.n - 1 for g in subgroups)
    return sqrt(fsum((g.n - 1) * g.sd**2 for g in subgroups) / freedom) / c4(freedom + 1)


def mean_limits(process: Process, n: int, *, width: float = WIDTH) -> Limits:
    """Limits of the mean of ``n`` values: ``centre ± width · sigma / sqrt(n)``. Raises ValueError for n < 1."""
    if n < 1 or not width > 0:
        raise ValueError(f"limits need n >= 1 and width > 0, got n={n}, width={width}")
    half = width * process.sigma / sqrt(n)
    return Limits(process.centre - half, process.centre, process.centre + half)


def sd_limits(process: Process, n: int, *, width: float = WIDTH) -> Limits:
    """Limits of the standard deviation of ``n`` >= 2 values: ``sigma (c4 ± width · sqrt(1 - c4²))``, at least 0."""
    if not width > 0:
        raise ValueError(f"limits need width > 0, got width={width}")
    centre, half = process.sigma * c4(n), width * process.sigma * _spread(n)
    return Limits(max(0.0, centre - half), centre, centre + half)


def mean_chart(
    subgroups: Sequence[Subgroup], process: Process | None = None, *, width: float = WIDTH
) -> tuple[Point, ...]:
    """The X-bar chart, one point a subgroup, with limits that follow its size. ``process`` defaults to `fit`."""
    process = fit(subgroups) if process is None else process
    return tuple(mean_limits(process, g.n, width=width).point(g.mean, g.n) for g in subgroups)


def sd_chart(
    subgroups: Sequence[Subgroup], process: Process | None = None, *, width: float = WIDTH
) -> tuple[Point, ...]:
    """The S chart, one point per subgroup of at least two values. ``process`` defaults to `fit`."""
    process = fit(subgroups) if process is None else process
    return tuple(sd_limits(process, g.n, width=width).point(g.sd, g.n) for g in subgroups if g.n > 1)


def fit_individuals(values: Sequence[float], *, d2: float = D2) -> Process:
    """Phase I of I-MR: the mean, and sigma as mean moving range over ``d2`` (limits ``mean ± 2.660 MR``).

    ``d2`` is the printed 1.128; `points.D2_EXACT` gives what R's qcc prints. Raises ValueError for fewer than two
    values.
    """
    return Process(fsum(values) / max(1, len(values)), mean_moving_range(values) / d2)


def individuals_chart(
    values: Sequence[float], process: Process | None = None, *, width: float = WIDTH
) -> tuple[Point, ...]:
    """The I chart, one point a value. ``process`` defaults to `fit_individuals`."""
    bounds = mean_limits(fit_individuals(values) if process is None else process, 1, width=width)
    return tuple(bounds.point(v, 1) for v in values)


def moving_range_chart(values: Sequence[float], process: Process | None = None, *, d2: float = D2) -> tuple[Point, ...]:
    """The MR chart: one point per value from the second on, centre ``d2 · sigma``, limits 0 and `D4` times that.

    ``process`` defaults to `fit_individuals`. Give the same ``d2`` as there.
    """
    centre = d2 * (fit_individuals(values, d2=d2) if process is None else process).sigma
    bounds = Limits(0.0, centre, D4 * centre)
    return tuple(bounds.point(abs(b - a), 2) for a, b in zip(values, values[1:], strict=False))
