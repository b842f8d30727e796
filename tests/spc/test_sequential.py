"""Variant against control: error rates under endless looking, coverage of the intervals, and the arithmetic."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from math import exp, inf, lgamma, log, log1p, nan, pi, sqrt
from random import Random

import pytest

from backspan.spc import sequential
from backspan.spc.pchart import wilson
from backspan.spc.sequential import (
    Arm,
    compare,
    half_width,
    interval,
    log_lambda,
    log_mixture,
    share_interval,
    variance,
)

LIMIT = log(1 / (2 * 0.05))


class Binomial:
    """Draws from Binomial(n, p) by its distribution function: one random number each."""

    def __init__(self, n: int, p: float) -> None:
        self.n, self.cdf, total = n, list[float](), 0.0
        for k in range(n + 1):
            total += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(p) + (n - k) * log1p(-p))
            self.cdf.append(total)

    def draw(self, random: Random) -> int:
        return min(bisect(self.cdf, random.random()), self.n)


Counts = tuple[int, int, int, int]


def looks(random: Random, variant: Binomial, control: Binomial, count: int) -> Iterator[Counts]:
    """Growing counts (n1, x1, n0, x0) at ``count`` looks."""
    n1 = x1 = n0 = x0 = 0
    for _ in range(count):
        n1, x1, n0, x0 = n1 + variant.n, x1 + variant.draw(random), n0 + control.n, x0 + control.draw(random)
        yield n1, x1, n0, x0


Rule = Callable[[Counts], bool]


def worse(tau: float, limit: float = LIMIT) -> Rule:
    """The verdict ``worse`` of `compare`, without its interval (which takes most of the time)."""

    def rule(counts: Counts) -> bool:
        n1, x1, n0, x0 = counts
        return min(n1, n0) >= 100 and x1 * n0 > x0 * n1 and log_lambda(n1, x1, n0, x0, tau) >= limit

    return rule


def runs(rule: Rule, p1: float, p0: float, *, sizes: tuple[int, int], count: int, runs: int) -> tuple[float, float]:
    """Share of runs in which ``rule`` ever said yes, and the mean variant events until then (or until the end)."""
    random, variant, control = Random(1), Binomial(sizes[0], p1), Binomial(sizes[1], p0)
    said = seen = 0
    for _ in range(runs):
        for counts in looks(random, variant, control, count):
            if rule(counts):
                said += 1
                break
        seen += counts[0]
    return said / runs, seen / runs


# --- error rates and delays, against a published simulation of the same design --------------------------------------
def test_without_a_difference_it_stays_below_alpha_under_endless_looking() -> None:
    """.10 against .10, a look every 50 per arm up to 3,000: 2.4 % of runs called worse; alpha is 5 %."""
    share, _ = runs(worse(0.05), 0.10, 0.10, sizes=(50, 50), count=60, runs=2_000)
    assert share == pytest.approx(0.024, abs=0.0105)  # three standard errors


def test_a_fixed_test_looked_at_as_often_breaks_alpha() -> None:
    """The twin: a one-sided z-test of 5 % at every look calls 26 % of the same runs worse."""

    def peek(counts: Counts) -> bool:
        n1, x1, n0, x0 = counts
        s2 = variance(Arm(n1, x1), Arm(n0, x0))
        return s2 > 0 and x1 / n1 - x0 / n0 > 1.645 * sqrt(s2)

    share, _ = runs(peek, 0.10, 0.10, sizes=(50, 50), count=60, runs=800)
    assert share == pytest.approx(0.259, abs=0.046)


@pytest.mark.parametrize(("p1", "mean"), [(0.15, 694), (0.20, 260)])
def test_a_worse_variant_is_found_in_time(p1: float, mean: float) -> None:
    share, seen = runs(worse(0.05), p1, 0.10, sizes=(50, 50), count=60, runs=700)
    assert share > 0.995 and seen == pytest.approx(mean, rel=0.05)


RARE = {"p1": 0.005, "p0": 0.005, "sizes": (25, 475), "count": 120, "runs": 600}


def test_a_small_canary_of_a_rare_event_stays_below_alpha() -> None:
    """5 % of the traffic, 0.5 % errors: the count is skewed, and the wider variance makes up for it."""
    share, _ = runs(worse(0.02), **RARE)
    assert share < 0.03


def test_the_pooled_variance_alone_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin of the above."""
    monkeypatch.setattr(sequential, "MIN_EXPECTED", 0.0)
    share, _ = runs(worse(0.02), **RARE)
    assert share > 0.055


