"""Run lengths of charts on standard normal z-scores, exactly: mean number of points to the first signal.

``shift`` is the true mean of z, in sigma: 0 gives the run length to a false alarm, anything else the delay of a shift
that is there from the first point. The functions solve the integral equation of the run length from state u,

    L(u) = 1 + integral of L(y) times the density of the next state y, over the states that do not signal,

by Nystroem's method on Gauss-Legendre nodes, which is exact to the digits of the published tables.

Sources: E. S. Page, Biometrika 41 (1954), for the equation; S. V. Crowder, "A simple method for studying run-length
distributions of exponentially weighted moving average charts", Technometrics 29 (1987); J. M. Lucas, R. B. Crosier,
Technometrics 24 (1982), for two-sided CUSUM with a head start; G. V. Moustakides, A. S. Polunchenko, A. G.
Tartakovsky, "Numerical comparison of CUSUM and Shiryaev-Roberts procedures", Communications in Statistics 38 (2009).
Attribute charts: `pchart.run_length`, `uchart.run_length`. Run rules: `runs_arl`. Everything else: `simulate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, exp, fsum, inf, log, log1p, sqrt

from backspan.spc import ewma as ewma_chart
from backspan.spc._numeric import gauss_legendre, increasing_root, normal_cdf, normal_pdf, solve
from backspan.spc.points import WIDTH, Side, check_finite, check_side

_Density = Callable[[float, float], float]
_MOST = 1e9
"""Longer run lengths are refused: double precision would leave too few digits of them."""
_FAR = 9.0
"""A normal value lies farther than this from its mean with a chance of 1e-19: beyond it integrals end."""


def shewhart(shift: float = 0.0, width: float = WIDTH, *, side: Side = "both") -> float:
    """A chart that signals on one point beyond ``width``. Raises ValueError unless width > 0."""
    check_side(side)
    check_finite(shift=shift)
    if not width > 0:
        raise ValueError(f"a run length needs width > 0, got {width}")
    chance = 0.0 if side == "down" else normal_cdf(shift - width)
    chance += 0.0 if side == "up" else normal_cdf(-width - shift)
    return 1.0 / chance if chance > 0 else inf


def ewma(
    lam: float = ewma_chart.LAM,
    width: float = ewma_chart.WIDTH,
    shift: float = 0.0,
    *,
    side: Side = "both",
    exact: bool = False,
) -> float:
    """An EWMA chart that starts at 0. ``exact``: with the limits that widen at the start (see `ewma.Ewma`).

    One side means no limit on the other, not a reflecting one. Raises ValueError as `ewma.limit` does, for
    lam < 0.01, and if the answer is beyond 1e9.
    """
    check_side(side)
    check_finite(shift=shift)
    ewma_chart.limit(lam, width)
    if lam < 0.01:
        raise ValueError(f"a run length needs lam >= 0.01, got {lam}")
    if side == "down":
        return ewma(lam, width, -shift, side="up", exact=exact)
    if lam == 1.0:
        return shewhart(shift, width, side=side)
    return _Ewma(lam, width, shift, side == "both", exact).run_length()


class _Ewma:
    """The integral equation of one EWMA chart: nodes, and the run length from each under the constant limits."""

    def __init__(self, lam: float, width: float, shift: float, two_sided: bool, exact: bool) -> None:
        self.lam, self.width, self.shift, self.two_sided, self.exact = lam, width, shift, two_sided, exact
        high = ewma_chart.limit(lam, width)
        self.low = -high if two_sided else -max(_FAR * sqrt(lam / (2.0 - lam)) + abs(shift), high)
        self.count = ceil(24 + 2.0 * (high - self.low) / lam)

    def density(self, y: float, u: float) -> float:
        """Density of the next state y after state u."""
        return normal_pdf((y - (1.0 - self.lam) * u) / self.lam - self.shift) / self.lam

    def nodes(self, t: int | None) -> tuple[list[float], list[float]]:
        """Quadrature over the states that do not signal at the ``t``-th value."""
        high = ewma_chart.limit(self.lam, self.width, t)
        return gauss_legendre(self.count, -high if self.two_sided else self.low, high)

    def run_length(self) -> float:
        points, weights = self.nodes(None)
        lengths = _nystroem(points, weights, self.density)
        if not self.exact:
            return _checked(1.0 + _integral(points, weights, lengths, self.density, 0.0))
        return self._widening(points, weights, lengths)

    def _widening(self, points: list[float], weights: list[float], lengths: list[float]) -> float:
        """Follow the density of the state while the limits still move; then the constant ones take over."""
        moving = ceil(-12.0 / log1p(-self.lam))
        states, mass, total = [0.0], [1.0], 0.0
        for t in range(1, moving + 1):
            total += fsum(mass)
            new, new_weights = (points, weights) if t == moving else self.nodes(t)
            mass = [
                w * fsum(m * self.density(y, u) for u, m in zip(states, mass, strict=True))
                for y, w in zip(new, new_weights, strict=True)
            ]
            states = new
        return total + fsum(m * length for m, length in zip(mass, lengths, strict=True))


def _nystroem(points: Sequence[float], weights: Sequence[float], density: _Density) -> list[float]:
    """``L`` at the nodes."""
    pairs = list(zip(points, weights, strict=True))
    matrix = [[(u == y) - w * density(y, u) for y, w in pairs] for u in points]
    return solve(matrix, [1.0] * len(matrix))


def _checked(length: float) -> float:
    if not 1.0 <= length <= _MOST:
        raise ValueError(f"the run length is beyond {_MOST:g} points: too long to be computed in double precision")
    return length


def _integral(
    points: Sequence[float], weights: Sequence[float], lengths: Sequence[float], density: _Density, u: float
) -> float:
    return fsum(w * length * density(y, u) for y, w, length in zip(points, weights, lengths, strict=True))


def ewma_width(run_length: float, lam: float = ewma_chart.LAM, *, side: Side = "both") -> float:
    """The ``width`` of constant limits at which `ewma` has this run length in control.

    Raises ValueError unless the run length lies between 3 and 1e7.
    """
    _check_target(run_length)
    return increasing_root(lambda width: log(ewma(lam, width, side=side)), log(run_length), 0.05, 0.5)


def _check_target(run_length: float) -> None:
    if not 3.0 <= run_length <= 1e7:
        raise ValueError(f"a limit can be found for run lengths of 3 to 1e7, got {run_length}")


def cusum(k: float = 0.5, h: float = 5.0, shift: float = 0.0, *, side: Side = "both", head_start: float = 0.0) -> float:
    """A tabular CUSUM. ``head_start`` as a share of h, 0.5 for the usual fast initial response.

    Two-sided: ``1 / L = 1 / L_up + 1 / L_down``, and with a head start Lucas and Crosier's combination. Both are exact
    because a sum beyond its limit means that the other one is at 0; that needs a head start of at most h / 2 + k.
    Raises ValueError unless k >= 0, 0 < h <= 40 and 0 <= head_start < 1, for two sides with a higher head start than
    that, and if the answer is beyond 1e9.
    """
    check_side(side)
    check_finite(shift=shift, k=k)
    if not k >= 0 or not 0.0 < h <= 40.0 or not 0.0 <= head_start < 1.0:
        raise ValueError(f"a run length needs k >= 0, 0 < h <= 40, 0 <= head_start < 1, got {k}, {h}, {head_start}")
    start = head_start * h
    if side != "both":
        return _checked(_one_sided(k, h, shift if side == "up" else -shift, start)[1])
    if start > h / 2.0 + k:
        raise ValueError(f"two sides have an exact run length up to a head start of h / 2 + k, got {start} of h={h}")
    (up, up_start), (down, down_start) = _one_sided(k, h, shift, start), _one_sided(k, h, -shift, start)
    return _checked((up_start * down + up * down_start - up * down) / (up + down))


def _one_sided(k: float, h: float, shift: float, start: float) -> tuple[float, float]:
    """Run lengths from sum 0 and from ``start``. The sum is exactly 0 with a chance of its own: one more unknown."""
    points, weights = gauss_legendre(ceil(24 + 2.0 * h), 0.0, h)

    def density(y: float, u: float) -> float:
        return normal_pdf(y - u + k - shift)

    pairs = list(zip(points, weights, strict=True))
    matrix = [
        [(i == 0) - normal_cdf(k - u - shift), *((i == j) - w * density(y, u) for j, (y, w) in enumerate(pairs, 1))]
        for i, u in enumerate([0.0, *points])
    ]
    at_zero, *lengths = solve(matrix, [1.0] * len(matrix))
    rest = _integral(points, weights, lengths, density, start)
    return at_zero, 1.0 + at_zero * normal_cdf(k - start - shift) + rest


def cusum_limit(run_length: float, k: float = 0.5, *, side: Side = "both") -> float:
    """The decision interval h at which `cusum` without head start has this run length in control.

    Raises ValueError unless the run length lies between 3 and 1e7, or if it takes an h above 40.
    """
    _check_target(run_length)
    return increasing_root(lambda h: log(cusum(k, h, side=side)), log(run_length), 1e-3, 1.0)


def shiryaev_roberts(theta: float, limit: float, shift: float = 0.0) -> float:
    """Shiryaev-Roberts on z-scores: ``R_t = (1 + R_{t-1}) exp(theta z_t - theta² / 2)``, R_0 = 0, signal at ``limit``.

    The reference for the pager's recursion (`backspan.spc.shiryaev`), which has one alternative ``theta`` here.
    Raises ValueError unless theta > 0 and limit > 0, and if the answer is beyond 1e9.
    """
    check_finite(shift=shift)
    if not theta > 0 or not 0 < limit < inf:
        raise ValueError(f"a run length needs theta > 0 and a finite limit > 0, got {theta}, {limit}")
    drift, high = theta * shift - theta * theta / 2.0, log(limit)
    low = min(drift, high) - _FAR * theta
    points, weights = gauss_legendre(ceil(24 + 2.0 * (high - low) / theta), low, high)

    def density(y: float, u: float) -> float:
        return normal_pdf((y - log1p(exp(u)) - drift) / theta) / theta

    lengths = _nystroem(points, weights, density)
    return _checked(1.0 + _integral(points, weights, lengths, density, -inf))
