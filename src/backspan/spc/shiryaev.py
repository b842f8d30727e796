"""The detector that pages: event-weighted mixture Shiryaev-Roberts on a share of bad events, or on events per exposure.

For each alternative r (the rate has become r times the accepted one) and each batch of n > 0 new rated events::

    R_t(r) = (R_{t-1}(r) + n / n_ref) * exp(LLR_t(r) / phi)
    binomial   LLR_t(r) = bad * ln(p1 / p0) + (n - bad) * ln((1 - p1) / (1 - p0)),   p1 = min(r * p0, 0.95)
    Poisson    LLR_t(r) = bad * ln(p1 / p0) - n * (p1 - p0),                         p1 = r * p0

where a fall is what is worse, p1 = p0 / r. The statistic is the mean of R_t(r) over r; it alarms when its logarithm
reaches `threshold`.

The promise. In control ``R_t - events so far / n_ref`` is a martingale (a supermartingale for every true rate that is
better than p0), so the mean number of rated events to a false alarm is at least ``exp(threshold) * n_ref``, for any
cadence and any volume that does not look at the ratings. Give every cohort of a partition the same threshold and the
promise holds for all of them together, because the sum of their statistics is such a martingale too. Several partitions
of the same events (total, by version) count each event once per partition: multiply the promise by their number.

``phi`` is the dispersion (`backspan.spc.baseline`): 1 if events are independent. Above 1 the promise is approximate, as
every quasi-likelihood is; without it a clustered stream breaks the promise by an order of magnitude.

Sources: A. N. Shiryaev, Theory Probab. Appl. 8 (1963); S. W. Roberts, Technometrics 8 (1966); J. Shin, A. Ramdas,
A. Rinaldo, "E-detectors", New England J. Statistics in Data Science (2023). The weight n / n_ref is what makes the
promise one in events and not in evaluations. Dispersion: P. McCullagh, J. Nelder, *Generalized Linear Models*, ch. 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, fsum, inf, isfinite, log
from typing import Literal

Family = Literal["binomial", "poisson"]
"""``binomial``: bad ones among n events. ``poisson``: events per exposure n, such as regenerations per answer."""

ALTERNATIVES = (1.2, 1.5, 2.0, 3.0)
"""Multiples of the accepted rate that the mixture looks for."""
P_MAX = 0.95
"""Upper end of an alternative's rate."""
FLOOR = -700.0
"""Lower end of ln R(r), so that its exponential is never 0 and the mixture's logarithm stays finite; minus this is
the upper end where no cap is given, so that the exponential never overflows."""
CAP_ABOVE_LIMIT = 3.0
"""A cap this far above the threshold: without one, recovery takes as long as the incident took."""


def threshold(promise_events: float, n_ref: float, partitions: int = 1) -> float:
    """Limit for ln R: at most one false alarm per ``promise_events`` rated events of the whole system, on average.

    ``ln(partitions * promise_events / n_ref)``; ``partitions`` is the number of overlapping divisions of the same
    events that are watched. Raises ValueError unless the promise exceeds ``n_ref`` and both are positive.
    """
    if not n_ref > 0 or partitions < 1 or not promise_events > n_ref or not isfinite(promise_events):
        raise ValueError(
            f"a threshold needs promise_events > n_ref > 0 and partitions >= 1,"
            f" got {promise_events}, {n_ref}, {partitions}"
        )
    return log(partitions * promise_events / n_ref)


@dataclass(frozen=True)
class Model:
    """How events come about: their ``family``, and whether a ``falls`` of the rate is what is worse (else a rise)."""

    family: Family = "binomial"
    falls: bool = False

    def check(self, p0: float) -> None:
        """Raise ValueError unless ``p0`` is a rate that can be accepted: 0 < p0 < 0.95, for Poisson 0 < p0."""
        top = inf if self.family == "poisson" else 1.0 if self.falls else P_MAX
        if not 0.0 < p0 < top:
            raise ValueError(f"p0 must lie between 0 and {top:g}, got {p0}")

    def variance(self, p: float) -> float:
        """Variance of one event (or of one unit of exposure) at rate ``p``."""
        return p if self.family == "poisson" else p * (1.0 - p)

    def alternative(self, p0: float, ratio: float) -> float:
        """The rate ``p1`` that belongs to the alternative ``ratio``."""
        if self.falls:
            return p0 / ratio
        return ratio * p0 if self.family == "poisson" else alternative_rate(p0, ratio)

    def llr(self, n: float, bad: float, p0: float, p1: float) -> float:
        """ln of the likelihood of ``bad`` in ``n`` under rate ``p1`` over that under ``p0``."""
        if self.family == "poisson":
            return bad * log(p1 / p0) - n * (p1 - p0)
        return log_likelihood_ratio(n, bad, p0, p1)


BINOMIAL = Model()
"""A share of bad events that is worse when it rises."""


def alternative_rate(p0: float, ratio: float) -> float:
    """The rate ``p1`` of a rising share for the alternative ``ratio``: ``min(ratio * p0, 0.95)``."""
    return min(ratio * p0, P_MAX)


