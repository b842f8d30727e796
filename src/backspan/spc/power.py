"""How much data reveals a change: sample sizes of fixed tests, and the expected delay of the sequential ones.

Answers, before anybody chooses a chart or starts a canary, "how many ratings until a fall of 5 % shows, and how many
days is that for us?". Fixed-size formulas are exact inversions of the normal-approximation tests; the sequential ones
are approximations whose error is stated and was measured.

Sources: J. L. Fleiss, *Statistical Methods for Rates and Proportions*, 2nd ed. (1981), chapter 3; J. L. Fleiss,
A. Tytun, H. K. Ury, Biometrics 36 (1980), for the continuity correction and unequal groups; S. Kullback, R. Leibler,
Ann. Math. Statist. 22 (1951); G. Lorden, Ann. Math. Statist. 42 (1971), for delay = threshold / information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, log, sqrt
from statistics import NormalDist
from typing import Literal

from .sequential import Arm, log_mixture, variance
from .shiryaev import ALTERNATIVES, BINOMIAL, Model

Sides = Literal[1, 2]
"""1: only a change for the worse counts. 2: a change in either direction."""

_HEAD = 1.5772156649015329
"""1 + Euler's constant: see `detection_events`."""


def _quantiles(alpha: float, power: float, sides: Sides) -> tuple[float, float]:
    if not 0.0 < alpha < 0.5 or not alpha < power < 1.0:
        raise ValueError(f"a test needs 0 < alpha < 0.5 and alpha < power < 1, got alpha={alpha}, power={power}")
    normal = NormalDist()
    return normal.inv_cdf(1.0 - alpha / sides), normal.inv_cdf(power)


def _check_shares(p0: float, p1: float) -> None:
    if not (0.0 < p0 < 1.0 and 0.0 <= p1 <= 1.0) or p0 == p1:
        raise ValueError(f"two different shares are needed, 0 < p0 < 1 and 0 <= p1 <= 1, got {p0} and {p1}")


def kl_bernoulli(p1: float, p0: float) -> float:
    """Kullback-Leibler information per event of a share ``p1`` against ``p0``, in nats.

    ``p1 ln(p1/p0) + (1-p1) ln((1-p1)/(1-p0))``, with 0 ln 0 = 0. Raises ValueError unless 0 < p0 < 1, 0 <= p1 <= 1.
    """
    if not 0.0 < p0 < 1.0 or not 0.0 <= p1 <= 1.0:
        raise ValueError(f"information needs 0 < p0 < 1 and 0 <= p1 <= 1, got {p1} and {p0}")
    one = p1 * log(p1 / p0) if p1 > 0 else 0.0
    return one + ((1.0 - p1) * log((1.0 - p1) / (1.0 - p0)) if p1 < 1 else 0.0)


def kl_poisson(l1: float, l0: float) -> float:
    """Information per unit of exposure of a rate ``l1`` against ``l0``: ``l1 ln(l1/l0) - l1 + l0``, in nats.

    Raises ValueError unless l0 > 0 and l1 >= 0.
    """
    if not (l0 > 0 and l1 >= 0 and isfinite(l0) and isfinite(l1)):
        raise ValueError(f"information needs l0 > 0 and l1 >= 0, got {l1} and {l0}")
    return (l1 * log(l1 / l0) if l1 > 0 else 0.0) - l1 + l0