def test_a_broken_small_canary_is_found_at_once() -> None:
    assert compare(Arm(100, 50), Arm(1_900, 10)).verdict == "worse"
    assert compare(Arm(100, 100), Arm(1_900, 10)).verdict == "worse"


# --- the intervals --------------------------------------------------------------------------------------------------
def wald(counts: Counts) -> tuple[float, float]:
    """A 90 % interval for one look."""
    n1, x1, n0, x0 = counts
    p1, p0 = x1 / n1, x0 / n0
    half = 1.645 * sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
    return p1 - p0 - half, p1 - p0 + half


def misses(p1: float, p0: float, sizes: tuple[int, int], make: Callable[[Counts], tuple[float, float]]) -> float:
    """Share of runs in which the interval ever misses the difference."""

    def missed(counts: Counts) -> bool:
        low, high = make(counts)
        return min(counts[0], counts[2]) >= 100 and not low <= p1 - p0 <= high

    return runs(missed, p1, p0, sizes=sizes, count=70, runs=200)[0]


def valid(counts: Counts) -> tuple[float, float]:
    return interval(Arm(counts[0], counts[1]), Arm(counts[2], counts[3]))


@pytest.mark.parametrize(("p1", "p0", "sizes"), [(0.2, 0.1, (30, 30)), (0.2, 0.1, (10, 190)), (0.1, 0.3, (10, 190))])
def test_the_interval_of_the_difference_holds_at_all_looks(p1: float, p0: float, sizes: tuple[int, int]) -> None:
    """Confidence 90 %; a bound of three standard errors above 10 %."""
    assert misses(p1, p0, sizes, valid) <= 0.10 + 3 * sqrt(0.09 / 200)


def test_an_interval_for_one_look_does_not_hold_at_all_looks() -> None:
    """The twin of the above."""
    assert misses(0.2, 0.1, (30, 30), wald) > 0.3


def test_the_interval_of_one_share_holds_at_all_looks_and_one_for_one_look_does_not() -> None:
    random, missed, one_look = Random(4), 0, 0
    for _ in range(100):
        p = random.uniform(0.01, 0.5)
        x, out, bad = 0, False, False
        for n in range(1, 401):
            x += random.random() < p
            if n % 10 == 0:
                low, high = share_interval(n, x)
                out |= not low <= p <= high
                low, high = wilson(x, n)
                bad |= not low <= p <= high
        missed, one_look = missed + out, one_look + bad
    assert missed <= 5 and one_look > 15


def test_the_ends_of_a_share_interval_are_where_the_likelihood_ratio_is_one_in_alpha() -> None:
    n, x, alpha = 200, 30, 0.05
    for p in share_interval(n, x, alpha=alpha):
        ratio = lgamma(x + 1) + lgamma(n - x + 1) - lgamma(n + 2) - x * log(p) - (n - x) * log1p(-p)
        assert ratio == pytest.approx(log(1 / alpha), abs=1e-9)


def test_share_intervals_at_the_edges() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)
    low, high = share_interval(100, 0)
    assert low == 0.0 and high == pytest.approx(1 - (1 / (101 * 20)) ** 0.01)
    assert share_interval(100, 100) == pytest.approx((1 - high, 1.0))
    low, high = share_interval(10**9, 10**8)
    assert low < 0.1 < high and high - low < 2e-4