def log_likelihood_ratio(n: float, bad: float, p0: float, p1: float) -> float:
    """ln of the binomial likelihood of ``bad`` in ``n`` events under rate ``p1`` over that under ``p0``."""
    return bad * log(p1 / p0) + (n - bad) * log((1.0 - p1) / (1.0 - p0))


def advance(log_r: float, weight: float, llr: float) -> float:
    """One Shiryaev-Roberts step on the logarithm: ``ln((exp(log_r) + weight) * exp(llr))``. ``-inf`` is R = 0."""
    before = exp(log_r) + weight
    return log(before) + llr if before > 0.0 else -inf


def log_mean_exp(values: Sequence[float]) -> float:
    """ln of the mean of the exponentials, without overflow. ``-inf`` for no values."""
    top = max(values, default=-inf)
    if not isfinite(top):
        return top
    return top + log(fsum(exp(v - top) for v in values) / len(values))


class Evidence:
    """What every mixture keeps: ln R per alternative, bounded below and above, and the recursion that moves it."""

    __slots__ = ("_cap", "_log_r", "_n_ref", "phi")

    def __init__(self, n_ref: float, cap: float | None, phi: float) -> None:
        if not n_ref > 0 or not (phi >= 1.0 and isfinite(phi)):
            raise ValueError(f"n_ref must be above 0 and phi at least 1, got {n_ref}, {phi}")
        self.phi = phi
        self._n_ref = n_ref
        self._cap = -FLOOR if cap is None else min(cap, -FLOOR)
        self._log_r: tuple[float, ...] = ()

    @property
    def state(self) -> tuple[float, ...]:
        """ln R(r) per alternative, in their order; empty before the first event. JSON can carry it."""
        return self._log_r

    @property
    def value(self) -> float:
        """ln R now; ``-inf`` before the first event."""
        return log_mean_exp(self._log_r)

    def cap_at(self, cap: float) -> None:
        """Change the cap: a promise in days follows the volume."""
        self._cap = min(cap, -FLOOR)

    def _restore(self, state: Sequence[float], wanted: int, what: str) -> None:
        if state and len(state) != wanted:
            raise ValueError(f"a state of {len(state)} values does not fit {wanted} {what}")
        self._log_r = tuple(float(v) for v in state)

    def _advance(self, n: float, gains: Sequence[float]) -> None:
        """Take ``n`` events that speak for each alternative by ``gains``, ln of a likelihood ratio."""
        before, weight = self._log_r or (-inf,) * len(gains), n / self._n_ref
        after = (advance(r, weight, gain / self.phi) for r, gain in zip(before, gains, strict=True))
        self._log_r = tuple(min(max(r, FLOOR), self._cap) for r in after)


class MixtureSR(Evidence):
    """The detector of one cohort. Feed it batches with `step`; compare what it returns with `threshold`.

    ``p0`` is the accepted rate: a tolerance on the worse side, not a point guess. ``cap`` bounds ln R(r) of each
    alternative (use threshold + 3). ``phi`` is the dispersion, at least 1. Not thread-safe: one detector belongs to one
    stream of events. Raises ValueError for a rate that ``model`` cannot have, an alternative not above 1, n_ref not
    above 0 or phi below 1.
    """

    __slots__ = ("_terms", "alternatives", "model", "p0")

    def __init__(
        self,
        p0: float,
        alternatives: Sequence[float] = ALTERNATIVES,
        n_ref: float = 10,
        cap: float | None = None,
        *,
        phi: float = 1.0,
        model: Model = BINOMIAL,
    ) -> None:
        model.check(p0)
        if not alternatives or not all(r > 1.0 for r in alternatives):
            raise ValueError(f"alternatives must be multiples above 1, got {tuple(alternatives)}")
        super().__init__(n_ref, cap, phi)
        self.p0, self.model = p0, model
        self.alternatives = tuple(alternatives)
        self._terms = tuple(model.alternative(p0, r) for r in self.alternatives)

    @classmethod
    def from_state(
        cls,
        state: Sequence[float],
        p0: float,
        alternatives: Sequence[float] = ALTERNATIVES,
        n_ref: float = 10,
        cap: float | None = None,
        *,
        phi: float = 1.0,
        model: Model = BINOMIAL,
    ) -> MixtureSR:
        """A detector that goes on from `state`. Raises ValueError if it does not fit the number of alternatives."""
        detector = cls(p0, alternatives, n_ref, cap, phi=phi, model=model)
        detector._restore(state, len(detector.alternatives), "alternatives")
        return detector

    def step(self, n: float, bad: float) -> float:
        """Take ``bad`` of ``n`` new rated events (or ``bad`` events in exposure ``n``) and return ln R.

        ``n`` = ``bad`` = 0 changes nothing. Raises ValueError for negative numbers or, binomial, unless bad <= n.
        """
        if not 0 <= bad or not 0 <= n or (bad > n and self.model.family == "binomial"):
            raise ValueError(f"a step needs 0 <= bad <= n, got n={n}, bad={bad}")
        if n > 0 or bad > 0:
            self._advance(n, [self.model.llr(n, bad, self.p0, p1) for p1 in self._terms])
        return self.value