def two_proportions(
    p0: float,
    p1: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    sides: Sides = 2,
    ratio: float = 1.0,
    continuity: bool = False,
) -> float:
    """Events in the *first* group (share ``p0``) that show a difference from a second one (``p1``), ``ratio`` as large.

    Fleiss (1981), chapter 3, which is R's ``power.prop.test`` for equal groups. ``continuity`` adds the correction of
    Fleiss, Tytun and Ury (1980): about what an exact test needs. Not rounded: take the next whole number.
    Raises ValueError for equal shares, shares outside 0..1, or alpha, power or ratio out of range.
    """
    _check_shares(p0, p1)
    if not (ratio > 0 and isfinite(ratio)):
        raise ValueError(f"ratio must be above 0, got {ratio}")
    za, zb = _quantiles(alpha, power, sides)
    mean = (p0 + ratio * p1) / (1.0 + ratio)
    spread0 = sqrt((1.0 + ratio) * mean * (1.0 - mean))
    spread1 = sqrt(ratio * p0 * (1.0 - p0) + p1 * (1.0 - p1))
    n = (za * spread0 + zb * spread1) ** 2 / (ratio * (p1 - p0) ** 2)
    return n / 4 * (1 + sqrt(1 + 2 * (ratio + 1) / (n * ratio * abs(p1 - p0)))) ** 2 if continuity else n


def one_proportion(
    p0: float, p1: float, *, alpha: float = 0.05, power: float = 0.8, sides: Sides = 1, continuity: bool = False
) -> float:
    """Events that show that a share is ``p1`` and not the known ``p0``. Fleiss (1981), chapter 1; not rounded.

    ``((z_alpha sqrt(p0 q0) + z_power sqrt(p1 q1)) / (p1 - p0))^2``. Raises ValueError as `two_proportions`.
    """
    _check_shares(p0, p1)
    za, zb = _quantiles(alpha, power, sides)
    n = ((za * sqrt(p0 * (1 - p0)) + zb * sqrt(p1 * (1 - p1))) / (p1 - p0)) ** 2
    return n / 4 * (1 + sqrt(1 + 2 / (n * abs(p1 - p0)))) ** 2 if continuity else n


def drift(p0: float, p1: float, alternatives: Sequence[float] = ALTERNATIVES, *, model: Model = BINOMIAL) -> float:
    """Mean growth per event of the best alternative's log-likelihood ratio at the true rate ``p1``.

    It is the information (`kl_bernoulli`, `kl_poisson`) where ``p1`` is an alternative, less between two of them, and
    negative where the change is smaller than about half the smallest.
    """
    model.check(p0)
    if not alternatives:
        raise ValueError("a mixture needs at least one alternative")
    return max(model.llr(1.0, p1, p0, model.alternative(p0, r)) for r in alternatives)


def detection_events(
    p0: float,
    p1: float,
    limit: float,
    *,
    n_ref: float = 10,
    alternatives: Sequence[float] = ALTERNATIVES,
    model: Model = BINOMIAL,
    phi: float = 1.0,
    batch: float = 1.0,
) -> float:
    """About how many events the mixture Shiryaev-Roberts chart needs from a change to ``p1`` until its alarm.

    ``limit`` is its `threshold`, ``batch`` the events per step. With D the `drift` over phi and K alternatives::

        (limit + ln K - (1 + gamma) + ln(n_ref D)) / D + batch / 2

    ln R grows by D an event. It has to reach the limit, and K times as much where one of K alternatives carries it. It
    does not start at 0: what has gathered before the change plus what each event since adds is, in Brownian motion,
    ``1 / (n_ref D)`` times the sum of two inverse exponential variables, whose logarithm has mean 1 + gamma
    (D. Dufresne, Scand. Actuarial J. (1990)). Measured: within 25 % of simulation for limits from 6.9 to 9.9 and
    changes of 1.2 to 3 times, mostly between the delay of a chart just started and that of one that has run for long.
    Infinite where the drift is not above 0: this chart does not look for so small a change.
    """
    if not phi >= 1.0 or not n_ref > 0 or not batch > 0 or not isfinite(limit):
        raise ValueError(f"a delay needs phi >= 1, n_ref > 0, batch > 0, got phi={phi}, n_ref={n_ref}, batch={batch}")
    d = drift(p0, p1, alternatives, model=model) / phi
    if d <= 0.0:
        return inf
    return max(limit + log(len(alternatives)) - _HEAD + log(n_ref * d), d) / d + batch / 2


