"""Phase I: what rate is normal, learnt from windows, with what chance and clustering do to that estimate.

A `Learner` keeps nine sums, so that Prometheus can keep the same ones in recording rules and both find the same
baseline (`Learner.fit`). A person's own Phase I, with points left out for a reason, is `backspan.spc.pchart.screen`.

The formulas. With windows i = 1..K of size n_i with x_i bad events, N = sum n_i, X = sum x_i and v(p) the variance of
one event (`backspan.spc.shiryaev.Model.variance`)::

    p_hat = (X + 1/2) / (N + 1)                                        Jeffreys; never 0 or 1
    z_i   = (x_i - n_i p_hat) / sqrt(n_i v(p_hat))
    SD2   = sum z_i^2 / (K - 1)                                        Pearson's dispersion
    r1    = sum z_i z_{i-1} / sum z_i^2                                lag-1 autocorrelation
    phi   = max(1, SD2 * (1 + r1) / (1 - r1))                          variance of the sum of an AR(1) stream
    p0    = p_hat + sqrt(phi v(p_hat) / N)                             one standard error, towards the worse side

SD2 above 1 counts only above its 95 % point for a stream without clustering (Wilson and Hilferty's cube-root
approximation of chi-square), r1 only above 2 / sqrt(K) and up to 0.8: else chance alone would cost a third of the
chart's speed.

One standard error because a chart on a baseline estimated too low cries wolf for ever: with p_hat, a quarter of all
charts learnt from 2,500 ratings has half the promised run length; with p_hat + 1 SE, none (simulation, see
``docs/explanation``). Moving-range estimates of dispersion (Laney) are not used here: autocorrelation hides from them.

Sources: McCullagh, Nelder, *Generalized Linear Models* (1989), 4.5 and 9.2; E. B. Wilson, M. M. Hilferty, PNAS 17
(1931); G. E. P. Box, G. M. Jenkins, *Time Series Analysis*, ch. 2 (2/sqrt(K), variance of a mean of an AR(1) series).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from math import sqrt

from backspan.spc.shiryaev import BINOMIAL, P_MAX, Model

RATINGS = 2500
"""Fewest ratings in a learnt baseline."""
WINDOWS = 20
"""Fewest windows in a learnt baseline."""
R1_MAX = 0.8
"""Largest autocorrelation that is corrected for."""
P_MIN = 1e-9
"""Least accepted rate that is learnt, where a fall is worse."""
_Z95 = 1.6448536269514722


@dataclass(frozen=True)
class Fit:
    """A learnt baseline. ``p0`` is the accepted rate (a tolerance on the worse side), ``p_hat`` the estimate."""

    p0: float
    phi: float
    p_hat: float
    n: float
    windows: int
    sd2: float
    r1: float


@dataclass
class Learner:
    """The sums of the windows seen so far; all 0 at first. `add` a window, `fit` when there are enough."""

    windows: float = 0.0
    n: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    """Sum of x_i^2 / n_i."""
    lag_xx: float = 0.0
    """Sum of x_i x_{i-1} / sqrt(n_i n_{i-1}) over neighbours; ``lag_nx``: of (n_{i-1} x_i + n_i x_{i-1}) / sqrt(...);
    ``lag_nn``: of sqrt(n_i n_{i-1})."""
    lag_nx: float = 0.0
    lag_nn: float = 0.0
    last_n: float = 0.0
    last_x: float = 0.0
    """The newest window: the next one's neighbour."""

    @classmethod
    def of(cls, windows: Sequence[tuple[float, float]]) -> Learner:
        """A learner that has seen ``windows`` of (n, x)."""
        learner = cls()
        for n, x in windows:
            learner.add(n, x)
        return learner

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Learner:
        """A learner that goes on from `state`. Raises ValueError if it is not of nine numbers."""
        if len(state) != len(fields(cls)):
            raise ValueError(f"a learner's state has {len(fields(cls))} numbers, got {len(state)}")
        return cls(*(float(value) for value in state))

    @property
    def state(self) -> tuple[float, ...]:
        """The nine sums; JSON can carry them."""
        return astuple(self)

    def add(self, n: float, x: float) -> None:
        """Take a window of ``n`` events (or exposure), ``x`` of them bad. Raises ValueError unless n > 0 and x >= 0."""
        if not n > 0 or not x >= 0:
            raise ValueError(f"a window needs n > 0 and x >= 0, got n={n}, x={x}")
        if self.last_n:
            root = sqrt(n * self.last_n)
            self.lag_xx += x * self.last_x / root
            self.lag_nx += (self.last_n * x + n * self.last_x) / root
            self.lag_nn += root
        self.windows += 1
        self.n += n
        self.x += x
        self.xx += x * x / n
        self.last_n, self.last_x = n, x

    def ready(self, ratings: float = RATINGS, windows: float = WINDOWS) -> bool:
        """Tell whether there is enough to page on."""
        return self.n >= ratings and self.windows >= windows

    @property
    def estimate(self) -> float:
        """``p_hat``; 1/2 before the first window."""
        return (self.x + 0.5) / (self.n + 1.0)

    def fit(self, model: Model = BINOMIAL) -> Fit:
        """The baseline of what was seen. Raises ValueError for fewer than two windows."""
        if self.windows < 2:
            raise ValueError("a baseline needs at least two windows")
        p, v = self.estimate, model.variance(self.estimate)
        squares = max(0.0, self.xx - 2.0 * p * self.x + p * p * self.n) / v
        lagged = (self.lag_xx - p * self.lag_nx + p * p * self.lag_nn) / v
        sd2 = squares / (self.windows - 1.0)
        r1 = lagged / squares if squares > 0 else 0.0
        phi = dispersion(sd2, r1, self.windows)
        return Fit(accepted(p, phi * v / self.n, model), phi, p, self.n, int(self.windows), sd2, r1)


def dispersion(sd2: float, r1: float, windows: float) -> float:
    """``phi`` from Pearson's dispersion and the autocorrelation of ``windows`` windows, each only where significant."""
    certain = 2.0 / sqrt(windows)
    r = min(r1, R1_MAX) if r1 > certain else 0.0
    spread = sd2 if sd2 > chi_square_95(windows - 1.0) else min(sd2, 1.0)
    return max(1.0, spread * (1.0 + r) / (1.0 - r))


def chi_square_95(freedom: float) -> float:
    """95 % point of chi-square over its degrees of freedom: ``(1 - 2/(9f) + 1.645 sqrt(2/(9f)))^3``."""
    a = 2.0 / (9.0 * freedom)
    return float((1.0 - a + _Z95 * sqrt(a)) ** 3)


def accepted(p: float, variance: float, model: Model) -> float:
    """One standard error from ``p`` towards the worse side, within the rates that ``model`` can have."""
    if model.falls:
        return max(p - sqrt(variance), P_MIN)
    tolerated = p + sqrt(variance)
    return tolerated if model.family == "poisson" else min(tolerated, 0.999 * P_MAX)


def no_worse(own: float, parent: float, model: Model) -> float:
    """The accepted rate of a cohort with a parent: never worse than the parent's, whatever it has learnt.

    Else a version that is a little worse than its predecessors would become the norm, and so would the next one.
    """
    return max(own, parent) if model.falls else min(own, parent)
