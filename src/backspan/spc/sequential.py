"""Variant against control: a test that may be looked at after every event, and the interval that belongs to it.

With ``d = p_variant - p_control``, ``s2`` its variance (`variance`) and ``tau`` the smallest difference that matters::

    Lambda = sqrt(s2 / (s2 + tau^2)) * exp(tau^2 d^2 / (2 s2 (s2 + tau^2)))

is the likelihood of ``d`` averaged over differences drawn from Normal(0, tau^2), over that of no difference. If there
is none, Lambda exceeds 1 / a at *any* look with probability at most a (Ville's inequality), half of it on either side.
So a verdict needs Lambda >= 1 / (2 alpha) with ``d`` on its side. The same limit, read as a statement about every
possible difference, gives the interval: it holds at all looks together with confidence 1 - 2 alpha.

Memory is two counts per side, and every formula here but `share_interval` uses + - * / ln sqrt exp abs only, so PromQL
can compute it from counters (``max(a, b)`` is ``(a + b + abs(a - b)) / 2``; ``0 / 0`` is NaN there and compares false,
where these functions say "no evidence"). The mathematics has no memory of a verdict: whoever acts on one keeps it.

It is a normal approximation: hence ``min_n`` events per side, and a wider variance where fewer than five bad (or five
good) events are expected on the smaller side. Compare only judgements of the same age on both sides (a new variant has
only young ones), and divide ``alpha`` by the number of indicators that can stop the same variant.

Sources: H. Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Statist. 41 (1970);
R. Johari, P. Koomen, L. Pekelis, D. Walsh, "Always valid inference", Operations Research 70 (2022); S. Howard,
A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Ann. Statist. 49
(2021). Rule of five: W. G. Cochran, Biometrics 10 (1954).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, lgamma, log, log1p, sqrt
from typing import Literal

from .shiryaev import Family

Verdict = Literal["continue", "worse", "better", "no_difference_yet"]
"""What `compare` says.

- ``continue``: too few events, or neither a difference shown nor one that matters ruled out. Keep both running.
- ``worse``: the variant is worse than the control. Stop it.
- ``better``: the variant is better than the control.
- ``no_difference_yet``: the whole interval lies within plus or minus ``tau``: no difference that matters, at this
  confidence. "Yet", because a smaller one may still show.
"""
Worse = Literal["up", "down"]
"""The direction in which the rate is worse: ``up`` for thumbs-down or errors, ``down`` for successes."""

TAU = 0.05
"""Smallest difference that matters, as a difference of shares. For rare events choose about their rate."""
ALPHA = 0.05
"""Chance, over all looks together, of calling a variant worse that is not; the same again for better."""
MIN_N = 100
"""Events (or exposure) on each side before anything is said."""
MIN_EXPECTED = 5.0
"""Expected bad, and good, events on the smaller side below which the pooled variance alone is not trusted."""


@dataclass(frozen=True)
class Arm:
    """One side: ``x`` bad of ``n`` events, or ``x`` events in the exposure ``n`` (family ``poisson``)."""

    n: float
    x: float

    def __post_init__(self) -> None:
        if not (isfinite(self.n) and isfinite(self.x) and self.n >= 0 and self.x >= 0):
            raise ValueError(f"an arm needs finite n >= 0 and x >= 0, got n={self.n}, x={self.x}")


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. Rates and differences are shares, or events per unit of exposure."""

    verdict: Verdict
    evidence: float
    """ln Lambda; 0 is none, negative speaks for no difference."""
    limit: float
    """``ln(1 / (2 alpha))``, which ``evidence`` has to reach."""
    difference: float | None
    """Variant minus control; None while a side is empty."""
    interval: tuple[float, float] | None
    """Where the difference lies, at all looks together; None while a side is empty."""
    confidence: float
    """Of the interval: ``1 - 2 alpha``."""
    variant: Arm
    control: Arm


def _check(variant: Arm, control: Arm, tau: float, family: Family, phi: float) -> None:
    if not (tau > 0 and isfinite(tau)) or not phi >= 1.0:
        raise ValueError(f"a comparison needs tau > 0 and phi >= 1, got tau={tau}, phi={phi}")
    for arm in (variant, control):
        if family == "binomial" and arm.x > arm.n:
            raise ValueError(f"a share needs x <= n, got n={arm.n}, x={arm.x}")


