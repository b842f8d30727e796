"""Sample sizes against published ones, information, and expected delays against simulation."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, sqrt
from random import Random
from statistics import NormalDist

import pytest

from backspan.spc.power import (
    changed,
    comparison_events,
    detection_events,
    drift,
    kl_bernoulli,
    kl_poisson,
    one_proportion,
    plan,
    two_proportions,
)
from backspan.spc.shiryaev import MixtureSR, Model, threshold


# --- fixed sizes ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("p0", "p1", "power", "n"), [(0.50, 0.75, 0.90, 76.7), (0.10, 0.15, 0.80, 685.6), (0.05, 0.10, 0.80, 434.4)]
)
def test_two_groups_as_power_prop_test_of_r(p0: float, p1: float, power: float, n: float) -> None:
    assert two_proportions(p0, p1, power=power) == pytest.approx(n, abs=0.05)


def test_the_power_at_that_size_by_the_normal_distribution() -> None:
    """R: power.prop.test(n = 50, p1 = .50, p2 = .75) gives a power of 0.740."""
    n, normal = 50, NormalDist()
    spread = sqrt(2 * 0.625 * 0.375)
    power = normal.cdf((sqrt(n) * 0.25 - normal.inv_cdf(0.975) * spread) / sqrt(0.25 + 0.1875))
    assert power == pytest.approx(0.740, abs=5e-4)
    assert two_proportions(0.5, 0.75, power=power) == pytest.approx(n)


@pytest.mark.parametrize("ratio", [1.0, 3.0, 99.0])
def test_the_continuity_correction_takes_its_step_off_the_difference(ratio: float) -> None:
    """By definition: the corrected difference at the corrected size weighs as much as the plain one at the plain."""
    p0, p1 = 0.10, 0.15
    plain, corrected = two_proportions(p0, p1, ratio=ratio), two_proportions(p0, p1, ratio=ratio, continuity=True)
    step = (ratio + 1) / (2 * ratio * corrected)
    assert sqrt(corrected) * (p1 - p0 - step) == pytest.approx(sqrt(plain) * (p1 - p0))


def test_unequal_groups() -> None:
    assert two_proportions(0.1, 0.15, ratio=99) < two_proportions(0.1, 0.15, ratio=1)
    swapped = two_proportions(0.15, 0.1, ratio=1 / 3) / 3
    assert swapped == pytest.approx(two_proportions(0.1, 0.15, ratio=3))


def test_one_share_against_a_known_one_by_hand() -> None:
    normal = NormalDist()
    n = ((normal.inv_cdf(0.95) * 0.3 + normal.inv_cdf(0.8) * sqrt(0.1275)) / 0.05) ** 2
    assert one_proportion(0.1, 0.15) == pytest.approx(n)
    corrected = one_proportion(0.1, 0.15, continuity=True)
    assert sqrt(corrected) * (0.05 - 1 / (2 * corrected)) == pytest.approx(sqrt(n) * 0.05)
    assert one_proportion(0.1, 0.15, sides=2) > n


def test_the_power_is_what_it_says() -> None:
    """Simulated with the size for .30 against .45, two-sided 5 %, power 80 %."""
    n, random, found = round(two_proportions(0.30, 0.45)), Random(1), 0
    for _ in range(600):
        x0, x1 = (sum(random.random() < p for _ in range(n)) for p in (0.30, 0.45))
        mean = (x0 + x1) / (2 * n)
        found += abs(x1 - x0) / n > 1.96 * sqrt(2 * mean * (1 - mean) / n)
    assert found / 600 == pytest.approx(0.8, abs=0.05)


# --- information ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("p0", "p1", "nats"),
    [
        (0.10, 0.12, 0.0021),
        (0.10, 0.15, 0.0122),
        (0.10, 0.20, 0.0444),
        (0.05, 0.10, 0.0207),
        (0.02, 0.04, 0.0079),
        (0.001, 0.003, 0.0013),
    ],
)
def test_information_per_event(p0: float, p1: float, nats: float) -> None:
    assert kl_bernoulli(p1, p0) == pytest.approx(nats, abs=5e-5)


def test_information_at_the_edges() -> None:
    assert kl_bernoulli(1.0, 0.05) == pytest.approx(log(20))
    assert kl_bernoulli(0.0, 0.05) == pytest.approx(-log(0.95))
    assert kl_bernoulli(0.3, 0.3) == 0.0
    assert kl_poisson(0.0, 2.0) == 2.0 and kl_poisson(2.0, 1.0) == pytest.approx(2 * log(2) - 1)
    assert kl_poisson(1e-4, 2e-4) == pytest.approx(kl_bernoulli(1e-4, 2e-4), rel=1e-3)


def test_drift_is_the_information_where_the_change_is_an_alternative() -> None:
    assert drift(0.1, 0.15) == pytest.approx(kl_bernoulli(0.15, 0.1))
    assert drift(0.6, 0.4, model=Model(falls=True)) == pytest.approx(kl_bernoulli(0.4, 0.6))
    assert drift(0.5, 1.0, model=Model("poisson")) == pytest.approx(kl_poisson(1.0, 0.5))
    assert drift(0.1, 0.13) < kl_bernoulli(0.13, 0.1)
    assert drift(0.1, 0.1) < 0 and drift(0.1, 0.105) < 0


# --- expected delays ------------------------------------------------------------------------------------------------
def simulated(p0: float, p1: float, limit: float, *, warm: int, falls: bool = False, runs: int = 60) -> float:
    """Mean events from the change to the alarm, batches of 5, after ``warm`` events in control without an alarm."""
    random, delays = Random(3), list[int]()
    while len(delays) < runs:
        detector, n = MixtureSR(p0, cap=limit + 3, model=Model(falls=falls)), 0
        early = [detector.step(5, sum(random.random() < p0 for _ in range(5))) >= limit for _ in range(warm // 5)]
        if any(early):
            continue
        while detector.value < limit or not n:
            n += 5
            detector.step(5, sum(random.random() < p1 for _ in range(5)))
        delays.append(n)
    return sum(delays) / runs


@pytest.mark.parametrize(
    ("p0", "p1", "promise", "falls"),
    [(0.10, 0.15, 100_000, False), (0.10, 0.30, 100_000, False), (0.10, 0.20, 10_000, False), (0.6, 0.4, 10_000, True)],
)
def test_the_delay_of_the_chart_lies_near_that_of_a_simulation(p0: float, p1: float, promise: int, falls: bool) -> None:
    limit = threshold(promise, 10)
    about = detection_events(p0, p1, limit, batch=5, model=Model(falls=falls))
    for warm in (0, 1_000):
        assert about == pytest.approx(simulated(p0, p1, limit, warm=warm, falls=falls), rel=0.3)


def test_published_delays_of_the_chart() -> None:
    """Limit ln 1000, n_ref 100, .10 to .15, batches of 5 and 20, after a long time in control: 517 and 542 events."""
    assert detection_events(0.10, 0.15, log(1_000), n_ref=100, batch=5) == pytest.approx(517, rel=0.12)
    assert detection_events(0.10, 0.15, log(1_000), n_ref=100, batch=20) == pytest.approx(542, rel=0.12)


def test_what_changes_the_delay() -> None:
    limit = threshold(100_000, 10)
    usual = detection_events(0.1, 0.15, limit)
    assert detection_events(0.1, 0.15, limit + 1) == pytest.approx(usual + 1 / drift(0.1, 0.15))
    assert detection_events(0.1, 0.15, limit, phi=2) > 1.7 * usual
    assert detection_events(0.1, 0.105, limit) == inf
    assert detection_events(0.1, 0.105, limit, alternatives=(1.05, 1.1)) < 100_000
    assert detection_events(0.1, 1.0, threshold(20, 10)) >= 1


@pytest.mark.parametrize(("p1", "mean"), [(0.15, 694), (0.20, 260)])
def test_published_delays_of_the_comparison(p1: float, mean: float) -> None:
    """tau .05, looks every 50 per arm: half of 50 on top."""
    assert comparison_events(0.10, p1, 0.05) + 25 == pytest.approx(mean, rel=0.1)


def test_a_larger_control_shortens_the_comparison() -> None:
    assert comparison_events(0.1, 0.15, 0.05, ratio=99) < 0.5 * comparison_events(0.1, 0.15, 0.05)
    assert comparison_events(0.1, 0.15, 0.05, 0.01) > comparison_events(0.1, 0.15, 0.05)


# --- the plan -------------------------------------------------------------------------------------------------------
def test_a_plan_for_a_fall_of_five_percent() -> None:
    """80 % to 76 %: about 650 outcomes against a known share, four times as many for two groups."""
    needs = {n.method: n for n in plan(0.80, -0.05, 100, threshold(100_000, 10))}
    assert set(needs) == {"known", "two_groups", "compare", "chart"}
    assert needs["known"].events == pytest.approx(one_proportion(0.80, 0.76))
    assert needs["two_groups"].events == pytest.approx(2 * two_proportions(0.80, 0.76, sides=1))
    assert needs["compare"].events == pytest.approx(2 * comparison_events(0.80, 0.76, 0.04))
    assert needs["known"].days == pytest.approx(needs["known"].events / 100)
    assert needs["chart"].events == inf


def test_the_rarer_outcome_makes_the_same_fall_visible_to_the_chart() -> None:
    needs = {n.method: n for n in plan(0.20, 0.04, 100, threshold(100_000, 10), relative=False)}
    assert needs["known"].events == pytest.approx(one_proportion(0.80, 0.76))
    assert 500 < needs["chart"].events < 3_000 and needs["chart"].days == needs["chart"].events / 100


def test_clustered_outcomes_count_for_less() -> None:
    one, two = plan(0.2, 0.5, 100, 9.2), plan(0.2, 0.5, 100, 9.2, phi=2)
    assert [b.events / a.events for a, b in zip(one, two, strict=True)][:3] == pytest.approx([2, 2, 2])
    assert two[3].events > 1.7 * one[3].events


def test_changes() -> None:
    assert changed(0.8, -0.05) == pytest.approx(0.76)
    assert changed(0.8, -0.05, relative=False) == pytest.approx(0.75)


@pytest.mark.parametrize(
    "call",
    [
        lambda: two_proportions(0.1, 0.1),
        lambda: two_proportions(0.0, 0.1),
        lambda: two_proportions(0.1, 1.1),
        lambda: two_proportions(0.1, 0.2, alpha=0.5),
        lambda: two_proportions(0.1, 0.2, power=0.01),
        lambda: two_proportions(0.1, 0.2, ratio=0),
        lambda: one_proportion(0.1, 0.2, power=1),
        lambda: kl_bernoulli(0.1, 0.0),
        lambda: kl_bernoulli(-0.1, 0.5),
        lambda: kl_poisson(1, 0),
        lambda: kl_poisson(-1, 1),
        lambda: drift(0.1, 0.2, ()),
        lambda: drift(0.0, 0.2),
        lambda: detection_events(0.1, 0.2, 9, phi=0.5),
        lambda: detection_events(0.1, 0.2, inf),
        lambda: detection_events(0.1, 0.2, 9, n_ref=0),
        lambda: detection_events(0.1, 0.2, 9, batch=0),
        lambda: comparison_events(0.1, 0.2, 0),
        lambda: comparison_events(0.1, 0.1, 0.05),
        lambda: comparison_events(0.1, 0.2, 0.05, 0.5),
        lambda: changed(0.8, 0.5),
        lambda: changed(0.8, 0),
        lambda: plan(0.1, 0.5, 0, 9),
        lambda: plan(0.1, 0.5, 10, 9, phi=0),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
