"""Mixture Shiryaev-Roberts for scores between 0 and 1: stars, judge scores, similarities.

A share has a likelihood; a score has not. What takes its place is a bet against "the mean is at least mu0". A bettor
who stakes ``lam`` on a fall gains, per event with score s, the factor::

    L = 1 + lam * (mu0 - s),   lam = c / (1 - mu0),   c in {.25, .5, .75, .95}

It is never negative (at s = 1 it is 1 - c) and its mean is at most 1 while the mean of s is at least mu0, for *any*
distribution on 0..1: no normality, no variance to estimate. Where a rise is what is worse the bet is turned round:
``L = 1 + lam * (s - mu0)``, ``lam = c / mu0``. The recursion, the limit and the promise are those of
`backspan.spc.shiryaev`, with ``ln L`` in place of the log-likelihood ratio::

    R_t(c) = (R_{t-1}(c) + n / n_ref) * exp(sum of ln L over the batch / phi),   alarm when ln mean R >= threshold

because ``R_t - events so far / n_ref`` is a supermartingale again. The sums of ``ln L`` add up, so they can be exported
as counters and PromQL treats them as it treats the likelihood ratio.

Buckets. Of a histogram only the bucket of a score is known. Where a fall is worse its *upper* bound u stands for it:
from s <= u follows ``1 + lam (mu0 - u) <= 1 + lam (mu0 - s)``, so every factor, and with all factors every R, is at
most that of the true scores. The chart on buckets never alarms before the chart on scores, and the promise holds. Where
a rise is worse the *lower* bound does the same. The price is delay, unless mu0 is learnt from the same bucket values:
these are scores between 0 and 1 themselves.

Sources: I. Waudby-Smith, A. Ramdas, "Estimating means of bounded random variables by betting", J. R. Statist. Soc. B 86
(2024); J. Shin, A. Ramdas, A. Rinaldo, "E-detectors", New England J. Statistics in Data Science (2023).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, log1p

from backspan.spc.shiryaev import Evidence

STAKES = (0.25, 0.5, 0.75, 0.95)
"""The mixture's stakes, as shares c of the largest bet that cannot lose everything. Small ones see small changes."""


def scaled(value: float, low: float, high: float) -> float:
    """A value on a scale from ``low`` to ``high`` as a score 0..1: 4 of 1..5 stars is 0.75.

    Raises ValueError for a value off the scale.
    """
    if not low < high or not low <= value <= high:
        raise ValueError(f"a scale needs low <= value <= high and low < high, got {value} on {low}..{high}")
    return (value - low) / (high - low)


def bucket_scores(cumulative: Mapping[float, int], *, falls: bool = True) -> dict[float, int]:
    """Scores and counts of a Prometheus histogram (``le`` -> cumulative count, ``inf`` for ``+Inf``) of scores 0..1.

    A bucket's score is its upper bound where a fall is worse, else its lower bound (0 for the first), clipped to 0..1:
    see above why. Raises ValueError if the counts fall from one bound to the next or a bound is below 0.
    """
    scores: Counter[float] = Counter()
    lower, before = 0.0, 0
    for le, count in sorted(cumulative.items()):
        if not le >= 0 or count < before:
            raise ValueError(f"a histogram of scores needs bounds >= 0 and growing counts, got {count} up to {le}")
        scores[min(le if falls else lower, 1.0)] += count - before
        lower, before = le, count
    return {score: count for score, count in scores.items() if count}


def log_factor(score: float, mu0: float, stake: float, *, falls: bool = True) -> float:
    """ln L of one event: what `BettingSR` adds up, and what an exporter adds to its counter of ``stake``.

    Raises ValueError unless 0 <= score <= 1.
    """
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"a score must lie between 0 and 1, got {score}")
    bet = stake * (mu0 - score) / (1.0 - mu0) if falls else stake * (score - mu0) / mu0
    return log1p(bet)


class BettingSR(Evidence):
    """The detector of one stream of scores. Feed it with `step` or `step_counts`; compare with `threshold`.

    ``mu0`` is the accepted mean: a tolerance on the worse side, not a point guess. ``falls`` says which side is worse
    (True: a lower mean). ``cap`` bounds ln R of each stake (use threshold + 3), ``phi`` >= 1 is the dispersion. Not
    thread-safe: one detector belongs to one stream. Raises ValueError for a mean outside 0 < mu0 < 1, a stake outside
    0 < c < 1, n_ref not above 0 or phi below 1.
    """

    __slots__ = ("falls", "mu0", "stakes")

    def __init__(
        self,
        mu0: float,
        stakes: Sequence[float] = STAKES,
        n_ref: float = 10,
        cap: float | None = None,
        *,
        phi: float = 1.0,
        falls: bool = True,
    ) -> None:
        if not 0.0 < mu0 < 1.0:
            raise ValueError(f"mu0 must lie between 0 and 1, got {mu0}")
        if not stakes or not all(0.0 < c < 1.0 for c in stakes):
            raise ValueError(f"stakes must lie between 0 and 1, got {tuple(stakes)}")
        super().__init__(n_ref, cap, phi)
        self.mu0, self.falls = mu0, falls
        self.stakes = tuple(stakes)

    @classmethod
    def from_state(
        cls,
        state: Sequence[float],
        mu0: float,
        stakes: Sequence[float] = STAKES,
        n_ref: float = 10,
        cap: float | None = None,
        *,
        phi: float = 1.0,
        falls: bool = True,
    ) -> BettingSR:
        """A detector that goes on from `state`. Raises ValueError if it does not fit the number of stakes."""
        detector = cls(mu0, stakes, n_ref, cap, phi=phi, falls=falls)
        detector._restore(state, len(detector.stakes), "stakes")
        return detector

    def step(self, scores: Iterable[float]) -> float:
        """Take a batch of new scores (0..1), whose order does not matter, and return ln R. None change nothing."""
        return self.step_counts(Counter(scores))

    def step_counts(self, counts: Mapping[float, int]) -> float:
        """Take a batch as score -> number of events, as `bucket_scores` makes it, and return ln R.

        Raises ValueError, and takes nothing, for a score outside 0..1 or a count below 0.
        """
        if not all(count >= 0 for count in counts.values()):
            raise ValueError(f"counts must not be negative, got {dict(counts)}")
        n, sums = sum(counts.values()), [self._sum(counts, c) for c in self.stakes]
        return self.step_sums(n, sums)

    def step_sums(self, n: float, sums: Sequence[float]) -> float:
        """Take a batch of ``n`` events as the sums of `log_factor` per stake (the increases of exported counters).

        Raises ValueError for ``n`` below 0 or another number of sums than stakes.
        """
        if not n >= 0 or len(sums) != len(self.stakes):
            raise ValueError(f"a step needs n >= 0 and {len(self.stakes)} sums, got n={n} and {len(sums)} sums")
        if n > 0:
            self._advance(n, sums)
        return self.value

    def _sum(self, counts: Mapping[float, int], stake: float) -> float:
        return fsum(k * log_factor(score, self.mu0, stake, falls=self.falls) for score, k in counts.items())