def comparison_events(p0: float, p1: float, tau: float, alpha: float = 0.05, *, ratio: float = 1.0) -> float:
    """About how many events of the *variant* (true share ``p1``) `sequential.compare` needs to tell it from ``p0``.

    ``ratio`` is control events per variant event (99 for a canary of 1 %). It is the n at which ln Lambda of the true
    rates reaches ln(1 / (2 alpha)); mean run lengths of simulations were within 10 % of it. Looks far apart add half of
    their distance, and `compare` says nothing before its ``min_n``.
    Raises ValueError for equal shares, or tau, alpha or ratio out of range.
    """
    _check_shares(p0, p1)
    if not (tau > 0 and 0.0 < alpha < 0.5 and ratio > 0 and isfinite(ratio)):
        raise ValueError(f"a comparison needs tau > 0, 0 < alpha < 0.5, ratio > 0, got {tau}, {alpha}, {ratio}")
    limit, high = -log(2.0 * alpha), 1.0

    def enough(n: float) -> bool:
        return log_mixture(p1 - p0, variance(Arm(n, n * p1), Arm(n * ratio, n * ratio * p0)), tau) >= limit

    while not enough(high):
        high *= 2.0
    low = high / 2.0
    for _ in range(40):
        middle = (low + high) / 2.0
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def changed(p0: float, change: float, *, relative: bool = True) -> float:
    """The share after a change: ``-0.05`` is a fall of 5 % of ``p0``, or of 5 points if not ``relative``.

    Raises ValueError for no change, or a share outside 0..1 before or after it.
    """
    p1 = p0 * (1.0 + change) if relative else p0 + change
    _check_shares(p0, p1)
    return p1


Method = Literal["known", "two_groups", "compare", "chart"]
"""``known``: one look, against a share that is known. ``two_groups``: one look, two equal groups. ``compare``: looks at
any time, two equal groups (`backspan.spc.sequential`). ``chart``: the pager (`backspan.spc.shiryaev`)."""


@dataclass(frozen=True)
class Need:
    """What one method needs: events in all (both groups together), and days at the given volume."""

    method: Method
    events: float
    days: float


def plan(
    p0: float,
    change: float,
    per_day: float,
    limit: float,
    *,
    relative: bool = True,
    alpha: float = 0.05,
    power: float = 0.8,
    n_ref: float = 10,
    alternatives: Sequence[float] = ALTERNATIVES,
    phi: float = 1.0,
) -> tuple[Need, ...]:
    """How many events, and days at ``per_day`` events, reveal a ``change`` (see `changed`) of the share ``p0``.

    ``known`` and ``two_groups`` see it with probability ``power``; ``compare`` (tau: this change) and ``chart`` (alarm
    at ``limit``) need so many on average. All one-sided. ``phi`` is the dispersion: clustered events count for less
    (the design effect: L. Kish, *Survey Sampling*, 1965). Infinite for a chart whose alternatives are too far away:
    give it smaller ones, or chart the rarer outcome (a fall of 80 % to 76 % is a rise of 20 % to 24 %: 1.2 times).
    Raises ValueError for a volume not above 0 and whatever the parts refuse.
    """
    if not per_day > 0:
        raise ValueError(f"a volume must be above 0 events a day, got {per_day}")
    p1 = changed(p0, change, relative=relative)
    model = Model(falls=p1 < p0)
    if not phi >= 1.0:
        raise ValueError(f"phi must be at least 1, got {phi}")
    needs: dict[Method, float] = {
        "known": phi * one_proportion(p0, p1, alpha=alpha, power=power),
        "two_groups": phi * 2 * two_proportions(p0, p1, alpha=alpha, power=power, sides=1),
        "compare": phi * 2 * comparison_events(p0, p1, abs(p1 - p0), alpha),
        "chart": detection_events(p0, p1, limit, n_ref=n_ref, alternatives=alternatives, model=model, phi=phi),
    }
    return tuple(Need(method, events, events / per_day) for method, events in needs.items())
