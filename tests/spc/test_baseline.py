"""What is learnt from windows: sums against the definition, dispersion and autocorrelation against simulation."""

from __future__ import annotations

from math import sqrt
from random import Random
from statistics import fmean

import pytest

from backspan.spc.baseline import Learner, accepted, chi_square_95, dispersion, no_worse
from backspan.spc.pchart import Window, z_scores
from backspan.spc.shiryaev import BINOMIAL, Model

FALLS, COUNTS = Model(falls=True), Model("poisson")


def windows(seed: int, count: int = 60, p: float = 0.1, spread: float = 0.0) -> list[tuple[int, int]]:
    """Binomial windows of 50 to 150 events; ``spread``: standard deviation of the rate from window to window."""
    random = Random(seed)
    found: list[tuple[int, int]] = []
    for _ in range(count):
        n, rate = random.randint(50, 150), min(max(random.gauss(p, spread), 0.001), 0.9)
        found.append((n, sum(random.random() < rate for _ in range(n))))
    return found


def test_the_sums_give_what_the_definition_gives() -> None:
    data = windows(1, spread=0.05)
    learner = Learner.of(data)
    fit, p = learner.fit(), learner.estimate
    z = z_scores([Window(n, x) for n, x in data], p)
    assert fit.sd2 == pytest.approx(sum(v * v for v in z) / (len(z) - 1))
    assert fit.r1 == pytest.approx(sum(a * b for a, b in zip(z, z[1:], strict=False)) / sum(v * v for v in z))
    assert p == pytest.approx((sum(x for _, x in data) + 0.5) / (sum(n for n, _ in data) + 1))
    assert (fit.n, fit.windows) == (sum(n for n, _ in data), 60)
    assert fit.p0 == pytest.approx(p + sqrt(fit.phi * p * (1 - p) / fit.n))


def test_a_state_carries_everything() -> None:
    data = windows(2)
    whole, half = Learner.of(data), Learner.of(data[:30])
    other = Learner.from_state(half.state)
    for window in data[30:]:
        other.add(*window)
    assert other == whole
    with pytest.raises(ValueError, match="9 numbers, got 3"):
        Learner.from_state((1, 2, 3))


def test_independent_votes_are_left_alone() -> None:
    """By chance one stream in twenty looks dispersed, and some autocorrelated."""
    found = [Learner.of(windows(seed)).fit().phi for seed in range(200)]
    assert sum(phi == 1.0 for phi in found) >= 170
    assert fmean(found) < 1.1


def test_clusters_are_seen() -> None:
    found = [Learner.of(windows(seed, spread=0.06)).fit() for seed in range(40)]
    assert all(fit.phi > 1.5 for fit in found)
    true = 1 + 100 * 0.06**2 / 0.09
    assert fmean(fit.sd2 for fit in found) == pytest.approx(true, rel=0.1)


def test_autocorrelation_is_seen_where_the_moving_range_sees_none() -> None:
    data = [(100, 5 if (i // 6) % 2 else 15) for i in range(60)]
    fit = Learner.of(data).fit()
    assert fit.r1 > 0.6 and fit.phi > 3 * fit.sd2


@pytest.mark.parametrize(
    ("sd2", "r1", "count", "expected"),
    [
        (1.2, 0.1, 20, 1.0), (3.0, 0.1, 20, 3.0), (3.0, 0.5, 20, 9.0), (3.0, 0.99, 20, 27.0), (0.4, 0.0, 20, 1.0),
        (1.0, 0.5, 20, 3.0), (1.3, 0.5, 20, 3.0), (0.5, 0.5, 20, 1.5), (3.0, -0.9, 20, 3.0),
    ],
)
def test_dispersion_counts_where_it_is_significant(sd2: float, r1: float, count: int, expected: float) -> None:
    assert dispersion(sd2, r1, count) == pytest.approx(expected)


@pytest.mark.parametrize(("freedom", "point"), [(4, 9.4877), (19, 30.1435), (59, 77.9305), (99, 123.2252)])
def test_the_chi_square_point(freedom: int, point: float) -> None:
    """Tables of chi-square; Wilson and Hilferty are within half a percent."""
    assert chi_square_95(freedom) * freedom == pytest.approx(point, rel=0.005)


def test_the_standard_error_goes_to_the_worse_side() -> None:
    assert accepted(0.1, 0.0004, BINOMIAL) == pytest.approx(0.12)
    assert accepted(0.1, 0.0004, FALLS) == pytest.approx(0.08)
    assert accepted(0.94, 0.01, BINOMIAL) < 0.95 < accepted(7.0, 0.01, COUNTS)
    assert accepted(0.001, 0.01, FALLS) > 0
    assert no_worse(0.2, 0.1, BINOMIAL) == 0.1 and no_worse(0.2, 0.1, FALLS) == 0.2


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_all_good_and_all_bad_can_be_fitted(p: float) -> None:
    fit = Learner.of([(100, int(100 * p))] * 30).fit()
    assert 0 < fit.p0 < 0.95 and fit.phi == 1.0


@pytest.mark.parametrize(("n", "x"), [(0, 0), (-1, 0), (5, -1), (float("nan"), 0)])
def test_windows_that_are_none(n: float, x: float) -> None:
    with pytest.raises(ValueError, match="a window needs n > 0"):
        Learner().add(n, x)


def test_too_little_to_fit() -> None:
    with pytest.raises(ValueError, match="at least two windows"):
        Learner.of([(100, 5)]).fit()
    assert not Learner.of([(2500, 5)]).ready()
    assert not Learner.of([(10, 1)] * 30).ready()
    assert Learner.of([(125, 5)] * 20).ready()
