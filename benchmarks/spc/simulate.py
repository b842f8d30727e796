"""Simulated ratings, minute by minute, and run lengths read off them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

P0 = 0.10
WARM_H, AFTER_H = 192, 168
"""Hours before anything counts (a week and a day, which the rules with a weekly memory need), and after a change."""
PER_HOUR = 10
"""Evaluations an hour of the detector that pages: every six minutes. Prometheus evaluates more often."""


@dataclass(frozen=True)
class Volume:
    """Ratings an hour: ``mean``; with ``day`` they follow a sine from a tenth of the mean to 1.9 times the mean."""

    mean: int
    day: bool = False

    @property
    def name(self) -> str:
        """As in the page's headings."""
        low, high = round(self.mean * 0.1), round(self.mean * 1.9)
        return f"{self.mean} ratings an hour, {f'day profile {low} to {high}' if self.day else 'constant'}"

    def pace(self, hours: int, starts: np.ndarray) -> np.ndarray:
        """Mean ratings a minute, shape (runs, minutes); ``starts`` are the hours of the day at which runs begin."""
        if not self.day:
            return np.full((len(starts), 1), self.mean / 60)
        hour = (np.arange(hours)[None, :] + starts[:, None]) % 24
        return np.repeat(self.mean * (1 + 0.9 * np.sin(2 * np.pi * hour / 24)) / 60, 60, axis=1)


@dataclass(frozen=True)
class Ratings:
    """``n`` ratings, ``bad`` of them bad, by run and minute."""

    n: np.ndarray
    bad: np.ndarray

    def every(self, minutes: int) -> tuple[np.ndarray, np.ndarray]:
        """Sums over windows of so many minutes."""
        shape = (self.n.shape[0], self.n.shape[1] // minutes, minutes)
        return self.n.reshape(shape).sum(2, dtype=float), self.bad.reshape(shape).sum(2, dtype=float)


def ratings(volume: Volume, hours: int, runs: int, seed: list[int], after: float = P0) -> Ratings:
    """Poisson arrivals; each is bad with probability `P0`, from hour `WARM_H` on with probability ``after``."""
    random = np.random.default_rng(seed)
    pace = volume.pace(hours, random.integers(0, 24, runs))
    p = np.where(np.arange(hours * 60) < WARM_H * 60, P0, after)[None, :]
    bad = random.poisson(np.broadcast_to(pace * p, (runs, hours * 60))).astype(np.int8)
    good = random.poisson(np.broadcast_to(pace * (1 - p), (runs, hours * 60))).astype(np.int8)
    return Ratings(bad + good, bad)


def chunks(volume: Volume, hours: int, runs: int, seed: list[int], after: float = P0) -> Iterator[Ratings]:
    """``runs`` runs, a hundred at a time: the same streams for every rule."""
    for first in range(0, runs, 100):
        yield ratings(volume, hours, min(100, runs - first), [*seed, first], after)


def first_alarm(alarms: np.ndarray, per_hour: int, warm: float = WARM_H) -> np.ndarray:
    """Hours from ``warm`` to the first alarm, by run; inf if none, NaN if the rule was ringing at that moment.

    ``alarms`` has one column per evaluation, the first at the end of the first interval.
    """
    start = round(warm * per_hour)
    after = alarms[:, start:]
    hours = np.where(after.any(1), (after.argmax(1) + 1) / per_hour, np.inf)
    return np.where(alarms[:, start - 1], np.nan, hours)


def run_length(hours: np.ndarray, end: float) -> dict[str, float]:
    """Mean hours to a false alarm from first alarms censored at ``end``: time watched / alarms, with standard error.

    Runs that saw none count with their time; without an alarm in any run the mean is only known to exceed it.
    """
    hours = hours[~np.isnan(hours)]
    alarms = int(np.isfinite(hours).sum())
    mean = float(np.minimum(hours, end).sum()) / max(alarms, 1)
    return {"hours": round(mean, 1), "error": round(mean / max(alarms, 1) ** 0.5, 1), "alarms": alarms,
            "runs": len(hours), "censored": len(hours) - alarms}


def delay(hours: np.ndarray) -> dict[str, float]:
    """Mean (runs that never find it within `AFTER_H` count with that), its standard error, median, and their share."""
    hours = hours[~np.isnan(hours)]
    held = np.minimum(hours, AFTER_H)
    return {"mean": round(float(held.mean()), 2), "error": round(float(held.std() / len(held) ** 0.5), 2),
            "median": round(float(np.median(held)), 2), "never": round(float(np.isinf(hours).mean()), 4)}
