"""Run lengths of the pager's chart at a given volume: how long to a false alarm, and to a true one.

`backspan.spc.shiryaev` step by step would take minutes for a promise of 100,000 events; here the same recursion runs
faster, and a test holds the two against each other. Where at most about one event comes per evaluation, only the rarer
events are drawn: what happens to R between them has a closed form,

    share:  (R - f) q^g + f, f = w q / (1 - q)   after g good ones, q their likelihood ratio, w = 1 / n_ref
    rate:   R e^(ce) + w (e^(ce) - 1) / c        after exposure e, c = p0 - p1 (continuous)

Otherwise one batch of n events comes per evaluation, and the likelihood ratios of all outcomes are tabulated.

Dispersion phi > 1 is drawn as clumps: phi events with one outcome. That has the variance phi times that of single
events, and leaves the likelihood ratio of a clump as large as that of one event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, expm1, fsum, log, log1p, sqrt
from random import Random

from backspan.spc.shiryaev import Model
from backspan.spc.simulate import binomial, poisson

QUIET = 2000
"""Most events in control before a shift. Runs with an alarm in them are drawn again."""
_BATCHED = 1.5
"""From so many events an evaluation on they are taken as a batch."""


@dataclass(frozen=True)
class Setting:
    """A chart and its volume. ``batch`` is the mean number of events (units of exposure) an evaluation."""

    p0: float
    limit: float
    alternatives: tuple[float, ...]
    n_ref: float
    model: Model
    phi: float = 1.0
    batch: float = 1.0

    @property
    def terms(self) -> tuple[float, ...]:
        """The alternatives' rates."""
        return tuple(self.model.alternative(self.p0, r) for r in self.alternatives)


@dataclass(frozen=True)
class Length:
    """Mean run length in events (units of exposure), with its standard error, over ``runs`` runs."""

    mean: float
    error: float
    runs: int


Run = Callable[[Random, float, list[float], float], float]
"""Draws from a rate until the mean of R reaches the alarm, or the events (in clumps) run out; returns those used."""


def simulate(
    setting: Setting, rate: float, runs: int, seed: int, *, quiet: float = 0.0,
    told: Callable[[int], None] | None = None,
) -> Length:
    """Mean events from a change to ``rate`` until the alarm. Raises ValueError unless runs >= 2.

    ``quiet``: events at the accepted rate before the change.
    """
    if runs < 2:
        raise ValueError(f"a standard error needs at least 2 runs, got {runs}")
    walk = _batches(setting) if setting.batch / setting.phi >= _BATCHED else _events(setting)
    lengths: list[float] = []
    for run in range(runs):
        random = Random(seed * 1_000_003 + run)
        state = _settled(setting, walk, random, quiet / setting.phi)
        lengths.append(walk(random, rate, state, float("inf")) * setting.phi)
        if told:
            told(run + 1)
    mean = fsum(lengths) / runs
    return Length(mean, sqrt(fsum((v - mean) ** 2 for v in lengths) / (runs - 1) / runs), runs)


def _settled(setting: Setting, walk: Run, random: Random, quiet: float) -> list[float]:
    """R of each alternative after a quiet stretch without an alarm."""
    while True:
        state = [0.0] * len(setting.alternatives)
        if not quiet or walk(random, setting.p0, state, quiet) >= quiet:
            return state


# --- event by event -------------------------------------------------------------------------------------------------
def _events(setting: Setting) -> Run:
    return _exposure_run(setting) if setting.model.family == "poisson" else _share_run(setting)


def _share_run(setting: Setting) -> Run:
    """Between two bad events lie g good ones; an alarm among them is possible where a fall is worse."""
    model, p0, w = setting.model, setting.p0, setting.phi / setting.n_ref
    alarm = exp(setting.limit) * len(setting.alternatives)
    ln_good = [model.llr(1, 0, p0, p1) for p1 in setting.terms]
    fixed = [w * exp(q) / -expm1(q) for q in ln_good]
    worse = [exp(model.llr(1, 1, p0, p1)) for p1 in setting.terms]
    parts = list(zip(ln_good, fixed, strict=True))

    def walk(random: Random, rate: float, state: list[float], most: float) -> float:
        used, ln_q = 0.0, log1p(-rate)
        while used < most:
            gap = int(log(1.0 - random.random()) / ln_q)
            after = [(r - c) * exp(min(gap * q, 690.0)) + c for r, (q, c) in zip(state, parts, strict=True)]
            if model.falls and sum(after) >= alarm:
                return used + _step_of_alarm(state, [exp(q) for q in ln_good], w, alarm)
            state[:] = [(r + w) * f for r, f in zip(after, worse, strict=True)]
            used += gap + 1
            if sum(state) >= alarm:
                return used
        return used

    return walk


def _step_of_alarm(state: list[float], factors: list[float], w: float, alarm: float) -> int:
    steps = 0
    while fsum(state) < alarm:
        state = [(r + w) * f for r, f in zip(state, factors, strict=True)]
        steps += 1
    return steps


def _exposure_run(setting: Setting) -> Run:
    model, p0, w = setting.model, setting.p0, setting.phi / setting.n_ref
    alarm = exp(setting.limit) * len(setting.alternatives)
    drift = [p0 - p1 for p1 in setting.terms]
    jump = [exp(model.llr(0, 1, p0, p1)) for p1 in setting.terms]

    def grown(state: list[float], e: float) -> list[float]:
        turns = [min(c * e, 690.0) for c in drift]
        return [r * exp(t) + w * expm1(t) / c for r, c, t in zip(state, drift, turns, strict=True)]

    def walk(random: Random, rate: float, state: list[float], most: float) -> float:
        used = 0.0
        while used < most:
            gap = random.expovariate(rate)
            after = grown(state, gap)
            if fsum(after) >= alarm:
                return used + _exposure_of_alarm(lambda e: fsum(grown(state, e)) >= alarm, gap)
            used += gap
            state[:] = [r * f for r, f in zip(after, jump, strict=True)]
            if fsum(state) >= alarm:
                return used
        return used

    return walk


def _exposure_of_alarm(alarmed: Callable[[float], bool], gap: float) -> float:
    low, high = 0.0, gap
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if alarmed(middle) else (middle, high)
    return high


# --- batch by batch -------------------------------------------------------------------------------------------------
def _batches(setting: Setting) -> Run:
    """Every evaluation brings the same number of clumps."""
    model, p0, w = setting.model, setting.p0, setting.phi / setting.n_ref
    n = max(1, round(setting.batch / setting.phi))
    alarm, terms = exp(setting.limit) * len(setting.alternatives), setting.terms
    table: dict[int, list[float]] = {}

    def factors(x: int) -> list[float]:
        found = table.get(x)
        if found is None:
            found = table[x] = [exp(min(model.llr(n, x, p0, p1), 690.0)) for p1 in terms]
        return found

    def walk(random: Random, rate: float, state: list[float], most: float) -> float:
        draw = poisson(n * rate) if model.family == "poisson" else binomial(n, rate)
        used, weight = 0.0, n * w
        while used < most:
            state[:] = [(r + weight) * f for r, f in zip(state, factors(draw(random)), strict=True)]
            used += n
            if fsum(state) >= alarm:
                return used
        return used

    return walk
