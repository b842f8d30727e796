"""X-bar-S and I-MR: factors against the printed tables, unequal subgroups by hand. Equality with another package on
random series is in test_equals_shewhart.py."""

from __future__ import annotations

from math import sqrt
from random import Random

import pytest

from backspan.spc import variables
from backspan.spc.variables import Process, Subgroup

FACTORS = {  # Montgomery, appendix VI: n -> c4, A3, B3, B4
    2: (0.7979, 2.659, 0.0, 3.267),
    5: (0.9400, 1.427, 0.0, 2.089),
    6: (0.9515, 1.287, 0.030, 1.970),
    10: (0.9727, 0.975, 0.284, 1.716),
    25: (0.9896, 0.606, 0.565, 1.435),
}


def check_the_factors() -> None:
    for n, (c4, a3, b3, b4) in FACTORS.items():
        assert variables.c4(n) == pytest.approx(c4, abs=6e-5)
        assert (variables.a3(n), variables.b3(n), variables.b4(n)) == pytest.approx((a3, b3, b4), abs=6e-4)


def test_the_factors_are_those_of_the_tables() -> None:
    check_the_factors()
    assert variables.D4 == pytest.approx(3.267, abs=6e-4)
    assert variables.c4(10**6) == pytest.approx(1 - 1 / 4e6, rel=1e-8)


@pytest.mark.parametrize("wrong", [lambda n: 1.0, lambda n: 1 - 1 / (4 * n), lambda n: FACTORS[5][0]])
def test_a_wrong_factor_is_noticed(wrong: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "c4", wrong)
    with pytest.raises(AssertionError):
        check_the_factors()


def test_individuals_have_the_published_multiples_of_the_mean_moving_range() -> None:
    values = [3.0, 4.0, 4.0, 2.0, 5.0]  # moving ranges 1, 0, 2, 3
    process = variables.fit_individuals(values)
    point, (first, *_) = variables.individuals_chart(values)[0], variables.moving_range_chart(values)
    assert process.centre == 3.6
    assert (point.upper - 3.6) / 1.5 == pytest.approx(2.660, abs=5e-4)
    assert (first.lower, first.centre) == (0.0, pytest.approx(1.5))
    assert first.upper / 1.5 == pytest.approx(3.267, abs=6e-4)


def test_limits_follow_the_size_of_the_subgroup() -> None:
    process = Process(10.0, 2.0)
    groups = [Subgroup(4, 12.9, 1.0), Subgroup(16, 11.6, 4.0), Subgroup(1, 15.9)]
    means = variables.mean_chart(groups, process)
    assert [(p.lower, p.upper, p.out) for p in means] == [(7, 13, False), (8.5, 11.5, True), (4, 16, False)]
    sds = variables.sd_chart(groups, process)
    assert [p.n for p in sds] == [4, 16], "one value has no spread"
    assert sds[0].upper == pytest.approx(variables.b4(4) * variables.c4(4) * 2.0)
    assert sds[1].lower == pytest.approx(variables.b3(16) * variables.c4(16) * 2.0)
    assert [p.out for p in sds] == [False, True]
    assert process.z(12.9, 4) == pytest.approx(2.9)


def test_sigma_of_unequal_subgroups_is_unbiased_and_the_weights_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Burr's estimate by hand for two sizes; on 4,000 random subgroups it finds the sigma that made them."""
    hand = [Subgroup(2, 0, 1.0), Subgroup(5, 0, 2.0)]
    w2, w5 = (c * c / (1 - c * c) for c in (variables.c4(2), variables.c4(5)))
    expected = (w2 * 1.0 / variables.c4(2) + w5 * 2.0 / variables.c4(5)) / (w2 + w5)
    assert variables.fit(hand).sigma == pytest.approx(expected)

    random = Random(1)
    groups = [Subgroup.of([random.gauss(5, 3) for _ in range(random.choice((1, 2, 3, 8)))]) for _ in range(4000)]
    for pooled in (False, True):
        assert variables.fit(groups, pooled=pooled).sigma == pytest.approx(3.0, rel=0.02)
    monkeypatch.setattr(variables, "c4", lambda n: 1.0 - 1e-9)
    assert variables.fit(groups).sigma != pytest.approx(3.0, rel=0.02), "the twin without c4 is biased"


def test_the_centre_is_the_mean_of_all_values_not_of_the_means() -> None:
    assert variables.fit([Subgroup(9, 1.0, 1.0), Subgroup(1, 11.0)]).centre == pytest.approx(2.0)


def test_subgroups_from_values_and_from_sums() -> None:
    values = [1.0, 2.0, 4.0, 5.0]
    one, two = Subgroup.of(values), Subgroup.from_sums(4, sum(values), sum(v * v for v in values))
    assert (one.n, one.mean, one.sd) == (4, 3.0, pytest.approx(sqrt(10 / 3)))
    assert two.sd == pytest.approx(one.sd)
    assert Subgroup.from_sums(3, 0.3, 0.03 - 1e-18).sd == pytest.approx(0.0, abs=1e-6), "rounding below 0 is 0"


def test_values_that_never_vary() -> None:
    flat = variables.individuals_chart([2.0, 2.0, 2.0], variables.fit_individuals([2.0, 2.0, 2.0]))
    assert not any(p.out for p in flat)
    with pytest.raises(ValueError, match="do not vary"):
        variables.fit_individuals([2.0, 2.0]).z(3.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: variables.c4(1),
        lambda: Subgroup(0, 1.0),
        lambda: Subgroup(2, float("nan")),
        lambda: Subgroup(2, 1.0, -1.0),
        lambda: Subgroup.of([]),
        lambda: Subgroup.of([1.0, float("inf")]),
        lambda: Subgroup.from_sums(0, 0, 0),
        lambda: Process(0.0, -1.0),
        lambda: Process(float("nan"), 1.0),
        lambda: variables.fit([Subgroup(1, 3.0)]),
        lambda: variables.fit_individuals([1.0]),
        lambda: variables.fit_individuals([]),
        lambda: variables.mean_limits(Process(0, 1), 0),
        lambda: variables.sd_limits(Process(0, 1), 1),
    ],
)
def test_bad_input_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="need|finite"):
        call()  # type: ignore[operator]