def _pooled(a: Arm, b: Arm, family: Family) -> float:
    rate = (a.x + b.x) / (a.n + b.n)
    return (rate if family == "poisson" else rate * (1.0 - rate)) * (1.0 / a.n + 1.0 / b.n)


def _unpooled(a: Arm, b: Arm, family: Family, added: float = 0.0) -> float:
    """Each side with its own rate, after ``added`` events on it (half of them bad if that is a half of one)."""

    def one(arm: Arm) -> float:
        if family == "poisson":
            return (arm.x + added) / arm.n**2
        n = arm.n + 2 * added
        return (arm.x + added) / n * (arm.n - arm.x + added) / n / n

    return one(a) + one(b)


def variance(variant: Arm, control: Arm, family: Family = "binomial") -> float:
    """Variance of the difference of the two rates if there is none: pooled, ``pbar (1 - pbar) (1/n1 + 1/n0)``.

    Poisson: ``lbar (1/n1 + 1/n0)``. Where fewer than `MIN_EXPECTED` bad (or good) events are expected on the smaller
    side it is the larger of this and the unpooled variance: a small canary of a rare event has a skewed count, and with
    the pooled variance alone it was called worse in 7.6 % of runs without a difference, instead of 5 %. With arms of
    equal size the pooled one is always the larger. Raises ZeroDivisionError for an empty side.
    """
    pooled = _pooled(variant, control, family)
    rate = (variant.x + control.x) / (variant.n + control.n)
    rarer = rate if family == "poisson" else min(rate, 1.0 - rate)
    if rarer * min(variant.n, control.n) >= MIN_EXPECTED:
        return pooled
    return max(pooled, _unpooled(variant, control, family))


def log_mixture(d: float, s2: float, tau: float) -> float:
    """ln Lambda of a difference ``d`` whose variance is ``s2``, against Normal(0, tau^2). 0 where ``s2`` is 0."""
    if s2 <= 0.0:
        return 0.0
    both = s2 + tau * tau
    return 0.5 * log(s2 / both) + (tau * d) ** 2 / (2.0 * s2 * both)


def log_lambda(
    n1: float, x1: float, n0: float, x0: float, tau: float = TAU, *, family: Family = "binomial", phi: float = 1.0
) -> float:
    """ln Lambda of ``x1`` in ``n1`` (variant) against ``x0`` in ``n0`` (control), whatever the direction.

    ``phi`` >= 1 is the dispersion (`backspan.spc.baseline`); it multiplies the variance. 0 where a side is empty or
    nothing, or everything, is bad: there is no evidence then. With n1 = n0 = n and V = 2 pbar (1 - pbar) it equals
    ``sqrt(V / (V + n tau^2)) exp(n^2 tau^2 d^2 / (2 V (V + n tau^2)))``. Raises ValueError for impossible counts.
    """
    variant, control = Arm(n1, x1), Arm(n0, x0)
    _check(variant, control, tau, family, phi)
    if n1 == 0 or n0 == 0:
        return 0.0
    return log_mixture(x1 / n1 - x0 / n0, phi * variance(variant, control, family), tau)


def half_width(s2: float, tau: float, limit: float) -> float:
    """Half the interval: the ``d`` at which `log_mixture` reaches ``limit``.

    ``sqrt(s2 (s2 + tau^2) / tau^2 * (2 limit + ln((s2 + tau^2) / s2)))``.
    """
    both = s2 + tau * tau
    return sqrt(s2 * both / (tau * tau) * (2.0 * limit + log(both / s2)))


