"""The betting detector: its promise for any distribution on 0..1, the falls it finds, buckets, and its arithmetic."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from math import exp, inf, log, nan
from random import Random

import pytest
from tests.spc.poisson import poisson_quantile

from backspan.spc.betting import STAKES, BettingSR, bucket_scores, log_factor, scaled
from backspan.spc.shiryaev import threshold

EVENTS = 60_000
PROMISE = 1_000
LIMIT = threshold(PROMISE, 10)
STARS, WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0), (1, 1, 2, 6, 10)

Draw = Callable[[Random], float]
SCORES: dict[str, tuple[Draw, float]] = {
    "bernoulli": (lambda random: float(random.random() < 0.9), 0.9),
    "rare": (lambda random: float(random.random() < 0.1), 0.1),
    "uniform": (lambda random: random.random(), 0.5),
    "beta": (lambda random: random.betavariate(8, 2), 0.8),
    "stars": (lambda random: random.choices(STARS, WEIGHTS)[0], 0.7875),
}
"""Draws, and their means. Stars: (0.25 + 2 * 0.5 + 6 * 0.75 + 10) / 20 = 0.7875."""


BOUND = poisson_quantile(EVENTS / PROMISE, 0.999)


def false_alarms(draw: Draw, mu0: float, limit: float, n: int, *, falls: bool, seed: int = 7) -> int:
    """Alarms over `EVENTS` events in batches of ``n``; the detector starts anew after each."""
    random, alarms = Random(seed), 0
    detector = BettingSR(mu0, cap=limit + 3, falls=falls)
    for _ in range(EVENTS // n):
        if detector.step([draw(random) for _ in range(n)]) >= limit:
            alarms += 1
            detector = BettingSR(mu0, cap=limit + 3, falls=falls)
    return alarms


# --- the promise ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("name", SCORES)
def test_the_promise_holds_for_any_distribution(name: str, falls: bool) -> None:
    draw, mean = SCORES[name]
    assert false_alarms(draw, mean, LIMIT, 10, falls=falls) <= BOUND


def test_the_promise_holds_event_by_event_and_in_large_batches() -> None:
    draw, mean = SCORES["rare"]
    assert false_alarms(draw, mean, LIMIT, 1, falls=True) <= BOUND
    assert false_alarms(draw, mean, LIMIT, 100, falls=True) <= BOUND


@pytest.mark.parametrize(("name", "falls"), [("rare", True), ("bernoulli", False), ("beta", False), ("uniform", True)])
def test_a_threshold_lowered_by_ln_3_breaks_the_promise(name: str, falls: bool) -> None:
    """The twin: the tests above can tell a detector that alarms too often."""
    draw, mean = SCORES[name]
    assert false_alarms(draw, mean, LIMIT - log(3), 5, falls=falls) > BOUND


def test_an_accepted_mean_above_the_true_one_breaks_it_too() -> None:
    """Another twin: it is the mean that the promise is about."""
    draw, mean = SCORES["uniform"]
    assert false_alarms(draw, mean + 0.1, LIMIT, 5, falls=True) > BOUND


# --- detection ------------------------------------------------------------------------------------------------------
def delay(weights: tuple[int, ...], *, falls: bool = True, runs: int = 100) -> float:
    """Mean events from a chart just started to its alarm; promise 100,000 ratings, two partitions, batches of 5."""
    random, limit, seen = Random(3), threshold(100_000, 10, partitions=2), 0
    for _ in range(runs):
        detector = BettingSR(0.7875, cap=limit + 3, falls=falls)
        while detector.value < limit:
            seen += 5
            detector.step(random.choices(STARS, weights, k=5))
    return seen / runs


def test_a_fall_of_the_stars_is_found() -> None:
    """From a mean of 4.15 stars to 3.7 (0.7875 to 0.675), and to 3.4 (0.6)."""
    assert delay((2, 2, 4, 4, 8)) < 400
    assert delay((4, 2, 3, 4, 7)) < 160


def test_a_rise_is_found_where_a_rise_is_worse() -> None:
    assert delay((0, 0, 0, 4, 16), falls=False) < 150


def test_a_chart_turned_the_wrong_way_sees_no_fall() -> None:
    """The twin: what finds the fall is the direction of the bet."""
    random, detector = Random(3), BettingSR(0.7875, falls=False)
    values = [detector.step(random.choices(STARS, (4, 2, 3, 4, 7), k=5)) for _ in range(200)]
    assert max(values) < LIMIT


# --- buckets --------------------------------------------------------------------------------------------------------
BOUNDS = (0.1, 0.25, 0.5, 0.75, 0.9, inf)


def cumulative(scores: list[float]) -> dict[float, int]:
    return {le: sum(s <= le for s in scores) for le in BOUNDS}


@pytest.mark.parametrize("falls", [True, False])
def test_a_chart_on_buckets_never_has_more_evidence_than_one_on_scores(falls: bool) -> None:
    random = Random(5)
    exact, coarse = BettingSR(0.6, falls=falls), BettingSR(0.6, falls=falls)
    for _ in range(200):
        scores = [random.random() for _ in range(7)]
        coarse.step_counts(bucket_scores(cumulative(scores), falls=falls))
        exact.step(scores)
        assert all(c <= e + 1e-12 for c, e in zip(coarse.state, exact.state, strict=True))


def test_the_other_bound_would_have_more() -> None:
    """The twin: with the lower bound in place of the upper one the order is broken."""
    random = Random(5)
    exact, wrong = BettingSR(0.6), BettingSR(0.6)
    scores = [random.random() for _ in range(500)]
    assert wrong.step_counts(bucket_scores(cumulative(scores), falls=False)) > exact.step(scores) + 1


def test_buckets_by_hand() -> None:
    assert bucket_scores({0.5: 2, 1.0: 5, inf: 5}) == {0.5: 2, 1.0: 3}
    assert bucket_scores({inf: 5, 1.0: 5, 0.5: 2}, falls=False) == {0.0: 2, 0.5: 3}
    assert bucket_scores({0.5: 1, inf: 4}) == {0.5: 1, 1.0: 3}
    assert bucket_scores({}) == {}


# --- the arithmetic -------------------------------------------------------------------------------------------------
def test_one_step_by_hand() -> None:
    detector = BettingSR(0.8, stakes=(0.5,), n_ref=10)
    lam = 0.5 / 0.2
    expected = (2 / 10) * (1 + lam * (0.8 - 0.5)) * (1 + lam * (0.8 - 1.0))
    assert detector.step([0.5, 1.0]) == pytest.approx(log(expected))
    assert detector.step([0.0]) == pytest.approx(log((expected + 0.1) * (1 + lam * 0.8)))


def test_a_rising_step_by_hand() -> None:
    detector = BettingSR(0.2, stakes=(0.5,), n_ref=10, falls=False)
    assert detector.step([1.0]) == pytest.approx(log(0.1 * (1 + 0.5 / 0.2 * 0.8)))


def test_rising_is_falling_of_the_complement() -> None:
    random = Random(1)
    one, two = BettingSR(0.3, falls=False), BettingSR(0.7)
    for _ in range(50):
        scores = [random.random() for _ in range(4)]
        assert one.step(scores) == pytest.approx(two.step([1 - s for s in scores]))


def test_the_mixture_is_the_mean_of_its_stakes() -> None:
    scores = [0.2, 0.9, 0.4]
    alone = [exp(BettingSR(0.7, stakes=(c,)).step(scores)) for c in STAKES]
    assert BettingSR(0.7).step(scores) == pytest.approx(log(sum(alone) / 4))


def test_scores_counts_and_exported_sums_are_the_same_thing() -> None:
    scores = [0.25, 0.25, 1.0, 0.0, 0.75]
    sums = [sum(log_factor(s, 0.8, c) for s in scores) for c in STAKES]
    by_score = BettingSR(0.8).step(scores)
    assert BettingSR(0.8).step_counts(Counter(scores)) == by_score
    assert BettingSR(0.8).step_sums(5, sums) == pytest.approx(by_score, abs=1e-12)


def test_dispersion_divides_the_evidence() -> None:
    one, two = BettingSR(0.8, stakes=(0.5,)), BettingSR(0.8, stakes=(0.5,), phi=2.0)
    assert two.step([0.0]) - log(0.1) == pytest.approx((one.step([0.0]) - log(0.1)) / 2)


def test_nothing_rated_changes_nothing() -> None:
    detector = BettingSR(0.8)
    assert detector.step([]) == -inf and detector.state == ()
    before = detector.step([0.3])
    assert detector.step_counts({}) == before and detector.step_counts({0.1: 0}) == before


def test_the_cap_bounds_it_and_may_be_moved() -> None:
    detector = BettingSR(0.8, cap=LIMIT + 3)
    assert detector.step([0.0] * 500) == pytest.approx(LIMIT + 3)
    detector.cap_at(LIMIT)
    assert detector.step([0.0]) == pytest.approx(LIMIT)
    free = BettingSR(0.8)
    assert free.step([0.0] * 100_000) == 700 and free.step([1.0] * 100_000) == pytest.approx(-700)


def test_state_survives_json() -> None:
    one = BettingSR(0.8, n_ref=20, falls=False, phi=1.5)
    one.step([0.9, 1.0])
    two = BettingSR.from_state(json.loads(json.dumps(one.state)), 0.8, n_ref=20, falls=False, phi=1.5)
    assert (two.value, two.step([0.7])) == (one.value, one.step([0.7]))
    assert BettingSR.from_state((), 0.8).value == -inf


def test_stars_become_scores() -> None:
    assert [scaled(v, 1, 5) for v in (1, 4, 5)] == [0.0, 0.75, 1.0]


def test_a_bad_score_takes_nothing() -> None:
    detector = BettingSR(0.8)
    before = detector.step([0.5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        detector.step([0.5, 1.5])
    assert detector.value == before


@pytest.mark.parametrize(
    "call",
    [
        lambda: BettingSR(0.0),
        lambda: BettingSR(1.0),
        lambda: BettingSR(0.5, stakes=()),
        lambda: BettingSR(0.5, stakes=(1.0,)),
        lambda: BettingSR(0.5, n_ref=0),
        lambda: BettingSR(0.5, phi=0.9),
        lambda: BettingSR.from_state((1.0,), 0.5),
        lambda: BettingSR(0.5).step([nan]),
        lambda: BettingSR(0.5).step([-0.1]),
        lambda: BettingSR(0.5).step_counts({0.5: -1}),
        lambda: BettingSR(0.5).step_sums(1, [0.0]),
        lambda: BettingSR(0.5).step_sums(-1, [0.0] * 4),
        lambda: bucket_scores({0.5: 3, 1.0: 2}),
        lambda: bucket_scores({-0.5: 3}),
        lambda: scaled(6, 1, 5),
        lambda: scaled(1, 1, 1),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        call()