# --- the arithmetic -------------------------------------------------------------------------------------------------
def test_equal_arms_give_the_usual_form() -> None:
    random = Random(2)
    for _ in range(200):
        n = random.randint(100, 5_000)
        x1, x0, tau = random.randint(1, n // 2), random.randint(1, n // 2), random.uniform(0.01, 0.2)
        p, d = (x1 + x0) / (2 * n), (x1 - x0) / n
        v = 2 * p * (1 - p)
        form = 0.5 * log(v / (v + n * tau**2)) + n**2 * tau**2 * d**2 / (2 * v * (v + n * tau**2))
        assert log_lambda(n, x1, n, x0, tau) == pytest.approx(form, rel=1e-9, abs=1e-9)


def test_lambda_is_the_likelihood_ratio_averaged_over_the_prior() -> None:
    """By numeric integration of exp((d delta - delta^2 / 2) / s2) over Normal(0, tau^2)."""
    d, s2, tau, step = 0.06, 0.0004, 0.05, 1e-4
    grid = [i * step for i in range(-5_000, 5_001)]
    mean = sum(exp((d * x - x * x / 2) / s2 - x * x / (2 * tau * tau)) for x in grid) * step / (tau * sqrt(2 * pi))
    assert log_mixture(d, s2, tau) == pytest.approx(log(mean), abs=1e-9)


def test_half_the_interval_is_where_the_evidence_reaches_the_limit() -> None:
    assert log_mixture(half_width(3e-4, 0.05, LIMIT), 3e-4, 0.05) == pytest.approx(LIMIT)


LN_LAMBDA = "0.5 * ln(s2 / (s2 + tau * tau)) + tau * tau * d * d / (2 * s2 * (s2 + tau * tau))"
"""With d and s2 below, all that a rule needs; PromQL has every function. (a + b + abs(a - b)) / 2 is max(a, b)."""


def as_a_rule(n1: int, x1: int, n0: int, x0: int, tau: float) -> float:
    def evaluate(text: str, **names: float) -> float:
        return float(eval(text, {"__builtins__": {}, "ln": log, "abs": abs}, names))

    names = {"n1": n1, "x1": x1, "n0": n0, "x0": x0, "tau": tau}
    names["p"] = evaluate("(x1 + x0) / (n1 + n0)", **names)
    names["pooled"] = evaluate("p * (1 - p) * (1 / n1 + 1 / n0)", **names)
    names["own"] = evaluate("x1 * (n1 - x1) / (n1 * n1 * n1) + x0 * (n0 - x0) / (n0 * n0 * n0)", **names)
    names["rarer"] = evaluate("(1 - abs(1 - 2 * p)) / 2 * (n1 + n0 - abs(n1 - n0)) / 2", **names)
    names["wide"] = evaluate("(pooled + own + abs(pooled - own)) / 2", **names)
    names["s2"] = evaluate("pooled * (rarer >= 5) + wide * (rarer < 5)", **names)
    return evaluate(LN_LAMBDA, d=x1 / n1 - x0 / n0, s2=names["s2"], tau=tau)


@pytest.mark.parametrize(
    "counts", [(500, 60, 500, 40), (100, 4, 9_900, 90), (120, 0, 7_000, 9), (300, 290, 40_000, 39_999), (9, 1, 8, 1)]
)
def test_a_rule_can_compute_it_from_counts(counts: Counts) -> None:
    assert as_a_rule(*counts, 0.05) == pytest.approx(log_lambda(*counts), rel=1e-12)


def test_dispersion_multiplies_the_variance() -> None:
    s2 = variance(Arm(500, 60), Arm(500, 40))
    assert log_lambda(500, 60, 500, 40, phi=1.7) == pytest.approx(log_mixture(0.04, 1.7 * s2, 0.05))
    assert log_lambda(500, 60, 500, 40, phi=1.7) < log_lambda(500, 60, 500, 40)


def test_rates_use_the_poisson_variance() -> None:
    s2 = 150 / 1_500 * (1 / 500 + 1 / 1_000)
    assert variance(Arm(500, 80), Arm(1_000, 70), "poisson") == pytest.approx(s2)
    assert log_lambda(500, 80, 1_000, 70, 0.05, family="poisson") == pytest.approx(log_mixture(0.09, s2, 0.05))
    many = compare(Arm(200, 900), Arm(200, 600), tau=0.5, family="poisson")
    assert many.verdict == "worse" and many.interval is not None and many.interval[1] > 1.5


# --- verdicts -------------------------------------------------------------------------------------------------------
def test_every_verdict() -> None:
    assert compare(Arm(99, 60), Arm(5_000, 500)).verdict == "continue"
    assert compare(Arm(300, 60), Arm(300, 30)).verdict == "worse"
    assert compare(Arm(300, 30), Arm(300, 60)).verdict == "better"
    assert compare(Arm(300, 35), Arm(300, 30)).verdict == "continue"
    assert compare(Arm(3_000, 310), Arm(3_000, 300)).verdict == "no_difference_yet"


def test_where_a_fall_is_worse_the_verdicts_change_places() -> None:
    assert compare(Arm(300, 60), Arm(300, 30), worse="down").verdict == "better"
    assert compare(Arm(300, 30), Arm(300, 60), worse="down").verdict == "worse"


def test_a_difference_that_matters_is_hardly_ever_called_none() -> None:
    """True difference equal to tau: at most alpha of the runs may rule it out."""

    def none(counts: Counts) -> bool:
        return compare(Arm(counts[0], counts[1]), Arm(counts[2], counts[3])).verdict == "no_difference_yet"

    share, _ = runs(none, 0.15, 0.10, sizes=(50, 50), count=30, runs=200)
    assert share <= 0.05 + 3 * sqrt(0.05 * 0.95 / 200)


def test_the_verdict_carries_its_evidence() -> None:
    found = compare(Arm(300, 60), Arm(300, 30))
    assert found.evidence == log_lambda(300, 60, 300, 30) and found.limit == pytest.approx(LIMIT)
    assert found.difference == pytest.approx(0.1) and found.confidence == pytest.approx(0.9)
    assert (found.variant, found.control) == (Arm(300, 60), Arm(300, 30))


def test_verdict_and_interval_agree() -> None:
    """Equal arms: worse if and only if the whole interval lies above 0. Any arms: never against each other."""
    random = Random(6)
    for _ in range(2_000):
        n1, n0 = random.randint(100, 2_000), random.randint(100, 20_000)
        found = compare(Arm(n1, int(n1 * random.random() * 0.3)), Arm(n0, int(n0 * random.random() * 0.3)))
        assert found.interval is not None
        low, high = found.interval
        assert low <= high
        if low > 0 or high < 0:
            assert found.verdict == ("worse" if low > 0 else "better")
        if found.verdict == "worse":
            assert low >= 0


def test_a_side_without_events_says_nothing() -> None:
    found = compare(Arm(0, 0), Arm(500, 50))
    assert (found.verdict, found.evidence, found.difference, found.interval) == ("continue", 0.0, None, None)


@pytest.mark.parametrize("x", [0, 400])
def test_without_any_variation_there_is_no_evidence_but_an_interval_of_some_width(x: int) -> None:
    found = compare(Arm(400, x), Arm(400, x))
    assert found.evidence == 0.0 and found.verdict == "no_difference_yet"
    assert found.interval is not None and 0.005 < found.interval[1] < 0.05


@pytest.mark.parametrize(
    "call",
    [
        lambda: Arm(-1, 0),
        lambda: Arm(10, -1),
        lambda: Arm(nan, 0),
        lambda: Arm(inf, 0),
        lambda: log_lambda(10, 11, 10, 1),
        lambda: log_lambda(10, 1, 10, 1, 0),
        lambda: log_lambda(10, 1, 10, 1, phi=0.5),
        lambda: interval(Arm(0, 0), Arm(10, 1)),
        lambda: interval(Arm(10, 1), Arm(10, 1), alpha=0.5),
        lambda: compare(Arm(10, 1), Arm(10, 1), alpha=0),
        lambda: compare(Arm(10, 1), Arm(10, 1), min_n=0),
        lambda: compare(Arm(0, 0), Arm(10, 1), tau=-1),
        lambda: share_interval(10, 11),
        lambda: share_interval(10, 1, alpha=1),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