def interval(
    variant: Arm, control: Arm, tau: float = TAU, *, alpha: float = ALPHA, family: Family = "binomial", phi: float = 1.0
) -> tuple[float, float]:
    """Always-valid interval of the difference, variant minus control, with confidence 1 - 2 alpha over all looks.

    Its variance is the larger of the pooled one and the unpooled one with half an event added to either outcome: away
    from "no difference" the pooled one is too small for a small arm with the larger rate, and without any bad event
    neither says how much is unknown. A share's difference is clipped to -1..1.
    Raises ValueError for an empty side, impossible counts, or alpha outside 0 < alpha < 0.5.
    """
    _check(variant, control, tau, family, phi)
    if not 0.0 < alpha < 0.5 or variant.n == 0 or control.n == 0:
        raise ValueError(f"an interval needs events on both sides and 0 < alpha < 0.5, got alpha={alpha}")
    s2 = phi * max(_pooled(variant, control, family), _unpooled(variant, control, family, 0.5))
    d, half = variant.x / variant.n - control.x / control.n, half_width(s2, tau, -log(2.0 * alpha))
    edge = 1.0 if family == "binomial" else inf
    return max(-edge, d - half), min(edge, d + half)


def compare(
    variant: Arm,
    control: Arm,
    tau: float = TAU,
    *,
    alpha: float = ALPHA,
    min_n: float = MIN_N,
    worse: Worse = "up",
    family: Family = "binomial",
    phi: float = 1.0,
) -> Comparison:
    """Compare a variant with its control; call it as often as you like. See `Verdict` for what comes out.

    The interval never contradicts the verdict: once a side of 0 is decided, an end that reaches over 0 (its variance is
    the more careful one) is set to 0. Raises ValueError for impossible counts, tau <= 0, phi < 1, min_n < 1 or alpha
    outside 0 < alpha < 0.5.
    """
    if not 0.0 < alpha < 0.5 or not min_n >= 1:
        raise ValueError(f"a comparison needs 0 < alpha < 0.5 and min_n >= 1, got alpha={alpha}, min_n={min_n}")
    limit, confidence = -log(2.0 * alpha), 1.0 - 2.0 * alpha
    evidence = log_lambda(variant.n, variant.x, control.n, control.x, tau, family=family, phi=phi)
    if variant.n == 0 or control.n == 0:
        return Comparison("continue", evidence, limit, None, None, confidence, variant, control)
    d = variant.x / variant.n - control.x / control.n
    low, high = interval(variant, control, tau, alpha=alpha, family=family, phi=phi)
    if min(variant.n, control.n) < min_n:
        verdict: Verdict = "continue"
    elif evidence >= limit:
        verdict = "worse" if (d > 0) == (worse == "up") else "better"
    else:
        verdict = "no_difference_yet" if -tau < low and high < tau else "continue"
    if verdict in ("worse", "better"):
        low, high = (max(low, 0.0), high) if d > 0 else (low, min(high, 0.0))
    return Comparison(verdict, evidence, limit, d, (low, high), confidence, variant, control)


def share_interval(n: int, x: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Always-valid interval of one share, ``x`` of ``n``: it holds at all looks together with confidence 1 - alpha.

    All p whose likelihood is above alpha times the likelihood averaged over a uniform prior::

        ln B(x + 1, n - x + 1) - x ln p - (n - x) ln(1 - p) < ln(1 / alpha)

    Exact at every n (no approximation), for any p. The beta-binomial mixture: Robbins (1970), Howard et al.
    (2021). It needs ln-gamma, so it is Python's only. Raises ValueError unless 0 <= x <= n and 0 < alpha < 1.
    """
    if not 0 <= x <= n or not 0.0 < alpha < 1.0:
        raise ValueError(f"a share needs 0 <= x <= n and 0 < alpha < 1, got n={n}, x={x}, alpha={alpha}")
    if n == 0:
        return 0.0, 1.0
    mixture = lgamma(x + 1) + lgamma(n - x + 1) - lgamma(n + 2)

    def excluded(p: float) -> bool:
        return mixture - (x * log(p) if x else 0.0) - ((n - x) * log1p(-p) if n > x else 0.0) >= -log(alpha)

    return (0.0 if x == 0 else _edge(excluded, 0.0, x / n)), (1.0 if x == n else _edge(excluded, 1.0, x / n))


def _edge(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """Where ``excluded`` changes between an end of 0..1 and the observed share, by halving; the careful end of it."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            break
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside
