"""The weighted share is right where the raw one is not; a weight that is wrong is noticed."""

import random
from math import sqrt

import pytest

from backspan.spc.weighted import hajek, horvitz_thompson, raw, stability

# stratum: answers, share of bad ones, probability of being asked
STRATA = {"quiet": (4000, 0.05, 0.05), "loud": (400, 0.40, 0.5)}
TRUTH = sum(n * bad for n, bad, _ in STRATA.values()) / sum(n for n, _, _ in STRATA.values())
N = sum(n for n, _, _ in STRATA.values())


def survey(draw, weight=lambda p: p):
    values, weights = [], []
    for number, bad, asked in STRATA.values():
        for _ in range(number):
            if draw.random() < asked:
                values.append(float(draw.random() < bad))
                weights.append(weight(asked))
    return values, weights


def many(estimator, runs=300, **more):
    draw = random.Random(7)
    return [estimator(*survey(draw, **more)) for _ in range(runs)]


def off(estimates):
    """How many standard errors the mean of the runs is from the truth."""
    values = [one.value for one in estimates]
    mean = sum(values) / len(values)
    return (mean - TRUTH) / (sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) / sqrt(len(values)))


@pytest.mark.parametrize("estimator", [hajek, lambda values, weights: horvitz_thompson(values, weights, N)])
def test_the_weighted_share_is_unbiased_and_its_interval_holds(estimator):
    runs = many(estimator)
    assert abs(off(runs)) < 4
    assert sum(one.low <= TRUTH <= one.high for one in runs) / len(runs) > 0.91


def test_the_raw_share_is_not():
    runs = many(lambda values, _: raw(values))
    assert off(runs) > 20
    assert sum(one.low <= TRUTH <= one.high for one in runs) == 0


def test_equal_weights_for_all_are_noticed():
    assert off(many(hajek, weight=lambda _: 0.3)) > 20


def test_where_everybody_is_asked_it_is_the_plain_mean_with_an_interval():
    one = hajek([1.0] * 30 + [0.0] * 70, [1.0] * 100)
    assert one.value == pytest.approx(0.3)
    assert one.high - one.low == pytest.approx(2 * 1.96 * sqrt(0.21 / 100), rel=0.01)


@pytest.mark.parametrize("probabilities", [[0.0], [1.5], [0.5, 0.5]])
def test_impossible_probabilities_are_refused(probabilities):
    with pytest.raises(ValueError, match="one probability"):
        hajek([1.0], probabilities)
    assert hajek([], []) is None and raw([]) is None


def test_stability_is_zero_for_equal_mixes_and_large_for_others():
    everybody = {"free": 900.0, "pro": 100.0}
    assert stability({"free": 90.0, "pro": 10.0}, everybody) < 0.01
    assert stability({"free": 10.0, "pro": 90.0}, everybody) > 0.2
    assert stability({"new": 50.0}, everybody) > 0.2
