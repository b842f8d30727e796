"""Charts for rare events: g (how many trials between events) and t (how much time between them).

A p-chart is useless below about 1 %: most windows hold no event, and two in one window signal (rate .001, 200 trials
a window: a false alarm every 57 windows). The gap between events is the thing to plot. But one gap cannot show a rise
either: at a rate of .001 the lower .135 % limit of a single gap is 1, so only back-to-back events would signal. The
sum of several gaps can; the charts here plot moving sums of ``m`` gaps, four by default.

Limits are probability limits, not mean ± 3 sigma: a geometric gap is so skewed that the 3-sigma lower limit is 0.

Sources. g-chart: J. C. Benneyan, "Number-between g-type statistical quality control charts", Health Care Management
Science 4 (2001). t-chart and time between events: Montgomery, *Introduction to Statistical Quality Control*, 7.3.5.
Sums of gaps: the sum of ``m`` gaps is at most q exactly if q trials hold at least ``m`` events (binomial), and of
``m`` times if that time does (Poisson); H. Ohta, E. Kusukawa, A. Rahim, "A CCC-r chart for high-yield processes",
Quality and Reliability Engineering International 17 (2001); M. Xie, T. N. Goh, P. Ranjan, "Some effective control
chart procedures for reliability monitoring", Reliability Engineering and System Safety 77 (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import exp, fsum, inf, isfinite, lgamma, log, log1p
from typing import NamedTuple

from backspan.spc._numeric import increasing_root
from backspan.spc.points import Limits, Point

ALPHA = 0.00135
"""Chance of one point beyond one limit in control: that of a normal value beyond 3 sigma."""
GAPS = 4
"""Gaps per sum: enough for a rise of three times to show within a few events."""


class GapReading(NamedTuple):
    """What `GapSum.step` returns: the sum of the newest gaps (None until there are enough), its limit, the verdict."""

    value: float | None
    limit: float
    out: bool


def gaps_between(positions: Sequence[float]) -> list[float]:
    """Distances between the events at these increasing positions (trial numbers or times).

    Raises ValueError unless they increase.
    """
    gaps = [b - a for a, b in zip(positions, positions[1:], strict=False)]
    if any(not gap > 0 for gap in gaps):
        raise ValueError("gaps need positions that increase from one event to the next")
    return gaps


def sum_chance(q: int, p: float, m: int = 1) -> float:
    """P(the sum of ``m`` gaps <= q) at rate ``p``, a gap being the trials up to and with the next event.

    For one gap it is ``1 - (1 - p)^q``. Raises ValueError unless 0 < p < 1 and m >= 1.
    """
    if not 0.0 < p < 1.0 or m < 1:
        raise ValueError(f"gaps need 0 < p < 1 and m >= 1, got p={p}, m={m}")
    if q < m:
        return 0.0
    return max(0.0, 1.0 - fsum(_fewer(q, p, m)))


def _fewer(q: int, p: float, m: int) -> Iterator[float]:
    """Chances of 0 .. m - 1 events in ``q`` trials, as logarithms grown one from the other: exact for any q."""
    log_chance = q * log1p(-p)
    for k in range(m):
        yield exp(log_chance)
        log_chance += log((q - k) / (k + 1.0)) + log(p) - log1p(-p)


def time_chance(t: float, rate: float, m: int = 1) -> float:
    """P(the sum of ``m`` times between events <= t) at ``rate`` events a unit of time (Erlang).

    Raises ValueError unless rate > 0 and m >= 1.
    """
    if not 0.0 < rate < inf or m < 1:
        raise ValueError(f"times need rate > 0 and m >= 1, got rate={rate}, m={m}")
    if t <= 0:
        return 0.0
    mean = rate * t
    return max(0.0, 1.0 - fsum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(m)))


def gap_limits(p0: float, m: int = GAPS, alpha: float = ALPHA) -> Limits:
    """Limits of the sum of ``m`` gaps at rate ``p0``, in trials; each is passed with a chance of at most ``alpha``.

    ``lower``: the smallest sum in control (a smaller one signals a rise; ``m`` = no sum can). ``upper``: the largest
    in control (a larger one signals a fall). Centre ``m / p0``.
    Raises ValueError unless 0 < p0 < 1, m >= 1 and 1e-9 <= alpha < .5.
    """
    _check_alpha(alpha)
    sum_chance(m, p0, m)
    lower = _first(lambda q: sum_chance(q, p0, m) > alpha, m)
    upper = _first(lambda q: sum_chance(q, p0, m) >= 1.0 - alpha, m)
    return Limits(lower, m / p0, upper)


def time_limits(rate0: float, m: int = GAPS, alpha: float = ALPHA) -> Limits:
    """Limits of the sum of ``m`` times between events at ``rate0``; each is passed with chance ``alpha``.

    Raises ValueError unless rate0 > 0 and 1e-9 <= alpha < .5.
    """
    _check_alpha(alpha)
    time_chance(0.0, rate0, m)
    lower, upper = (increasing_root(lambda t: time_chance(t, 1.0, m), a, 0.0, float(m)) for a in (alpha, 1.0 - alpha))
    return Limits(lower / rate0, m / rate0, upper / rate0)


def _check_alpha(alpha: float) -> None:
    if not 1e-9 <= alpha < 0.5:
        raise ValueError(f"limits need 1e-9 <= alpha < 0.5, got {alpha}")


def _first(holds: Callable[[int], bool], start: int) -> int:
    """The smallest whole number from ``start`` on for which ``holds``, which stays true once it is."""
    low, high = start, 2 * start
    while not holds(high):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def centre_rate(gaps: Sequence[float]) -> float:
    """Phase I: events per trial (or unit of time), ``len(gaps) / sum(gaps)``. Raises ValueError if empty."""
    if not gaps:
        raise ValueError("a rate needs at least one gap")
    return len(gaps) / fsum(gaps)


def chart(gaps: Sequence[float], p0: float | None = None, *, m: int = GAPS, alpha: float = ALPHA) -> tuple[Point, ...]:
    """The g-chart: one point per moving sum of ``m`` gaps, so the first belongs to gap ``m``. ``n`` is ``m``.

    ``p0`` is the accepted rate; default: `centre_rate` (Phase I). Raises ValueError as `gap_limits` does, or for a gap
    below 1.
    """
    if any(not 1 <= gap < inf for gap in gaps):
        raise ValueError("a gap needs at least one trial: the one with the event")
    return _moving_sums(gaps, m, gap_limits(centre_rate(gaps) if p0 is None else p0, m, alpha))


def time_chart(
    times: Sequence[float], rate0: float | None = None, *, m: int = GAPS, alpha: float = ALPHA
) -> tuple[Point, ...]:
    """The t-chart: as `chart`, on times between events. Raises ValueError as `time_limits` does, or for a time <= 0."""
    if any(not 0 < time < inf for time in times):
        raise ValueError("a time between events needs to be above 0")
    return _moving_sums(times, m, time_limits(centre_rate(times) if rate0 is None else rate0, m, alpha))


def _moving_sums(gaps: Sequence[float], m: int, bounds: Limits) -> tuple[Point, ...]:
    return tuple(bounds.point(fsum(gaps[i - m : i]), m) for i in range(m, len(gaps) + 1))


class GapSum:
    """The detector of a rise in a rare event: signals while the newest ``m`` gaps sum to less than ``lower``.

    ``lower`` is that of `gap_limits` or `time_limits`. Feed each gap as its event comes. Neighbouring sums share gaps,
    so alarms come in clusters and the mean run length is above ``1 / alpha`` events. Not thread-safe.
    Raises ValueError unless m >= 1 and lower > 0.
    """

    __slots__ = ("_gaps", "lower", "m")

    def __init__(self, lower: float, m: int = GAPS, state: Sequence[float] = ()) -> None:
        if m < 1 or not lower > 0 or len(state) > m:
            raise ValueError(f"a sum of gaps needs m >= 1, lower > 0 and a state of at most m, got {m}, {lower}")
        self.lower = lower
        self.m = m
        self._gaps = tuple(float(gap) for gap in state)

    @property
    def state(self) -> tuple[float, ...]:
        """The newest gaps, at most ``m``. JSON can carry it; give it back as ``state``."""
        return self._gaps

    def step(self, gap: float) -> GapReading:
        """Take the gap that the newest event ended. Raises ValueError unless it is above 0 and finite."""
        if not (gap > 0 and isfinite(gap)):
            raise ValueError(f"a gap needs to be above 0 and finite, got {gap}")
        self._gaps = (*self._gaps, float(gap))[-self.m :]
        if len(self._gaps) < self.m:
            return GapReading(None, self.lower, False)
        value = fsum(self._gaps)
        return GapReading(value, self.lower, value < self.lower)
