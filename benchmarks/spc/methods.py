"""The rules that are compared: each turns simulated ratings into alarms.

A rule of windows takes the ratings of each hour. Where a method needs to know what is normal (the p-chart), it is told
the truth. Only alarms for more bad ratings count, also of methods that alarm both ways: that spares them half of
their false alarms. Windows without a rating are not evaluated.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import bottleneck
import numpy as np
from benchmarks.spc.simulate import P0, Ratings


@dataclass(frozen=True)
class Hourly:
    """A rule that alarms where its statistic of the hours, shape (runs, hours), exceeds ``limit``."""

    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray]
    limit: float

    per_hour = 1

    def alarms(self, ratings: Ratings) -> np.ndarray:
        """Whether it rings at the end of each hour."""
        return above(self.statistic(*ratings.every(60)), self.limit)


def above(values: np.ndarray, limit: float) -> np.ndarray:
    """``values > limit``, false where there is none."""
    with np.errstate(invalid="ignore"):
        return values > limit


def share(n: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Bad ratings / ratings, NaN without any: what a static threshold looks at."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return bad / n


def deviation(n: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Distance from the true rate in standard deviations for this n: a p-chart's."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (bad / n - P0) / np.sqrt(P0 * (1 - P0) / n)


def trailing(windows: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """z-score against mean and standard deviation of the ``windows`` hours before."""

    def statistic(n: np.ndarray, bad: np.ndarray) -> np.ndarray:
        p = share(n, bad)
        before = np.concatenate([np.full((len(p), 1), np.nan), p[:, :-1]], axis=1)
        mean = bottleneck.move_mean(before, windows, min_count=windows // 2, axis=1)
        spread = bottleneck.move_std(before, windows, min_count=windows // 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (p - mean) / spread

    return statistic


# --- drift-caliper ---------------------------------------------------------------------------------------------------
PHASE_I_H = 168
"""Hours of in-control shares that the EWMA is fitted on: a week (the package asks for at least 100 observations)."""


class Caliper:
    """`drift-caliper`'s EWMA on the hourly share of bad ratings, fitted on each run's own first week.

    The limit is fitted by the package, once, and scaled to each run's mean and moving range as the package does;
    `check` compares with the package itself, fit and monitor, on a run.
    """

    per_hour = 1

    def __init__(self, target_hours: float) -> None:
        self.target = target_hours
        fitted = self._fit(np.random.default_rng(1).normal(0.1, 0.02, PHASE_I_H))
        self.lam = fitted.smoothing_param
        self.width = (fitted.ucl - fitted.cl) / fitted.sigma_estimate

    def alarms(self, ratings: Ratings) -> np.ndarray:
        """Whether it rings upward at the end of each hour, from the end of the first week on."""
        p = share(*ratings.every(60))
        first = p[:, :PHASE_I_H]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean = np.nanmean(first, axis=1)
            sigma = np.nanmean(np.abs(np.diff(first, axis=1)), axis=1) * np.sqrt(np.pi) / 2
        out, z = np.zeros(p.shape, bool), mean.copy()
        for hour in range(PHASE_I_H, p.shape[1]):
            now = p[:, hour]
            z = np.where(np.isnan(now), z, self.lam * now + (1 - self.lam) * z)
            out[:, hour] = z > mean + self.width * sigma
        return out

    def check(self, ratings: Ratings) -> None:
        """Raise RuntimeError unless the package itself gives the same alarms on the first run."""
        from drift_caliper import Monitor

        p = share(*ratings.every(60))[0]
        if np.isnan(p).any():
            return
        monitor = Monitor(self._fit(p[:PHASE_I_H]), retain_history=False)
        theirs = [monitor.record(_scored(value)).direction == "upper" for value in p[PHASE_I_H:]]
        if theirs != self.alarms(ratings)[0, PHASE_I_H:].tolist():
            raise RuntimeError("drift-caliper does not alarm as reckoned here")

    def _fit(self, shares: Sequence[float] | np.ndarray) -> Any:
        from drift_caliper import Baseline, fit_ewma

        baseline = Baseline()
        for value in shares:
            baseline.record(_scored(value))
        return fit_ewma(baseline, target_arl=self.target)


def _scored(value: float) -> Any:
    """``value`` as a score of the package's, through its public judge."""
    from drift_caliper import Judge, JudgeProviderResponse

    class Provider:
        def score(self, **_: Any) -> Any:
            return JudgeProviderResponse(score=float(value), reasoning="share of bad ratings in an hour")

    judge = Judge.create(model_version="share-20261121", provider=Provider(), criteria="share of bad ratings")
    return judge.score("an hour")


# --- promql-anomaly-detection ----------------------------------------------------------------------------------------
_DAY, _HOUR = 1440, 60
_SEASONS = (23 * 60 + 45, 167 * 60 + 45)
"""Minutes back: a day and a week, each less a quarter of an hour."""


class Robust:
    """The published method of Grafana's promql-anomaly-detection, ``rules/robust.yml``, once a minute, as shipped.

    Median and MAD (times 2) of a day, a margin of half the median, and median and MAD of the same hour a day and a week
    before; the widest band counts. The level is the median of an hour. It must be out for five minutes. Its input is
    the share of bad ratings over one hour; minutes without a bad rating in the hour drop out, as in the rules.
    https://github.com/grafana/promql-anomaly-detection
    """

    per_hour = 60

    def alarms(self, ratings: Ratings) -> np.ndarray:
        """Whether it rings upward after each minute."""
        return np.array([self._one(n, bad) for n, bad in zip(ratings.n, ratings.bad, strict=True)])

    def _one(self, n: np.ndarray, bad: np.ndarray) -> np.ndarray:
        p = share(_sliding(n), _sliding(bad))
        p = np.where(p > 0, p, np.nan)
        median = bottleneck.move_median(p, _DAY, min_count=1)
        mad = bottleneck.move_median(np.abs(p - median), _DAY, min_count=1)
        level = bottleneck.move_median(p, _HOUR, min_count=1)
        upper = np.fmax(median + 2 * mad, 1.5 * median)
        for back in _SEASONS:
            upper = np.fmax(upper, self._season(p, level, back))
        out = above(level - upper, 0)
        return np.convolve(out, np.ones(6))[: len(out)] >= 6

    @staticmethod
    def _season(p: np.ndarray, level: np.ndarray, back: int) -> np.ndarray:
        """Median + 2 MAD of the hour that ended ``back`` minutes ago, brought up to date every five minutes."""
        then_p, then_level = (np.concatenate([np.full(back, np.nan), old[:-back]])[::5] for old in (p, level))
        mad = bottleneck.move_median(np.abs(then_p - then_level), 12, min_count=1)
        return np.repeat(then_level + 2 * mad, 5)[: len(p)]


def _sliding(counts: np.ndarray) -> np.ndarray:
    total = np.concatenate([np.zeros(_HOUR), np.cumsum(counts, dtype=float)])
    return total[_HOUR:] - total[:-_HOUR]
