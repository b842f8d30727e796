"""Run lengths by simulation, for any detector with a ``step``: where no exact formula exists, or to check one.

A detector here is only its ``step``: a function that takes one batch and returns something; ``alarmed`` says whether
that is an alarm. Every run has a random generator of its own, made from the seed and the number of the run, so the
same call gives the same numbers and twice the runs keep the first half.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import exp, fsum, inf, lgamma, log, log1p, nan, sqrt
from random import Random
from typing import Any, TypeVar

_T = TypeVar("_T")
_TAIL = 12.0
"""Sampling tables end this many standard deviations, and three times as many counts, from the mean: nothing is lost."""

Step = Callable[..., _T]
"""A detector's ``step``: takes what one draw returned."""
Draw = Callable[[Random, int], tuple[Any, ...]]
"""``draw(random, t)``: the arguments of ``step`` for batch ``t`` (from 0)."""


@dataclass(frozen=True)
class RunLength:
    """Result of `run_length`, in steps (or in the unit of ``cost``).

    ``mean`` over ``runs`` runs, with its ``standard_error`` (not a number for a single run). ``dropped`` runs
    signalled before the change and are not counted. ``capped`` runs did not signal within the limit of steps: they
    count with what they had reached, so if there are any, ``mean`` is too small.
    """

    mean: float
    standard_error: float
    runs: int
    dropped: int
    capped: int


def run_length(
    make: Callable[[], Step[_T]],
    draw: Draw,
    *,
    alarmed: Callable[[_T], bool] = bool,
    cost: Callable[..., float] | None = None,
    quiet: int = 0,
    runs: int = 1000,
    most_steps: int = 100_000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> RunLength:
    """Mean number of steps from batch ``quiet`` on to the first alarm.

    ``make`` returns the ``step`` of a fresh detector. ``quiet`` > 0: the change happens at that batch (``draw`` knows,
    it is told the batch's number), runs with an alarm before it are dropped, and the length counts from it.
    ``cost(*arguments)`` makes the unit another than one a step, such as the events of the batch.
    ``progress(done, runs)`` is called about a hundred times. Raises ValueError unless runs >= 1, most_steps >= 1 and
    quiet >= 0, or if every run was dropped.
    """
    if runs < 1 or most_steps < 1 or quiet < 0:
        raise ValueError(f"a simulation needs runs >= 1, most_steps >= 1, quiet >= 0: {runs}, {most_steps}, {quiet}")
    lengths: list[float] = []
    capped = 0
    for run in range(runs):
        found = _one(make(), draw, alarmed, cost, quiet, most_steps, Random(seed * 1_000_003 + run))
        if found is not None:
            lengths.append(found[0])
            capped += not found[1]
        if progress is not None and ((run + 1) % max(1, runs // 100) == 0 or run + 1 == runs):
            progress(run + 1, runs)
    if not lengths:
        raise ValueError(f"every one of {runs} runs signalled before the change")
    return _summary(lengths, runs - len(lengths), capped)


def _one(
    step: Step[_T],
    draw: Draw,
    alarmed: Callable[[_T], bool],
    cost: Callable[..., float] | None,
    quiet: int,
    most_steps: int,
    random: Random,
) -> tuple[float, bool] | None:
    """Length of one run and whether it ended with an alarm; None if that came before the change."""
    for t in range(quiet):
        if alarmed(step(*draw(random, t))):
            return None
    length = 0.0
    for t in range(quiet, quiet + most_steps):
        batch = draw(random, t)
        length += 1.0 if cost is None else cost(*batch)
        if alarmed(step(*batch)):
            return length, True
    return length, False


def _summary(lengths: Sequence[float], dropped: int, capped: int) -> RunLength:
    count = len(lengths)
    mean = fsum(lengths) / count
    error = sqrt(fsum((v - mean) ** 2 for v in lengths) / (count - 1) / count) if count > 1 else nan
    return RunLength(mean, error, count, dropped, capped)


def normal(shift: float = 0.0, since: int = 0) -> Draw:
    """Draws of one z-score: standard normal, with mean ``shift`` from batch ``since`` on."""
    return lambda random, t: (random.gauss(shift if t >= since else 0.0, 1.0),)


@lru_cache(maxsize=256)
def binomial(n: int, p: float) -> Callable[[Random], int]:
    """A sampler of the number of bad ones among ``n`` at rate ``p``. Raises ValueError unless n >= 0, 0 <= p <= 1."""
    if n < 0 or not 0.0 <= p <= 1.0:
        raise ValueError(f"a binomial draw needs n >= 0 and 0 <= p <= 1, got n={n}, p={p}")
    if n == 0 or p in (0.0, 1.0):
        always = round(n * p)
        return lambda random: always
    log_p, log_q, log_n = log(p), log1p(-p), lgamma(n + 1)
    return _table(
        n * p,
        n * p * (1.0 - p),
        n,
        lambda k: log_n - lgamma(k + 1) - lgamma(n - k + 1) + k * log_p + (n - k) * log_q,
    )


@lru_cache(maxsize=256)
def poisson(mean: float) -> Callable[[Random], int]:
    """A sampler of Poisson counts. Raises ValueError unless mean >= 0 and finite."""
    if not 0.0 <= mean < inf:
        raise ValueError(f"a Poisson draw needs a finite mean >= 0, got {mean}")
    if mean == 0.0:
        return lambda random: 0
    return _table(mean, mean, None, lambda k: k * log(mean) - mean - lgamma(k + 1))


def _table(
    mean: float, variance: float, largest: int | None, log_chance: Callable[[int], float]
) -> Callable[[Random], int]:
    """Inversion: a uniform number looked up among the cumulated chances."""
    reach = _TAIL * sqrt(variance) + 3 * _TAIL
    first = max(0, int(mean - reach))
    last = int(mean + reach) + 1 if largest is None else min(largest, int(mean + reach) + 1)
    cumulated = list(accumulate(exp(log_chance(k)) for k in range(first, last + 1)))
    top = last - first
    return lambda random: first + min(top, bisect_left(cumulated, random.random()))
