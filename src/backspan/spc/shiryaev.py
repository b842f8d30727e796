"""The detector that pages: event-weighted mixture Shiryaev-Roberts on a share of bad events.

For each alternative r (the rate has become r times the accepted one) and each batch of n > 0 new rated events::

    R_t(r) = (R_{t-1}(r) + n / n_ref) * exp(LLR_t(r))
    LLR_t(r) = bad * ln(p1 / p0) + (n - bad) * ln((1 - p1) / (1 - p0)),   p1 = min(r * p0, 0.95)

The statistic is the mean of R_t(r) over r; it alarms when its logarithm reaches `threshold`.

The promise. In control ``R_t - events so far / n_ref`` is a martingale (a supermartingale for every true rate below
p0), so the mean number of rated events to a false alarm is at least ``exp(threshold) * n_ref``, for any cadence and
any volume that does not look at the ratings. Give every cohort of a partition the same threshold and the promise
holds for all of them together, because the sum of their statistics is such a martingale too. Several partitions of
the same events (total, by version) count each event once per partition: multiply the promise by their number.

Sources: A. N. Shiryaev, Theory Probab. Appl. 8 (1963); S. W. Roberts, Technometrics 8 (1966); J. Shin, A. Ramdas,
A. Rinaldo, "E-detectors", New England J. Statistics in Data Science (2023). The weight n / n_ref is what makes the
promise one in events and not in evaluations.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, fsum, inf, isfinite, log

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


def alternative_rate(p0: float, ratio: float) -> float:
    """The rate ``p1`` that belongs to the alternative ``ratio``: ``min(ratio * p0, 0.95)``."""
    return min(ratio * p0, P_MAX)


def log_likelihood_ratio(n: int, bad: int, p0: float, p1: float) -> float:
    """ln of the likelihood of ``bad`` in ``n`` events under rate ``p1`` over that under ``p0``."""
    return bad * log(p1 / p0) + (n - bad) * log((1.0 - p1) / (1.0 - p0))


def advance(log_r: float, weight: float, llr: float) -> float:
    """One Shiryaev-Roberts step on the logarithm: ``ln((exp(log_r) + weight) * exp(llr))``. ``-inf`` is R = 0."""
    return log(exp(log_r) + weight) + llr


def log_mean_exp(values: Sequence[float]) -> float:
    """ln of the mean of the exponentials, without overflow. ``-inf`` for no values."""
    top = max(values, default=-inf)
    if not isfinite(top):
        return top
    return top + log(fsum(exp(v - top) for v in values) / len(values))


class MixtureSR:
    """The detector of one cohort. Feed it batches with `step`; compare what it returns with `threshold`.

    ``p0`` is the accepted rate: an upper tolerance, not a point guess. ``cap`` bounds ln R(r) of each alternative
    (use threshold + 3). Not thread-safe: one detector belongs to one stream of events.
    Raises ValueError for a rate outside 0 < p0 < 0.95, an alternative not above 1, or n_ref not above 0.
    """

    __slots__ = ("_cap", "_log_r", "_terms", "_n_ref", "alternatives", "p0")

    def __init__(
        self,
        p0: float,
        alternatives: Sequence[float] = ALTERNATIVES,
        n_ref: float = 10,
        cap: float | None = None,
    ) -> None:
        if not 0.0 < p0 < P_MAX:
            raise ValueError(f"p0 must lie between 0 and {P_MAX}, got {p0}")
        if not alternatives or not all(r > 1.0 for r in alternatives):
            raise ValueError(f"alternatives must be multiples above 1, got {tuple(alternatives)}")
        if not n_ref > 0:
            raise ValueError(f"n_ref must be above 0, got {n_ref}")
        self.p0 = p0
        self.alternatives = tuple(alternatives)
        self._n_ref = n_ref
        self._cap = -FLOOR if cap is None else min(cap, -FLOOR)
        self._terms = tuple(alternative_rate(p0, r) for r in self.alternatives)
        self._log_r: tuple[float, ...] = ()

    @classmethod
    def from_state(
        cls,
        state: Sequence[float],
        p0: float,
        alternatives: Sequence[float] = ALTERNATIVES,
        n_ref: float = 10,
        cap: float | None = None,
    ) -> MixtureSR:
        """A detector that goes on from `state`. Raises ValueError if it does not fit the number of alternatives."""
        detector = cls(p0, alternatives, n_ref, cap)
        if state and len(state) != len(detector.alternatives):
            raise ValueError(f"a state of {len(state)} values does not fit {len(detector.alternatives)} alternatives")
        detector._log_r = tuple(float(v) for v in state)
        return detector

    @property
    def state(self) -> tuple[float, ...]:
        """ln R(r) per alternative, in their order; empty before the first rated event. JSON can carry it."""
        return self._log_r

    @property
    def value(self) -> float:
        """ln R now; ``-inf`` before the first rated event."""
        return log_mean_exp(self._log_r)

    def step(self, n: int, bad: int) -> float:
        """Take ``bad`` of ``n`` new rated events and return ln R. ``n`` = 0 changes nothing.

        Raises ValueError unless 0 <= bad <= n.
        """
        if not 0 <= bad <= n:
            raise ValueError(f"a step needs 0 <= bad <= n, got n={n}, bad={bad}")
        if n > 0:
            before = self._log_r or (-inf,) * len(self._terms)
            self._log_r = tuple(self._next(r, p1, n, bad) for r, p1 in zip(before, self._terms, strict=True))
        return self.value

    def _next(self, log_r: float, p1: float, n: int, bad: int) -> float:
        after = advance(log_r, n / self._n_ref, log_likelihood_ratio(n, bad, self.p0, p1))
        return min(max(after, FLOOR), self._cap)
