"""Charts for rare events: why one gap is not enough, exact limits, and what a sum of four gaps finds."""

from __future__ import annotations

import json
from math import log, log1p
from random import Random

import pytest

from backspan.spc import gchart
from backspan.spc.simulate import RunLength, run_length

P0 = 0.001


def gap(random: Random, p: float) -> int:
    """Trials up to and with the next event."""
    return int(log(1.0 - random.random()) / log1p(-p)) + 1


def test_one_gap_signals_a_rise_only_on_back_to_back_events() -> None:
    assert gchart.sum_chance(1, P0) == pytest.approx(P0)
    assert gchart.sum_chance(500, P0) == pytest.approx(1 - (1 - P0) ** 500)
    assert gchart.gap_limits(P0, 1).lower == 2  # 1 is out, 2 is not
    assert gchart.gap_limits(P0, 4).lower == 467


@pytest.mark.parametrize("m", [1, 2, 4])
def test_limits_are_the_tightest_with_their_chance(m: int) -> None:
    bounds = gchart.gap_limits(P0, m)
    assert gchart.sum_chance(int(bounds.lower) - 1, P0, m) <= gchart.ALPHA < gchart.sum_chance(int(bounds.lower), P0, m)
    above = 1 - gchart.sum_chance(int(bounds.upper), P0, m)
    assert above <= gchart.ALPHA < 1 - gchart.sum_chance(int(bounds.upper) - 1, P0, m)
    assert bounds.centre == m / P0


def test_a_sum_of_gaps_is_a_count_of_events() -> None:
    """Two dice at once: the sum of two gaps is 2 or 3 with chance p² and p² + 2 p² (1 - p)."""
    assert gchart.sum_chance(1, 0.2, 2) == 0.0
    assert gchart.sum_chance(2, 0.2, 2) == pytest.approx(0.04)
    assert gchart.sum_chance(3, 0.2, 2) == pytest.approx(0.04 + 2 * 0.04 * 0.8)


def test_time_limits() -> None:
    one = gchart.time_limits(2.0, 1)
    assert (one.lower, one.upper) == pytest.approx((-log(1 - 0.00135) / 2, -log(0.00135) / 2), rel=1e-6)
    rare, many = gchart.gap_limits(1e-5, 4), gchart.time_limits(1e-5, 4)
    assert (rare.lower, rare.upper) == pytest.approx((many.lower, many.upper), rel=1e-3)


def gap_sum(m: int, lower: float, p: float, runs: int, quiet: int = 0) -> RunLength:
    """Run length in trials. With ``quiet`` > 0 the rate rises from `P0` to ``p`` within the gap after that many."""

    def draw(random: Random, t: int) -> tuple[int]:
        if t == quiet and quiet:
            return (gap(random, P0) + gap(random, p),)
        return (gap(random, P0 if t < quiet else p),)

    return run_length(
        lambda: gchart.GapSum(lower, m).step,
        draw,
        alarmed=lambda reading: reading.out,
        cost=lambda trials: trials,
        quiet=quiet,
        runs=runs,
    )


def test_a_sum_of_four_gaps_finds_what_one_gap_cannot() -> None:
    """Windows of 200 trials, as in a table of simulations: up to 719 trials for four events, about 1,000 windows to a
    false alarm, 23 windows to find a rate three times as high.
    """
    false = gap_sum(4, 720, P0, 600)
    assert 900 < false.mean / 200 < 1250
    tripled = gap_sum(4, 720, 3 * P0, 1500, quiet=10)
    assert (tripled.mean - 1 / P0) / 200 == pytest.approx(23, rel=0.10)
    alone = gap_sum(1, 2, 3 * P0, 400)
    assert alone.mean / 200 > 20 * 23


def test_the_twin_a_limit_far_too_high_is_noticed() -> None:
    assert not 900 < gap_sum(4, 1100, P0, 300).mean / 200 < 1250


def test_the_chart() -> None:
    points = gchart.chart([1000] * 4 + [100] * 4, P0, m=4)
    assert [p.value for p in points] == [4000, 3100, 2200, 1300, 400]
    assert [p.out for p in points] == [False, False, False, False, True]
    assert {p.n for p in points} == {4}
    assert gchart.chart([10, 30], m=1)[0].centre == 20
    assert [p.out for p in gchart.time_chart([0.5] * 4 + [0.01] * 4, 2.0, m=4)] == [False] * 4 + [True]
    assert gchart.time_chart([40.0], 2.0, m=1)[0].out, "a silence is out above"
    assert gchart.chart([5.0], P0, m=4) == ()


def test_gap_sum_by_hand_and_through_json() -> None:
    detector = gchart.GapSum(10, m=3)
    assert [detector.step(g).out for g in (2, 3)] == [False, False], "two gaps are not three"
    assert detector.step(4) == (9.0, 10, True)
    again = gchart.GapSum(10, m=3, state=json.loads(json.dumps(detector.state)))
    assert again.step(3) == detector.step(3) == (10.0, 10, False), "a sum on the limit is in control"


def test_gaps_between_events() -> None:
    assert gchart.gaps_between([3, 10, 11]) == [7, 1]
    assert gchart.gaps_between([3]) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda: gchart.gaps_between([3, 3]),
        lambda: gchart.centre_rate([]),
        lambda: gchart.gap_limits(0.0),
        lambda: gchart.gap_limits(0.1, 0),
        lambda: gchart.gap_limits(0.1, 4, 0.5),
        lambda: gchart.time_limits(0.0),
        lambda: gchart.chart([0, 5]),
        lambda: gchart.time_chart([0.0, 5]),
        lambda: gchart.GapSum(0),
        lambda: gchart.GapSum(5, m=2, state=(1, 2, 3)),
        lambda: gchart.GapSum(5).step(0),
        lambda: gchart.GapSum(5).step(float("nan")),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need"):
        call()  # type: ignore[operator]
