"""Error budget and burn rate of an objective, with a guard for low traffic.

An objective of 95 % good events over 28 days allows 5 % bad ones: the budget. Burn rate 1 spends it in exactly the 28
days, 14.4 in two. An alert watches a long window (is it significant?) and a short one, a twelfth of it (is it still
going on?): *The Site Reliability Workbook* (Google, O'Reilly 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".

Where the book's table goes wrong is low traffic, as it says itself: of one event in an hour, one bad is a burn rate of
20. So a long window counts here only if its number of bad events would be a surprise at the budgeted rate::

    n KL(x/n || budget) = x ln(x / (n b)) + (n - x) ln((n - x) / (n (1 - b))) >= ln(1 / alpha),   x/n > b

By Chernoff's bound P(X >= x) is at most exp(-n KL), so a service that just keeps its objective passes the guard in a
window with probability at most ``alpha``, at every n. Why this and not Wilson's lower bound: that is an approximation
and too bold exactly where n is small. Why not the exact binomial tail: PromQL has no ln-gamma; this is ln and + - * /
(write ``clamp_min(n - x, 1e-9)`` inside the last logarithm, so that x = n gives 0 and not NaN). Why against the budget
and not against 14.4 times the budget: the share itself must reach that anyway, and a false page is one for a service
that keeps its objective. The probability is per window: it bounds a look, not a month of looks. And one bad event is no
pattern: there must be two, because at 99.9 % one of one is a surprise of one in a thousand already.

Measured: a service that just keeps its objective (95, 99 or 99.9 %), 0.5 to 20 events an hour, one look a minute: 0 to
7 false pages in twelve periods of 28 days with the guard, 5 to 323 without.

Source of the bound: H. Chernoff, Ann. Math. Statist. 23 (1952); W. Hoeffding, JASA 58 (1963), theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import Literal

from .power import kl_bernoulli

ALPHA = 0.001
"""Chance that one long window passes the guard while the service just keeps its objective."""
MIN_BAD = 2
"""Bad events in a long window below which nothing trips."""
DAY = 86_400
MONTH = 30 * DAY
"""The period, in seconds, for which the book's table is written."""
SHORTEST, LONGEST = 7 * DAY, 366 * DAY
"""Periods outside have windows too short for a minute's evaluation, or so long that nobody waits for them."""


@dataclass(frozen=True)
class Counts:
    """``bad`` of ``n`` events in a window."""

    n: float
    bad: float

    def __post_init__(self) -> None:
        if not 0 <= self.bad <= self.n or self.n == inf:
            raise ValueError(f"a window needs 0 <= bad <= n, got n={self.n}, bad={self.bad}")

    @property
    def share(self) -> float:
        """Share of bad events; 0 of an empty window."""
        return self.bad / self.n if self.n else 0.0


@dataclass(frozen=True)
class BurnAlert:
    """One line of the table: alert when both windows burn at ``factor`` or faster."""

    factor: float
    """Burn rate; 1 spends the budget in exactly the period."""
    long: int
    """Seconds."""
    short: int
    """Seconds."""
    severity: Literal["page", "ticket"]

    def spent(self, period: float = MONTH) -> float:
        """Share of the period's budget that is gone when the alert fires: ``factor * long / period``."""
        return self.factor * self.long / period


@dataclass(frozen=True)
class Budget:
    """The error budget over the events seen so far in the period."""

    allowed: float
    """Bad events that the objective allows among these."""
    bad: float
    remaining: float
    """Share of the budget left: 1 untouched, 0 gone, negative overdrawn."""


WINDOWS = (
    BurnAlert(14.4, 3_600, 300, "page"),
    BurnAlert(6.0, 6 * 3_600, 1_800, "page"),
    BurnAlert(3.0, DAY, 2 * 3_600, "ticket"),
    BurnAlert(1.0, 3 * DAY, 6 * 3_600, "ticket"),
)
"""The book's table for a period of 30 days: 2 %, 5 %, 10 % and 10 % of the budget spent."""


def windows(period: float = MONTH) -> tuple[BurnAlert, ...]:
    """The table for another period, in seconds: same budget spent, windows scaled and rounded to whole minutes.

    The factor follows the rounding, so that the budget spent stays exact. A short window is at least two minutes.
    Raises ValueError unless the period lies between 7 and 366 days.
    """
    if not SHORTEST <= period <= LONGEST:
        raise ValueError(f"a period must lie between 7 and 366 days, got {period / DAY:g} days")

    def minutes(seconds: int, least: int) -> int:
        return 60 * max(least, round(seconds * period / MONTH / 60))

    scaled = [(a, minutes(a.long, 1), minutes(a.short, 2)) for a in WINDOWS]
    return tuple(BurnAlert(a.spent() * period / long, long, short, a.severity) for a, long, short in scaled)


def allowance(objective: float) -> float:
    """The share of bad events that an objective allows: ``1 - objective``. ValueError unless 0 < objective < 1."""
    if not 0.0 < objective < 1.0:
        raise ValueError(f"an objective must lie between 0 and 1, got {objective}")
    return 1.0 - objective


def budget(objective: float, n: float, bad: float) -> Budget:
    """The budget after ``bad`` of ``n`` events of the period; untouched before the first. Raises ValueError."""
    counts, allowed = Counts(n, bad), allowance(objective) * n
    return Budget(allowed, counts.bad, 1.0 - bad / allowed if n else 1.0)


def burn_rate(objective: float, n: float, bad: float) -> float:
    """Share of bad events over the budgeted share; 0 for no events. Raises ValueError for impossible counts."""
    return Counts(n, bad).share / allowance(objective)


def seconds_left(remaining: float, burn: float, period: float = MONTH) -> float:
    """Seconds until the budget is gone at this burn rate; infinite at 0. ``remaining`` is a share (`Budget`)."""
    return max(0.0, remaining) * period / burn if burn > 0 else inf


def reachable(alert: BurnAlert, objective: float) -> bool:
    """False if not even all events bad would fire the alert: its factor times the budgeted share is above 1.

    An objective below 93.06 % cannot burn 14.4 times its budget. Such an alert is dead; say so where it is asked for.
    """
    return alert.factor * allowance(objective) <= 1.0


def surprise(n: float, bad: float, rate: float) -> float:
    """``n KL(bad/n || rate)`` where more than ``rate`` is bad, else 0: P(that many bad) is at most exp(-surprise)."""
    share = Counts(n, bad).share
    return n * kl_bernoulli(share, rate) if share > rate else 0.0


def significant(long: Counts, objective: float, *, alpha: float = ALPHA) -> bool:
    """The guard: True if a window holds at least two bad events and their `surprise` reaches ``ln(1 / alpha)``.

    ``alpha`` = 1 switches it off. Raises ValueError unless 0 < alpha <= 1.
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(f"alpha must lie above 0 and not above 1, got {alpha}")
    return alpha == 1.0 or (long.bad >= MIN_BAD and surprise(long.n, long.bad, allowance(objective)) >= -log(alpha))


def trips(alert: BurnAlert, objective: float, long: Counts, short: Counts, *, alpha: float = ALPHA) -> bool:
    """True if both windows burn at the alert's factor or faster and the long one is `significant`.

    An empty window burns nothing. The short window has no guard: it only says whether it is still going on, and at low
    traffic it holds one event or none; keep the alert firing for an hour so that a quiet minute does not resolve it.
    ``alpha`` = 1 switches the guard off. Raises ValueError for an objective or alpha out of range.
    """
    both = all(w.n > 0 and burn_rate(objective, w.n, w.bad) >= alert.factor for w in (long, short))
    return significant(long, objective, alpha=alpha) and both
